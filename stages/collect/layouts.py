"""Which column or key of a row holds what: as mapped in params.yaml, or told by a standard format's names."""

import contextlib
import json
from collections.abc import Collection, Iterable
from functools import lru_cache

from stages.collect.messages import shorten
from stages.collect.nested import parse_list
from stages.collect.readers import DELIMITERS
from stages.collect.rows import Row, Rows
from stages.collect.sources import Columns, CsvSource, HubSource, Source
from stages.lib.core.errors import ReprotuneError

# Told apart by their keys, the first that fits: OpenAI's, ShareGPT's, Alpaca's, prompt and completion.
STANDARD_LAYOUTS = (
    {"messages": "messages", "role": "role", "content": "content"},
    {"messages": "conversations", "role": "from", "content": "value"},
    {"user": "instruction", "assistant": "output", "input": "input"},
    {"user": "prompt", "assistant": "completion"},
)
STANDARD_KEYS = "messages, conversations, instruction and output, or prompt and completion"
STANDARD_FIELDS = ("system", "id", "label", "language", "group")
REQUIRED = ("user", "assistant", "conversation", "role", "content", "order", "messages")


def recognize_layout(keys: Collection[str]) -> Columns | None:
    """The mapping of a standard layout, with whichever of `system`, `id`, `label`, `language` and `group` there are.

    >>> columns = recognize_layout(["instruction", "input", "output", "id"])
    >>> columns.user, columns.input, columns.assistant, columns.id, columns.label
    ('instruction', 'input', 'output', 'id', None)
    >>> recognize_layout(["question", "answer"])
    """
    for layout in STANDARD_LAYOUTS:
        found = {field: name for field, name in layout.items() if name in keys or field in ("role", "content")}
        if layout.keys() - found.keys() <= {"input"}:
            return Columns(**found, **{name: name for name in STANDARD_FIELDS if name in keys})
    return None


@lru_cache(maxsize=1024)
def _recognize_row(keys: tuple[str, ...]) -> Columns | None:
    return recognize_layout(keys)


def names_in(columns: Columns) -> list[tuple[str, bool]]:
    """(name, whether each row needs it) of the columns, without the keys inside a list of messages."""
    in_list = ("role", "content") if columns.messages else ()
    return [(name, field in REQUIRED) for field, name in columns if name is not None and field not in in_list]


def find_columns(keys: list[str], columns: Columns | None, source: Source) -> Columns:
    """The columns of a table, mapped or recognised, or the error that says what is not there."""
    recognized = columns or recognize_layout(keys)
    absent = [name for name, _ in names_in(columns) if name not in keys] if columns else []
    if recognized and not absent:
        return recognized
    place, hint = source.name if isinstance(source, HubSource) else source.path, ""
    if isinstance(source, CsvSource):
        place += ":1"
        used = source.delimiter or DELIMITERS[source.format]
        for other in (other for other in ",;\t|" if other != used):
            split = used.join(keys).split(other)
            if set(absent) & set(split) or (columns is None and recognize_layout(split)):
                hint = f"set `delimiter: {json.dumps(other)}`, or "
    expected = f"no column {', '.join(map(repr, absent))}" if absent else f"no standard columns ({STANDARD_KEYS})"
    found = ", ".join(map(repr, keys)) or "nothing"
    raise ReprotuneError(f"{place}: {expected}; found {found} ({hint}map the columns in the source's `columns`)")


def watch_keys(rows: Rows, columns: Columns | None, leave_out: Collection[str], path: str) -> Rows:
    """The rows; an error after the last if none had a key that is mapped, or by which to leave out: it is misspelt."""
    unseen = {name for name, required in names_in(columns) if not required} if columns else set()
    wanted = set(leave_out)
    any_row = False
    for row in rows:
        if isinstance(row, Row):
            any_row = True
            unseen = unseen and unseen - row.values.keys()
            wanted = wanted and wanted - row.values.keys() - keys_of_messages(row.values.values())
        yield row
    for names, what, place in ((unseen, "row", "columns"), (wanted, "row or message", "leave_out")):
        if any_row and names:
            raise ReprotuneError(
                f"{path}: no {what} has the key {', '.join(map(repr, sorted(names)))} (see the source's `{place}`)"
            )


def keys_of_messages(values: Iterable[object]) -> set[str]:
    """The keys of the objects in all lists among a row's values, also in those that stand there as text."""
    keys: set[str] = set()
    for value in values:
        if isinstance(value, str) and value.lstrip().startswith("["):
            with contextlib.suppress(ValueError):
                value = parse_list(value)  # noqa: PLW2901
        if isinstance(value, list):
            keys |= {key for one in value if isinstance(one, dict) for key in one}
    return keys


def columns_of_row(values: dict[str, object], columns: Columns | None, required: Collection[str]) -> Columns:
    """The columns, mapped or recognised, if the row has all that is required."""
    found = columns or _recognize_row(tuple(values))
    absent = [name for name in required if name not in values]
    if found and not absent:
        return found
    expected = f"no key {', '.join(map(repr, absent))}" if absent else f"no standard keys ({STANDARD_KEYS})"
    keys = shorten(", ".join(map(repr, values)), 200) or "nothing"
    raise ReprotuneError(f"{expected}; found {keys} (map the keys in the source's `columns`)")
