"""Which column or key of a row holds what: as mapped in params.yaml, or told by a standard format's names."""

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from stages.collect.attached import ATTACHED
from stages.collect.cut_short import HOLDERS, REASONS
from stages.collect.lists import value_at
from stages.collect.marks import KNOWN, is_mark, names_training
from stages.collect.messages import REASONING_KEYS
from stages.collect.nested import parse_list
from stages.collect.preferences import HIGH_IS_BEST, LOW_IS_BEST, is_score
from stages.collect.readers import DELIMITERS
from stages.collect.rows import Row, Rows, UnreadableRow
from stages.collect.sources import Columns, CsvSource, HubSource, Source
from stages.collect.turn_marks import OBJECTS, speaks_of_turns
from stages.collect.values import from_json, objects_of_lists, shorten
from stages.lib.core.errors import ReprotuneError

# Told apart by their keys, the first that fits. Those of preferences come first: their prompts are also others' questions.
STANDARD_LAYOUTS = (
    {"user": "input", "assistant": "preferred_output", "rejected": "non_preferred_output"},  # OpenAI's
    *({"user": user, "assistant": "chosen", "rejected": "rejected"} for user in ("messages", "conversations")),
    {"user": "instruction", "assistant": "chosen", "rejected": "rejected", "input": "input"},
    *({"user": user, "assistant": "chosen", "rejected": "rejected"} for user in ("prompt", "question", "query")),
    {"messages": "chosen", "role": "role", "content": "content", "rejected": "rejected"},
    {"messages": "messages", "role": "role", "content": "content"},  # OpenAI's
    {"messages": "conversations", "role": "from", "content": "value"},  # ShareGPT's
    {"user": "instruction", "assistant": "output", "input": "input"},  # Alpaca's
    {"user": "prompt", "assistant": "completion"},
    {"user": "query", "assistant": "response"},  # ms-swift's
    {"user": "message", "assistant": "response", "history": "chat_history"},  # Cohere's
    {"messages": "contents", "role": "role", "content": "parts"},  # Gemini's
    *({"user": "prompt", "assistant": several} for several in ("responses", "completions", "answers")),  # ranked ones
    {"user": "instruction", "assistant": "completions"},  # UltraFeedback's
    *({"user": "instruction", "assistant": several} for several in ("generations", "generation")),  # distilabel's
    {"messages": "chat", "role": "role", "content": "content", "system": "system"},  # glaive's
    {"role": "role", "content": "text", "id": "message_id", "parent": "parent_id"},  # OpenAssistant's
)
STANDARD_KEYS = (
    "messages, conversations, instruction and output, prompt and completion, query and response, or chosen and rejected"
)
HISTORY = (
    "history", "chat_history", "conversation_history", "dialogue_history", "dialog_history", "previous_turns",
    "previous_messages", "历史对话", "对话历史",
)  # fmt: skip
STANDARD_FIELDS = {
    "system": ("system", "system_prompt", "system_message", "systemInstruction", "system_instruction", "preamble"),
    "id": ("id",),
    "label": ("label",),
    "language": ("language",),
    "group": ("group",),
    "history": HISTORY,
    "rejected": ("rejected_response", "rejected_messages", "rejected_responses"),  # ms-swift's
    "desirable": ("kto_tag",),
    "tools": ("tools", "functions"),
}
REQUIRED = ("user", "assistant", "conversation", "role", "content", "order", "messages")
PARENT = "parent_id"
BESIDE = frozenset(
    (PARENT, *HISTORY, *REASONING_KEYS, *ATTACHED, *LOW_IS_BEST, *HIGH_IS_BEST, *KNOWN, *OBJECTS, *REASONS, *HOLDERS)
)


def recognize_layout(keys: Collection[str]) -> Columns | None:
    """The mapping of a standard layout, with whichever of the optional fields there are.

    >>> columns = recognize_layout(["instruction", "input", "output", "id"])
    >>> columns.user, columns.input, columns.assistant, columns.id, columns.label
    ('instruction', 'input', 'output', 'id', None)
    >>> recognize_layout(["question", "answer"])
    """
    for layout in STANDARD_LAYOUTS:
        in_list = ("role", "content") if "messages" in layout else ()
        found = {field: name for field, name in layout.items() if name in keys or field in in_list}
        if layout.keys() - found.keys() <= {"input"}:
            return Columns(**_standard_fields(keys, found) | found)
    return None


def _standard_fields(keys: Collection[str], layout: Mapping[str, str]) -> dict[str, str]:
    """Field -> name, of the optional ones that there are."""
    found = {field: name for field, names in STANDARD_FIELDS.items() if (name := next((n for n in names if n in keys), None))}
    if "user" in layout and "id" in found and PARENT in keys:
        found["parent"] = PARENT
    return found


def with_standard_fields(columns: Columns, keys: Collection[str]) -> Columns:
    """The mapping, and what it leaves out of a reply's context: a standard name that no other field has tells it."""
    taken = [name for name, _ in names_in(columns)]
    stated = [field for field, name in columns if name is not None]
    found: dict[str, str] = {}
    for field in ("tools", "history") if columns.user and not columns.messages else ("tools",):
        name = next((name for name in STANDARD_FIELDS[field] if name in keys and name not in taken), None)
        if name and field not in stated:
            found[field] = name
    return columns.model_copy(update=found) if found else columns


@lru_cache(maxsize=1024)
def _recognize_row(keys: tuple[str, ...]) -> Columns | None:
    return recognize_layout(keys)


def names_in(columns: Columns) -> list[tuple[str, bool]]:
    """(name, whether each row needs it) of the columns, without the keys inside a list of messages."""
    in_list = ("role", "content", "order") if columns.messages else ()
    required = ("messages",) if columns.messages else REQUIRED
    return [(name, field in required) for field, name in columns if name is not None and field not in in_list]


def names_to_read(keys: Collection[str], columns: Columns) -> list[str]:
    """The columns of a table that say something: the mapped ones, and those that are known by their names."""
    names = [name for name, _ in names_in(columns)]
    if columns.content and not columns.messages:  # a row is a message, with keys of its own
        return list(keys)
    return names + [key for key in keys if is_beside(key) and key not in names]


def is_beside(key: str) -> bool:
    """Whether a key says something of a row's replies, though it is mapped to no field."""
    return key in BESIDE or is_mark(key) or names_training(key) or speaks_of_turns(key) or is_score(key)


def find_columns(keys: list[str], columns: Columns | None, source: Source) -> Columns:
    """The columns of a table, mapped or recognised, or the error that says what is not there."""
    recognized = with_standard_fields(columns, keys) if columns else recognize_layout(keys)
    absent = [name for name, _ in names_in(columns) if name not in keys and name.partition(".")[0] not in keys] if columns else []
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
            unseen = {name for name in unseen if name not in row.values and value_at(row.values, name) is None}
            if wanted:
                there = row.values.keys() | keys_in_lists(row.values.values())
                wanted = {key for key in wanted if key not in there and key.partition(".")[0] not in there}
        yield row
    for names, what, place in ((unseen, "row", "columns"), (wanted, "row or message", "leave_out")):
        if any_row and names:
            raise ReprotuneError(
                f"{path}: no {what} has the key {', '.join(map(repr, sorted(names)))} (see the source's `{place}`)"
            )


def with_inner_values(rows: Iterable[Row | UnreadableRow], columns: Columns | None) -> Iterable[Row | UnreadableRow]:
    """The rows; what a mapped name leads to, inside an object of a row, stands under that name too."""
    names = [name for name, _ in names_in(columns) if "." in name] if columns else []
    return (_with_inner_values(row, names) if isinstance(row, Row) else row for row in rows) if names else rows


def _with_inner_values(row: Row, names: Iterable[str]) -> Row:
    found = {name: value_at(row.values, name) for name in names if name not in row.values}
    return row._replace(values=row.values | {name: value for name, value in found.items() if value is not None})


def keys_in_lists(values: Iterable[object]) -> set[str]:
    """The keys of the objects in all lists among a row's values, also in those that stand there as text."""
    keys: set[str] = set()
    for value in values:
        if isinstance(value, str) and value.lstrip().startswith("["):
            with contextlib.suppress(ValueError):
                value = parse_list(value)  # noqa: PLW2901
        value = objects_of_lists(value) or value  # noqa: PLW2901
        if isinstance(value, list):
            keys |= {key for one in value if isinstance(one, dict) for key in one}
    return keys


def note_keys(rows: Rows, unseen: set[str]) -> Rows:
    """The rows; takes out of `unseen` what is a key of one, or of an object in it, also of one that stands there as text."""
    for row in rows:
        if unseen and isinstance(row, Row):
            unseen.difference_update(_keys_within(row.values))
        yield row


def _keys_within(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        inner = from_json(waiting.pop())
        if isinstance(inner, dict):
            yield from inner
        waiting += inner.values() if isinstance(inner, dict) else inner if isinstance(inner, (list, tuple)) else ()


def columns_of_row(values: dict[str, object], columns: Columns | None, required: Collection[str]) -> Columns:
    """The columns, mapped or recognised, if the row has all that is required."""
    found = with_standard_fields(columns, values.keys()) if columns else _recognize_row(tuple(values))
    absent = [name for name in required if name not in values and value_at(values, name) is None]
    if found and not absent:
        return found
    expected = f"no key {', '.join(map(repr, absent))}" if absent else f"no standard keys ({STANDARD_KEYS})"
    keys = shorten(", ".join(map(repr, values)), 200) or "nothing"
    raise ReprotuneError(f"{expected}; found {keys} (map the keys in the source's `columns`)")
