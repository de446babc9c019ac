"""A source -> conversations: a list of messages in a row, a row a pair, or a row a message."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

from stages.collect.chains import Node, join_chains, unlearned
from stages.collect.history import keys_of_messages, read_history
from stages.collect.layouts import (
    BESIDE,
    HISTORY,
    PARENT,
    columns_of_row,
    find_columns,
    names_in,
    names_to_read,
    watch_keys,
)
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
from stages.collect.marks import Meaning, is_row_marked_off
from stages.collect.messages import (
    NOTHING,
    REASONING_KEYS,
    ROLE_NAMES,
    MessageKeys,
    field_text,
    join_thoughts,
    long_text,
    read_message,
    read_messages,
    read_plain_messages,
    refuse_pictures,
)
from stages.collect.order import Reading, find_reading, sort_positions
from stages.collect.preferences import (
    Replies,
    as_rank,
    read_rejected,
    read_replies,
    read_side,
    read_thumb,
    refuse_lost,
    whole_rejected,
)
from stages.collect.raw_conversation import RawConversation, numbers_of
from stages.collect.readers import one_a_file, read_keys, read_rows
from stages.collect.rows import Row, UnreadableRow, digest_of
from stages.collect.sources import Columns, MappedSource, Source
from stages.collect.tool_use import read_tools, refuse_lost_tools
from stages.collect.transcripts import part_system, read_transcript
from stages.collect.values import shorten, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Role, Tool

MOST_PLANS = 1024  # kept; so many that rows of as many kinds cost no memory


class LeftOut(Exception):
    """What the source's `leave_out` leaves out as a whole, and why."""


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
    begins: Role | None = None
    leave_out: Wanted = {}
    order: Reading | None = None  # how the order of a list's messages is read
    marks: dict[str, Meaning] = {}

    def keys(self, columns: Columns) -> MessageKeys:
        return MessageKeys(columns.role or "role", columns.content or "content", self.roles, self.marks)


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
            named = names_to_read(keys, columns)
            only = named + [key for key in keys if key in {*mapping.leave_out, *mapping.marks} and key not in named]
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
    return told._replace(begins=source.begins, leave_out=source.leave_out, marks=source.marks)


def to_conversations(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | UnreadableRow]:
    """The rows' conversations, in their order; where a row is a message, after the unreadable rows."""
    columns = mapping.columns
    if columns and columns.conversation and not columns.parent:
        return _join_messages(rows, columns, mapping)
    if columns and columns.messages and columns.order:
        held = list(rows)
        rows, mapping = held, mapping._replace(order=_order_of_lists(held, columns.messages, columns.order, mapping))
    return join_chains(_convert_rows(rows, mapping))


def _order_of_lists(rows: list[Row | UnreadableRow], name: str, key: str, mapping: Mapping) -> Reading | None:
    """How the order of the messages in all lists is read; lists without one are unreadable, each by itself."""
    texts = []
    for row in rows:
        with contextlib.suppress(ReprotuneError):
            if isinstance(row, Row):
                texts.append(order_texts(row.values.get(name), key))
    return read_order(texts, key, mapping.path)


class _Plan(NamedTuple):
    """How rows with the same keys are read. `any_beside`: whether there are known ones besides the columns; most have none."""

    columns: Columns
    keys: MessageKeys
    any_beside: bool


def _plan_for(values: dict[str, object], mapping: Mapping, plans: dict[tuple[str, ...], _Plan]) -> _Plan:
    columns = columns_of_row(values, mapping.columns, mapping.required)
    plan = _Plan(columns, mapping.keys(columns), bool(mapping.marks or columns.history) or not BESIDE.isdisjoint(values))
    if len(plans) < MOST_PLANS and not any("." in name for name in mapping.required):  # which leads into a row's objects
        plans[tuple(values)] = plan
    return plan


def _convert_rows(rows: Iterable[Row | UnreadableRow], mapping: Mapping) -> Iterator[RawConversation | Node | UnreadableRow]:
    plans: dict[tuple[str, ...], _Plan] = {}
    for row in rows:
        converted: RawConversation | Node | UnreadableRow
        if isinstance(row, UnreadableRow):
            converted = row
        else:
            try:
                converted = _convert_row(row, mapping, plans)
            except ReprotuneError as error:
                converted = UnreadableRow(row.place, str(error), digest_of(row.values))
            except RecursionError:
                converted = UnreadableRow(row.place, "nested too deeply", digest_of(row.values))
            except LeftOut as left_out:
                converted = UnreadableRow(row.place, str(left_out), digest_of(row.values), fate="left_out")
        yield converted


def _convert_row(row: Row, mapping: Mapping, plans: dict[tuple[str, ...], _Plan]) -> RawConversation | Node:
    """A conversation, or a piece of one where rows say which other row they go on from."""
    values = row.values
    if mapping.leave_out and (reason := reason_to_leave_out(values, mapping.leave_out)):
        raise LeftOut(reason)
    plan = plans.get(tuple(values)) or _plan_for(values, mapping, plans)
    columns, keys, any_beside = plan.columns, plan.keys, plan.any_beside
    # The answer of a classifier may be its label too, and true or false.
    label_of_reply = columns.label if columns.label != columns.assistant else None
    thumb = read_thumb(values, label_of_reply, columns.desirable) if label_of_reply or columns.desirable else None
    left_out: tuple[int, ...] = ()
    if columns.messages:
        messages, left_out = _read_list(values[columns.messages], columns, mapping, keys)
        replies = Replies(messages, [])
    elif columns.user:
        replies, left_out = _read_pair(values, columns, mapping)
    else:
        replies = Replies(_read_single(values, columns, keys), [])
    fields = _read_fields(values, columns, thumb)
    label, language, group, system = _with_defaults(fields, mapping)
    if system and replies.messages[:1] == system:  # it stands in the list too
        system = []
    if columns.tools and fields.tools is None:
        refuse_lost_tools(values, columns.tools, replies.messages)
    messages, marked_off = replies.messages, False
    if any_beside:
        messages = _with_history(messages, values, columns, keys)
        refuse_pictures(values, messages, mapping.marks)
        marked_off = is_row_marked_off(values, mapping.marks, lambda: [name for name, _ in names_in(columns)])
    if thumb is False or marked_off:
        messages = [unlearned(message) for message in messages]
    rejected = list(replies.rejected)
    if columns.rejected:
        rejected += read_rejected(values.get(columns.rejected), columns.rejected, keys, may_be_talk=bool(columns.messages))
    raw = RawConversation(
        row.place,
        field_text(values, columns.id) if columns.id else None,
        label,
        language,
        group,
        system + messages,
        left_out_messages=left_out,
        tools=fields.tools,
        rejected=tuple(system + other for other in whole_rejected(messages, rejected)) if rejected else (),
    )
    if columns.parent is None:
        return raw
    return Node(raw, len(system), field_text(values, columns.parent), as_rank(values.get("rank")))


def _read_list(value: object, columns: Columns, mapping: Mapping, keys: MessageKeys) -> tuple[list[Message], tuple[int, ...]]:
    """The messages of a list in a row, and the numbers of those that are left out."""
    name = str(columns.messages)
    if isinstance(value, str) and (talk := read_transcript(value)):
        return read_messages(talk, name, keys._replace(role="role", content="content")), ()
    listed = read_list(value, name)
    if columns.order and mapping.order:
        listed = sort_list(listed, order_texts(listed, columns.order), mapping.order)
    if not mapping.begins and not mapping.leave_out and (plain := read_plain_messages(listed, keys)):
        return plain, ()
    kept, left_out = prepare_messages(listed, keys.role, keys.content, mapping.begins, mapping.leave_out)
    if left_out and not kept:
        raise LeftOut("all of its messages are left out")
    return read_messages(kept, name, keys), left_out


def _read_pair(values: dict[str, object], columns: Columns, mapping: Mapping) -> tuple[Replies, tuple[int, ...]]:
    """Both sides, the reply with the thoughts that stand in a key of their own; the numbers of messages that are left out."""
    user, assistant, keys = str(columns.user), str(columns.assistant), mapping.keys(columns)
    left_out: tuple[int, ...] = ()
    for name in (user, assistant):
        side = values[name]
        if isinstance(side, list) and mapping.leave_out and (found := keys_of_messages(side)):
            kept, more_left_out = prepare_messages(side, *found, None, mapping.leave_out)
            values, left_out = {**values, name: kept}, left_out + more_left_out
    replies = read_replies(values, assistant, keys)
    taken = [name for name, _ in names_in(columns)]
    stated = [value for key in REASONING_KEYS if key not in taken and isinstance(value := values.get(key), str)]
    thoughts = join_thoughts(*stated)
    reply = next((message for message in reversed(replies.messages) if message["role"] == "assistant"), None)
    if thoughts and reply:
        reply["reasoning_content"] = join_thoughts(thoughts, reply.get("reasoning_content", ""))
    more = long_text(values, columns.input)
    if replies.whole:  # it holds what stands under `user` too
        refuse_lost({user: values[user], str(columns.input): more}, assistant, replies.messages, keys)
        return replies, left_out
    prompt = read_side(values[user], user, "user", keys)
    if more:
        prompt[-1]["content"] += f"\n\n{more}"
    return replies._replace(messages=prompt + replies.messages), left_out


def _read_single(values: dict[str, object], columns: Columns, keys: MessageKeys) -> list[Message]:
    """The message that a row is."""
    named = {key: value_at(values, key) for key in (keys.role, keys.content) if key not in values}
    messages = read_message({**values, **named}, keys)
    if messages is None:
        raise ReprotuneError(f"{columns.content} is {show(value_at(values, keys.content))}; expected text")
    return messages


def _with_history(messages: list[Message], values: dict[str, object], columns: Columns, keys: MessageKeys) -> list[Message]:
    """The messages behind the earlier turns that stand in a key of their own."""
    name = columns.history or next((key for key in HISTORY if key in values and values[key] not in NOTHING), "history")
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
    if not earlier:
        return messages
    first = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    return messages[:first] + earlier + messages[first:]


def _read_fields(values: dict[str, object], columns: Columns, thumb: bool | None = None) -> Fields:
    """`thumb`: what the label says, if it says that: it is no topic then."""
    is_topic = columns.label and (thumb is None or columns.desirable is not None)
    label = field_text(values, columns.label) if is_topic else None
    system = long_text(values, columns.system) if columns.system else None
    tools = _read_tools(values, columns) if columns.tools or columns.user else None
    if system and tools is None and columns.messages == "chat":
        system, tools = part_system(system)
    language = field_text(values, columns.language) if columns.language else None
    return Fields(label, language, field_text(values, columns.group) if columns.group else None, system, tools)


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


class _Key(NamedTuple):
    """Of a conversation: its file, and its key there as text."""

    file: str
    text: str


class _Turn(NamedTuple):
    """One message's row. `fields`: what it says about its conversation. `values`: where no column says who speaks."""

    order: str | None
    place: str
    messages: list[Message]
    parent: str | None
    fields: Fields
    values: dict[str, object] | None


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
    _refuse_branches(key, turns)
    label, language, group, system = _with_defaults(first, mapping)
    messages = system + [message for turn in _with_sides(turns, mapping) for message in turn.messages]
    further = numbers_of(turn.place for turn in turns[1:])
    return RawConversation(turns[0].place, key, label, language, group, messages, further, tools=first.tools)


def _with_sides(turns: list[_Turn], mapping: Mapping) -> list[_Turn]:
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


def _read_turn(row: Row, mapping: Mapping) -> _Turn:
    values, columns = row.values, columns_of_row(row.values, mapping.columns, mapping.required)
    if field_text(values, columns.conversation) is None:
        raise ReprotuneError(f"no conversation key in column {columns.conversation!r}")
    order = field_text(values, columns.order)
    if columns.order and order is None:
        raise ReprotuneError(f"nothing in column {columns.order!r}, by which messages are sorted")
    keys = mapping.keys(columns)
    unsided = None if columns.role else {**values, keys.content: value_at(values, keys.content)}
    messages = _read_single(values if unsided is None else {**unsided, keys.role: "user"}, columns, keys)
    refuse_pictures(values, messages, mapping.marks)
    found = values.get(PARENT)
    parent = None if found in NOTHING else str(found)
    return _Turn(order, row.place, messages, parent, _read_fields(values, columns), unsided)


def _key_of(row: Row, columns: Columns) -> _Key | None:
    """The conversation that a row belongs to, if it says one. Another file's is another one, whatever its key."""
    text = field_text(row.values, columns.conversation)
    return _Key(row.place.rpartition(":")[0], text) if text is not None else None
