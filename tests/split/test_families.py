"""Rows that are alike, directly or by way of others, are connected, all of them and no others."""

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from similar_sets import SETS, alike, sets_of, sizes

from stages.lib.similarity.join import Join, Joins
from stages.split import families
from stages.split.families import connect_similar


def families_of(pairs: list[tuple[int, int]], number: int) -> set[frozenset[int]]:
    """By merging until nothing changes."""
    family = {row: {row} for row in range(number)}
    for a, b in pairs:
        for row in (merged := family[a] | family[b]):
            family[row] = merged
    return {frozenset(rows) for rows in family.values()}


@pytest.mark.parametrize("at_once", [0, 3, 1 << 16])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8])
@settings(max_examples=examples(20), deadline=None)
@given(rows=SETS)
def test_families_are_those_of_all_pairs_that_are_alike(at_once: int, threshold: float, rows: list[frozenset[int]]) -> None:
    everything = list(range(len(rows)))
    expected = [(a, b) for a, b in alike(rows, everything, everything, threshold) if a != b]
    with sizes(8, 512, 1000), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(families, "ALL_AT_ONCE", at_once)
        found = connect_similar(Joins(sets_of(rows)).at(threshold)).tolist()
    assert families_of(found, len(rows)) == families_of(expected, len(rows))
    assert all(first < row for row, first in found)


@pytest.mark.parametrize(("shared", "own", "threshold"), [(70, 15, 0.7), (50, 25, 0.5)])
def test_every_pair_at_the_threshold_is_connected(shared: int, own: int, threshold: float) -> None:
    choose = np.random.default_rng(8)
    rows = []
    for _ in range(1000):
        values = choose.integers(0, 2**32, shared + 2 * own).tolist()
        rows += [values[: shared + own], values[:shared] + values[shared + own :]]
    assert connect_similar(Joins(sets_of(rows)).at(threshold)).tolist() == [[row + 1, row] for row in range(0, 2000, 2)]


def test_of_a_large_family_few_pairs_are_compared() -> None:
    compared = 0
    verified = Join.verified

    def counted(join: Join, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal compared
        compared += len(pairs)
        return verified(join, pairs)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Join, "verified", counted)
        assert (
            connect_similar(Joins(sets_of([*range(30), 1000 + row] for row in range(3000))).at(0.7))[:, 1].tolist() == [0] * 2999
        )
    assert compared < 200_000


def test_no_rows_have_no_families() -> None:
    assert connect_similar(Joins(sets_of([])).at(0.7)).shape == (0, 2)
