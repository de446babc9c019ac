"""Which column likely holds what: a proposal from the columns' names and cells."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from stages.collect.layouts import recognize_layout
from stages.collect.order import find_reading, is_order
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, key_of


class Proposal(NamedTuple):
    """`columns`: as in params.yaml; None where the reader knows the layout. `how`: for people, how it was found."""

    columns: dict[str, str] | None
    mapping: Columns
    how: str


def propose_columns(sample: Sample) -> Proposal | None:
    """A list of messages if there is one, else a row a message, else a row a pair; None if the names tell nothing."""
    known = recognize_layout(sample.keys)
    if known and known.messages is None:
        return Proposal(None, known, "a row a pair, in a standard format that needs no mapping")
    return propose_messages(sample, known) or propose_rows(sample) or propose_pairs(sample)


def propose_messages(sample: Sample, known: Columns | None) -> Proposal | None:
    """A list of messages in a row; `known`: a standard format's columns."""
    for name in sample.keys:
        lists = [messages for value in sample.cells(name) if (messages := list_of_messages(value))]
        if 2 * len(lists) <= len(sample.rows):
            continue
        inner = list(dict.fromkeys(key for messages in lists for message in messages for key in message))
        role, content = find_column("role", inner), find_column("content", inner)
        if not role or not content:
            continue
        if known and (known.messages, known.role, known.content) == (name, role[0], content[0]):
            return Proposal(None, known, "a list of messages in each row, a standard format that needs no mapping")
        columns = {"messages": name, "role": role[0], "content": content[0]}
        return with_optional(columns, sample, f"a list of messages in {name!r}", role[1] and content[1])
    return None


def propose_rows(sample: Sample) -> Proposal | None:
    """A row a message, unless each row is a conversation of its own with a question in it."""
    fields = ("conversation", "role", "content")
    found = {field: column for field in fields if (column := find_column(field, sample.keys))}
    if len(set(found.values())) < len(fields):
        return None
    columns = {field: name for field, (name, _) in found.items()}
    several = len(set(map(str, sample.cells(columns["conversation"])))) < len(sample.rows)
    if not several and find_column("user", sample.keys, only_exact=True):
        return None
    return with_optional(columns, sample, "a row a message", all(usual for _, usual in found.values()))


def propose_pairs(sample: Sample) -> Proposal | None:
    user = find_column("user", sample.keys)
    assistant = find_column("assistant", [key for key in sample.keys if not user or key != user[0]])
    if not user or not assistant:
        return None
    return with_optional({"user": user[0], "assistant": assistant[0]}, sample, "a row a pair", user[1] and assistant[1])


def find_column(field: str, keys: Sequence[str], only_exact: bool = False) -> tuple[str, bool] | None:
    """(the column that a field is likely in, whether its name is a usual one), or None.

    >>> find_column("user", ["id", "Question"]), find_column("user", ["user_id", "customer_message"]), find_column("user", ["x"])
    (('Question', True), ('customer_message', False), None)
    """
    by_key = {key_of(name): name for name in reversed(keys)}
    usual_names = USUAL_NAMES["columns"][field]
    for usual in usual_names:
        if usual in by_key:
            return by_key[usual], True
    if only_exact:
        return None
    for usual in usual_names:
        for key, name in by_key.items():
            words = set(key.split("_"))
            inside = usual in words if usual.isascii() else usual in key
            no_text = field in ("user", "assistant", "content") and words & set(USUAL_NAMES["no_text"])
            if inside and len(usual) > 1 and not no_text:
                return name, False
    return None


def list_of_messages(value: object) -> list[dict[str, object]] | None:
    """The value, or the JSON text, if it is a list of objects."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return value if isinstance(value, list) and value and all(isinstance(one, dict) for one in value) else None


def lists_of_messages(sample: Sample, columns: Columns) -> list[list[dict[str, object]]]:
    """The lists of messages in a mapping's columns; a row a pair may hold two: a prompt's and a completion's."""
    if columns.messages:
        found = [list_of_messages(value) for value in sample.cells(columns.messages)]
    else:
        names = [name for name in (columns.user, columns.assistant) if name]
        values = [row.values.get(name) for row in sample.rows for name in names]
        found = [list_of_messages(value) for value in values if isinstance(value, list)]
    return [messages for messages in found if messages]


def with_optional(columns: dict[str, str], sample: Sample, layout: str, sure: bool) -> Proposal:
    """The mapping with the other fields that the names and the cells tell."""
    columns = dict(columns)
    fields = ["system", "label", "language", "group"]
    fields += ["order"] if "conversation" in columns else ["id", "input"] if "user" in columns else ["id"]
    how = "likely right, since the names are usual ones" if sure else "a guess from parts of the names"
    for field in fields:
        left = [key for key in sample.keys if key not in columns.values()]
        found = find_column(field, left, only_exact=True)
        if found and cells_fit(field, sample.cells(found[0])):
            if "conversation" in columns and (fault := find_fault(field, cells_of_conversations(sample, columns, found[0]))):
                how += f". {found[0]} is not mapped to {field}: {fault}"
            else:
                columns[field] = found[0]
    return Proposal(columns, Columns(**columns), f"{layout}; this mapping is a proposal, {how}")


def cells_of_conversations(sample: Sample, columns: dict[str, str], name: str) -> list[list[str]]:
    """A column's cells that hold something, conversation by conversation."""
    conversations: dict[str, list[str]] = {}
    for key, value in zip(sample.cells(columns["conversation"]), sample.cells(name), strict=True):
        if value is not None and str(value).strip():
            conversations.setdefault(str(key), []).append(str(value).strip())
    return list(conversations.values())


def find_fault(field: str, conversations: list[list[str]]) -> str | None:
    """Why a column can't be the group, or the order, of rows that are messages.

    >>> find_fault("group", [["C1", "C1"], ["C2"]]), find_fault("order", [["1", "2"]])
    (None, None)
    >>> find_fault("group", [["C1", "agent 7"]])
    'it has several values in one conversation, and so may name who writes'
    """
    if field == "group" and any(len(set(values)) > 1 for values in conversations):
        return "it has several values in one conversation, and so may name who writes"
    if field == "order":
        try:
            find_reading(conversations)
        except ReprotuneError as error:
            return str(error)
    return None


def cells_fit(field: str, values: list[object]) -> bool:
    """Whether a column's cells are what its name says: labels that repeat, ids that do not, language codes, an order.

    >>> cells_fit("id", [1, 2]), cells_fit("id", [1, 1]), cells_fit("order", ["3/12/2024"]), cells_fit("order", ["soon"])
    (True, False, True, False)
    """
    texts = [str(value).strip() for value in values if value is not None and str(value).strip()]
    if field == "label":
        return bool(texts) and (len(texts) <= 20 or 2 * len(set(texts)) <= len(texts))
    if field == "id":
        return len(set(texts)) == len(values)
    if field == "language":
        return bool(texts) and all(re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]+)?", text) for text in texts)
    if field == "order":
        return len(texts) == len(values) and is_order(texts)
    return bool(texts)
