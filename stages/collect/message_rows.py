"""Rows that are a message each -> conversations: the rows of one key, in their order."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stages.collect.attached import refuse_pictures
from stages.collect.fields import Fields, read_fields, with_defaults
from stages.collect.layouts import PARENT, columns_of_row, names_in
from stages.collect.lists import reason_to_leave_out, sides_from, value_at
from stages.collect.mapping import SourceMapping
from stages.collect.messages import MessageKeys, field_text, read_message
from stages.collect.order import Reading, read_order, sort_positions
from stages.collect.raw_conversation import RawConversation, numbers_of
from stages.collect.rows import Row, UnreadableRow, digest_of
from stages.collect.sources import Columns
from stages.collect.turn_marks import OBJECTS, last_learned, learns_last_only, speaks_of_turns, without_turn_marks
from stages.collect.values import NOTHING, shorten, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message


class _Key(NamedTuple):
    """Of a conversation: its file, and its key there as text."""

    file: str
    text: str


class _Turn(NamedTuple):
    """One message's row. `fields`: what it says about its conversation. `values`: where no column says who speaks.

    `last_only`: it says that of the conversation only the last reply is learned.
    """

    order: str | None
    place: str
    messages: list[Message]
    parent: str | None
    fields: Fields
    values: dict[str, object] | None
    last_only: bool


def join_messages(
    rows: Iterable[Row | UnreadableRow], columns: Columns, mapping: SourceMapping
) -> Iterator[RawConversation | UnreadableRow]:
    """The rows of one conversation need not stand together. Where one of them is unreadable, the others are no conversation.

    A row of which nothing can be read may belong to the conversation before it, or to the one behind it.
    """
    conversations: dict[_Key, list[_Turn]] = {}
    left_out: dict[_Key, list[Row]] = {}
    damaged: set[_Key | None] = set()
    before, beside_damage = None, False
    for row in rows:
        if before and not row.place.startswith(f"{before.file}:"):  # the first row of another file
            before, beside_damage = None, False
        if isinstance(row, UnreadableRow):
            damaged.add(before)
            beside_damage = True
            yield row
            continue
        key = _key_of(row, columns)
        damaged |= {key} if beside_damage else set()
        before, beside_damage = key, False
        try:
            if reason_to_leave_out(row.values, mapping.leave_out):
                left_out.setdefault(key or _Key(row.place, ""), []).append(row)
            else:
                turn = _read_turn(row, mapping)
                conversations.setdefault(key or _Key("", ""), []).append(turn)
        except ReprotuneError as error:
            damaged.add(before)
            yield UnreadableRow(row.place, str(error), digest_of(row.values))
    reading = None
    if columns.order:
        orders = [[str(turn.order) for turn in turns] for turns in conversations.values()]
        reading = read_order(orders, columns.order, mapping.path)
    for key, turns in conversations.items():
        without = numbers_of(row.place for row in left_out.pop(key, []))
        try:
            if key in damaged:
                raise ReprotuneError(f"another row of conversation {shorten(repr(key.text))} is unreadable, or one beside it")
            yield _join(key.text, turns, reading, mapping)._replace(left_out_rows=without)
        except ReprotuneError as error:
            digest = digest_of([key.text, [turn.messages for turn in turns]])
            further = (*numbers_of(turn.place for turn in turns[1:]), *without)
            yield UnreadableRow(turns[0].place, str(error), digest, further)
    for rows_of_key in left_out.values():
        further, digest = numbers_of(row.place for row in rows_of_key[1:]), digest_of([row.values for row in rows_of_key])
        yield UnreadableRow(rows_of_key[0].place, "all of its messages are left out", digest, further, "left_out")


def _join(key: str, turns: list[_Turn], reading: Reading | None, mapping: SourceMapping) -> RawConversation:
    """One conversation. Its label, language, group and system message are the first that a row of it has.

    Raises:
        ReprotuneError: its rows can't be sorted, or belong to several groups.
    """
    if reading:
        turns = [turns[position] for position in sort_positions([str(turn.order) for turn in turns], reading)]
    stated = [[value for value in values if value] for values in zip(*(turn.fields for turn in turns), strict=True)]
    first = Fields(*(next(iter(values), None) for values in stated))
    if other := next((group for group in stated[Fields._fields.index("group")] if group != first.group), None):
        raise ReprotuneError(
            f"conversation {shorten(repr(key))} has rows of the groups {shorten(repr(first.group))} and {shorten(repr(other))}; "
            "expected one (where that column names who writes, leave `group` out of the source's `columns`)"
        )
    _refuse_branches(key, turns)
    label, language, group, system = with_defaults(first, mapping)
    messages = system + [message for turn in _with_sides(turns, mapping) for message in turn.messages]
    if any(turn.last_only for turn in turns):
        messages = last_learned(messages)
    further = numbers_of(turn.place for turn in turns[1:])
    return RawConversation(turns[0].place, key, label, language, group, messages, further, tools=first.tools)


def _with_sides(turns: list[_Turn], mapping: SourceMapping) -> list[_Turn]:
    """Where no column says who speaks, by who begins."""
    if not (mapping.begins and mapping.columns and mapping.columns.role is None):
        return turns
    keys = mapping.keys(mapping.columns)
    sided = zip(turns, sides_from(mapping.begins), strict=False)
    return [turn._replace(messages=read_message({**(turn.values or {}), keys.role: side}, keys) or []) for turn, side in sided]


def _refuse_branches(key: str, turns: list[_Turn]) -> None:
    """Where several rows answer the same one, no order of them is a talk."""
    parents = Counter(turn.parent for turn in turns if turn.parent)
    if double := next((parent for parent, number in parents.items() if number > 1), None):
        raise ReprotuneError(
            f"conversation {shorten(repr(key))} branches: several rows have the {PARENT} {shorten(repr(double))}; map `parent: "
            f"{PARENT}` and `id` in the source's `columns`, so that each branch is read as a conversation"
        )


def read_single(values: dict[str, object], columns: Columns, keys: MessageKeys) -> list[Message]:
    """The message that a row is."""
    named = {key: value_at(values, key) for key in (keys.role, keys.content)}
    messages = read_message({**values, **named}, keys)
    if messages is None:
        raise ReprotuneError(f"{columns.content} is {show(value_at(values, keys.content))}; expected text")
    return messages


def _read_turn(row: Row, mapping: SourceMapping) -> _Turn:
    values, columns = row.values, columns_of_row(row.values, mapping.columns, mapping.required)
    if field_text(values, columns.conversation) is None:
        raise ReprotuneError(f"no conversation key in column {columns.conversation!r}")
    order = field_text(values, columns.order)
    if columns.order and order is None:
        raise ReprotuneError(f"nothing in column {columns.order!r}, by which messages are sorted")
    keys, last_only = mapping.keys(columns), False
    if any(map(speaks_of_turns, values)) or not values.keys().isdisjoint(OBJECTS):
        taken = [name for name, _ in names_in(columns)]
        last_only = learns_last_only(values, mapping.marks, taken)
        values = without_turn_marks(values, {*taken, *mapping.marks})
    unsided = None if columns.role else {**values, keys.content: value_at(values, keys.content)}
    messages = read_single(values if unsided is None else {**unsided, keys.role: "user"}, columns, keys)
    refuse_pictures(values, messages, mapping.marks)
    found = values.get(PARENT)
    parent = None if found in NOTHING else str(found)
    return _Turn(order, row.place, messages, parent, read_fields(values, columns), unsided, last_only)


def _key_of(row: Row, columns: Columns) -> _Key | None:
    """The conversation that a row belongs to, if it says one. Another file's is another one, whatever its key."""
    text = field_text(row.values, columns.conversation)
    return _Key(row.place.rpartition(":")[0], text) if text is not None else None
