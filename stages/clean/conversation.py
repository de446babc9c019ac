"""What one collected conversation becomes: its texts mended and masked, its roles put in order, its faults named."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

from stages.clean.automatic_messages import is_boilerplate
from stages.clean.context import steps_for
from stages.clean.languages import detect_language
from stages.clean.params import CleanParams, Treatment
from stages.clean.refusals import is_refusal
from stages.clean.repetition import is_repetitive
from stages.clean.steps import Step, clean_text, steps_switched_on
from stages.clean.turns import drop_loose_ends, join_sides, missing_side
from stages.lib.core.files import to_line
from stages.lib.records.conversation import Conversation, Message, Role, normalize
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


class CleanedChunk(NamedTuple):
    """`shingles` stand for all verdicts; those of a conversation to be dropped are empty."""

    verdicts: list[Verdict]
    shingles: Shingles


class Fault(NamedTuple):
    """A judgement on a message. `everyone`: on those of users too, not on the assistant's alone."""

    name: str
    is_shown_by: Callable[[str], bool]
    everyone: bool
    treatment: Callable[[CleanParams], Treatment]


FAULTS = (  # of several the first one is the reason
    Fault("refusal", is_refusal, False, lambda params: params.refusals),
    Fault("boilerplate", is_boilerplate, True, lambda params: params.boilerplate),
    Fault("repetition", is_repetitive, False, lambda params: params.repetition),
)


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
        role = message["role"]
        if role == "tool":
            changed_by.add("tool_messages")
            if params.tool_messages == "drop":
                continue
            role = "user"
        text, names = clean_text(message["content"], its_steps)
        if not text.strip():
            changed_by.add("empty_message")
        elif params.boilerplate == "drop" and is_boilerplate(text):
            changed_by.add("boilerplate")
        else:
            changed_by |= names
            kept.append({"role": role, "content": text})
    return kept, changed_by


def mend(messages: list[Message], params: CleanParams, steps: Sequence[Step]) -> Mended:
    filled, changed_by = clean_texts(messages, params, steps)
    ordered = drop_loose_ends(filled) if params.roles else filled
    joined = join_sides(ordered) if params.roles else filled
    if joined != filled:
        changed_by.add("roles")
    counts = MessageCounts(len(messages), len(ordered) - len(joined), len(messages) - len(ordered))
    return Mended(filled, joined, changed_by, counts)


def find_faults(messages: list[Message], params: CleanParams) -> list[Fault]:
    """Those that the params do not say to keep, and that a message shows."""
    texts = [message["content"] for message in messages]
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    wanted = [fault for fault in FAULTS if fault.treatment(params) != "keep"]
    return [fault for fault in wanted if any(map(fault.is_shown_by, texts if fault.everyone else replies))]


def reason_to_go(mended: Mended, faults: Sequence[Fault], language: str, params: CleanParams) -> str | None:
    if missing_side(mended.messages):  # the repair of roles may have left nothing: what the source lacked is the reason
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
    contents = [message["content"] for message in mended.messages]
    language = conversation["language"]
    if language == "und":
        language = detect_language("\n".join(contents))
    faults = [] if missing_side(mended.messages) else find_faults(mended.messages, params)
    reason = reason_to_go(mended, faults, language, params)
    normal = [] if reason else [normalize(content) for content in contents]
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
        line=b"" if reason else to_line({**conversation, "language": language, "messages": mended.messages}),
    )
    return verdict, said_by(mended.messages, normal)


def characters_of(role: Role, messages: list[Message]) -> int:
    return sum([len(message["content"]) for message in messages if message["role"] == role])


def said_by(messages: list[Message], normal: list[str]) -> list[tuple[str, str]]:
    """(speaker, normalised text) of each message. Under another system prompt someone else speaks: an answer as a pirate is no
    duplicate of one as a professor, and a prompt that all share makes nothing alike."""
    pairs = [(message["role"], text) for message, text in zip(messages, normal, strict=False)]
    told = "\n".join([text for role, text in pairs if role == "system"])
    return [(role + told, text) for role, text in pairs if role != "system"]


def key_of(messages: list[Message], normal: list[str]) -> bytes:
    parts = [[message["role"], content] for message, content in zip(messages, normal, strict=False)]
    return hashlib.sha256(orjson.dumps(parts)).digest()[:16]


def clean_lines(lines: list[bytes], params: CleanParams) -> CleanedChunk:
    """Each line of data/collected/*.jsonl judged and cleaned by itself."""
    steps = steps_switched_on(params)
    pairs = [clean_conversation(orjson.loads(line), params, steps) for line in lines]
    wanted = params.near_duplicates is not None
    return CleanedChunk([verdict for verdict, _ in pairs], shingle_dialogues([said if wanted else [] for _, said in pairs]))
