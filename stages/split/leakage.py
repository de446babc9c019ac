"""Does a held-out conversation stand in train too, in nearly the same words? Found exactly, by a way of its own.

Two sets with a Jaccard index of at least t share an element among the first n - ceil(t n) + 1 of each, in any one order of all
elements (the prefix filter of S. Chaudhuri, V. Ganti, R. Kaushik, A primitive operator for similarity joins, 2006). With rare
elements first few pairs share one. What each pair can share at most is then told by a few bits of each set, in which every
element turns one over: what differs between the bits differs between the sets (the bitmap filter of E. Sandes et al., 2017). The
pairs that are left are verified. Unlike in stages/lib/near_duplicates.py nothing is left to chance.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from stages.lib.similarity.shingles import Shingles, jaccard
from stages.split.traits import Traits, equal_pairs

BUCKETS_BITS = 22  # n-grams are counted and matched by their upper bits; two in one bucket cost time, never a pair
ROWS_AT_ONCE = 1 << 13
PRODUCTS_AT_ONCE = 4_000_000  # some 100 MB
WORDS = 4  # of 64 bits, for each set


class Prefixes(NamedTuple):
    """Of N sets the rarest n - ceil(t n) + 1 elements each. `buckets`: 0/1 matrix (N, buckets); `lengths`: how many, (N,).

    `last`: the place of the last of them in the order of all elements, uint64 (N,).
    """

    buckets: sparse.csr_array
    lengths: np.ndarray
    last: np.ndarray


def find_prefixes(shingles: Shingles, rows: np.ndarray, frequencies: np.ndarray, threshold: float) -> Prefixes:
    columns, lengths, last = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for first in range(0, len(rows), 1 << 15):
        block = shingles.take(rows[first : first + (1 << 15)])
        sizes = block.sizes()
        row_of = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
        buckets = block.values >> np.uint32(32 - BUCKETS_BITS)
        # Ordered within a row by frequency (in 2**16 steps, all that fits), then by value: the same order for all rows.
        keys = np.sort((row_of << np.uint64(48)) | (frequencies[buckets].astype(np.uint64) << np.uint64(32)) | block.values)
        rank = np.arange(len(keys)) - np.repeat(block.offsets[:-1], sizes)
        # Rounded down a little before ceil: 0.8 * 5 must not become 5 by a last bit.
        kept = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1, 0)
        chosen = keys[rank < np.repeat(kept, sizes)] & np.uint64((1 << 48) - 1)
        columns.append(((chosen & np.uint64(0xFFFFFFFF)) >> np.uint64(32 - BUCKETS_BITS)).astype(np.int32))
        lengths.append(kept)
        ends = np.cumsum(kept)
        last.append(np.where(kept > 0, np.concatenate([chosen, [np.uint64(0)]])[ends - 1], np.uint64(0)))
    joined, counts = np.concatenate(columns), np.concatenate(lengths)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    ones = np.ones(len(joined), np.float32)
    matrix = sparse.csr_array((ones, joined, offsets), shape=(len(rows), 1 << BUCKETS_BITS))
    return Prefixes(matrix, counts, np.concatenate(last))


def frequency_steps(shingles: Shingles) -> np.ndarray:
    """How often each bucket occurs, on a logarithmic scale in uint16; (buckets,)."""
    counts = np.zeros(1 << BUCKETS_BITS, np.int64)
    for first in range(0, len(shingles.values), 1 << 24):
        counts += np.bincount(shingles.values[first : first + (1 << 24)] >> np.uint32(32 - BUCKETS_BITS), minlength=len(counts))
    return np.minimum(np.log2(counts + 1) * 2048, 65535).astype(np.uint16)


def parities(shingles: Shingles) -> np.ndarray:
    """WORDS * 64 bits for each set, of which each element turns over one; uint64 (N, WORDS)."""
    bits = np.zeros((len(shingles.offsets) - 1, WORDS), np.uint64)
    for first in range(0, len(bits), 1 << 15):
        sizes = shingles.sizes()[first : first + (1 << 15)]
        filled = np.flatnonzero(sizes)
        if not len(filled):
            continue
        starts = shingles.offsets[first : first + (1 << 15)]
        values = shingles.values[starts[0] : starts[filled[-1]] + sizes[filled[-1]]]
        turned = np.left_shift(np.uint64(1), (values & np.uint32(63)).astype(np.uint64))
        word_of = (values >> np.uint32(6)) % np.uint32(WORDS)
        for word in range(WORDS):
            of_word = np.where(word_of == word, turned, np.uint64(0))
            bits[first + filled, word] = np.bitwise_xor.reduceat(of_word, starts[filled] - starts[0])
    return bits


def similar_pairs(shingles: Shingles, queries: np.ndarray, others: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (row of `queries`, row of `others`) with a Jaccard index of at least `threshold`, (P, 2), and the index of each.

    Exact. Empty sets are like nothing.
    """
    frequencies = frequency_steps(shingles)
    left, right = (find_prefixes(shingles, rows, frequencies, threshold) for rows in (queries, others))
    left_sizes, right_sizes = shingles.sizes()[queries], shingles.sizes()[others]
    columns = right.buckets.T.tocsr()
    bits = parities(shingles)
    left_bits, right_bits = bits[queries], bits[others]
    found, similarities = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for first, last in _batches(left.buckets, columns):
        shared = (left.buckets[first:last] @ columns).tocoo()
        i, j = first + shared.row, shared.col
        # What the set whose prefix ends first shares with the other one is in both prefixes, or behind its own.
        behind = np.where(left.last[i] <= right.last[j], left_sizes[i] - left.lengths[i], right_sizes[j] - right.lengths[j])
        needed = threshold / (1 + threshold) * (left_sizes[i] + right_sizes[j])
        possible = np.flatnonzero(shared.data + behind >= needed - 1e-6)
        i, j = i[possible], j[possible]
        different = np.zeros(len(i), np.int64)
        for word in range(WORDS):
            different += np.bitwise_count(left_bits[i, word] ^ right_bits[j, word])
        possible = (left_sizes[i] + right_sizes[j] - different) / 2 >= needed[possible] - 1e-6
        pairs = np.column_stack([queries[i[possible]], others[j[possible]]]).astype(np.int64)
        similarity = jaccard(shingles, pairs)
        alike = similarity >= threshold
        found.append(pairs[alike])
        similarities.append(similarity[alike])
    return np.concatenate(found), np.concatenate(similarities)


def _batches(rows: sparse.csr_array, columns: sparse.csr_array) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose products with all columns fit into memory."""
    lengths = np.diff(columns.indptr)
    products = np.concatenate([[0], np.cumsum(lengths[rows.indices])])[rows.indptr]
    first = 0
    while first < rows.shape[0]:
        last = int(np.searchsorted(products, products[first] + PRODUCTS_AT_ONCE, side="right")) - 1
        last = max(first + 1, min(last, first + ROWS_AT_ONCE, rows.shape[0]))
        yield first, last
        first = last


def find_crossings(traits: Traits, held_out: np.ndarray, train: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """Pairs of rows, one held out and one in train, that share a group, a normalised text, or are near duplicates; (P, 2) each.

    Of many that share a group or a text the pairs connect all, on both sides.
    """
    found = {}
    for name in ("group", "text"):
        hashes = getattr(traits, name)
        crossing = np.isin(hashes, np.intersect1d(hashes[held_out], hashes[train]))
        considered = np.zeros_like(hashes)
        for rows in (held_out, train):
            considered[rows] = np.where(crossing[rows], hashes[rows], 0)
        found[name] = equal_pairs(considered)
    found["near"] = similar_pairs(traits.shingles, held_out, train, threshold)[0]
    return found


def nearest_others(shingles: Shingles, queries: np.ndarray, others: np.ndarray, threshold: float) -> dict[int, tuple[int, float]]:
    """Row of `queries` -> (the row of `others` most like it, their Jaccard index), where one reaches the threshold."""
    pairs, similarities = similar_pairs(shingles, queries, others, threshold)
    nearest: dict[int, tuple[int, float]] = {}
    for position in np.lexsort(
        (-pairs[:, 1], similarities)
    ).tolist():  # the last to come is the nearest, of several the first row
        nearest[int(pairs[position, 0])] = (int(pairs[position, 1]), float(similarities[position]))
    return nearest


def covered_share(grams: Shingles, queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the n-grams of each row of `queries` that stand somewhere in `others`; nan for a row without any. (Q,)"""
    known = np.sort(grams.take(others).values)
    asked = grams.take(queries)
    hits = np.zeros(len(asked.values) + 1)
    places = np.minimum(np.searchsorted(known, asked.values), max(len(known) - 1, 0))
    np.cumsum(known[places] == asked.values if len(known) else np.zeros(len(asked.values)), out=hits[1:])
    with np.errstate(invalid="ignore"):
        return (hits[asked.offsets[1:]] - hits[asked.offsets[:-1]]) / asked.sizes()
