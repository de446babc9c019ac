"""The lists of messages in a sample's cells."""

from collections.abc import Sequence

from stages.collect.history import keys_of_messages
from stages.collect.items import holds_items, messages_of_items
from stages.collect.lists import value_at
from stages.collect.nested import parse_list
from stages.collect.pairs import messages_of_pairs
from stages.collect.rows import plain_text
from stages.collect.sources import Columns
from stages.collect.values import objects_of_lists
from tools.preview.sample import Sample

Messages = list[dict[str, object]]
MOST_PATHS = 100


def list_in_cell(value: object) -> list | None:
    """The value, or what the text holds, if it is a list, or one that is laid out as an object of lists."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return parse_list(value)
        except ValueError:
            return None
    return value if isinstance(value, list) else objects_of_lists(value)


def list_of_messages(value: object) -> Messages | None:
    """The value, or what the text holds, if it is a list of objects."""
    found = list_in_cell(value)
    return found if found and all(isinstance(one, dict) for one in found) else None


def list_of_pairs(value: object) -> Messages | None:
    """The messages of the value, or of what the text holds, if it is a list of questions with their replies."""
    found = list_in_cell(value)
    return messages_of_pairs(found) if found and not keys_of_messages(found) else None


def list_of_texts(value: object) -> list[str] | None:
    found = list_in_cell(value)
    return found if found and all(isinstance(one, str) for one in found) else None


def lists_of_messages(sample: Sample, columns: Columns) -> list[Messages]:
    """The lists of messages in a mapping's columns; a row a pair may hold three: with earlier turns, prompt, completion."""
    if columns.messages:
        cells = sample.cells(columns.messages)
        found = [None if columns.content else list_of_pairs(value) for value in cells]
        found = [pairs or list_of_messages(value) for pairs, value in zip(found, cells, strict=True)]
    else:
        names = [name for name in (columns.history, columns.user, columns.assistant) if name]
        values = [row.values.get(name) for row in sample.rows for name in names]
        found = [list_of_messages(value) for value in values if isinstance(value, list)]
        found = [messages for messages in found if messages and (keys_of_messages(messages) or holds_items(messages))]
    return [messages_of_items(messages) if holds_items(messages) else messages for messages in found if messages]


def find_message(sample: Sample) -> dict[str, tuple[str, bool]]:
    """Field -> its column, where a row's role and text both stand in one object, in most rows: message.role, say."""
    for name in sample.keys:
        objects = [cell for cell in sample.cells(name) if isinstance(cell, dict)]
        if 2 * len(objects) > len(sample.rows) and all({"role", "content"} <= one.keys() for one in objects):
            return {field: (f"{name}.{field}", True) for field in ("role", "content")}
    return {}


def names_inside(sample: Sample, names: Sequence[str], deeper: int = 1) -> list[str]:
    """The paths below these columns that lead to a list of messages in most rows, through objects: chat.messages, say."""
    found: list[str] = []
    for name in names:
        objects = [cell for cell in sample.cells(name) if isinstance(cell, dict)]
        paths = [f"{name}.{key}" for key in dict.fromkeys(key for one in objects for key in one)]
        if 2 * len(objects) <= len(sample.rows) or len(paths) > MOST_PATHS:  # keys of so many names are ids
            continue
        found += [path for path in paths if 2 * sum(map(bool, map(list_of_messages, sample.cells(path)))) > len(sample.rows)]
        found += names_inside(sample, paths, deeper - 1) if deeper else []
    return found


def keys_of(lists: Sequence[Messages]) -> list[str]:
    return list(dict.fromkeys(key for messages in lists for message in messages for key in message))


def texts_of(lists: Sequence[Messages], key: str) -> list[list[str]]:
    """What the messages have under a key, as text; "" where there is nothing."""
    found = [[value_at(message, key) for message in messages] for messages in lists]
    return [["" if value is None else plain_text(value).strip() for value in values] for values in found]
