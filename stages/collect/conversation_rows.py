"""A row that holds a conversation, or a piece of one that names the row before it: a list of messages, a pair, or a message."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stages.collect.attached import refuse_pictures
from stages.collect.chains import Node, unlearned
from stages.collect.cut_short import refuse_cut_row
from stages.collect.fields import read_fields, with_defaults
from stages.collect.history import keys_of_messages, read_history
from stages.collect.items import holds_items, messages_of_items
from stages.collect.layouts import HISTORY, PARENT, columns_of_row, is_beside, names_in
from stages.collect.lists import order_texts, prepare_messages, read_list, reason_to_leave_out, sort_list
from stages.collect.mapping import SourceMapping
from stages.collect.marks import is_row_marked_off
from stages.collect.message_rows import read_single
from stages.collect.messages import (
    REASONING_KEYS,
    MessageKeys,
    field_text,
    join_thoughts,
    long_text,
    read_messages,
    read_plain_messages,
)
from stages.collect.pairs import messages_of_pairs
from stages.collect.preferences import (
    Replies,
    as_rank,
    is_tie,
    read_rejected,
    read_replies,
    read_side,
    read_thumb,
    refuse_lost,
    whole_rejected,
)
from stages.collect.raw_conversation import RawConversation
from stages.collect.rows import Row, UnreadableRow, digest_of
from stages.collect.sources import Columns
from stages.collect.stated_thoughts import stated_thoughts
from stages.collect.templated import without_end
from stages.collect.tool_use import refuse_early_results, refuse_lost_tools
from stages.collect.transcripts import read_prompt, read_transcript
from stages.collect.turn_marks import last_learned, learns_last_only, without_turn_marks
from stages.collect.values import NOTHING, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Tool, normalize

MOST_PLANS = 1024  # kept; so many that rows of as many kinds cost no memory


class LeftOut(Exception):
    """What the source's `leave_out` leaves out as a whole, and why."""


class _Plan(NamedTuple):
    """How rows with the same keys are read. `any_beside`: whether there are known ones besides the columns; most have none."""

    columns: Columns
    keys: MessageKeys
    any_beside: bool


def _plan_for(values: dict[str, object], mapping: SourceMapping, plans: dict[tuple[str, ...], _Plan]) -> _Plan:
    columns = columns_of_row(values, mapping.columns, mapping.required)
    plan = _Plan(columns, mapping.keys(columns), bool(mapping.marks or columns.history) or any(map(is_beside, values)))
    if len(plans) < MOST_PLANS and not any("." in name for name in mapping.required):  # which leads into a row's objects
        plans[tuple(values)] = plan
    return plan


def convert_rows(rows: Iterable[Row | UnreadableRow], mapping: SourceMapping) -> Iterator[RawConversation | Node | UnreadableRow]:
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


def _convert_row(row: Row, mapping: SourceMapping, plans: dict[tuple[str, ...], _Plan]) -> RawConversation | Node:
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
    fields = read_fields(values, columns, thumb)
    if columns.messages:
        messages, left_out = _read_list(values[columns.messages], columns, mapping, keys, fields.tools)
        replies = Replies(_behind_first(messages, values, columns) if columns.user else messages, [])
    elif columns.user:
        replies, left_out = _read_pair(values, columns, mapping)
    else:
        told = without_turn_marks(values, {*mapping.marks, *(name for name, _ in names_in(columns))}) if any_beside else values
        replies = Replies(read_single(told, columns, keys), [])
    label, language, group, system = with_defaults(fields, mapping)
    if system and replies.messages[:1] == system:  # it stands in the list too
        system = []
    refuse_early_results(replies.messages)
    if columns.tools and fields.tools is None:
        refuse_lost_tools(values, columns.tools, replies.messages)
    messages, marked_off = replies.messages, False
    if any_beside:
        messages = _with_history(messages, values, columns, keys)
        refuse_pictures(values, messages, mapping.marks)
        if columns.messages or columns.user:
            refuse_cut_row(values, {name.partition(".")[0] for name, _ in names_in(columns)}, mapping.marks)
        marked_off = is_row_marked_off(values, mapping.marks, lambda: [name for name, _ in names_in(columns)])
        if learns_last_only(values, mapping.marks, [name for name, _ in names_in(columns)], in_tree=columns.parent is not None):
            messages = last_learned(messages)
    if thumb is False or marked_off:
        messages = [unlearned(message) for message in messages]
    rejected = list(replies.rejected)
    if columns.rejected and not is_tie(values):
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


def _read_list(
    value: object, columns: Columns, mapping: SourceMapping, keys: MessageKeys, tools: list[Tool] | None
) -> tuple[list[Message], tuple[int, ...]]:
    """The messages of a list in a row, and the numbers of those that are left out."""
    name = str(columns.messages)
    if isinstance(value, str) and (talk := read_transcript(value)):
        return read_messages(talk, name, keys._replace(role="role", content="content")), ()
    listed = read_list(value, name)
    if columns.order and mapping.order:
        listed = sort_list(listed, order_texts(listed, columns.order), mapping.order)
    if not tools and not mapping.begins and not mapping.leave_out and (plain := read_plain_messages(listed, keys)):
        return plain, ()
    if holds_items(listed):
        listed = messages_of_items(listed)
    kept, left_out = prepare_messages(listed, keys.role, keys.content, mapping.begins, mapping.leave_out)
    if left_out and not kept:
        raise LeftOut("all of its messages are left out")
    as_mapped = any(isinstance(message, dict) and keys.content in message for message in kept)
    if not as_mapped and (messages := messages_of_pairs(kept)) is not None:
        return read_messages(messages, name, keys._replace(role="role", content="content")), left_out
    return read_messages(kept, name, keys, tools), left_out


def _behind_first(messages: list[Message], values: dict[str, object], columns: Columns) -> list[Message]:
    """The messages behind the first question, where that stands beside their list, and does not begin the list too."""
    asked, more = long_text(values, columns.user), long_text(values, columns.input)
    parts = [part for part in (asked, more) if part]
    if not parts:
        return messages
    at = _after_system(messages)
    first = normalize(messages[at]["content"]) if at < len(messages) else ""
    if first in map(normalize, (*parts, "\n\n".join(parts))):
        return messages
    question: Message = {"role": "user", "content": "\n\n".join(parts)}
    return [*messages[:at], question, *messages[at:]]


def _after_system(messages: list[Message]) -> int:
    return next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))


def _read_pair(values: dict[str, object], columns: Columns, mapping: SourceMapping) -> tuple[Replies, tuple[int, ...]]:
    """Both sides, the reply with the thoughts that stand in a key of their own; the numbers of messages that are left out."""
    user, assistant, keys = str(columns.user), str(columns.assistant), mapping.keys(columns)
    left_out: tuple[int, ...] = ()
    for name in (user, assistant):
        side = values[name]
        if isinstance(side, list) and mapping.leave_out and (found := keys_of_messages(side)):
            kept, more_left_out = prepare_messages(side, *found, None, mapping.leave_out)
            values, left_out = {**values, name: kept}, left_out + more_left_out
    talk = read_prompt(prompt) if isinstance(prompt := values[user], str) else None
    if talk and isinstance(reply := values[assistant], str):
        values = {**values, assistant: without_end(reply)}
    replies = read_replies(values, assistant, keys)
    taken = [name for name, _ in names_in(columns)]
    stated = [stated_thoughts(values.get(key)) or "" for key in REASONING_KEYS if key not in taken]
    thoughts = join_thoughts(*stated)
    reply = next((message for message in reversed(replies.messages) if message["role"] == "assistant"), None)
    if thoughts and reply:
        reply["reasoning_content"] = join_thoughts(thoughts, reply.get("reasoning_content", ""))
    more = long_text(values, columns.input)
    if replies.whole:  # it holds what stands under `user` too
        refuse_lost({user: values[user], str(columns.input): more}, assistant, replies.messages, keys)
        return replies, left_out
    if talk:
        asked = read_messages(talk, user, keys._replace(role="role", content="content"))
    else:
        asked = read_side(values[user], user, "user", keys)
    if more:
        asked[-1]["content"] += f"\n\n{more}"
    return replies._replace(messages=asked + replies.messages), left_out


def _with_history(messages: list[Message], values: dict[str, object], columns: Columns, keys: MessageKeys) -> list[Message]:
    """The messages behind the earlier turns that stand in a key of their own."""
    others = (key for key in HISTORY if key in values and values[key] not in NOTHING and key != columns.messages)
    name = columns.history or next(others, None)
    earlier = read_history(values.get(name), name, keys) if name and (columns.history or columns.messages) else []
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
    first = _after_system(messages)
    return messages[:first] + earlier + messages[first:]
