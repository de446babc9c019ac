"""Public layouts of which no mapping makes conversations: what each one is, and what to write instead."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

from stages.collect.contexts import NO_TEXT
from stages.collect.history import keys_of_messages
from stages.collect.layouts import recognize_layout
from stages.collect.messages import as_text
from stages.lib.core.errors import ReprotuneError
from tools.preview.alternatives import OPTIONS, are_alternatives, differ, lists_in, propose_alternatives
from tools.preview.chat_exports import ONE_LINE
from tools.preview.message_lists import list_in_cell, list_of_messages, list_of_pairs, list_of_texts
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, find_column, has_word, key_of

A_PAIR = '{"prompt": "...", "completion": "..."}'
A_PREFERENCE = '{"prompt": "...", "chosen": "...", "rejected": "..."}'
SIBLINGS = (("a", "b"), ("0", "1"), ("1", "2"))
BELOW = ("replies", "children", "comments", "回复")  # a message's own replies
CHOICE = re.compile(r"[(（]?([A-Ja-j]|\d{1,2})[)）.]?")
VERDICTS = frozenset(["winner", "preference", "preferred", "better", "safer", "label", "labels", "choice"])


class Export(NamedTuple):
    """`fits`: which column shows it, if one does; `what`: it is, for people, behind its name."""

    fits: Callable[[Sample], str | None]
    what: str


def _most(sample: Sample, fits: Callable[[object], bool]) -> str | None:
    """The first column of which most cells fit."""
    return next((repr(key) for key in sample.keys if 2 * sum(map(fits, sample.cells(key))) > len(sample.rows)), None)


def _is_reply_tree(cell: object) -> bool:
    """Whether it is a message with its replies, or a list of such, some of which have any."""
    if isinstance(cell, dict):
        return isinstance(cell.get("replies"), list) and "text" in cell
    messages = list_of_messages(cell) or []
    below = [(one, list_of_messages(one.get(key)) or []) for one in messages for key in BELOW]
    return any(key_of_text(one) in reply for one, replies in below for reply in replies)


def key_of_text(message: dict[str, object]) -> str | None:
    found = find_column("content", list(message), only_exact=True)
    return found and found[0]


def _is_turns(cell: object) -> bool:
    turns = list(cell.values()) if isinstance(cell, dict) else []
    return bool(turns) and all(isinstance(turn, dict) and {"Human", "MOSS"} <= turn.keys() for turn in turns)


def _is_segments(cell: object) -> bool:
    pieces = list_of_messages(cell) or []
    return bool(pieces) and all(piece.keys() == {"label", "text"} and isinstance(piece["label"], bool) for piece in pieces)


def _holds_parts(cell: object) -> bool:
    """Whether it is Intercom's object with the parts of a conversation, or a list of conversations with such objects."""
    several = [{"conversation_parts": cell}] if isinstance(cell, dict) else list_of_messages(cell) or []
    parts = [one.get("conversation_parts") for one in several]
    return any(isinstance(one, dict) and isinstance(one.get("conversation_parts"), list) for one in parts)


def _is_annotation(cell: object) -> bool:
    return any(isinstance(one.get("result"), list) for one in list_of_messages(cell) or [])


def _is_paragraphs(cell: object) -> bool:
    return any(isinstance(one.get("qas"), list) for one in list_of_messages(cell) or [])


def _holds_examples(sample: Sample) -> str | None:
    names = ("instances",) if find_column("assistant", sample.keys) else ("instances", "examples")
    fits = [key for key in sample.keys if key_of(key) in names and any(map(list_of_pairs, sample.cells(key)))]
    return repr(fits[0]) if fits and not recognize_layout(sample.keys) else None


def _has_two_lists(sample: Sample) -> str | None:
    """Questions in one list, and as many replies in another."""
    fields = {field: [key for key in sample.keys if names_several(key, field)] for field in ("user", "assistant")}
    for asked, answered in product(*fields.values()) if not recognize_layout(sample.keys) else ():
        rows = zip(map(list_in_cell, sample.cells(asked)), map(list_in_cell, sample.cells(answered)), strict=True)
        several = [len(one) == len(other) > 1 and not keys_of_messages(one) for one, other in rows if one and other]
        if 2 * sum(several) > len(several):
            return f"{asked!r} and {answered!r}"
    return None


def names_several(key: str, field: str) -> bool:
    """Whether it is a plural of a usual name, or `turns` beside their `reference`, as MT-Bench has them."""
    name = key_of(key)
    return name == {"user": "turns", "assistant": "reference"}[field] or (
        name.endswith("s") and name.removesuffix("s") in USUAL_NAMES["columns"][field]
    )


def _is_request_alone(sample: Sample) -> str | None:
    """OpenAI's or Anthropic's."""
    alone = "custom_id" in sample.keys and not {"response", "result"} & {*sample.keys}
    fits = [key for key in ("body", "params") if alone and all(isinstance(cell, dict) for cell in sample.cells(key))]
    return repr(fits[0]) if fits else None


def _is_response_alone(sample: Sample) -> str | None:
    alone = "custom_id" in sample.keys and not {"body", "params", "request", "messages", "prompt"} & {*sample.keys}
    return next((repr(key) for key in ("response", "result") if alone and key in sample.keys), None)


def find_siblings(sample: Sample) -> str | None:
    """Two columns that differ by a letter or a number at their end, and hold texts or talks: two replies, say."""
    by_key = {key_of(key): key for key in sample.keys if not has_word(key_of(key), NO_TEXT)}
    lengths: dict[str, int] = {}
    for key, name in by_key.items():
        for first, other in SIBLINGS:
            stem = key.removesuffix(first)
            if key.endswith(first) and stem and f"{stem}{other}" in by_key:
                names = [name, by_key[f"{stem}{other}"]]
                texts = [as_text(cell) or "" for one in names for cell in sample.cells(one)]
                if 2 * sum(" " in text or len(text) > 20 for text in texts) > len(texts):
                    lengths[" and ".join(map(repr, names))] = sum(map(len, texts))
    return max(lengths, key=lengths.__getitem__) if lengths else None


def _holds_alternatives(sample: Sample) -> str | None:
    lists = {key: lists_in(sample, key) for key in sample.keys}
    fits = [
        key
        for key, found in lists.items()
        if 2 * len(found) > len(sample.rows) and are_alternatives(key, found) and differ(found)
    ]
    return repr(fits[0]) if fits and not propose_alternatives(sample) and not recognize_layout(sample.keys) else None


def _is_texts(cell: object) -> bool:
    return bool(list_of_texts(cell)) or any("text" in one for one in list_of_messages(cell) or [])


def _has_options(sample: Sample) -> str | None:
    """Options of a question, of which the answer names one by its letter or number."""
    reply = find_column("assistant", [key for key in sample.keys if key_of(key) not in OPTIONS])
    answers = [as_text(cell) or "" for cell in sample.cells(reply[0])] if reply else []
    lists = [repr(key) for key in sample.keys if key_of(key) in OPTIONS and all(map(_is_texts, sample.cells(key)))]
    lettered = [" and ".join(map(repr, pair)) for pair in (("A", "B"), ("a", "b")) if {*pair} <= {*sample.keys}]
    found = [*lists, *lettered]
    return found[0] if found and answers and all(map(CHOICE.fullmatch, answers)) else None


def _has_speakers(sample: Sample) -> str | None:
    """A list of names beside a list of texts, who do not take turns."""
    for key in sample.keys:
        if key_of(key).removesuffix("s") not in USUAL_NAMES["columns"]["role"]:
            continue
        names = [list_of_texts(cell) or [] for cell in sample.cells(key)]
        lengths = [len(one) for one in names]
        others = {
            other: [len(list_of_texts(cell) or []) for cell in sample.cells(other)] for other in sample.keys if other != key
        }
        if (
            any(lengths)
            and lengths in others.values()
            and any(one != other for row in names for one, other in zip(row, row[2:], strict=False))
        ):
            return repr(key)
    return None


def _holds_chunks(sample: Sample) -> str | None:
    cells = [*sample.cells("chunkedPrompt.chunks"), *sample.cells("chunks")]
    chunks = [one for cell in cells for one in list_of_messages(cell) or []]
    return "'chunks'" if any({"role", "text", "tokenCount"} <= one.keys() for one in chunks) else None


EXPORTS = (
    Export(_holds_chunks,
           "holds Google AI Studio's prompt, a chunk for each text or thought. Write JSONL, a line for each conversation, "
           f"without the thoughts: {ONE_LINE}"),
    Export(lambda sample: _most(sample, _is_reply_tree),
           "holds a tree of messages in each row, each with its replies. Flatten each to the list from its first message "
           f"down to a last one, by the best of the replies, and write JSONL, a line for each: {ONE_LINE}"),
    Export(lambda sample: _most(sample, _is_turns),
           "holds MOSS's turns, an object each. Write JSONL, a line for each conversation, without the markers around the "
           f"texts: {ONE_LINE}"),
    Export(lambda sample: _most(sample, _is_segments),
           "holds Axolotl's segments: pieces of ready-made text, and whether each is to be learned, without who says it. "
           f"Write JSONL of the talks that they were made of, a line for each: {ONE_LINE}"),
    Export(lambda sample: _most(sample, _holds_parts),
           "holds Intercom's conversations, whose first message stands in `source`, and the others deeper. Write JSONL, a "
           f"line for each conversation, without its notes: {ONE_LINE}"),
    Export(lambda sample: _most(sample, _is_annotation),
           "holds Label Studio's annotations. Export as JSON-MIN or CSV instead, which has a column for each result"),
    Export(_holds_alternatives,
           "holds several answers to each question, which are no turns of a talk, and nothing there ranks them. Write JSONL, a "
           f"line for each question with the answer to be learned: {A_PAIR}"),
    Export(_has_two_lists,
           "hold a talk's questions and the replies to them, in two lists. Write JSONL, a line for each conversation: "
           f"{ONE_LINE}"),
    Export(_holds_examples,
           "holds examples of an instruction, which are no turns of a talk. Write JSONL, a line for each: "
           '{"instruction": "...", "input": "...", "output": "..."}'),
    Export(lambda sample: "'mes'" if {"mes", "is_user"} <= {*sample.keys} else None,
           "holds one chat of SillyTavern, in a line for each message. Write JSONL, a line for each conversation: "
           f"{ONE_LINE}"),
    Export(lambda sample: "'versions'" if any(map(list_of_messages, sample.cells("versions"))) else None,
           f"holds LM Studio's messages in all their versions. Write JSONL, a line for each conversation: {ONE_LINE}"),
    Export(_has_options,
           "can be chosen from, and the answer names one of them by its place, so that it means nothing without them. Write them "
           f"below the question, in JSONL, a line for each: {A_PAIR}"),
    Export(_has_speakers,
           "names who says each text of a list beside it, and they do not take turns. Write JSONL, a line for each conversation: "
           f"{ONE_LINE}"),
    Export(lambda sample: _most(sample, _is_paragraphs),
           "holds SQuAD's paragraphs, each with its questions. Write JSONL, a line for each question that has an answer: "
           '{"context": "...", "question": "...", "answer": "..."}'),
    Export(_is_request_alone,
           "holds a batch's requests, whose replies are in its output file. Join both by `custom_id`, and write JSONL, a "
           f"line for each: {ONE_LINE}"),
    Export(_is_response_alone,
           "holds a batch's replies, whose questions are in its input file. Join both by `custom_id`, and write JSONL, a "
           f"line for each: {ONE_LINE}"),
)  # fmt: skip


def refuse_known(path: Path, sample: Sample, is_mapped: bool) -> None:
    """`is_mapped`: whether columns of questions and replies were found.

    Raises:
        ReprotuneError: it is one of these layouts, or has two replies, of which no column is the preferred one.
    """
    for export in EXPORTS:
        if found := export.fits(sample):
            raise ReprotuneError(f"{path}: {found} {export.what}")
    if not is_mapped and (found := find_siblings(sample)):
        verdicts = [repr(key) for key in sample.keys if has_word(key_of(key), VERDICTS)][:3]
        said = f", which {' or '.join(verdicts)} may say" if verdicts else ""
        raise ReprotuneError(
            f"{path}: {found} hold two replies to one question, of which only the preferred one is to be learned{said}. Write "
            f"JSONL, a line for each: {A_PREFERENCE}"
        )
