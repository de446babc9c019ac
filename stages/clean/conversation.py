"""What one collected conversation becomes: its texts mended and masked, its roles put in order, its faults named."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from stages.clean.automatic_messages import is_boilerplate
from stages.clean.context import steps_for
from stages.clean.faults import Fault, find_faults
from stages.clean.params import CleanParams
from stages.clean.steps import Step, clean_text, steps_switched_on
from stages.clean.structured import clean_structured
from stages.clean.turns import drop_loose_ends, drop_tool_use, gather_thoughts, join_sides, missing_side, tools_as_user
from stages.lib.collected import FOLDER
from stages.lib.core.errors import ReprotuneError
from stages.lib.languages import detect_language
from stages.lib.records.conversation import (
    Conversation,
    Message,
    Role,
    conversation_line,
    normalize,
    reply_text,
    trained_positions,
    uses_tool,
)
from stages.lib.similarity.shingles import Shingles, shingle_dialogues


class MessageCounts(NamedTuple):
    """Messages as collected, and of these those that were joined to the one before, and those that were left out."""

    messages: int
    messages_joined: int
    messages_left_out: int


class Verdict(NamedTuple):
    """What became of one conversation, judged by itself. `reason`: why it has to go, or None."""

    id: str
    reason: str | None
    repaired_by: list[str]
    tags: list[str]
    counts: MessageCounts
    language: str
    user_characters: int
    assistant_characters: int
    key: bytes  # of the normalised messages: 16 bytes, the same for exact duplicates
    line: bytes  # the cleaned conversation, serialised
    rejected_left_out: int  # rejected conversations of which cleaning leaves no question or no reply


class CleanedChunk(NamedTuple):
    """`shingles` stand for all verdicts; those of a conversation to be dropped are empty."""

    verdicts: list[Verdict]
    shingles: Shingles


class Mended(NamedTuple):
    """`filled`: before, `messages`: after their roles were put in order. `changed_by`: what did something, by name."""

    filled: list[Message]
    messages: list[Message]
    changed_by: set[str]
    counts: MessageCounts


def clean_texts(messages: list[Message], params: CleanParams, steps: Sequence[Step]) -> tuple[list[Message], set[str]]:
    """The messages with cleaned texts, without empty or unwanted ones, and the names of the steps that did something."""
    kept: list[Message] = []
    changed_by: set[str] = set()
    for message, its_steps in zip(messages, steps_for(messages, steps), strict=True):
        cleaned, names = clean_message(message, params, its_steps)
        if not uses_tool(cleaned) and not cleaned["content"].strip():
            changed_by.add("empty_message")
        elif not uses_tool(cleaned) and params.boilerplate == "drop" and is_boilerplate(cleaned["content"]):
            changed_by.add("boilerplate")
        else:
            changed_by |= names
            kept.append(cleaned)
    return kept, changed_by


def clean_message(message: Message, params: CleanParams, steps: Sequence[Step]) -> tuple[Message, set[str]]:
    """The message with all of its texts cleaned, and the names of the steps that did something."""
    clean = clean_structured if message["role"] == "tool" else clean_text
    text, changed_by = clean(message["content"], steps)
    cleaned: Message = {**message, "content": text}
    if len(message) == 2:  # most: a role and a text
        return cleaned, changed_by
    if thoughts := message.get("reasoning_content"):
        del cleaned["reasoning_content"]
        if params.thoughts == "drop":
            changed_by.add("thoughts")
        else:
            thoughts, names = clean_text(thoughts, steps)
            changed_by |= names
            if thoughts.strip():
                cleaned["reasoning_content"] = thoughts
    if calls := message.get("tool_calls"):
        cleaned["tool_calls"] = []
        for call in calls:
            arguments, names = clean_structured(call["function"]["arguments"], [step for step in steps if step.masks])
            changed_by |= names
            cleaned["tool_calls"].append({**call, "function": {**call["function"], "arguments": arguments}})
    return cleaned, changed_by


def settle_tool_use(messages: list[Message], params: CleanParams) -> list[Message]:
    if params.tool_messages == "keep" or not any(map(uses_tool, messages)):
        return messages
    return drop_tool_use(messages) if params.tool_messages == "drop" else tools_as_user(messages)


def mend(messages: list[Message], params: CleanParams, steps: Sequence[Step]) -> Mended:
    gathered = gather_thoughts(messages)
    settled = settle_tool_use(gathered, params)
    filled, changed_by = clean_texts(settled, params, steps)
    if settled is not gathered:
        changed_by.add("tool_messages")
    ordered = drop_loose_ends(filled) if params.roles else filled
    joined = join_sides(ordered) if params.roles else filled
    if joined != filled or gathered is not messages:
        changed_by.add("roles")
    moved = len(messages) - len(gathered)
    counts = MessageCounts(len(messages), len(ordered) - len(joined) + moved, len(gathered) - len(ordered))
    return Mended(filled, joined, changed_by, counts)


def reason_to_go(mended: Mended, faults: Sequence[Fault], language: str, params: CleanParams) -> str | None:
    if missing_side(mended.messages):  # the repair of roles may have left nothing: what the source lacked is the reason
        if "tool_messages" in mended.changed_by:
            return "tool_messages"
        return missing_side(mended.filled) or "no_reply"
    for fault in faults:
        if fault.treatment(params) == "drop":
            return fault.name
    return "language" if params.languages and language not in params.languages else None


def clean_conversation(
    conversation: Conversation, params: CleanParams, steps: Sequence[Step]
) -> tuple[Verdict, list[tuple[str, str]]]:
    """The verdict, and who says what for the search of near duplicates (nothing if the conversation has to go)."""
    mended = mend(conversation["messages"], params, steps)
    check_thoughts(conversation, params)
    contents = [message["content"] for message in mended.messages]
    language = conversation["language"]
    if language == "und":
        language = detect_language("\n".join(contents))
    faults = [] if missing_side(mended.messages) else find_faults(mended.messages, params)
    reason = reason_to_go(mended, faults, language, params)
    normal = [] if reason else [normalize(reply_text(message)) for message in mended.messages]
    finished = None if reason else finish(conversation, language, mended.messages, params, steps)
    verdict = Verdict(
        id=conversation["id"],
        reason=reason,
        repaired_by=sorted(mended.changed_by),
        tags=[fault.name for fault in faults],
        counts=mended.counts,
        language=language,
        user_characters=characters_of("user", mended.messages),
        assistant_characters=characters_of("assistant", mended.messages),
        key=key_of(mended.messages, normal),
        line=conversation_line(finished) if finished else b"",
        rejected_left_out=len(conversation.get("rejected", ())) - len(finished.get("rejected", ())) if finished else 0,
    )
    # What has nothing to learn from puts nobody out, and nobody it.
    return verdict, said_by(mended.messages, normal) if trained_positions(mended.messages) else []


def check_thoughts(conversation: Conversation, params: CleanParams) -> None:
    """
    Raises:
        ReprotuneError: it has thoughts, which the params refuse.
    """
    if params.thoughts == "refuse" and any("reasoning_content" in message for message in conversation["messages"]):
        raise ReprotuneError(
            f"{FOLDER}: {conversation['id']} holds thoughts before a reply, which clean.thoughts refuses; set it to keep, so "
            "that the model learns to write them, or to drop"
        )


def finish(
    conversation: Conversation, language: str, messages: list[Message], params: CleanParams, steps: Sequence[Step]
) -> Conversation:
    """The conversation with its cleaned messages, and what stands beside them cleaned alike."""
    finished: Conversation = {**conversation, "language": language, "messages": messages}
    if "tools" in conversation and params.tool_messages != "keep":
        del finished["tools"]
    if rejected := conversation.get("rejected"):
        del finished["rejected"]
        others = [mend(other, params, steps).messages for other in rejected]
        if kept := [other for other in others if not missing_side(other)]:
            finished["rejected"] = kept
    return finished


def characters_of(role: Role, messages: list[Message]) -> int:
    return sum([len(message["content"]) for message in messages if message["role"] == role])


def said_by(messages: list[Message], normal: list[str]) -> list[tuple[str, str]]:
    """(speaker, normalised text) of each message. Under another system prompt someone else speaks: an answer as a pirate is no
    duplicate of one as a professor, and a prompt that all share makes nothing alike."""
    pairs = [(message["role"], text) for message, text in zip(messages, normal, strict=False)]
    told = "\n".join([text for role, text in pairs if role == "system"])
    return [(role + told, text) for role, text in pairs if role != "system"]


def key_of(messages: list[Message], normal: list[str]) -> bytes:
    parts: list[list[object]] = []
    for message, content in zip(messages, normal, strict=False):
        parts.append([message["role"], content])
        if len(message) > 2 and (beside := {key: message[key] for key in ("reasoning_content", "weight") if key in message}):
            parts.append([beside])
    return hashlib.sha256(orjson.dumps(parts)).digest()[:16]


def clean_lines(lines: list[bytes], params: CleanParams) -> CleanedChunk:
    """Each line of data/collected/*.jsonl judged and cleaned by itself."""
    steps = steps_switched_on(params)
    pairs = [clean_conversation(orjson.loads(line), params, steps) for line in lines]
    wanted = params.near_duplicates is not None
    return CleanedChunk([verdict for verdict, _ in pairs], shingle_dialogues([said if wanted else [] for _, said in pairs]))
