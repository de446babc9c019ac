"""All pairs of sets that are alike, found exactly and without comparing each with each.

Two sets with a Jaccard index of at least t share an element among the first n - ceil(t n) + 1 of each, in any one order of all
elements (the prefix filter of S. Chaudhuri, V. Ganti, R. Kaushik, A primitive operator for similarity joins, 2006). With rare
elements first few pairs share one. What each pair can share at most is then told by a few bits of each set, in which every
element turns one over: what differs between the bits differs between the sets (the bitmap filter of E. Sandes et al., 2017). The
pairs that are left are verified. Unlike with MinHash no pair is left to chance, whatever the threshold is.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from stages.lib.similarity.shingles import Shingles, jaccard

LOWEST_THRESHOLD = 0.3  # below it a prefix is most of its set, and nearly all pairs share an element of theirs
BUCKETS_BITS = 22  # n-grams are counted and matched by their upper bits; two in one bucket cost time, never a pair
SETS_AT_ONCE = 1 << 15  # no more: a set's number in its block and two halves of its key fill 64 bits
ROWS_AT_ONCE = 1 << 13
PRODUCTS_AT_ONCE = 4_000_000  # some 100 MB
WORDS = 4  # of 64 bits, for each set


class Joins:
    """Searches of the same sets at several thresholds: what does not depend on the threshold is made once."""

    def __init__(self, shingles: Shingles) -> None:
        self.shingles = shingles
        self.sizes = shingles.sizes()
        self.bits = parities(shingles)
        self.frequencies = frequency_steps(shingles)

    def at(self, threshold: float) -> "Join":
        return Join(self, threshold)


class Join:
    """Sets made ready to be searched for pairs with a Jaccard index of at least `threshold`. Empty sets are like nothing."""

    def __init__(self, joins: Joins, threshold: float) -> None:
        self.shingles = joins.shingles
        self.threshold = threshold
        self.sizes = joins.sizes
        self.bits = joins.bits
        # Rounded down a little before ceil: 0.8 * 5 must not become 5 by a last bit.
        shortest = np.ceil(threshold * self.sizes - 1e-9).astype(np.int64)  # what a set that is alike shares at least
        self.lengths = np.where(self.sizes > 0, self.sizes - shortest + 1, 0)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.buckets, self.last = self._prefixes(joins.frequencies)

    def _prefixes(self, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bucket of each element of each set's prefix, end to end, and where the last one stands in the order of all (N,)."""
        buckets, last = [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
        for first in range(0, len(self.sizes), SETS_AT_ONCE):
            block = self.shingles.take(np.arange(first, min(first + SETS_AT_ONCE, len(self.sizes))))
            lengths, sizes = self.lengths[first : first + SETS_AT_ONCE], block.sizes()
            row_of = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
            steps = frequencies[block.values >> np.uint32(32 - BUCKETS_BITS)].astype(np.uint64)
            # Ordered within a row by frequency (in 2**16 steps, all that fits), then by value: the same order for all rows.
            keys = np.sort((row_of << np.uint64(48)) | (steps << np.uint64(32)) | block.values)
            rank = np.arange(len(keys)) - np.repeat(block.offsets[:-1], sizes)
            chosen = keys[rank < np.repeat(lengths, sizes)] & np.uint64((1 << 48) - 1)
            buckets.append(((chosen & np.uint64(0xFFFFFFFF)) >> np.uint64(32 - BUCKETS_BITS)).astype(np.int32))
            ends = np.concatenate([chosen, [np.uint64(0)]])[np.cumsum(lengths) - 1]
            last.append(np.where(lengths > 0, ends, np.uint64(0)))
        return np.concatenate(buckets), np.concatenate(last)

    def _matrix(self, rows: np.ndarray, bits: int) -> sparse.csr_array:
        """Which buckets the prefixes of `rows` hold, how often; (rows, 2 ** bits)."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        columns = np.empty(offsets[-1], np.int32)
        for first in range(0, len(rows), SETS_AT_ONCE):
            last = min(first + SETS_AT_ONCE, len(rows))
            begin, end = offsets[first], offsets[last]
            moved_by = self.offsets[rows[first:last]] - offsets[first:last]
            places = np.arange(begin, end) + np.repeat(moved_by, lengths[first:last])
            columns[begin:end] = self.buckets[places] >> np.int32(BUCKETS_BITS - bits)
        if offsets[-1] <= np.iinfo(np.int32).max:  # else scipy makes the columns' type that of the offsets, twice as large
            offsets = offsets.astype(np.int32)
        return sparse.csr_array((np.ones(len(columns), np.float32), columns, offsets), shape=(len(rows), 1 << bits))

    def candidates(self, queries: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
        """(row of `queries`, row of `others`) of all that may be alike, in the order of `queries`; batches of pairs (P, 2)."""
        bits = min(BUCKETS_BITS, max(8, int(4 * self.lengths[others].sum()).bit_length()))
        matrix, columns = self._matrix(queries, bits), self._matrix(others, bits).T.tocsr()
        for first, last in _batches(matrix, columns):
            shared = (matrix[first:last] @ columns).tocoo()
            i, j = queries[first + shared.row], others[shared.col]
            # What the set whose prefix ends first shares with the other one is in both prefixes, or behind its own.
            behind = np.where(self.last[i] <= self.last[j], self.sizes[i] - self.lengths[i], self.sizes[j] - self.lengths[j])
            needed = self.threshold / (1 + self.threshold) * (self.sizes[i] + self.sizes[j])
            possible = np.flatnonzero(shared.data + behind >= needed - 1e-6)
            i, j = i[possible], j[possible]
            pairs = np.column_stack([i, j])
            yield pairs[self.at_most(pairs) >= self.threshold - 1e-9]

    def at_most(self, pairs: np.ndarray) -> np.ndarray:
        """What the Jaccard index of each pair is at most, by a few bits of each set; float64 (P,)."""
        i, j = pairs[:, 0], pairs[:, 1]
        both = self.sizes[i] + self.sizes[j]
        common = (both - np.bitwise_count(self.bits[i] ^ self.bits[j]).sum(axis=1, dtype=np.int64)) // 2
        return np.minimum(common, np.minimum(self.sizes[i], self.sizes[j])) / (both - common)

    def verified(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the pairs that are alike, and the Jaccard index of each."""
        similarity = jaccard(self.shingles, pairs)
        alike = similarity >= self.threshold
        return pairs[alike], similarity[alike]


def similar_pairs(join: Join, queries: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (row of `queries`, row of `others`) that are alike, (P, 2), and the Jaccard index of each."""
    found = [join.verified(pairs) for pairs in join.candidates(queries, others)]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *(pairs for pairs, _ in found)])
    return pairs, np.concatenate([np.empty(0), *(similarity for _, similarity in found)])


def frequency_steps(shingles: Shingles) -> np.ndarray:
    """How often each bucket occurs, on a logarithmic scale in uint16; (buckets,)."""
    counts = np.zeros(1 << BUCKETS_BITS, np.int64)
    for first in range(0, len(shingles.values), 1 << 24):
        counts += np.bincount(shingles.values[first : first + (1 << 24)] >> np.uint32(32 - BUCKETS_BITS), minlength=len(counts))
    steps, filled = np.zeros(len(counts), np.uint16), np.flatnonzero(counts)  # of few sets nearly all are empty
    steps[filled] = np.minimum(np.log2(counts[filled] + 1) * 2048, 65535)
    return steps


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
