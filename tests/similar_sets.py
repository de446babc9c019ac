"""Sets drawn at random that are alike by design, and brute force to compare with."""

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st

from stages.lib.similarity import join
from stages.lib.similarity.shingles import Shingles

# Few values, so that many pairs are near a threshold; some differ in their lowest bits only, and so share a bucket.
ALPHABET = [*range(0, 4), *(number << 28 | 5 for number in range(8)), *(number << 28 | 6 for number in range(8, 12))]
SET = st.frozensets(st.sampled_from(ALPHABET), max_size=12)
# Relatives of one set: subsets and supersets stand at the very border of what the search may pass over.
RELATED = st.tuples(SET, st.lists(st.frozensets(st.sampled_from(ALPHABET), max_size=3), max_size=5)).map(
    lambda drawn: [drawn[0], *(drawn[0] ^ other for other in drawn[1])]
)
SETS = st.lists(RELATED | SET.map(lambda one: [one]), max_size=5).map(lambda parts: [one for part in parts for one in part])


def sets_of(rows: Iterable[Iterable[int]]) -> Shingles:
    ordered = [sorted(set(row)) for row in rows]
    values = np.array([value for row in ordered for value in row], np.uint32)
    return Shingles(values, np.cumsum([0, *map(len, ordered)]).astype(np.int64))


def index_of(one: Iterable[int], other: Iterable[int]) -> Fraction:
    one, other = set(one), set(other)
    return Fraction(len(one & other), len(one | other)) if one | other else Fraction(0)


def alike(sets: list[frozenset[int]], queries: list[int], others: list[int], threshold: float) -> dict[tuple[int, int], float]:
    """Brute force, in exact arithmetic."""
    index = {(query, other): index_of(sets[query], sets[other]) for query in queries for other in others}
    return {pair: float(value) for pair, value in index.items() if value >= Fraction(str(threshold))}


def by_pair(pairs: np.ndarray, similarities: np.ndarray) -> dict[tuple[int, int], float]:
    listed = list(map(tuple, pairs.tolist()))
    assert len(set(listed)) == len(listed)
    return dict(zip(listed, similarities.tolist(), strict=True))


@contextlib.contextmanager
def sizes(bits: int, rows: int, products: int) -> Iterator[None]:
    """Other numbers of buckets, of rows and products that are worked on at once, and blocks of a few sets."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(join, "BUCKETS_BITS", bits)
        monkeypatch.setattr(join, "ROWS_AT_ONCE", rows)
        monkeypatch.setattr(join, "PRODUCTS_AT_ONCE", products)
        monkeypatch.setattr(join, "BLOCK", 1)
        yield


@st.composite
def sets_and_sides(draw: st.DrawFn) -> tuple[list[frozenset[int]], list[int], list[int]]:
    """Sets, and two lists of rows in any order: of those on neither side there may be some."""
    sets = draw(SETS)
    rows = draw(st.permutations(range(len(sets))))
    first, last = sorted((draw(st.integers(0, len(rows))), draw(st.integers(0, len(rows)))))
    return sets, list(rows[:first]), list(rows[first:last])
