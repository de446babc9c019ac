"""The exact search for pairs that are alike, against brute force."""

import tracemalloc

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from similar_sets import alike, by_pair, sets_and_sides, sets_of, sizes

from stages.lib.similarity import join
from stages.lib.similarity.join import Joins, parities, prefix_lengths, similar_pairs
from stages.lib.similarity.shingles import Shingles


# Four million buckets, the real number, are slow to set up for each example; further tests have them.
@pytest.mark.parametrize(("bits", "rows", "products"), [(8, 512, 20_000_000), (8, 1, 1), (3, 1, 5), (20, 512, 7)])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 1.0])
@settings(max_examples=examples(25), deadline=None)
@given(drawn=sets_and_sides())
def test_the_pairs_found_are_those_of_brute_force(
    threshold: float, bits: int, rows: int, products: int, drawn: tuple[list[frozenset[int]], list[int], list[int]]
) -> None:
    sets, queries, others = drawn
    with sizes(bits, rows, products):
        found = similar_pairs(Joins(sets_of(sets)).at(threshold), np.array(queries, np.int64), np.array(others, np.int64))
    assert by_pair(*found) == alike(sets, queries, others, threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_the_pairs_found_are_those_of_brute_force_among_words_as_frequent_as_in_a_language(threshold: float) -> None:
    choose = np.random.default_rng(3)
    frequent = choose.integers(0, 2**32, 500)
    sets = [frozenset(frequent[choose.zipf(1.3, choose.integers(1, 30)) % 500].tolist()) for _ in range(300)]
    sets += [one ^ frozenset(choose.choice(frequent, 2).tolist()) for one in sets[:150]]
    rows = choose.permutation(450).tolist()
    queries, others = rows[:150], rows[150:]
    expected = alike(sets, queries, others, threshold)
    assert len(expected) > 40
    assert by_pair(*similar_pairs(Joins(sets_of(sets)).at(threshold), np.array(queries), np.array(others))) == expected


def test_no_pair_is_lost_where_there_are_more_rows_than_one_block_has() -> None:
    choose = np.random.default_rng(5)
    number = (1 << 15) + 2000
    values = choose.permutation(2**24)[: 6 * number].reshape(number, 6) * 200
    values[1 << 15 :, :5] = values[:2000, :5]  # 5 of 7 in common
    similar = similar_pairs(Joins(sets_of(values.tolist())).at(0.7), np.arange(number), np.arange(number))
    twins = {(row, row + (1 << 15)): 5 / 7 for row in range(2000)}
    assert by_pair(*similar) == {(row, row): 1.0 for row in range(number)} | twins | {
        (b, a): index for (a, b), index in twins.items()
    }


@settings(max_examples=examples(50), deadline=None)
@given(rows=st.lists(st.frozensets(st.integers(0, 2**32 - 1), max_size=400), max_size=6))
def test_bits_differ_no_more_than_sets_and_about_as_much_where_these_are_small(rows: list[frozenset[int]]) -> None:
    bits = parities(sets_of(rows))
    assert bits.shape == (len(rows), 16)
    for one, its_bits in zip(rows, bits, strict=True):
        for other, other_bits in zip(rows, bits, strict=True):
            different = int(np.bitwise_count(its_bits ^ other_bits).sum())
            assert different <= len(one ^ other)
            assert different % 2 == len(one ^ other) % 2
    every_bit = [word << 28 | bit for word in range(16) for bit in range(64)]
    assert np.bitwise_count(parities(sets_of([every_bit, []]))).sum() == 1024


def test_pairs_that_share_too_little_are_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty rare elements in common, as in dialogues of one template, and forty frequent ones: an index of about 0.3."""
    choose = np.random.Generator(np.random.PCG64(0))
    frequent = choose.integers(0, 2**32, 200).tolist()
    templates = choose.integers(0, 2**32, (10, 20)).tolist()
    sets = [frozenset(templates[row % 10]) | frozenset(choose.choice(frequent, 40, False).tolist()) for row in range(60)]
    verified = []
    monkeypatch.setattr(join, "jaccard", lambda _, pairs: verified.extend(pairs.tolist()) or np.zeros(len(pairs)))
    similar_pairs(Joins(sets_of(sets)).at(0.5), np.arange(30), np.arange(30, 60))
    assert len(verified) < 0.2 * 30 * 3


def test_the_matrix_of_a_search_takes_eight_bytes_an_element_and_little_more_while_it_is_made() -> None:
    values = np.random.default_rng(0).integers(0, 2**32, (80_000, 20), dtype=np.uint32)
    search = Joins(Shingles(np.sort(values, axis=1).ravel(), np.arange(80_001) * 20)).at(0.5)
    rows = np.arange(0, 80_000, 2)
    lengths = prefix_lengths(search.sizes[rows], 0.5)
    elements = int(lengths.sum())
    tracemalloc.start()
    try:
        matrix = search._matrix(rows, lengths, 8)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert matrix.indices.dtype == np.int32
    assert held < 10 * elements
    assert peak < 30 * elements


def test_sets_made_ready_from_one_threshold_on_are_not_searched_below_it() -> None:
    joins = Joins(sets_of([range(10)]), lowest=0.5)
    assert joins.at(0.5).threshold == 0.5
    with pytest.raises(ValueError, match=r"a threshold of 0\.4; these sets were made ready from 0\.5 on"):
        joins.at(0.4)


def test_a_set_that_can_be_like_none_of_the_others_has_no_prefix() -> None:
    sizes_of_sets = np.array([0, 4, 10, 19, 20])
    assert prefix_lengths(sizes_of_sets, 0.5).tolist() == [0, 3, 6, 10, 11]
    assert prefix_lengths(sizes_of_sets, 0.5, smallest_other=20).tolist() == [0, 0, 1, 7, 7]
