"""What the split has to know of each conversation: its stratum, and all that it may share with another one."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import orjson

from stages.lib.processes import in_chunks, map_chunks
from stages.lib.records.conversation import Conversation, normalize, reply_text
from stages.lib.similarity.shingles import Shingles, concatenate, shingle_by

ROWS_AT_ONCE = 1000
LONG_GRAM = 8  # tokens; as in A. Chowdhery et al., PaLM, 2022, section 8: a row is tainted when 70% of its 8-grams are in train


class Traits(NamedTuple):
    """One row a conversation. The uint64 hashes are 0 where there is nothing to share."""

    ids: list[str]
    strata: list[str]
    group: np.ndarray  # (N,) uint64: the source's group key
    # (N,) uint64: the user's messages, their last punctuation left out; the first alone would tie all that begin with "Hi".
    prompt: np.ndarray
    text: np.ndarray  # (N,) uint64: all normalised messages with their roles
    # Of what is said, whoever says it: what was asked in training must not be a test's answer. Not of the system's prompt, which
    # many may share.
    shingles: Shingles
    long_grams: Shingles

    def take(self, rows: np.ndarray) -> "Traits":
        """Those of `rows`, in that order."""
        ids, strata = ([names[row] for row in rows] for names in (self.ids, self.strata))
        hashes = self.group[rows], self.prompt[rows], self.text[rows]
        return Traits(ids, strata, *hashes, self.shingles.take(rows), self.long_grams.take(rows))


def stratum_of(conversation: Conversation, stratify_by: Sequence[str]) -> str:
    """Turns in the classes 1, 2-3, 4 and more; length in powers of 16 characters. No tokenizer: the same for each model."""
    turns = sum([message["role"] == "assistant" for message in conversation["messages"]])
    characters = sum([len(message["content"]) for message in conversation["messages"]])
    parts = {
        "source": conversation["id"].partition("/")[0],
        "label": conversation["label"] or "",
        "language": conversation["language"],
        "turns": "1 turn" if turns == 1 else "2-3 turns" if turns < 4 else "4+ turns",
        "length": f"under {16 ** ((characters.bit_length() + 3) // 4):,} characters",
    }
    return " / ".join(parts[name] for name in stratify_by)


def number_of(value: object) -> int:
    return int.from_bytes(hashlib.blake2b(orjson.dumps(value), digest_size=8).digest(), "little") or 1


def without_end(text: str) -> str:
    """The normalised text without the punctuation at its end, unless it is nothing else.

    >>> without_end("where is my order?!"), without_end("在吗？"), without_end("c++"), without_end("?")
    ('where is my order', '在吗', 'c++', '?')
    """
    end = len(text)
    while end and (unicodedata.category(text[end - 1])[0] == "P" or text[end - 1] == " "):
        end -= 1
    return text[:end] or text


def describe_lines(lines: list[bytes], stratify_by: Sequence[str]) -> Traits:
    rows = [orjson.loads(line) for line in lines]
    normal = [[normalize(reply_text(message)) for message in row["messages"]] for row in rows]
    prompts = [
        [without_end(text) for message, text in zip(row["messages"], texts, strict=True) if message["role"] == "user"]
        for row, texts in zip(rows, normal, strict=True)
    ]
    keys = [
        [(message["role"], text) for message, text in zip(row["messages"], texts, strict=True)]
        for row, texts in zip(rows, normal, strict=True)
    ]
    shingles, long_grams = shingle_by(
        ["\n".join([text for role, text in key if role != "system"]) for key in keys], [2, LONG_GRAM]
    )
    return Traits(
        [row["id"] for row in rows],
        [stratum_of(row, stratify_by) for row in rows],
        np.array([number_of(row["group"]) if row["group"] else 0 for row in rows], np.uint64),
        np.array([number_of(prompt) if prompt else 0 for prompt in prompts], np.uint64),
        np.array([number_of(key) for key in keys], np.uint64),
        shingles,
        long_grams,
    )


def describe_all(lines: Iterable[bytes], stratify_by: Sequence[str]) -> Traits:
    """The traits of all conversations, in the order of their lines."""
    parts = list(map_chunks(partial(describe_lines, stratify_by=stratify_by), in_chunks(lines, ROWS_AT_ONCE)))
    if not parts:
        return describe_lines([], stratify_by)
    shingles, long_grams = [part.shingles for part in parts], [part.long_grams for part in parts]
    names: dict[str, str] = {}  # each stratum's once
    group, prompt, text = (np.concatenate([getattr(part, name) for part in parts]) for name in ("group", "prompt", "text"))
    ids = [id for part in parts for id in part.ids]
    strata = [names.setdefault(stratum, stratum) for part in parts for stratum in part.strata]
    parts.clear()
    return Traits(ids, strata, group, prompt, text, concatenate(shingles), concatenate(long_grams))


def equal_pairs(hashes: np.ndarray) -> np.ndarray:
    """Pairs of rows with the same hash other than 0, enough of them to connect all that share one; (P, 2).

    >>> equal_pairs(np.array([7, 0, 5, 7, 0, 7])).tolist()
    [[3, 0], [5, 3]]
    """
    order = np.argsort(hashes, kind="stable")
    same = (hashes[order][1:] == hashes[order][:-1]) & (hashes[order][1:] != 0)
    return np.column_stack([order[1:][same], order[:-1][same]])
