"""A key that stands twice in one object of JSON with two values: parsers keep the last and drop the first without a word."""

import json

import orjson

from stages.collect.nested import decode_all
from stages.collect.values import show

# What is looked at: a program that repeats keys does so in most rows, and looking at all of them would take a tenth of the time.
MOST_LINES = 2000
MOST_CHARACTERS = 2**25


class _Repeated(Exception):
    """The key, and the object that it stands in."""

    def __init__(self, key: str, pairs: list[tuple[str, object]]) -> None:
        self.reason = (
            f"the key {key!r} stands twice, with two values, in the object {show(dict(pairs))}; rename one or take it out"
        )


def find_repeated(content: str | bytes, value: object) -> str | None:
    """Why JSON can't be read as its `value`, where a key in it is repeated, and what to do.

    As JSON the value has fewer quotes than the text where a key is lost, and hardly ever else: few texts are parsed twice.

    >>> find_repeated('{"a": 1, "b": {"c": "x", "c": "y"}}', {"a": 1, "b": {"c": "y"}})
    'the key \\'c\\' stands twice, with two values, in the object {"c": "y"}; rename one or take it out'
    >>> find_repeated('{"a": 1, "a": 1}', {"a": 1}), find_repeated('["\\\\u0022"]', ['"'])
    (None, None)
    """
    if len(content) > MOST_CHARACTERS:
        return None
    text = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    quotes = text.count(b'"') + text.count(b"\\u0022")
    try:
        if orjson.dumps(value).count(b'"') == quotes:
            return None
    except TypeError:  # an integer beyond 64 bits, say
        pass
    decoder = json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_constant=lambda _: None)
    try:
        decode_all(content, decoder)
    except _Repeated as repeated:
        return repeated.reason
    except (json.JSONDecodeError, RecursionError):  # as Python prints it, whose objects have no key twice
        return None
    return None


def _refuse_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs) and (key := next((key for key, value in pairs if values[key] != value), None)) is not None:
        raise _Repeated(key, pairs)
    return values
