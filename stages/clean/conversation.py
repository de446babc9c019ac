"""What one collected conversation becomes: its texts mended and masked, its roles put in order, its faults named."""

import hashlib
from typing import Literal, NamedTuple

import orjson
from pydantic import Field, model_validator

from stages.clean.quality import detect_language, is_boilerplate, is_refusal, is_repetitive
from stages.clean.repair import (
    fix_gbk_mojibake,
    fix_unicode,
    fix_whitespace,
    mask_urls,
    remove_control_characters,
    strip_html,
    to_simplified,
)
from stages.clean.words import remove_stop_words, segment_words
from stages.lib.core.files import to_line
from stages.lib.core.params import Section
from stages.lib.personal_data.kinds import PERSONAL_DATA
from stages.lib.records.conversation import Conversation, Message, normalize
from stages.lib.similarity.join import LOWEST_THRESHOLD
from stages.lib.similarity.shingles import Shingles, shingle

Treatment = Literal["keep", "tag", "drop"]
Kind = Literal["iban", "payment_card", "id_card", "email", "ip_address", "phone"]
MOST_PASSES = 4
TEXT_STEPS = {  # in this order
    "unicode": fix_unicode,  # first: mojibake read as Latin-1 holds C1 controls, which are needed to undo it
    "gbk_mojibake": fix_gbk_mojibake,
    "html": strip_html,
    "control_characters": remove_control_characters,
    "traditional_to_simplified": to_simplified,
    "urls": mask_urls,
    **PERSONAL_DATA,
    "segment_words": segment_words,
    "remove_stop_words": remove_stop_words,
    "whitespace": fix_whitespace,
}


class CleanParams(Section):
    unicode: bool
    gbk_mojibake: bool
    html: bool
    control_characters: bool
    whitespace: bool
    traditional_to_simplified: bool
    segment_words: bool
    remove_stop_words: bool
    urls: Literal["keep", "mask"]
    personal_data: list[Kind]
    tool_messages: Literal["drop", "as_user"]
    roles: bool
    boilerplate: Treatment
    refusals: Treatment
    repetition: Treatment
    languages: list[str]
    length_quantiles: tuple[float, float] | None
    duplicates: bool
    near_duplicates: float | None = Field(ge=LOWEST_THRESHOLD, lt=1)

    @model_validator(mode="before")
    @classmethod
    def list_to_tuple(cls, data: dict) -> dict:
        quantiles = data.get("length_quantiles") if isinstance(data, dict) else None
        return {**data, "length_quantiles": tuple(quantiles)} if isinstance(quantiles, list) else data

    @model_validator(mode="after")
    def quantiles_in_order(self) -> "CleanParams":
        low, high = self.length_quantiles or (0, 1)
        if not 0 <= low < high <= 1:
            raise ValueError(f"length_quantiles [{low}, {high}]; expected 0 <= low < high <= 1")
        return self


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


def steps_switched_on(params: CleanParams) -> list[str]:
    """Names of TEXT_STEPS, in their order."""
    on = {name for name in TEXT_STEPS if getattr(params, name, None) in (True, "mask")} | set(params.personal_data)
    return [name for name in TEXT_STEPS if name in on]


def clean_text(text: str, steps: list[str]) -> tuple[str, set[str]]:
    """The text after the named steps, and the names of those that changed it.

    The steps are repeated until none finds anything: what one takes out can bring to light what another mends.
    """
    changed_by: set[str] = set()
    for _ in range(MOST_PASSES):
        before = text
        for name in steps:
            if (stepped := TEXT_STEPS[name](text)) != text:
                changed_by.add(name)
                text = stepped
        if text == before:
            break
    return text, changed_by


def clean_texts(messages: list[Message], params: CleanParams, steps: list[str]) -> tuple[list[Message], set[str]]:
    """The messages with cleaned texts, without empty or unwanted ones, and the names of the steps that did something."""
    kept: list[Message] = []
    changed_by: set[str] = set()
    for message in messages:
        role = message["role"]
        if role == "tool":
            changed_by.add("tool_messages")
            if params.tool_messages == "drop":
                continue
            role = "user"
        text, names = clean_text(message["content"], steps)
        if not text.strip():
            changed_by.add("empty_message")
        elif params.boilerplate == "drop" and is_boilerplate(text):
            changed_by.add("boilerplate")
        else:
            changed_by |= names
            kept.append({"role": role, "content": text})
    return kept, changed_by


def drop_loose_ends(messages: list[Message]) -> list[Message]:
    """System first, then a user, an assistant last: what comes before the first question, or after the last reply, goes."""
    system = [message for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    while turns and turns[0]["role"] == "assistant":
        turns.pop(0)
    while turns and turns[-1]["role"] == "user":
        turns.pop()
    return system + turns


def join_sides(messages: list[Message]) -> list[Message]:
    """Several messages in a row from one side as one, a line feed between: chat templates want sides in turn."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {"role": message["role"], "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def missing_side(messages: list[Message]) -> str | None:
    roles = {message["role"] for message in messages}
    if not messages:
        return "empty"
    return "no_assistant_message" if "assistant" not in roles else "no_user_message" if "user" not in roles else None


def find_faults(messages: list[Message], params: CleanParams) -> list[str]:
    """Of refusal, boilerplate and repetition those that the params do not say to keep, and that a message shows."""
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    tests = {
        "refusal": (params.refusals, is_refusal, replies),
        "boilerplate": (params.boilerplate, is_boilerplate, [message["content"] for message in messages]),
        "repetition": (params.repetition, is_repetitive, replies),
    }
    return [name for name, (wish, test, texts) in tests.items() if wish != "keep" and any(map(test, texts))]


def clean_conversation(conversation: Conversation, params: CleanParams, steps: list[str]) -> tuple[Verdict, str]:
    """The verdict, and the normalised text for the search of near duplicates (empty if the conversation has to go)."""
    filled, changed_by = clean_texts(conversation["messages"], params, steps)
    ordered = drop_loose_ends(filled) if params.roles else filled
    messages = join_sides(ordered) if params.roles else filled
    if messages != filled:
        changed_by.add("roles")
    reason = missing_side(messages)
    if reason:  # the repair of roles may have left nothing: what the source lacked is the reason
        reason = missing_side(filled) or "no_reply"
    contents = [message["content"] for message in messages]
    language = conversation["language"]
    if language == "und":
        language = detect_language("\n".join(contents))
    tags = [] if reason else find_faults(messages, params)
    wishes = {"refusal": params.refusals, "boilerplate": params.boilerplate, "repetition": params.repetition}
    reason = reason or next((tag for tag in tags if wishes[tag] == "drop"), None)
    if reason is None and params.languages and language not in params.languages:
        reason = "language"
    normal = [] if reason else [normalize(content) for content in contents]
    parts = [[message["role"], content] for message, content in zip(messages, normal, strict=False)]
    length_of = {role: sum(len(m["content"]) for m in messages if m["role"] == role) for role in ("user", "assistant")}
    verdict = Verdict(
        conversation["id"],
        reason,
        sorted(changed_by),
        tags,
        MessageCounts(len(conversation["messages"]), len(ordered) - len(messages), len(conversation["messages"]) - len(ordered)),
        language,
        length_of["user"],
        length_of["assistant"],
        hashlib.sha256(orjson.dumps(parts)).digest()[:16],
        b"" if reason else to_line({**conversation, "language": language, "messages": messages}),
    )
    return verdict, "\n".join(normal)


def clean_lines(lines: list[bytes], params: CleanParams) -> CleanedChunk:
    """Each line of data/collected/*.jsonl judged and cleaned by itself."""
    steps = steps_switched_on(params)
    pairs = [clean_conversation(orjson.loads(line), params, steps) for line in lines]
    wanted = params.near_duplicates is not None
    return CleanedChunk([verdict for verdict, _ in pairs], shingle([normal if wanted else "" for _, normal in pairs]))
