"""data/collected/*.jsonl -> data/cleaned.jsonl: repaired, de-duplicated conversations, sorted by id.

The ledger, data/ledger/clean.jsonl, has one row for every collected conversation: kept, repaired (how) or dropped (why).
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import ftfy
from pydantic import ConfigDict

from stages.lib.conversations import (
    Conversation,
    Message,
    messages_key,
    read_conversations,
    write_conversations,
    write_jsonl,
)
from stages.lib.errors import ReprotuneError, run_stage
from stages.lib.params import Section, read_params
from stages.lib.requirements import check_installed

COLLECTED = Path("data/collected")
CLEANED = Path("data/cleaned.jsonl")
LEDGER = Path("data/ledger/clean.jsonl")

# ftfy's defaults rewrite full-width Chinese punctuation, typographic quotes, entities and ligatures: all meant as they stand.
FTFY = ftfy.TextFixerConfig(
    fix_character_width=False,
    uncurl_quotes=False,
    unescape_html=False,
    fix_latin_ligatures=False,
    remove_terminal_escapes=False,
    remove_control_chars=False,
    fix_line_breaks=False,
    explain=False,
)
# C0 and C1 controls but for tab and line feed, zero-width space, word joiner, byte-order mark, and what Unicode forbids in text.
# The zero-width joiner and non-joiner stay: emoji and Persian need them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff]")


class SourceNames(Section):
    """Of `collect`, only which sources there are."""

    model_config = ConfigDict(extra="ignore")
    sources: dict[str, Any]


class CleanParams(Section):
    unicode: bool
    control_characters: bool
    whitespace: bool
    roles: bool
    duplicates: bool


def fix_unicode(text: str) -> str:
    """Undo mojibake and compose characters (NFC).

    >>> fix_unicode("cafÃ© — schÃ¶n")
    'café — schön'
    >>> fix_unicode("你好，世界！ “quoted” &lt;b&gt;")
    '你好，世界！ “quoted” &lt;b&gt;'
    """
    return ftfy.fix_text(text, FTFY)


def remove_control_characters(text: str) -> str:
    """Drop characters nobody sees; line ends become LF first.

    >>> remove_control_characters("a\\x00b\\u200bc\\r\\nd\\te")
    'abc\\nd\\te'
    """
    return CONTROL_CHARACTERS.sub("", re.sub(r"\r\n?|\u2028|\u2029", "\n", text))


def fix_whitespace(text: str) -> str:
    """Strip both ends of the text and the right end of each line; indentation stays, it is code's.

    >>> fix_whitespace("\\n\\n  if x:  \\n      y\\n\\n\\n\\nz ")
    'if x:\\n      y\\n\\nz'
    """
    text = re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


TEXT_STEPS = {
    "unicode": fix_unicode,  # first: mojibake read as Latin-1 holds C1 controls, which are needed to undo it
    "control_characters": remove_control_characters,
    "whitespace": fix_whitespace,
}
MOST_PASSES = 4


def repair_roles(messages: list[Message]) -> list[Message]:
    """System first, then user and assistant in turn, the assistant last: what every chat template accepts.

    Several messages in a row from one side become one, joined by a line feed; assistant messages before the first user
    message and user messages after the last assistant message go.
    """
    system = [message for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    while turns and turns[0]["role"] == "assistant":
        turns.pop(0)
    while turns and turns[-1]["role"] == "user":
        turns.pop()
    repaired: list[Message] = []
    for message in system + turns:
        if repaired and repaired[-1]["role"] == message["role"]:
            repaired[-1] = {"role": message["role"], "content": f"{repaired[-1]['content']}\n{message['content']}"}
        else:
            repaired.append(message)
    return repaired


def clean_text(text: str, params: CleanParams) -> tuple[str, set[str]]:
    """The text after the steps that are switched on, and the names of those that changed it.

    The steps are repeated until none finds anything: what one takes out can bring to light what another mends.
    """
    changed_by: set[str] = set()
    for _ in range(MOST_PASSES):
        before = text
        for name, step in TEXT_STEPS.items():
            if getattr(params, name) and (stepped := step(text)) != text:
                changed_by.add(name)
                text = stepped
        if text == before:
            break
    return text, changed_by


def clean_texts(messages: list[Message], params: CleanParams) -> tuple[list[Message], set[str]]:
    """The messages with cleaned texts, without those that are empty, and the names of the steps that changed something."""
    filled: list[Message] = []
    changed_by: set[str] = set()
    for message in messages:
        text, names = clean_text(message["content"], params)
        changed_by |= names if text.strip() else {"empty_message"}
        if text.strip():
            filled.append({**message, "content": text})
    return filled, changed_by


def clean_conversation(messages: list[Message], params: CleanParams) -> tuple[list[Message], list[str]]:
    """The cleaned messages and the names of the steps that changed something. Empty messages always go."""
    filled, changed_by = clean_texts(messages, params)
    repaired = repair_roles(filled) if params.roles else filled
    return repaired, sorted(changed_by | ({"roles"} if repaired != filled else set()))


def reason_to_drop(messages: list[Message]) -> str | None:
    roles = {message["role"] for message in messages}
    if not messages:
        return "empty"
    return "no_assistant_message" if "assistant" not in roles else "no_user_message" if "user" not in roles else None


def clean_all(collected: list[Conversation], params: CleanParams) -> tuple[list[Conversation], list[dict]]:
    """Cleaned conversations, and one ledger row for each collected one. Of exact duplicates the lowest id stays."""
    kept: list[Conversation] = []
    ledger = []
    first_of: dict[str, str] = {}
    for conversation in sorted(collected, key=lambda row: row["id"]):
        messages, steps = clean_conversation(conversation["messages"], params)
        reason, original = reason_to_drop(messages), None
        if reason:  # the repair of roles may have left nothing: what the source lacked is the reason
            reason = reason_to_drop(clean_texts(conversation["messages"], params)[0]) or "no_reply"
        if reason is None and params.duplicates:
            original = first_of.setdefault(messages_key(messages), conversation["id"])
            original = None if original == conversation["id"] else original
            reason = "exact_duplicate" if original else None
        fate = "dropped" if reason else "repaired" if steps else "kept"
        ledger.append({"id": conversation["id"], "fate": fate, "reason": reason, "duplicate_of": original, "repaired_by": steps})
        if reason is None:
            kept.append({**conversation, "language": guess_language(conversation, messages), "messages": messages})
    return kept, ledger


def guess_language(conversation: Conversation, messages: list[Message]) -> str:
    """The source's language; where it names none, the script's, if it tells one: `zh`, `ja`, `ko`, else `und`."""
    if conversation["language"] != "und":
        return conversation["language"]
    text = "".join(message["content"] for message in messages)
    letters = sum(map(str.isalpha, text)) or 1
    if len(re.findall(r"[\u3040-\u30ff]", text)) / letters > 0.1:
        return "ja"
    if len(re.findall(r"[\uac00-\ud7a3]", text)) / letters > 0.3:
        return "ko"
    return "zh" if len(re.findall(r"[\u3400-\u9fff\U00020000-\U0003134f]", text)) / letters > 0.3 else "und"


def remove_collected_of_removed_sources(names: set[str]) -> None:
    """A source taken out of params.yaml leaves its file behind, which DVC no longer knows: it must not be trained on."""
    for path in COLLECTED.glob("*.jsonl"):
        if path.stem not in names:
            path.unlink()


def main() -> None:
    check_installed("requirements/core.txt", "requirements/data.txt")
    names = set(read_params("collect", SourceNames).sources)
    params = read_params("clean", CleanParams)
    remove_collected_of_removed_sources(names)
    collected = [row for name in sorted(names) for row in read_conversations(COLLECTED / f"{name}.jsonl")]
    kept, ledger = clean_all(collected, params)
    dropped = Counter(row["reason"] for row in ledger if row["reason"])
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(dropped.items())) or "none"
    if not kept:
        raise ReprotuneError(
            f"{COLLECTED}: none of {len(collected):,} conversations is left; dropped: {counts} (see collect.sources)"
        )
    write_conversations(CLEANED, kept)
    write_jsonl(LEDGER, ledger)
    print(f"clean: {len(collected):,} in, {len(kept):,} out; dropped: {counts}")


if __name__ == "__main__":
    run_stage(main, outs=[CLEANED, LEDGER], restore="dvc checkout clean")
