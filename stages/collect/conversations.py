"""A source -> conversations: a list of messages in a row, a row a pair, or a row a message."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stages.collect.chains import Node, join_chains, unlearned
from stages.collect.history import read_history
from stages.collect.layouts import PARENT, THOUGHTS, columns_of_row, find_columns, names_in, names_to_read, watch_optional_keys
from stages.collect.marks import Meaning
from stages.collect.messages import (
    NOTHING,
    ROLE_NAMES,
    MessageKeys,
    field_text,
    join_thoughts,
    read_message,
    read_messages,
    refuse_pictures,
)
from stages.collect.order import Reading, find_reading, sort_positions
from stages.collect.preferences import Replies, read_rejected, read_replies, read_side, read_thumb, whole_rejected
from stages.collect.raw_conversation import RawConversation, numbers_of
from stages.collect.readers import read_keys, read_rows
from stages.collect.rows import Row, UnreadableRow, digest_of
from stages.collect.sources import Columns, MappedSource, Source
from stages.collect.tool_use import read_tools
from stages.collect.transcripts import part_system
from stages.collect.values import shorten, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Role, Tool


class Fields(NamedTuple):
    """What a row says about its conversation, besides the messages."""

    label: str | None
    language: str | None
    group: str | None
    system: str | None
    tools: list[Tool] | None


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
    marks: dict[str, Meaning] = {}

    def keys(self, columns: Columns) -> MessageKeys:
        return MessageKeys(columns.role or "role", columns.content or "content", self.roles, self.marks)


def read_source(source: Source) -> Iterator[RawConversation | UnreadableRow]:
    """The source's conversations in file order; where a row is a message, after the unreadable rows.

    Raises:
        ReprotuneError: the file is missing, unreadable, or lacks what was mapped; what is wrong with one row is an UnreadableRow.
    """
    mapping, keys, only = mapping_of(source), read_keys(source), None
    if keys is not None:
        columns = find_columns(keys, mapping.columns, source)
        mapping = mapping._replace(columns=columns, required=())
        only = names_to_read(keys, columns)
    rows = read_rows(source, only)
    if keys is None and mapping.columns:
        rows = watch_optional_keys(rows, mapping.columns, source.path)
    return to_conversations(rows, mapping)


def mapping_of(source: Source) -> Mapping:
    if not isinstance(source, MappedSource):  # a packaged corpus
        return Mapping(source.path, None, ROLE_NAMES, None, None)
    required = tuple(name for name, required in names_in(source.columns) if required) if source.columns else ()
    roles = ROLE_NAMES | source.roles
    return Mapping(source.path, source.columns, roles, source.label, source.language, required, source.marks)


def to_conversations(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | UnreadableRow]:
    """The rows' conversations, in their order; where a row is a message, after the unreadable rows."""
    columns = mapping.columns
    if columns and columns.conversation and not columns.parent:
        return _join_messages(rows, columns, mapping)
    return join_chains(_convert_rows(rows, mapping))


def _convert_rows(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | Node | UnreadableRow]:
    for row in rows:
        converted: RawConversation | Node | UnreadableRow
        if isinstance(row, UnreadableRow):
            converted = row
        else:
            try:
                converted = _convert_row(row, mapping)
            except ReprotuneError as error:
                converted = UnreadableRow(row.place, str(error), digest_of(row.values))
        yield converted


def _convert_row(row: Row, mapping: Mapping) -> RawConversation | Node:
    """A conversation, or a piece of one where rows say which other row they go on from."""
    values = row.values
    columns = columns_of_row(values, mapping.columns, mapping.required)
    keys = mapping.keys(columns)
    thumb = read_thumb(values, columns.label, columns.desirable)
    if columns.messages:
        replies = Replies(read_messages(values[columns.messages], columns.messages, keys), [])
    elif columns.user:
        replies = _read_pair(values, columns, keys)
    else:
        replies = Replies(_read_single(values, columns, keys), [])
    fields = _read_fields(values, columns, thumb)
    label, language, group, system = _with_defaults(fields, mapping)
    messages = _with_history(replies.messages, values, columns, keys)
    refuse_pictures(values, messages)
    if thumb is False:
        messages = [unlearned(message) for message in messages]
    rejected = list(replies.rejected)
    if columns.rejected:
        rejected += read_rejected(values.get(columns.rejected), columns.rejected, keys, may_be_talk=bool(columns.messages))
    rejected = [system + other for other in whole_rejected(messages, rejected)]
    key = field_text(values, columns.id)
    raw = RawConversation(row.place, key, label, language, group, system + messages, tools=fields.tools, rejected=tuple(rejected))
    if columns.parent is None:
        return raw
    rank = values.get("rank")
    return Node(raw, len(system), field_text(values, columns.parent), rank if isinstance(rank, (int, float)) else None)


def _read_pair(values: dict[str, object], columns: Columns, keys: MessageKeys) -> Replies:
    """Both sides, the reply with the thoughts that stand in a key of their own."""
    user, assistant = str(columns.user), str(columns.assistant)
    replies = read_replies(values, assistant, keys)
    thoughts = join_thoughts(*(str(values[key]) for key in THOUGHTS if isinstance(values.get(key), str)))
    if thoughts and not replies.whole:
        replies.messages[-1]["reasoning_content"] = thoughts
    if replies.whole:  # it holds what stands under `user` too
        return replies
    prompt = read_side(values[user], user, "user", keys)
    if more := field_text(values, columns.input) if columns.input != user else None:
        prompt[-1]["content"] += f"\n\n{more}"
    return replies._replace(messages=prompt + replies.messages)


def _read_single(values: dict[str, object], columns: Columns, keys: MessageKeys) -> list[Message]:
    messages = read_message(values, keys)
    if messages is None:
        raise ReprotuneError(f"{columns.content} is {show(values[str(columns.content)])}; expected text")
    return messages


def _with_history(messages: list[Message], values: dict[str, object], columns: Columns, keys: MessageKeys) -> list[Message]:
    """The messages behind the earlier turns that stand in a key of their own."""
    name = columns.history or "history"
    earlier = read_history(values.get(name), name, keys) if columns.history or columns.messages else []
    if earlier and columns.history is None:
        raise ReprotuneError(
            f"both {columns.messages} and {name} hold turns; map `history: {name}` in the source's `columns` if those come "
            "first, or take that key out"
        )
    if parent := values.get(PARENT) if columns.parent is None and not columns.conversation else None:
        raise ReprotuneError(
            f"{PARENT} is {show(parent)}, which names the row before this one; map `parent: {PARENT}` and `id` in the source's "
            "`columns`, so that its context is not lost (or rename it, if it is something else)"
        )
    first = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    return messages[:first] + earlier + messages[first:]


def _read_fields(values: dict[str, object], columns: Columns, thumb: bool | None = None) -> Fields:
    """`thumb`: what the label says, if it says that: it is no topic then."""
    label = None if thumb is not None and columns.desirable is None else field_text(values, columns.label)
    system, tools = field_text(values, columns.system), _read_tools(values, columns)
    if system and tools is None and columns.messages == "chat":
        system, tools = part_system(system)
    return Fields(label, field_text(values, columns.language), field_text(values, columns.group), system, tools)


def _read_tools(values: dict[str, object], columns: Columns) -> list[Tool] | None:
    prompt = values.get(str(columns.user))
    inner = prompt.get("tools") if isinstance(prompt, dict) else None  # OpenAI's preferences
    value = values.get(columns.tools) if columns.tools else inner
    return read_tools(value) or None if value not in NOTHING else None


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
    messages: list[Message]
    parent: str | None
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
            digest = digest_of([key, [turn.messages for turn in turns]])
            yield UnreadableRow(turns[0].place, str(error), digest, numbers_of([turn.place for turn in turns[1:]]))


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
    _refuse_branches(key, turns)
    label, language, group, system = _with_defaults(first, mapping)
    messages = system + [message for turn in turns for message in turn.messages]
    further = numbers_of([turn.place for turn in turns[1:]])
    return RawConversation(turns[0].place, key, label, language, group, messages, further, first.tools)


def _refuse_branches(key: str, turns: list[_Turn]) -> None:
    """Where several rows answer the same one, no order of them is a talk."""
    parents = [turn.parent for turn in turns if turn.parent]
    if double := next((parent for parent in parents if parents.count(parent) > 1), None):
        raise ReprotuneError(
            f"conversation {shorten(repr(key))} branches: several rows have the {PARENT} {shorten(repr(double))}; map `parent: "
            f"{PARENT}` and `id` in the source's `columns`, so that each branch is read as a conversation"
        )


def _read_turn(row: Row, mapping: Mapping) -> tuple[str, _Turn]:
    """(key of the conversation, the row's message)."""
    values, columns = row.values, columns_of_row(row.values, mapping.columns, mapping.required)
    key = field_text(values, columns.conversation)
    if key is None:
        raise ReprotuneError(f"no conversation key in column {columns.conversation!r}")
    order = field_text(values, columns.order)
    if columns.order and order is None:
        raise ReprotuneError(f"nothing in column {columns.order!r}, by which messages are sorted")
    messages = _read_single(values, columns, mapping.keys(columns))
    refuse_pictures(values, messages)
    parent = values.get(PARENT)
    return key, _Turn(order, row.place, messages, None if parent in NOTHING else str(parent), _read_fields(values, columns))


def _key_of(row: Row, columns: Columns) -> str | None:
    """The conversation that a row belongs to, if that can be read."""
    try:
        return field_text(row.values, columns.conversation)
    except ReprotuneError:
        return None
