"""Near duplicates: edits are found, templates stay, nothing is chained, and no row depends on rows that it has nothing of."""

import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.similarity import near_duplicates
from stages.lib.similarity.near_duplicates import BANDS, band_keys, candidate_pairs, find_originals, verified_pairs
from stages.lib.similarity.shingles import Shingles, concatenate, shingle

THRESHOLD = 0.8
WORDS = [f"word{number}" for number in range(2000)]
TEMPLATES = {
    "capital": "what is the capital of {0}?\nthe capital of {0} is {1}.",
    "order": "where is my order {0}? i ordered it {1} days ago\nyour order {0} left our store {1} days ago, it comes tomorrow",
    "weather": "{0} 的天气怎么样？\n今天 {0} 的天气很好，气温 {1} 度，适合出门。",
}


def find(texts: list[str], threshold: float = THRESHOLD) -> dict[int, tuple[int, float]]:
    sets = shingle(texts)
    return find_originals(sets, band_keys(sets), threshold)


def sets_of(rows: Iterable[Iterable[int]]) -> Shingles:
    ordered = [sorted(set(row)) for row in rows]
    values = np.array([value for row in ordered for value in row], np.uint32)
    return Shingles(values, np.cumsum([0, *map(len, ordered)]).astype(np.int64))


def index_of(one: Iterable[int], other: Iterable[int]) -> float:
    one, other = set(one), set(other)
    return len(one & other) / len(one | other) if one | other else 0.0


def prose(number: int, length: int) -> list[str]:
    return random.Random(number).choices(WORDS, k=length)


def edit(words: list[str], share: float, seed: int) -> list[str]:
    """So many words replaced, taken out or put in, at random places."""
    choose = random.Random(seed)
    edited = list(words)
    for _ in range(int(share * len(words))):
        place = choose.randrange(len(edited))
        kind = choose.choice(["replace", "remove", "insert"])
        edited[place : place + (kind != "insert")] = [] if kind == "remove" else [choose.choice(WORDS)]
    return edited


def test_identical_texts_go_but_the_first_one() -> None:
    assert find(["how are you", "good day to all", "how are you", "how are you"]) == {2: (0, 1.0), 3: (0, 1.0)}


def test_an_edited_text_goes_and_a_different_one_stays() -> None:
    text = "i can not log in since the update of this morning, the page says that my password has expired, please help me"
    edited = text.replace("morning", "evening")
    found = find([text, "what is the weather in paris today and tomorrow, is there any rain?", edited])
    assert list(found) == [2]
    assert found[2] == (0, 19 / 23)


def test_every_edit_of_up_to_two_in_a_hundred_tokens_is_found_and_nothing_else() -> None:
    texts, expected = [], {}
    for number in range(400):
        words = prose(number, 100 + number)
        texts.append(" ".join(words))
        if number % 2:
            expected[len(texts)] = len(texts) - 1
            texts.append(" ".join(edit(words, share=0.02, seed=number)))
    assert {row: original for row, (original, _) in find(texts).items()} == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_dialogues_from_one_template_stay(name: str) -> None:
    texts = [TEMPLATES[name].format(f"thing{number} nr{number}", number) for number in range(200)]
    assert find(texts) == {}


def test_of_many_a_little_unlike_the_next_those_go_that_are_alike_to_one_that_stays() -> None:
    rows = [range(first, first + 100) for first in range(0, 60, 5)]  # neighbours 0.905, next but one 0.818, then 0.739
    sets = sets_of(rows)
    found = find_originals(sets, band_keys(sets), THRESHOLD)
    assert found
    for row, (original, similarity) in found.items():
        assert original < row
        assert original not in found
        assert similarity == index_of(rows[row], rows[original]) >= THRESHOLD
    # A chain would leave the first row alone.
    assert [row for row in range(len(rows)) if row not in found] == [0, 3, 6, 9]


def test_the_end_of_a_chain_stays_where_it_is_not_like_its_beginning() -> None:
    a, b, c = range(100), range(8, 108), range(16, 116)
    assert index_of(a, b) == index_of(b, c) > THRESHOLD > index_of(a, c)
    sets = sets_of([a, b, c])
    for keys in (band_keys(sets), np.ones((3, 1), np.uint64), np.array([[1, 5], [1, 2], [3, 2]], np.uint64)):
        assert find_originals(sets, keys, THRESHOLD) == {1: (0, index_of(a, b))}


def test_the_end_of_a_chain_goes_for_its_beginning_where_it_is_like_it() -> None:
    a, b, c = range(100), range(4, 104), range(8, 108)
    # No bucket of their own: found by way of the row between them.
    keys = np.array([[1, 5], [1, 2], [3, 2]], np.uint64)
    assert find_originals(sets_of([a, b, c]), keys, THRESHOLD) == {1: (0, index_of(a, b)), 2: (0, index_of(a, c))}


def test_a_row_that_is_exactly_at_the_threshold_goes() -> None:
    five, four, seven, ten = range(5), range(4), range(7), range(10)
    same = np.ones((2, 1), np.uint64)
    assert find_originals(sets_of([five, four]), same, 0.8) == {1: (0, 0.8)}
    assert find_originals(sets_of([seven, ten]), same, 0.7) == {1: (0, 0.7)}
    assert find_originals(sets_of([seven, ten]), same, 0.71) == {}


def test_no_rows_and_rows_without_tokens_are_no_duplicates() -> None:
    assert find([]) == {}
    assert find(["", "?", "", "a b"]) == {}
    assert not band_keys(shingle(["", "?"])).any()
    assert candidate_pairs(np.zeros((0, BANDS), np.uint64)).shape == (0, 2)


@settings(max_examples=200, deadline=None)
@given(keys=st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12))
def test_candidates_are_each_row_and_the_first_one_of_each_of_its_buckets(keys: list[list[int]]) -> None:
    expected = set()
    for row, bands in enumerate(keys):
        for band, key in enumerate(bands):
            first = next(other for other, others in enumerate(keys) if others[band] == key)
            if key and first != row:
                expected.add((row, first))
    assert candidate_pairs(np.array(keys, np.uint64)).tolist() == sorted(map(list, expected))


SETS = st.lists(st.lists(st.integers(0, 12), max_size=12), min_size=1, max_size=10)


@settings(max_examples=200, deadline=None)
@given(rows=SETS, threshold=st.sampled_from([0.5, 0.7, 0.8]), data=st.data())
def test_what_goes_is_alike_to_an_earlier_row_that_stays(rows: list[list[int]], threshold: float, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=2), min_size=len(rows), max_size=len(rows)))
    found = find_originals(sets_of(rows), np.array(keys, np.uint64), threshold)
    for row, (original, similarity) in found.items():
        assert original < row
        assert original not in found
        assert similarity == index_of(rows[row], rows[original]) >= threshold


@settings(max_examples=200, deadline=None)
@given(rows=SETS, threshold=st.sampled_from([0.5, 0.7, 0.8]))
def test_in_one_bucket_exactly_the_rows_that_are_like_its_first_one_go(rows: list[list[int]], threshold: float) -> None:
    expected = {row: index_of(rows[row], rows[0]) for row in range(1, len(rows)) if index_of(rows[row], rows[0]) >= threshold}
    found = find_originals(sets_of(rows), np.ones((len(rows), 1), np.uint64), threshold)
    assert found == {row: (0, similarity) for row, similarity in expected.items()}


@settings(max_examples=200, deadline=None)
@given(rows=SETS, threshold=st.sampled_from([0.5, 0.7, 0.8]))
def test_verified_pairs_are_all_candidates_from_the_threshold_on(rows: list[list[int]], threshold: float) -> None:
    pairs, similarities = verified_pairs(sets_of(rows), np.ones((len(rows), 1), np.uint64), threshold)
    index = {(row, 0): index_of(rows[row], rows[0]) for row in range(1, len(rows))}
    expected = {pair: value for pair, value in index.items() if value >= threshold}
    assert dict(zip(map(tuple, pairs.tolist()), similarities.tolist(), strict=True)) == expected


def test_buckets_are_shared_as_often_as_minhash_promises() -> None:
    choose = np.random.default_rng(7)
    rates = {}
    for shared in (80, 40):  # of 90 or 80 in each: a Jaccard index of 0.8, and of a third
        own = 10 if shared == 80 else 40
        rows = []
        for _ in range(400):
            values = list(dict.fromkeys(choose.integers(0, 2**32, 200).tolist()))[: shared + 2 * own]
            rows += [values[: shared + own], values[:shared] + values[shared + own :]]
        keys = band_keys(sets_of(rows))
        rates[shared] = float((keys[::2] == keys[1::2]).any(axis=1).mean())
    assert rates[80] >= 0.985  # 1 - (1 - 0.8 ** 5) ** 16 is 0.998
    assert 0.03 <= rates[40] <= 0.11  # 1 - (1 - (1 / 3) ** 5) ** 16 is 0.064


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_neither_the_batch_nor_the_block_of_a_row_change_its_buckets(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", *(" ".join(prose(number, 1 + number % 40)) for number in range(100)), "", "hi", ""]
    whole = band_keys(shingle(texts))
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    for size in (1, 3, len(texts)):
        parts = [shingle(texts[first : first + size]) for first in range(0, len(texts), size)]
        assert np.array_equal(np.concatenate([band_keys(part) for part in parts]), whole)
        assert np.array_equal(band_keys(concatenate(parts)), whole)
    order = np.random.default_rng(0).permutation(len(texts))
    assert np.array_equal(band_keys(shingle([texts[row] for row in order])), whole[order])


def test_buckets_are_the_same_today_as_yesterday() -> None:
    """A different hash would move rows between splits in projects that exist."""
    keys = band_keys(shingle(["how are you", "你好吗"]))
    assert keys.shape == (2, BANDS)
    assert keys[:, 0].tolist() == [0x813C8CC9AE691AA7, 0xC68444C19606E8AF]


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(st.integers(0, 5), min_size=2, max_size=10), new=st.lists(st.integers(0, 14), max_size=8), data=st.data())
def test_new_rows_change_nothing_among_rows_with_which_they_share_no_token(
    chosen: list[int], new: list[int], data: st.DataObject
) -> None:
    base = prose(0, 60)
    versions = [base, edit(base, 0.05, 1), edit(base, 0.05, 2), edit(base, 0.15, 3), prose(1, 30), [*prose(1, 29), "end"]]
    old = [" ".join(versions[number]) for number in chosen]
    texts: list[tuple[int | None, str]] = list(enumerate(old))
    for number in new:
        texts.insert(data.draw(st.integers(0, len(texts))), (None, f"new{number // 2} other{number // 2} thing{number // 3}"))
    found = find([text for _, text in texts])
    number_of = [number for number, _ in texts]
    among_old = {
        number_of[row]: (number_of[original], similarity)
        for row, (original, similarity) in found.items()
        if number_of[row] is not None
    }
    assert among_old == find(old)
