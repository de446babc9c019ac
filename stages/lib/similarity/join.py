"""All pairs of sets that are alike, found exactly and without comparing each with each.

Two sets with a Jaccard index of at least t share an element among the first n - ceil(t n) + 1 of each, in any one order of all
elements (the prefix filter of S. Chaudhuri, V. Ganti, R. Kaushik, A primitive operator for similarity joins, 2006). With rare
elements first few pairs share one, and fewer still where the other set is known to be large: sets are searched in blocks of like
sizes. What each pair can share at most is then told by a few bits of each set, in which every element turns one over: what
differs between the bits differs between the sets (the bitmap filter of E. Sandes et al., 2017). The pairs that are left are
verified. Unlike with MinHash no pair is left to chance, whatever the threshold is.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.processes import map_threads
from stages.lib.similarity.shingles import Shingles, jaccard

if TYPE_CHECKING:
    from scipy import sparse

LOWEST_THRESHOLD = 0.3  # below it a prefix is most of its set, and nearly all pairs share an element of theirs
BUCKETS_BITS = 22  # n-grams are counted and matched by their upper bits; two in one bucket cost time, never a pair
SETS_AT_ONCE = 1 << 13  # 2 ** 16 at most: a set's number in its block and two halves of its key fill 64 bits
ROWS_AT_ONCE = 1 << 13
BLOCK = 1 << 13  # sets of like sizes, searched at once
MOST_BLOCKS = 8
PRODUCTS_AT_ONCE = 2_000_000  # some 50 MB, for each thread
WORDS = 16  # of 64 bits, for each set: 128 bytes, and of a hundred pairs that four words let pass one is left


class Joins:
    """Searches of the same sets at thresholds from `lowest` on: what does not depend on the threshold is made once."""

    def __init__(self, shingles: Shingles, lowest: float = LOWEST_THRESHOLD) -> None:
        self.shingles = shingles
        self.lowest = lowest
        self.sizes = shingles.sizes()
        self.bits = parities(shingles)
        self.frequencies = frequency_steps(shingles)
        self.offsets = np.concatenate([[0], np.cumsum(prefix_lengths(self.sizes, lowest))])
        self.rarest = self._rarest_first()

    def _rarest_first(self) -> np.ndarray:
        """The elements that searches may look at, of each set the rarest first, end to end; uint32 (offsets[-1],)."""
        rarest = np.empty(self.offsets[-1], np.uint32)

        def fill(first: int) -> None:
            last = min(first + SETS_AT_ONCE, len(self.sizes))
            block = self.shingles.take(np.arange(first, last))
            sizes, lengths = block.sizes(), np.diff(self.offsets[first : last + 1])
            row_of = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
            # Ordered within a row by frequency (in 2**16 steps, all that fits), then by value: the same order for all rows.
            keys = np.sort((row_of << np.uint64(48)) | self.order_of(block.values))
            rank = np.arange(len(keys)) - np.repeat(block.offsets[:-1], sizes)
            rarest[self.offsets[first] : self.offsets[last]] = keys[rank < np.repeat(lengths, sizes)].astype(np.uint32)

        list(map_threads(fill, range(0, len(self.sizes), SETS_AT_ONCE)))
        return rarest

    def order_of(self, values: np.ndarray) -> np.ndarray:
        """Where each element stands in the one order of all; uint64 of 48 bits."""
        return (self.frequencies[bucket_of(values)].astype(np.uint64) << np.uint64(32)) | values

    def at(self, threshold: float) -> "Join":
        """
        Raises:
            ValueError: the threshold is below the lowest.
        """
        if threshold < self.lowest:
            raise ValueError(f"a threshold of {threshold:g}; these sets were made ready from {self.lowest:g} on")
        return Join(self, threshold)


class Join:
    """Sets that are searched for pairs with a Jaccard index of at least `threshold`. Empty sets are like nothing."""

    def __init__(self, joins: Joins, threshold: float) -> None:
        self.joins = joins
        self.threshold = threshold
        self.sizes = joins.sizes

    def prefix_ends(self, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Where the last element of each row's prefix stands in the order of all; 0 for a prefix of none. uint64 (rows,)."""
        ends = np.zeros(len(rows), np.uint64)
        filled = np.flatnonzero(lengths)
        ends[filled] = self.joins.order_of(self.joins.rarest[self.joins.offsets[rows[filled]] + lengths[filled] - 1])
        return ends

    def _matrix(self, rows: np.ndarray, lengths: np.ndarray, bits: int) -> "sparse.csr_array":
        """Which buckets the prefixes of `rows` hold, how often; (rows, 2 ** bits)."""
        from scipy import sparse  # 0.2 s, late: processes that only clean texts search nothing

        offsets = np.concatenate([[0], np.cumsum(lengths)])
        columns = np.empty(offsets[-1], np.int32)
        for first in range(0, len(rows), SETS_AT_ONCE):
            last = min(first + SETS_AT_ONCE, len(rows))
            begin, end = offsets[first], offsets[last]
            moved_by = self.joins.offsets[rows[first:last]] - offsets[first:last]
            places = np.arange(begin, end) + np.repeat(moved_by, lengths[first:last])
            columns[begin:end] = bucket_of(self.joins.rarest[places]) >> np.uint32(BUCKETS_BITS - bits)
        if offsets[-1] <= np.iinfo(np.int32).max:  # else scipy makes the columns' type that of the offsets, twice as large
            offsets = offsets.astype(np.int32)
        return sparse.csr_array((np.ones(len(columns), np.float32), columns, offsets), shape=(len(rows), 1 << bits))

    def by_size(self, queries: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`others` in blocks of like sizes, each with those of `queries` that are neither too small nor too large for all of it.

        What a pair has in common is more, and its prefixes are shorter, the larger the smallest set of a block is.
        """
        ordered = others[np.argsort(self.sizes[others], kind="stable")]
        sizes = self.sizes[queries]
        for block in np.array_split(ordered, min(MOST_BLOCKS, 1 + len(others) // BLOCK)):
            if len(block):
                smallest, largest = self.sizes[block[[0, -1]]]
                fitting = (sizes >= self.threshold * smallest - 1e-9) & (self.threshold * sizes <= largest + 1e-9)
                yield queries[fitting], block

    def candidates(self, queries: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
        """(row of `queries`, row of `others`) of all that may be alike, in the order of `queries`; batches of pairs (P, 2)."""
        if not len(queries) or not len(others):
            return
        lengths = prefix_lengths(self.sizes[queries], self.threshold, self.sizes[others].min())
        other_lengths = prefix_lengths(self.sizes[others], self.threshold, self.sizes[queries].min())
        bits = min(BUCKETS_BITS, max(8, int(4 * other_lengths.sum()).bit_length()))
        matrix, columns = self._matrix(queries, lengths, bits), self._matrix(others, other_lengths, bits).T.tocsr()
        ends, other_ends = self.prefix_ends(queries, lengths), self.prefix_ends(others, other_lengths)
        behind, others_behind = self.sizes[queries] - lengths, self.sizes[others] - other_lengths

        def search(batch: tuple[int, int]) -> np.ndarray:
            first, last = batch
            shared = (matrix[first:last] @ columns).tocoo()
            i, j = first + shared.row, shared.col
            # What the set whose prefix ends first shares with the other one is in both prefixes, or behind its own.
            unseen = np.where(ends[i] <= other_ends[j], behind[i], others_behind[j])
            i_rows, j_rows = queries[i], others[j]
            needed = self.threshold / (1 + self.threshold) * (self.sizes[i_rows] + self.sizes[j_rows])
            possible = np.flatnonzero(shared.data + unseen >= needed - 1e-6)
            pairs = np.column_stack([i_rows[possible], j_rows[possible]])
            return pairs[self.at_most(pairs) >= self.threshold - 1e-9]

        yield from map_threads(search, _batches(matrix, columns))

    def at_most(self, pairs: np.ndarray) -> np.ndarray:
        """What the Jaccard index of each pair is at most, by a few bits of each set; float64 (P,)."""
        i, j = pairs[:, 0], pairs[:, 1]
        both = self.sizes[i] + self.sizes[j]
        common = (both - np.bitwise_count(self.joins.bits[i] ^ self.joins.bits[j]).sum(axis=1, dtype=np.int64)) // 2
        return np.minimum(common, np.minimum(self.sizes[i], self.sizes[j])) / (both - common)

    def verified(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the pairs that are alike, and the Jaccard index of each."""
        similarity = jaccard(self.joins.shingles, pairs)
        alike = similarity >= self.threshold
        return pairs[alike], similarity[alike]


def similar_pairs(join: Join, queries: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (row of `queries`, row of `others`) that are alike, (P, 2), and the Jaccard index of each."""
    found = [join.verified(pairs) for part in join.by_size(queries, others) for pairs in join.candidates(*part)]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *(pairs for pairs, _ in found)])
    return pairs, np.concatenate([np.empty(0), *(similarity for _, similarity in found)])


def bucket_of(values: np.ndarray) -> np.ndarray:
    return values >> np.uint32(32 - BUCKETS_BITS)


def prefix_lengths(sizes: np.ndarray, threshold: float, smallest_other: int = 0) -> np.ndarray:
    """How many of a set's elements tell whether it may be like another of at least `smallest_other` elements; int64 (N,)."""
    in_common = np.maximum(threshold * sizes, threshold / (1 + threshold) * (sizes + smallest_other))
    # Rounded down a little before ceil: 0.8 * 5 must not become 5 by a last bit.
    lengths = sizes - np.ceil(in_common - 1e-9).astype(np.int64) + 1
    return np.where(sizes > 0, np.maximum(lengths, 0), 0)


def frequency_steps(shingles: Shingles) -> np.ndarray:
    """How often each bucket occurs, on a logarithmic scale in uint16; (buckets,)."""
    counts = np.zeros(1 << BUCKETS_BITS, np.int64)
    for first in range(0, len(shingles.values), 1 << 24):
        counts += np.bincount(bucket_of(shingles.values[first : first + (1 << 24)]), minlength=len(counts))
    steps, filled = np.zeros(len(counts), np.uint16), np.flatnonzero(counts)  # of few sets nearly all are empty
    steps[filled] = np.minimum(np.log2(counts[filled] + 1) * 2048, 65535)
    return steps


def parities(shingles: Shingles) -> np.ndarray:
    """WORDS * 64 bits for each set, of which each element turns over one; uint64 (N, WORDS)."""
    bits = np.zeros((len(shingles.offsets) - 1) * WORDS, np.uint64)
    all_sizes = shingles.sizes()

    def fill(first: int) -> None:
        sizes = all_sizes[first : first + SETS_AT_ONCE]
        values = shingles.values[shingles.offsets[first] : shingles.offsets[first + len(sizes)]]
        row_of = np.repeat(np.arange(first, first + len(sizes)), sizes)
        word_of = row_of * WORDS + values // np.uint32(2**32 // WORDS)  # ascending, as the values of a set are
        starts = np.flatnonzero(np.diff(word_of, prepend=-1))
        turned = np.left_shift(np.uint64(1), (values & np.uint32(63)).astype(np.uint64))
        bits[word_of[starts]] = np.bitwise_xor.reduceat(turned, starts) if len(starts) else turned

    list(map_threads(fill, range(0, len(all_sizes), SETS_AT_ONCE)))
    return bits.reshape(-1, WORDS)


def _batches(rows: "sparse.csr_array", columns: "sparse.csr_array") -> Iterator[tuple[int, int]]:
    """Ranges of rows whose products with all columns fit into memory."""
    lengths = np.diff(columns.indptr)
    products = np.concatenate([[0], np.cumsum(lengths[rows.indices])])[rows.indptr]
    first = 0
    while first < rows.shape[0]:
        last = int(np.searchsorted(products, products[first] + PRODUCTS_AT_ONCE, side="right")) - 1
        last = max(first + 1, min(last, first + ROWS_AT_ONCE, rows.shape[0]))
        yield first, last
        first = last
