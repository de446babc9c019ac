"""A JSON document -> the rows in it: an array, an object with one in it, an object keyed by id, or one conversation."""

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from stages.collect.lists import value_at
from stages.collect.several_talks import key_of_talks
from stages.collect.sources import Columns
from stages.collect.turn_marks import asked_of_turns, turn_marks_in
from stages.collect.values import objects_of_lists
from stages.lib.core.errors import ReprotuneError

STANDARD_MESSAGES = {"messages": {"role", "content"}, "conversations": {"from", "value"}, "contents": {"role", "parts"}}
SPLIT = re.compile("(train|test|valid|val|dev|eval|holdout)", re.IGNORECASE)  # begins the names of a data set's parts
DEPTH = 3  # objects in objects in which conversations are sought
PAIRS = ({"instruction", "output"}, {"prompt", "completion"})


def key_for_messages(values: list) -> str | None:
    """Under which key a list of messages without one would stand in a standard format; None if it holds none.

    >>> key_for_messages([{"from": "human", "value": "hi"}]), key_for_messages(["hi", "hello"]), key_for_messages([1])
    ('conversations', 'messages', None)
    """
    if not values or not all(isinstance(one, type(values[0])) for one in values) or not isinstance(values[0], (dict, str)):
        return None
    if key_of_talks(values):
        return None
    keys = values[0].keys() if isinstance(values[0], dict) else set()
    return next((key for key, inner in STANDARD_MESSAGES.items() if inner <= keys), "messages")


def rows_of_document(document: object, path: Path, columns: Columns | None, array: str | None = None) -> list:
    """The rows, those of the `array` that is named; a document that is a conversation itself is the only one.

    Raises:
        ReprotuneError: it is neither an array nor an object, has several arrays of which none is named, or lacks the named one.
    """
    return _rows(document, path, columns) if array is None else _named_rows(document, path, columns, array)


def _rows(document: object, path: Path, columns: Columns | None) -> list:
    if isinstance(document, list):
        return [document] if columns is None and _are_messages(document) and not key_of_talks(document) else document
    if not isinstance(document, dict):
        raise ReprotuneError(f"{path}: no array; expected an array of objects, or an object with one array in it")
    if is_row(document, columns):
        return [document]
    values = list(document.values())
    arrays = {key: value for key, value in document.items() if isinstance(value, list) and not asked_of_turns(key, value)}
    if len(arrays) == 1:
        return _with_turn_marks(next(iter(arrays.values())), turn_marks_in(document))
    if len(inner := list(_conversations_inside(document, DEPTH))) == 1:
        return inner[0]
    if values and all(isinstance(value, dict) for value in values):
        if all(map(SPLIT.match, document)):
            raise _several(document, path)
        return _rows_by_key(document)
    return _rows_of_arrays(document, arrays, path) if arrays else [document]


def _conversations_inside(document: dict[str, object], depth: int) -> Iterator[list]:
    """The arrays of conversations in a standard format that stand in its objects: in a program's whole state, say NextChat's.

    >>> chats = [{"topic": "tea", "messages": [{"role": "user", "content": "hi"}]}, {"topic": "", "messages": []}]
    >>> list(_conversations_inside({"settings": {"theme": "dark"}, "store": {"sessions": chats, "open": 0}}, 2)) == [chats]
    True
    """
    for value in document.values() if depth else ():
        if isinstance(value, dict):
            yield from (one for one in value.values() if isinstance(one, list) and _are_conversations(one))
            yield from _conversations_inside(value, depth - 1)


def _are_conversations(rows: list) -> bool:
    lists = [row.get(key) for row in rows if isinstance(row, dict) for key in STANDARD_MESSAGES if key in row]
    return len(lists) == len(rows) > 0 and any(map(_are_messages, lists)) and all(not one or _are_messages(one) for one in lists)


def _rows_of_arrays(document: dict[str, object], arrays: dict[str, list], path: Path) -> list:
    """Of several arrays: each a conversation of its own, or a column."""
    several = len(arrays) == len(document)
    if several and all(map(_are_messages, arrays.values())) and not all(map(SPLIT.match, arrays)):
        return [{"id": key, str(key_for_messages(value)): value} for key, value in arrays.items()]
    kinds = [{type(cell) for cell in column} for column in arrays.values()]
    are_columns = several and not any(dict in one for one in kinds) and any(list not in one for one in kinds)
    if are_columns and (rows := objects_of_lists(document)):
        return rows
    raise _several(arrays, path)


def _several(arrays: Mapping[str, Collection[object]], path: Path) -> ReprotuneError:
    rows = {key: any(isinstance(row, (dict, list)) for row in array) * len(array) for key, array in arrays.items()}
    first = next((key for key in arrays if key.lower().startswith("train")), max(rows, key=rows.__getitem__))
    return ReprotuneError(
        f"{path}: {len(arrays)} arrays ({_names(arrays)}); expected an array of objects, or an object with one array in it. "
        f"Set `array: {first}` in the source, by which that one alone is read (`python -m tools.preview "
        f"{shlex.quote(str(path))} --array {shlex.quote(first)}`); or map the array of a conversation's messages, `messages` in "
        "the source's `columns`"
    )


def _named_rows(document: object, path: Path, columns: Columns | None, array: str) -> list:
    found = document if isinstance(document, dict) else {}
    named = {key: value for key, value in found.items() if isinstance(value, (list, dict))}
    if array not in named and isinstance(inner := value_at(found, array), (list, dict)):
        named = {array: inner}
    if array not in named:
        raise ReprotuneError(f"{path}: no array {array!r}; found {_names(named) or 'none'} (see the source's `array`)")
    return _with_turn_marks(_rows(named[array], path, columns), turn_marks_in(found))


def _names(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, list(keys)[:10]))


def is_row(document: dict, columns: Columns | None) -> bool:
    """Whether an object is a row itself: with what is mapped in it, else with the keys of a standard format."""
    if columns and columns.messages:
        value = document.get(columns.messages)
        first = value[0] if isinstance(value, list) and value else None
        return value is not None and not (isinstance(first, dict) and columns.messages in first)
    if columns and not columns.user and any(value_at(document, name) is None for name in (columns.role, columns.content) if name):
        return False  # messages below may name the conversation too
    if columns:
        names = (columns.user, columns.assistant, columns.conversation)
        cells = [document.get(name) for name in names if name]
        return not any(cell is None or isinstance(cell, dict) or is_column(cell) for cell in cells)
    if any(_are_messages(document.get(key)) for key in STANDARD_MESSAGES):
        return True
    return any(pair <= document.keys() and not any(is_column(document[key]) for key in pair) for pair in PAIRS)


def is_column(value: object) -> bool:
    """Whether it is a list of something else than a standard format's messages."""
    return isinstance(value, list) and not _are_messages(value)


def _with_turn_marks(rows: list, marks: dict[str, object]) -> list:
    """What the file says of which turns are learned, said by each of its rows that does not say it itself."""
    if not marks:
        return rows
    keyed = ({key: row} if isinstance(row, list) and (key := key_for_messages(row)) else row for row in rows)
    return [marks | row if isinstance(row, dict) else row for row in keyed]


def _are_messages(value: object) -> bool:
    """Whether it is a list of a standard format's messages."""
    first = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}
    return any(inner <= first.keys() for inner in STANDARD_MESSAGES.values())


def _rows_by_key(document: dict[str, dict]) -> list[dict]:
    """The rows of an object keyed by id, or, as pandas writes tables, of one keyed by column and then by number.

    Numbers that merely count the rows are no ids: an inserted row would change them.

    >>> _rows_by_key({"a": {"x": 1}, "b": {"x": 2}}), _rows_by_key({"q": {"0": "hi"}, "a": {"0": "hello"}})
    ([{'id': 'a', 'x': 1}, {'id': 'b', 'x': 2}], [{'q': 'hi', 'a': 'hello'}])
    """
    inner = list(next(iter(document.values())))
    if inner == list(map(str, range(len(inner)))) and all(list(row) == inner for row in document.values()):
        return [{column: cells[number] for column, cells in document.items()} for number in inner]
    if list(document) == list(map(str, range(len(document)))):
        return list(document.values())
    return [{"id": key} | row for key, row in document.items()]
