"""A list of messages of several conversations, each by a key of its own: rows, and no talk."""

from collections.abc import Collection, Sequence

from stages.collect.switches import key_of

# Of such keys, the likeliest first; those that may tell of one part of a talk are the last.
NAMES = (
    "conversation_id", "conversation", "conversation_hash", "conv_id", "convo_id", "ticket_id", "ticket", "ticket_no",
    "ticket_number", "topic_id", "session_id", "dialog_id", "dialogue_id", "dialog", "dialogue", "thread_id", "thread_ts",
    "chat_id", "case_id", "case", "case_number", "talker_id", "talker", "会话id", "会话编号", "会话", "对话id", "对话编号",
    "对话", "工单号", "工单编号", "工单id", "工单", "對話", "會話", "會話id", "對話id", "interaction_id", "contact_id",
    "room_id", "conversationid", "sessionid", "dialogid", "threadid", "chatid", "ticketid", "session", "thread", "chat",
)  # fmt: skip
IDS = tuple(name for name in NAMES if name.endswith(("id", "_hash", "_no", "_number", "_ts", "号")))


def key_of_talks(messages: Sequence[object], names: Collection[str] = NAMES) -> str | None:
    """By which key the messages are those of several conversations; None where they are one's.

    >>> messages = [{"chatId": chat, "role": role, "content": ""} for chat in (1, 2) for role in ("user", "assistant")]
    >>> key_of_talks(messages), key_of_talks(messages[:2])
    ('chatId', None)
    """
    first = messages[0] if messages else None
    if not isinstance(first, dict) or len(first) < 3:
        return None
    known = {key_of(str(key)): key for key in reversed(first)}
    return next((str(known[name]) for name in names if name in known and _parts(messages, known[name])), None)


def _parts(messages: Sequence[object], key: str) -> bool:
    whose = [str(message.get(key)) for message in messages if isinstance(message, dict)]
    return 1 < len(set(whose)) < len(whose)
