"""A source -> conversations: a list of messages in a row, a row a pair, or a row a message."""

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

from stages.collect.layouts import columns_of_row, find_columns, names_in, watch_keys
from stages.collect.lists import (
    Wanted,
    order_texts,
    prepare_messages,
    read_list,
    reason_to_leave_out,
    sides_from,
    sort_list,
    value_at,
)
from stages.collect.messages import (
    ROLE_NAMES,
    field_text,
    find_role,
    is_number,
    message_text,
    read_messages,
    read_text,
    shorten,
    show,
)
from stages.collect.order import Reading, find_reading, sort_positions
from stages.collect.readers import one_a_file, read_keys, read_rows
from stages.collect.rows import Row, UnreadableRow, digest_of, plain_text
from stages.collect.sources import Columns, MappedSource, Source
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Role


class RawConversation(NamedTuple):
    """`place`: file and line, for the ledger. `key`: the source's own id, if it has one.

    `further`: the numbers, in the file, of the rows that it is made of besides the one at `place`. `left_out_rows`,
    `left_out_messages`: the numbers of its rows, or of the messages in its list, that the source's `leave_out` leaves out.
    """

    place: str
    key: str | None
    label: str | None
    language: str | None
    group: str | None
    messages: list[Message]
    further: tuple[int, ...] = ()
    left_out_rows: tuple[int, ...] = ()
    left_out_messages: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return 1 + len(self.further) + len(self.left_out_rows)


class LeftOut(Exception):
    """What the source's `leave_out` leaves out as a whole, and why."""


class Fields(NamedTuple):
    """What a row says about its conversation, besides the messages."""

    label: str | None
    language: str | None
    group: str | None
    system: str | None


class Mapping(NamedTuple):
    """What a source says about its rows. `columns` None: the keys of each row tell.

    `required`: keys that each row is asked for, where no header told that all have them.
    """

    path: str
    columns: Columns | None
    roles: dict[str, Role]
    label: str | None
    language: str | None
    required: tuple[str, ...] = ()
    begins: Role | None = None
    leave_out: Wanted = {}
    order: Reading | None = None  # how the order of a list's messages is read


def read_source(source: Source) -> Iterator[RawConversation | UnreadableRow]:
    """The source's conversations in file order; where a row is a message, after the unreadable rows.

    Raises:
        ReprotuneError: the file is missing, unreadable, or lacks what was mapped; what is wrong with one row is an UnreadableRow.
    """
    mapping, parts = mapping_of(source), []
    for one in one_a_file(source):
        keys = read_keys(one)
        if keys is None:
            parts.append((read_rows(one), mapping))
        else:
            columns = find_columns(keys, mapping.columns, one)
            only = [name for name, _ in names_in(columns)] + [key for key in mapping.leave_out if key in keys]
            parts.append((read_rows(one, only), mapping._replace(columns=columns, required=())))
    for told, group in groupby(parts, key=itemgetter(1)):
        rows = watch_keys(chain.from_iterable(rows for rows, _ in group), told.columns, told.leave_out, source.path)
        yield from to_conversations(rows, told)


def mapping_of(source: Source) -> Mapping:
    if not isinstance(source, MappedSource):  # a packaged corpus
        return Mapping(source.path, None, ROLE_NAMES, None, None)
    required = tuple(name for name, required in names_in(source.columns) if required) if source.columns else ()
    roles = ROLE_NAMES | source.roles
    told = Mapping(source.path, source.columns, roles, source.label, source.language, required)
    return told._replace(begins=source.begins, leave_out=source.leave_out)


def to_conversations(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | UnreadableRow]:
    """The rows' conversations, in their order; where a row is a message, after the unreadable rows."""
    columns = mapping.columns
    if columns and columns.conversation:
        return _join_messages(rows, columns, mapping)
    if columns and columns.messages and columns.order:
        held = list(rows)
        return _convert_rows(held, mapping._replace(order=_order_of_lists(held, columns.messages, columns.order, mapping)))
    return _convert_rows(rows, mapping)


def _order_of_lists(rows: list[Row | UnreadableRow], name: str, key: str, mapping: Mapping) -> Reading | None:
    """How the order of the messages in all lists is read; lists without one are unreadable, each by itself."""
    texts = []
    for row in rows:
        with contextlib.suppress(ReprotuneError):
            if isinstance(row, Row):
                texts.append(order_texts(row.values.get(name), key))
    return read_order(texts, key, mapping.path)


def _convert_rows(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | UnreadableRow]:
    for row in rows:
        converted: RawConversation | UnreadableRow
        if isinstance(row, UnreadableRow):
            converted = row
        else:
            try:
                converted = _convert_row(row, mapping)
            except ReprotuneError as error:
                converted = UnreadableRow(row.place, str(error), digest_of(row.values))
            except LeftOut as left_out:
                converted = UnreadableRow(row.place, str(left_out), digest_of(row.values), fate="left_out")
        yield converted


def _convert_row(row: Row, mapping: Mapping) -> RawConversation:
    values = row.values
    if reason := reason_to_leave_out(values, mapping.leave_out):
        raise LeftOut(reason)
    columns = columns_of_row(values, mapping.columns, mapping.required)
    if columns.messages:
        messages, left_out = _read_list(values[columns.messages], columns, mapping)
    else:
        messages, left_out = _read_pair(values, columns, mapping)
    label, language, group, system = _with_defaults(_read_fields(values, columns), mapping)
    key = field_text(values, columns.id)
    return RawConversation(row.place, key, label, language, group, system + messages, left_out_messages=left_out)


def _read_list(value: object, columns: Columns, mapping: Mapping) -> tuple[list[Message], tuple[int, ...]]:
    """The messages of a list in a row, and the numbers of those that are left out."""
    name, role, content = str(columns.messages), columns.role or "role", columns.content or "content"
    listed = read_list(value, name)
    if columns.order and mapping.order:
        listed = sort_list(listed, order_texts(listed, columns.order), mapping.order)
    kept, left_out = prepare_messages(listed, role, content, mapping.begins, mapping.leave_out)
    if left_out and not kept:
        raise LeftOut("all of its messages are left out")
    return read_messages(kept, name, role, content, mapping.roles), left_out


def _read_pair(values: dict[str, object], columns: Columns, mapping: Mapping) -> tuple[list[Message], tuple[int, ...]]:
    sides: list[Message] = []
    left_out: tuple[int, ...] = ()
    named: tuple[tuple[Role, str], ...] = (("user", str(columns.user)), ("assistant", str(columns.assistant)))
    for role, name in named:
        if isinstance(value := values[name], list):  # TRL's conversational prompt and completion
            kept, more_left_out = prepare_messages(value, "role", "content", None, mapping.leave_out)
            left_out += more_left_out
            sides += read_messages(kept, name, "role", "content", mapping.roles)
        else:
            sides.append({"role": role, "content": read_text(values, name)})
            if role == "user" and (more := field_text(values, columns.input)):
                sides[-1]["content"] += f"\n\n{more}"
    return sides, left_out


def _read_fields(values: dict[str, object], columns: Columns) -> Fields:
    names = (columns.label, columns.language, columns.group, columns.system)
    return Fields(*(field_text(values, name) for name in names))


def _with_defaults(fields: Fields, mapping: Mapping) -> tuple[str | None, str | None, str | None, list[Message]]:
    """Label, language, group, and the system message, if there is one."""
    system: list[Message] = [{"role": "system", "content": fields.system}] if fields.system else []
    language = fields.language or mapping.language
    if language and language.isalpha():  # EN and en are one language; zh-Hant has its case
        language = language.lower()
    return fields.label or mapping.label, language, fields.group, system


# A row a message


class _Key(NamedTuple):
    """Of a conversation: its file, and its key there as text."""

    file: str
    text: str


class _Turn(NamedTuple):
    """One message's row. `fields`: what it says about its conversation."""

    order: str | None
    place: str
    message: Message
    fields: Fields


def _join_messages(
    rows: Iterable[Row | UnreadableRow], columns: Columns, mapping: Mapping
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
        if beside_damage:
            damaged.add(key)
        before, beside_damage = key, False
        try:
            if key and reason_to_leave_out(row.values, mapping.leave_out):
                left_out.setdefault(key, []).append(row)
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
            digest = digest_of([key.text, [turn.message for turn in turns]])
            further = (*numbers_of(turn.place for turn in turns[1:]), *without)
            yield UnreadableRow(turns[0].place, str(error), digest, further)
    for rows_of_key in left_out.values():
        further, digest = numbers_of(row.place for row in rows_of_key[1:]), digest_of([row.values for row in rows_of_key])
        yield UnreadableRow(rows_of_key[0].place, "all of its messages are left out", digest, further, "left_out")


def read_order(conversations: list[list[str]], column: str, path: str) -> Reading:
    """How the column's texts are read.

    Raises:
        ReprotuneError: that can't be told; the message has the place.
    """
    try:
        return find_reading(conversations)
    except ReprotuneError as error:
        raise ReprotuneError(f"{path}: column {column!r}: {error}") from None


def _join(key: str, turns: list[_Turn], reading: Reading | None, mapping: Mapping) -> RawConversation:
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
    label, language, group, system = _with_defaults(first, mapping)
    said = [turn.message for turn in turns]
    if mapping.begins and not (mapping.columns and mapping.columns.role):
        said = [{**message, "role": role} for message, role in zip(said, sides_from(mapping.begins), strict=False)]
    messages = system + said
    further = numbers_of(turn.place for turn in turns[1:])
    return RawConversation(turns[0].place, key, label, language, group, messages, further)


def numbers_of(places: Iterable[str]) -> tuple[int, ...]:
    """Of the rows, in the file: what their places end with."""
    return tuple(int(place.rpartition(":")[2].rpartition(" ")[2]) for place in places)


def _read_turn(row: Row, mapping: Mapping) -> _Turn:
    values, columns = row.values, columns_of_row(row.values, mapping.columns, mapping.required)
    if field_text(values, columns.conversation) is None:
        raise ReprotuneError(f"no conversation key in column {columns.conversation!r}")
    content_name, found = str(columns.content), value_at(values, str(columns.content))
    content = plain_text(found) if is_number(found) else message_text(values, content_name)
    if content is None:
        raise ReprotuneError(f"{content_name} is {show(found)}; expected text")
    order = field_text(values, columns.order)
    if columns.order and order is None:
        raise ReprotuneError(f"nothing in column {columns.order!r}, by which messages are sorted")
    message: Message = {"role": find_role(values[columns.role], mapping.roles) if columns.role else "user", "content": content}
    return _Turn(order, row.place, message, _read_fields(values, columns))


def _key_of(row: Row, columns: Columns) -> _Key | None:
    """The conversation that a row belongs to, if it says one. Another file's is another one, whatever its key."""
    text = field_text(row.values, columns.conversation)
    return _Key(row.place.rpartition(":")[0], text) if text is not None else None
