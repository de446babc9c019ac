"""Texts -> sets of token n-grams, the measure of how alike two conversations are (Jaccard index).

A token is a run of letters and digits, or one character of a script that writes without spaces (Chinese, Japanese, Thai, ...) or
one symbol, so that a mixed text needs no language. Chats are short: 2-grams tell them apart where longer ones would find nothing
in common. An n-gram stands in one message, and is another one where someone else says it. Tokens and n-grams are hashed; a batch
of texts is worked on at once, in NumPy.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from stages.lib.scripts import UNSPACED

SEPARATOR, IN_WORD, ALONE = 0, 1, 2
UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
INVERSE = pow(BASE, -1, 2**64)
GRAM = np.uint64(0xD1342543DE82EF95)
TAKEN_AT_ONCE = 1 << 14  # sets
VERIFIED_AT_ONCE = 1 << 20  # n-grams; some 10 MB


class Shingles(NamedTuple):
    """The sets of N texts end to end. `values`: uint32 hashes, ascending in each set, (total,); `offsets`: int64, (N + 1,)."""

    values: np.ndarray
    offsets: np.ndarray

    def sizes(self) -> np.ndarray:
        return np.diff(self.offsets)

    def sizes_of(self, rows: np.ndarray) -> np.ndarray:
        return self.offsets[rows + 1] - self.offsets[rows]

    def take(self, rows: np.ndarray) -> "Shingles":
        """The sets at `rows`, in that order."""
        sizes = self.sizes_of(rows)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        values = np.empty(offsets[-1], np.uint32)
        for first in range(0, len(rows), TAKEN_AT_ONCE):
            last = min(first + TAKEN_AT_ONCE, len(rows))
            begin, end = offsets[first], offsets[last]
            moved_by = self.offsets[rows[first:last]] - offsets[first:last]
            values[begin:end] = self.values[np.arange(begin, end) + np.repeat(moved_by, sizes[first:last])]
        return Shingles(values, offsets)


def concatenate(parts: list[Shingles]) -> Shingles:
    """All sets, end to end. The list is emptied on the way: both together may be more than there is room for.

    >>> both = concatenate([shingle(["a b c"]), shingle(["", "a b"])])
    >>> both.sizes().tolist()
    [2, 0, 1]
    """
    sizes = [part.sizes() for part in parts]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(sizes) if sizes else [], dtype=np.int64)])
    values = np.empty(offsets[-1], np.uint32)
    end = len(values)
    while parts:
        part = parts.pop().values
        values[end - len(part) : end] = part
        end -= len(part)
    return Shingles(values, offsets)


@cache
def _classes() -> np.ndarray:
    """Class of each code point of the basic plane; uint8, (65536,)."""
    table = np.zeros(0x10000, np.uint8)
    for code in range(0x10000):
        category = unicodedata.category(chr(code))
        # Marks (Mn, Mc) belong to the word that they stand in; symbols other than modifiers tell by themselves.
        if category[0] in "LNM":
            table[code] = ALONE if UNSPACED_CHARACTER.match(chr(code)) else IN_WORD
        elif category in ("So", "Sm", "Sc"):
            table[code] = ALONE
    return table


@cache
def _powers(number: int, length: int) -> np.ndarray:
    """number ** 0, 1, ... modulo 2**64; (length,)."""
    factors = np.full(length, number, np.uint64)
    factors[:1] = 1
    return np.multiply.accumulate(factors)


def _mix(values: np.ndarray) -> np.ndarray:
    """Spread the bits of uint64 values (the finaliser of SplitMix64), in place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _tokens(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(token hashes uint64, offsets int64 (N + 1,)) of normalised texts."""
    joined = "\n".join(texts) + "\n"  # a separator ends each text's last token
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    classes = np.full(len(codes), ALONE, np.uint8)
    basic = codes < 0x10000
    classes[basic] = _classes()[codes[basic]]
    in_word = classes == IN_WORD
    before = np.concatenate([[False], in_word[:-1]])
    after = np.concatenate([in_word[1:], [False]])
    alone = classes == ALONE
    starts = np.flatnonzero(alone | (in_word & ~before))
    ends = np.flatnonzero(alone | (in_word & ~after)) + 1
    # A token's polynomial hash is a difference of prefix sums, divided by the power at which it begins.
    length = 1 << max(12, (len(codes) + 1).bit_length())  # so that few tables are made
    sums = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum(_mix(codes.astype(np.uint64) + np.uint64(1)) * _powers(BASE, length)[: len(codes)])]
    )
    tokens = _mix((sums[ends] - sums[starts]) * _powers(INVERSE, length)[starts])
    borders = np.cumsum([len(text) + 1 for text in texts]) if texts else np.empty(0, np.int64)
    return tokens, np.concatenate([[0], np.searchsorted(starts, borders)]).astype(np.int64)


def shingle(texts: Sequence[str], n: int = 2) -> Shingles:
    """The set of token n-grams of each normalised text. A text of fewer than n tokens has one: all that it holds.

    >>> shingle(["how are you", "how are you", "你好吗", "", "hi"]).sizes().tolist()
    [2, 2, 2, 0, 1]
    """
    return shingle_by(texts, [n])[0]


def shingle_by(texts: Sequence[str], lengths: Sequence[int]) -> list[Shingles]:
    """The sets of n-grams of each of the lengths."""
    tokens, offsets = _tokens(texts)
    return [_sets(tokens, offsets, np.arange(len(texts)), len(texts), n) for n in lengths]


def shingle_dialogues(dialogues: Sequence[Sequence[tuple[str, str]]], n: int = 2) -> Shingles:
    """The set of n-grams of each dialogue, which is (speaker, normalised text) of its messages. The same words of two
    speakers are different.

    >>> sets = shingle_dialogues([[("user", "how are you")], [("assistant", "how are you")]])
    >>> sets.sizes().tolist(), jaccard(sets, np.array([[0, 1]])).tolist()
    ([2, 2], [0.0])
    """
    messages = [message for dialogue in dialogues for message in dialogue]
    speakers = np.array([_speaker(speaker) for speaker, _ in messages], np.uint64)
    dialogue_of = np.repeat(np.arange(len(dialogues)), [len(dialogue) for dialogue in dialogues])
    tokens, offsets = _tokens([text for _, text in messages])
    tokens ^= np.repeat(speakers, np.diff(offsets))
    return _sets(tokens, offsets, dialogue_of, len(dialogues), n)


def _sets(tokens: np.ndarray, offsets: np.ndarray, set_of: np.ndarray, number: int, n: int) -> Shingles:
    """The n-grams of texts, which are tokens from offset to offset; `set_of`: the set that each text belongs to, ascending."""
    counts = np.diff(offsets)
    grams = np.zeros(len(tokens), np.uint64)
    for step in range(n):
        shifted = np.zeros(len(tokens), np.uint64)
        shifted[: max(len(tokens) - step, 0)] = tokens[step:]
        grams = grams * GRAM + shifted
    left = np.repeat(offsets[1:], counts) - np.arange(len(tokens))  # tokens from here to the end of the text
    used = left >= n
    short = np.flatnonzero((counts > 0) & (counts < n))
    grams[offsets[short]] = _whole(tokens, offsets[short], counts[short])
    used[offsets[short]] = True
    hashes = (_mix(grams[used]) >> np.uint64(32)).astype(np.uint64)
    keys = np.sort((np.repeat(set_of, counts)[used].astype(np.uint64) << np.uint64(32)) | hashes)
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    rows = (keys >> np.uint64(32)).astype(np.int64)
    return Shingles(keys.astype(np.uint32), np.searchsorted(rows, np.arange(number + 1)).astype(np.int64))


def _whole(tokens: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """One hash of all tokens of each text."""
    values = np.zeros(len(starts), np.uint64)
    for step in range(int(counts.max(initial=0))):
        longer = counts > step
        values[longer] = values[longer] * GRAM + tokens[starts[longer] + step]
    return values


@lru_cache(maxsize=1 << 12)
def _speaker(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") if name else 0


def jaccard(shingles: Shingles, pairs: np.ndarray) -> np.ndarray:
    """Exact Jaccard index of each pair of rows, `pairs` (P, 2) -> float64 (P,); 0 where both sets are empty.

    >>> sets = shingle(["a b c d", "a b c e", "x y"])
    >>> jaccard(sets, np.array([[0, 1], [0, 2], [1, 1]])).tolist()
    [0.5, 0.0, 1.0]
    """
    found = np.zeros(len(pairs))
    both_sizes = shingles.sizes_of(pairs).sum(axis=1)
    batch_of = np.cumsum(both_sizes) // VERIFIED_AT_ONCE
    for rows in np.split(np.arange(len(pairs)), np.flatnonzero(np.diff(batch_of)) + 1):
        part = pairs[rows]
        both = shingles.take(part.ravel())
        number = np.repeat(np.arange(len(part), dtype=np.uint64), np.diff(both.offsets[::2]))
        keys = np.sort((number << np.uint64(32)) | both.values)
        common = np.bincount((keys[1:][keys[1:] == keys[:-1]] >> np.uint64(32)).astype(np.int64), minlength=len(part))
        union = both_sizes[rows] - common
        found[rows] = np.divide(common, union, out=np.zeros(len(part)), where=union > 0)
    return found
