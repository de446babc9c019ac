"""Values of a row as people and programs see them."""

import json

from stages.collect.nested import parse_json

NOTHING: tuple[object, ...] = (None, "", [], {})


def shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "…"


def show(value: object) -> str:
    """The beginning of a value as JSON, for a message.

    >>> show({"role": "user", "content": None})
    '{"role": "user", "content": null}'
    """
    try:
        return shorten(json.dumps(value, ensure_ascii=False, default=repr))
    except (RecursionError, TypeError, ValueError):
        return f"a {type(value).__name__}"


def objects_of_lists(value: object) -> list[dict[str, object]] | None:
    """The list of objects that is laid out as an object of lists, as `datasets` writes it; None if it is none.

    >>> objects_of_lists({"text": ["old"], "answer_start": [8]}), objects_of_lists({"text": ["old"]}), objects_of_lists([])
    ([{'text': 'old', 'answer_start': 8}], None, None)
    """
    if not isinstance(value, dict) or len(value) < 2 or not all(isinstance(cells, list) for cells in value.values()):
        return None
    if len({len(cells) for cells in value.values()}) > 1:
        return None
    return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]


def from_json(value: object) -> object:
    """A text that is a JSON list or object as that, as a cell of a CSV holds it; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value
