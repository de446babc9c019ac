"""Which of several replies people preferred: a rejected one beside the chosen one, ranks, scores, and a thumb up or down."""

import contextlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from stages.collect.envelopes import open_envelope
from stages.collect.history import keys_of_messages
from stages.collect.items import holds_items, messages_of_items
from stages.collect.messages import MessageKeys, as_text, read_message, read_messages
from stages.collect.transcripts import read_transcript
from stages.collect.values import NOTHING, from_json, objects_of_lists, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Role, normalize

TEXT_KEYS = ("text", "content", "response", "answer", "output", "completion", "value", "reply", "body")
LOW_IS_BEST = ("rank", "ranks", "ranking", "rankings")
HIGH_IS_BEST = ("score", "scores", "overall_score", "rating", "ratings", "reward", "rewards", "pm_score", "votes", "upvotes")
OF_IDS = re.compile(r"(^|_)ids?$|Ids?$")
THUMBS = {"true": True, "false": False}


class Replies(NamedTuple):
    """`rejected`: other replies, each one's messages. `whole`: whether they hold the conversation before the reply too."""

    messages: list[Message]
    rejected: list[list[Message]]
    whole: bool = False


def read_side(value: object, name: str, role: Role, keys: MessageKeys) -> list[Message]:
    """One side of a pair: a text, one message, a list of messages, or OpenAI's object with a list of them."""
    value = _as_messages(value)
    value = found if (found := open_envelope(value)) is not None else value
    if isinstance(value, dict) and keys_of_messages([value]):
        value = objects_of_lists(value) or [value]
    if isinstance(value, list) and holds_items(value):
        value = messages_of_items(value)
    if isinstance(value, list) and value:
        role_key, content_key = keys_of_messages(value) or ("role", "content")
        return read_messages(value, name, keys._replace(role=role_key, content=content_key))
    read = read_message({"role": role, "content": value}, keys._replace(role="role", content="content"))
    if read is None or isinstance(value, (dict, list)):
        raise ReprotuneError(f"{name} is {show(value)}; expected text")
    return read


def _as_messages(value: object) -> object:
    """A text that is a list of messages, or one, as JSON, or what an API logs; any other as it is: a reply may be JSON."""
    parsed = from_json(value)
    if isinstance(parsed, dict) and any(isinstance(parsed.get(key), list) for key in ("messages", "choices")):
        return parsed
    several = parsed if isinstance(parsed, list) else [parsed]
    fits = keys_of_messages(several)
    return parsed if fits and all(isinstance(one, dict) and set(fits) <= one.keys() for one in several) else value


def read_replies(values: Mapping[str, object], name: str, keys: MessageKeys) -> Replies:
    """The reply under a key; of several that are ranked or scored the best one, the others rejected."""
    value = from_json(values[name]) if isinstance(values[name], str) and _has_order(values) else values[name]
    if any(values.get(key) for key in ("tools", "functions")) and are_calls(calls := from_json(value)):
        return Replies(read_message({"role": "assistant", "tool_calls": calls}, keys._replace(role="role")) or [], [])
    value = value if (replies := _replies_of_lists(value)) is None else replies
    if isinstance(value, list) and (reply := open_envelope(value)) is not None:
        return Replies(read_side(reply, name, "assistant", keys), [])
    if not isinstance(value, list) or keys_of_messages(value) or holds_items(value):
        messages = read_side(values[name], name, "assistant", keys)
        return Replies(messages, [], _is_whole(messages))
    texts, order = _ranked(value, values)
    if order is None and texts and are_alike(texts):
        texts, order = texts[:1], [0.0]
    if order is None:
        raise ReprotuneError(
            f"{name} is {show(values[name])}; expected text, messages, or replies with their ranks or scores (of several "
            "without, keep the one to be learned)"
        )
    first, *others = sorted(range(len(order)), key=order.__getitem__)
    worse = [position for position in others if order[position] > order[first]]  # the best one was not preferred to its equals
    read = [read_side(texts[position], name, "assistant", keys) for position in (first, *worse)]
    return Replies(read[0], read[1:])


def _replies_of_lists(value: object) -> list[dict[str, object]] | None:
    """SQuAD's answers, say: texts, and what there is of each besides, numbers and ids alone, so that no text is lost."""
    replies = objects_of_lists(value)
    if replies is None or not isinstance(value, dict):
        return None
    beside = [key for key in value if key not in TEXT_KEYS]
    told = all(as_number(cell) is not None or cell is None for key in beside if not OF_IDS.search(key) for cell in value[key])
    return replies if len(beside) == len(value) - 1 and told else None


def are_alike(replies: list[object]) -> bool:
    """Whether they are one reply, also where several people wrote it."""
    texts = [normalize(reply) if isinstance(reply, str) else reply for reply in replies]
    return all(text == texts[0] for text in texts)


def read_rejected(value: object, name: str, keys: MessageKeys, may_be_talk: bool) -> list[list[Message]]:
    """The replies that were not preferred: one, or a list of texts. `may_be_talk`: a text may be a whole talk, written down."""
    value = value if isinstance(value, list) else _as_messages(value)
    if may_be_talk and isinstance(value, str) and (talk := read_transcript(value)):
        return [read_messages(talk, name, keys._replace(role="role", content="content"))]
    if value in NOTHING or value != value:  # noqa: PLR0124  NaN
        return []
    several = value if isinstance(value, list) and not keys_of_messages(value) else [value]
    return [read_side(one, name, "assistant", keys) for one in several if one not in NOTHING]


def are_calls(value: object) -> bool:
    """Whether a reply is nothing but calls of tools, as xLAM's answers are."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and one.keys() == {"name", "arguments"} for one in value)
    )


def is_tie(values: Mapping[str, object]) -> bool:
    """Whether a chosen and a rejected reply have one score: neither was preferred then.

    >>> is_tie({"chosen_score": 8, "rejected_score": 8.0}), is_tie({"chosen-rating": "4", "rejected-rating": "2"})
    (True, False)
    >>> is_tie({"chosen_tokens": 8, "rejected_tokens": 8})
    False
    """
    scored = [key for key in values if "chosen" in key and is_score(key)]
    pairs = [(as_number(values[key]), as_number(values.get(key.replace("chosen", "rejected")))) for key in scored]
    return bool(pairs) and all(one is not None and one == other for one, other in pairs)


def is_score(key: str) -> bool:
    """Whether a name is that of a score of a chosen or a rejected reply."""
    return ("chosen" in key or "rejected" in key) and any(word in key for word in (*LOW_IS_BEST, *HIGH_IS_BEST))


def as_number(value: object) -> float | None:
    """A number that a CSV may have as text."""
    with contextlib.suppress(ValueError):
        return as_rank(float(value) if isinstance(value, str) else value)
    return None


def whole_rejected(messages: list[Message], rejected: list[list[Message]]) -> list[list[Message]]:
    """Each rejected reply as a conversation of its own: behind what stands before the last reply, unless it holds that.

    Without what is the chosen one itself.
    """
    last = len(messages)
    while last and messages[last - 1]["role"] in ("assistant", "tool"):
        last -= 1
    whole = [other if _is_whole(other) else messages[:last] + other for other in rejected]
    return [other for other in whole if other != messages]


def refuse_lost(asked: Mapping[str, object], name: str, messages: list[Message], keys: MessageKeys) -> None:
    """Where a reply is a whole conversation: what stands beside it must stand in it too, or it would be lost.

    `asked`: the question, and what is appended to it, by their names.

    Raises:
        ReprotuneError: one of them does not.
    """
    told = [normalize(message["content"]) for message in messages]
    for key, value in asked.items():
        read = [] if value in NOTHING or value != value else read_side(value, key, "user", keys)  # noqa: PLR0124  NaN
        for message in read:
            text = normalize(message["content"])
            if not any(text in one for one in told):
                raise ReprotuneError(
                    f"{name} holds a conversation of its own, in which {show(message['content'])} of {key} does not stand; if it "
                    f"is whole without that, map `messages: {name}`, and `rejected`, in the source's `columns`"
                )


def _is_whole(messages: list[Message]) -> bool:
    return bool(messages) and messages[0]["role"] in ("system", "user")


def read_thumb(values: Mapping[str, object], label: str | None, thumb: str | None) -> bool | None:
    """Whether people liked the reply, as KTO's boolean label says; None where nothing says it.

    >>> read_thumb({"label": True}, "label", None), read_thumb({"label": "travel"}, "label", None)
    (True, None)
    """
    for name in (thumb, label):
        value = values.get(name) if name else None
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in THUMBS:
            return THUMBS[value.strip().lower()]
        if name and name == thumb and value not in NOTHING:
            if str(as_text(value)) in ("0", "1"):  # a CSV has them as text
                return as_text(value) == "1"
            raise ReprotuneError(f"{name} is {show(value)}; expected true or false")
    return None


def as_rank(value: object) -> float | None:
    """A number by which replies can be sorted: NaN is neither more nor less than another."""
    return value if isinstance(value, (int, float)) and value == value else None  # noqa: PLR0124


def _has_order(values: Mapping[str, object]) -> bool:
    return any(isinstance(from_json(values.get(key)), list) for key in (*LOW_IS_BEST, *HIGH_IS_BEST))


def text_of(reply: object) -> object:
    """The text of one of several replies that are objects; what is none, as it is."""
    key = next((key for key in TEXT_KEYS if isinstance(reply, dict) and key in reply), None)
    return reply[key] if isinstance(reply, dict) and key else reply


def _ranked(replies: list[object], values: Mapping[str, object]) -> tuple[list[object], list[float] | None]:
    """(the replies' texts or messages, numbers of which the lowest is the best one's)."""
    texts = list(map(text_of, replies))
    for names, sign in ((LOW_IS_BEST, 1), (HIGH_IS_BEST, -1)):
        for name in names:
            numbers = [reply.get(name) for reply in replies if isinstance(reply, dict)]
            beside = from_json(values.get(name))
            if all(number is None for number in numbers):
                numbers = beside if isinstance(beside, list) else []
            order = [sign * number for number in map(as_rank, numbers) if number is not None]
            if len(order) == len(replies) > 0:
                return texts, order
    return texts, None
