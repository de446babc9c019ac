"""Near duplicates among many conversations: MinHash proposes pairs, the exact Jaccard index decides.

A bucket's rows are compared with its first row, the leader, and never chained: of templated dialogues that are each a little
unlike the next, only those go that are alike enough to one that stays. (A. Broder, On the resemblance and containment of
documents, 1997.)
"""

from collections.abc import Iterator

import numpy as np

from stages.lib.similarity.shingles import Shingles, jaccard

BANDS, ROWS = 16, 5  # a pair at Jaccard 0.8 shares a bucket with probability 0.998, one at 0.5 with 0.4
_random = np.random.Generator(np.random.PCG64(0))
FACTORS = _random.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
SHIFTS = _random.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
BLOCK = 1 << 16  # values hashed at once: what fits in a core's cache


def band_keys(shingles: Shingles) -> np.ndarray:
    """The buckets of each set, (N, BANDS) uint64. Sets with the same key in a band are candidates; an empty set has key 0."""
    keys = np.zeros((len(shingles.offsets) - 1, BANDS), np.uint64)
    filled = np.flatnonzero(shingles.sizes())
    for rows in _blocks(shingles, filled):
        first, last = shingles.offsets[rows[0]], shingles.offsets[rows[-1] + 1]
        values = shingles.values[first:last].astype(np.uint64)
        starts = shingles.offsets[rows] - first
        for band in range(BANDS):
            key = np.zeros(len(rows), np.uint64)
            for hash in range(band * ROWS, (band + 1) * ROWS):
                lowest = np.minimum.reduceat((values * FACTORS[hash] + SHIFTS[hash]) >> np.uint64(32), starts)
                key = (key ^ lowest) * np.uint64(0x9E3779B97F4A7C15)
                key ^= key >> np.uint64(29)
            keys[rows, band] = key
    return keys


def _blocks(shingles: Shingles, filled: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive non-empty rows, BLOCK values or so at a time."""
    if len(filled):
        number = shingles.offsets[filled] // BLOCK
        yield from np.split(filled, np.flatnonzero(np.diff(number)) + 1)


def candidate_pairs(keys: np.ndarray) -> np.ndarray:
    """(row, earlier row) for each row and the first of each of its buckets, without repetition; (P, 2) int64."""
    found = []
    for column in keys.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(order)]
        leader = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        paired = (leader != order) & (ordered != 0)
        found.append((order[paired].astype(np.uint64) << np.uint64(32)) | leader[paired].astype(np.uint64))
    coded = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)
    return np.column_stack([coded >> np.uint64(32), coded & np.uint64(0xFFFFFFFF)]).astype(np.int64)


def verified_pairs(shingles: Shingles, keys: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Candidate pairs with a Jaccard index of at least `threshold`, sorted, and the index of each."""
    pairs = candidate_pairs(keys)
    sizes = shingles.sizes()[pairs]
    pairs = pairs[sizes.min(axis=1) >= threshold * sizes.max(axis=1)]
    similarity = jaccard(shingles, pairs)
    alike = similarity >= threshold
    return pairs[alike], similarity[alike]


def find_originals(shingles: Shingles, keys: np.ndarray, threshold: float) -> dict[int, tuple[int, float]]:
    """Row to drop -> (the earlier row that stays in its place, their Jaccard index). Rows in the order in which they may stay."""
    original: dict[int, tuple[int, float]] = {}
    pairs, similarities = verified_pairs(shingles, keys, threshold)
    for (row, leader), similarity in zip(pairs.tolist(), similarities.tolist(), strict=True):
        if row in original:
            continue
        if leader not in original:
            original[row] = (leader, similarity)
            continue
        # The leader is dropped itself: does the row that stays for it stand for this one too?
        staying = original[leader][0]
        similarity_to_it = float(jaccard(shingles, np.array([[row, staying]]))[0])
        if similarity_to_it >= threshold:
            original[row] = (staying, similarity_to_it)
    return original
