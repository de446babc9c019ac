"""A source -> conversations: a list of messages in a row, a row a pair, or a row a message."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stages.collect.layouts import columns_of_row, find_columns, names_in, watch_optional_keys
from stages.collect.messages import ROLE_NAMES, field_text, find_role, message_text, read_messages, read_text, shorten, show
from stages.collect.order import Reading, find_reading, sort_positions
from stages.collect.readers import read_keys, read_rows
from stages.collect.rows import Row, UnreadableRow, digest_of
from stages.collect.sources import Columns, MappedSource, Source
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Role


class RawConversation(NamedTuple):
    """`place`: file and line, for the ledger. `key`: the source's own id, if it has one.

    `further`: the numbers, in the file, of the rows that it is made of besides the one at `place`.
    """

    place: str
    key: str | None
    label: str | None
    language: str | None
    group: str | None
    messages: list[Message]
    further: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return 1 + len(self.further)


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


def read_source(source: Source) -> Iterator[RawConversation | UnreadableRow]:
    """The source's conversations in file order; where a row is a message, after the unreadable rows.

    Raises:
        ReprotuneError: the file is missing, unreadable, or lacks what was mapped; what is wrong with one row is an UnreadableRow.
    """
    mapping, keys, only = mapping_of(source), read_keys(source), None
    if keys is not None:
        columns = find_columns(keys, mapping.columns, source)
        mapping = mapping._replace(columns=columns, required=())
        only = [name for name, _ in names_in(columns)]
    rows = read_rows(source, only)
    if keys is None and mapping.columns:
        rows = watch_optional_keys(rows, mapping.columns, source.path)
    return to_conversations(rows, mapping)


def mapping_of(source: Source) -> Mapping:
    if not isinstance(source, MappedSource):  # a packaged corpus
        return Mapping(source.path, None, ROLE_NAMES, None, None)
    required = tuple(name for name, required in names_in(source.columns) if required) if source.columns else ()
    return Mapping(source.path, source.columns, ROLE_NAMES | source.roles, source.label, source.language, required)


def to_conversations(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | UnreadableRow]:
    """The rows' conversations, in their order; where a row is a message, after the unreadable rows."""
    columns = mapping.columns
    return _join_messages(rows, columns, mapping) if columns and columns.conversation else _convert_rows(rows, mapping)


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
        yield converted


def _convert_row(row: Row, mapping: Mapping) -> RawConversation:
    values = row.values
    columns = columns_of_row(values, mapping.columns, mapping.required)
    if columns.messages:
        value = values[columns.messages]
        messages = read_messages(value, columns.messages, columns.role or "role", columns.content or "content", mapping.roles)
    else:
        messages = _read_pair(values, columns, mapping.roles)
    label, language, group, system = _with_defaults(_read_fields(values, columns), mapping)
    return RawConversation(row.place, field_text(values, columns.id), label, language, group, system + messages)


def _read_pair(values: dict[str, object], columns: Columns, roles: dict[str, Role]) -> list[Message]:
    sides: list[Message] = []
    named: tuple[tuple[Role, str], ...] = (("user", str(columns.user)), ("assistant", str(columns.assistant)))
    for role, name in named:
        if isinstance(values[name], list):  # TRL's conversational prompt and completion
            sides += read_messages(values[name], name, "role", "content", roles)
        else:
            sides.append({"role": role, "content": read_text(values, name)})
            if role == "user" and (more := field_text(values, columns.input)):
                sides[-1]["content"] += f"\n\n{more}"
    return sides


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
    conversations: dict[str, list[_Turn]] = {}
    damaged: set[str | None] = set()
    before, beside_damage = None, False
    for row in rows:
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
            key, turn = _read_turn(row, mapping)
        except ReprotuneError as error:
            damaged.add(before)
            yield UnreadableRow(row.place, str(error), digest_of(row.values))
        else:
            conversations.setdefault(key, []).append(turn)
    reading = _find_reading(list(conversations.values()), columns.order, mapping.path) if columns.order else None
    for key, turns in conversations.items():
        try:
            if key in damaged:
                raise ReprotuneError(f"another row of conversation {shorten(repr(key))} is unreadable, or one beside it")
            yield _join(key, turns, reading, mapping)
        except ReprotuneError as error:
            digest = digest_of([key, [turn.message for turn in turns]])
            yield UnreadableRow(turns[0].place, str(error), digest, _numbers(turns[1:]))


def _find_reading(conversations: list[list[_Turn]], column: str, path: str) -> Reading:
    try:
        return find_reading([[str(turn.order) for turn in turns] for turns in conversations])
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
    messages = system + [turn.message for turn in turns]
    return RawConversation(turns[0].place, key, label, language, group, messages, _numbers(turns[1:]))


def _numbers(turns: list[_Turn]) -> tuple[int, ...]:
    """Of the rows, in the file: what their places end with."""
    return tuple(int(turn.place.rpartition(":")[2].rpartition(" ")[2]) for turn in turns)


def _read_turn(row: Row, mapping: Mapping) -> tuple[str, _Turn]:
    """(key of the conversation, the row's message)."""
    values, columns = row.values, columns_of_row(row.values, mapping.columns, mapping.required)
    key = field_text(values, columns.conversation)
    if key is None:
        raise ReprotuneError(f"no conversation key in column {columns.conversation!r}")
    role_name, content_name = str(columns.role), str(columns.content)
    content = message_text(values, content_name)
    if content is None:
        raise ReprotuneError(f"{content_name} is {show(values[content_name])}; expected text")
    order = field_text(values, columns.order)
    if columns.order and order is None:
        raise ReprotuneError(f"nothing in column {columns.order!r}, by which messages are sorted")
    message: Message = {"role": find_role(values[role_name], mapping.roles), "content": content}
    return key, _Turn(order, row.place, message, _read_fields(values, columns))


def _key_of(row: Row, columns: Columns) -> str | None:
    """The conversation that a row belongs to, if that can be read."""
    try:
        return field_text(row.values, columns.conversation)
    except ReprotuneError:
        return None
