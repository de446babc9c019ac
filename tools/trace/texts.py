"""A row's messages as collected and as cleaned, with what differs."""

import difflib
import re
from collections.abc import Iterator

from stages.lib import collected
from stages.lib.records import cleaned
from stages.lib.records.cleaned import CleanedRow
from stages.lib.records.conversation import Conversation, Message, reply_text
from tools.console import visible
from tools.trace.ledgers import find_row, source_of

LINE_FEED, SHOWN_LINE_FEED = "\n", "\\n\n"
MOST_TOKENS_COMPARED = 4000  # of either text: comparing takes quadratic time
TOKEN = re.compile(r"[a-zA-Z0-9]+|\s+|.", re.DOTALL)


def mark_differences(before: str, after: str, colour: bool) -> tuple[str, str]:
    """Both texts, with what only one of them has in brackets, or coloured.

    >>> mark_differences("caf\\u00c3\\u00a9 now", "caf\\u00e9 now", False)
    ('caf[-Ã©-] now', 'caf{+é+} now')
    """
    old, new = TOKEN.findall(before), TOKEN.findall(after)
    if max(len(old), len(new)) > MOST_TOKENS_COMPARED:
        return visible(before), visible(after)
    sides = (old, ("\x1b[31m", "\x1b[0m") if colour else ("[-", "-]")), (new, ("\x1b[32m", "\x1b[0m") if colour else ("{+", "+}"))
    pieces: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for side, (tokens, (begin, end)), (start, stop) in zip(pieces, sides, ((a, b), (c, d)), strict=True):
            text = visible("".join(tokens[start:stop]))
            if kind != "equal" and text:
                text = f"{begin}{text.replace(LINE_FEED, SHOWN_LINE_FEED).removesuffix(LINE_FEED)}{end}"
                text += LINE_FEED if stop < len(tokens) and tokens[stop - 1].endswith(LINE_FEED) else ""
            side.append(text)
    return "".join(pieces[0]), "".join(pieces[1])


def as_text(messages: list[Message]) -> str:
    return "\n".join(line for message in messages for line in lines_of(message))


def lines_of(message: Message) -> Iterator[str]:
    if thoughts := message.get("reasoning_content"):
        yield f"{message['role']} (thoughts): {thoughts}"
    yield f"{message['role']}{' (not to learn)' if message.get('weight') == 0 else ''}: {reply_text(message)}"


def tell_texts(id: str, colour: bool) -> Iterator[str]:
    """The messages as collected and as cleaned."""
    raw = find_row(collected.conversations_of(source_of(id)), id, Conversation)
    repaired = find_row(cleaned.CLEANED, id, Conversation)
    before = as_text(raw["messages"]) if raw else None
    after = as_text(repaired["messages"]) if repaired else None
    if before is not None and after is not None and before != after:
        before, after = mark_differences(before, after, colour)
    else:
        before, after = (text and visible(text) for text in (before, after))
    if before is not None and before == after:
        yield from _block("As collected, and the same after cleaning", before)
        return
    yield from _block("As collected", before if before is not None else "(not there)")
    row = find_row(cleaned.LEDGER, id, CleanedRow)
    dropped = cleaned.CLEANED.exists() and row is not None and row["fate"] == "dropped"
    yield from _block("As cleaned", after if after is not None else "(dropped)" if dropped else "(not there)")


def _block(title: str, text: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in text.split("\n"))
