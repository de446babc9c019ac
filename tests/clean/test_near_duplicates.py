"""Near duplicates: all that are alike are found, templates stay, nothing is chained, and no row depends on rows that it has
nothing of."""

import random
from collections.abc import Iterable

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from similar_sets import SETS, sets_of, sizes

from stages.clean import near_duplicates
from stages.clean.near_duplicates import find_originals
from stages.lib.similarity.join import Join
from stages.lib.similarity.shingles import shingle

THRESHOLD = 0.8
WORDS = [f"word{number}" for number in range(2000)]
TEMPLATES = {
    "capital": "what is the capital of {0}?\nthe capital of {0} is {1}.",
    "order": "where is my order {0}? i ordered it {1} days ago\nyour order {0} left our store {1} days ago, it comes tomorrow",
    "weather": "{0} 的天气怎么样？\n今天 {0} 的天气很好，气温 {1} 度，适合出门。",
}


def find(texts: list[str], threshold: float = THRESHOLD) -> dict[int, tuple[int, float]]:
    return find_originals(shingle(texts), threshold)


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
    found = find_originals(sets_of(rows), THRESHOLD)
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
    assert find_originals(sets_of([a, b, c]), THRESHOLD) == {1: (0, index_of(a, b))}


def test_a_row_that_is_exactly_at_the_threshold_goes() -> None:
    assert find_originals(sets_of([range(5), range(4)]), 0.8) == {1: (0, 0.8)}
    assert find_originals(sets_of([range(7), range(10)]), 0.7) == {1: (0, 0.7)}
    assert find_originals(sets_of([range(7), range(10)]), 0.71) == {}


def test_no_rows_and_rows_without_tokens_are_no_duplicates() -> None:
    assert find([]) == {}
    assert find(["", "?", "", "a b"]) == {}


@pytest.mark.parametrize("at_once", [1, 2, 5, 1024])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8])
@settings(max_examples=examples(20), deadline=None)
@given(rows=SETS)
def test_a_row_goes_for_the_first_one_that_stays_and_is_like_it(
    at_once: int, threshold: float, rows: list[frozenset[int]]
) -> None:
    expected: dict[int, tuple[int, float]] = {}
    for row, one in enumerate(rows):
        like = (other for other in range(row) if other not in expected and index_of(one, rows[other]) >= threshold)
        if (first := next(like, None)) is not None:
            expected[row] = (first, index_of(one, rows[first]))
    with sizes(8, 512, 1000), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(near_duplicates, "ROWS_AT_ONCE", at_once)
        assert find_originals(sets_of(rows), threshold) == expected


@pytest.mark.parametrize(
    ("shared", "own", "threshold"), [(80, 10, 0.8), (70, 15, 0.7), (60, 20, 0.6), (50, 25, 0.5), (30, 35, 0.3)]
)
def test_every_pair_at_the_threshold_is_found_among_rows_with_frequent_tokens(shared: int, own: int, threshold: float) -> None:
    choose = np.random.default_rng(7)
    frequent = choose.choice(2**32, 40, replace=False)
    rows = []
    for _ in range(1500):
        values = [
            *choose.choice(frequent, 20, replace=False).tolist(),
            *choose.integers(0, 2**32, shared + 2 * own - 20).tolist(),
        ]
        choose.shuffle(values)
        rows += [values[: shared + own], values[:shared] + values[shared + own :]]
    assert index_of(*rows[:2]) == threshold
    assert list(find_originals(sets_of(rows), threshold)) == list(range(1, 3000, 2))


@pytest.mark.slow
def test_ten_thousand_rows_that_are_alike_are_not_compared_each_with_each() -> None:
    sets = sets_of([*range(60), 1000 + row] for row in range(10_000))
    compared = 0
    verified = Join.verified

    def counted(join: Join, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal compared
        compared += len(pairs)
        return verified(join, pairs)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Join, "verified", counted)
        assert find_originals(sets, 0.8).keys() == set(range(1, 10_000))
    assert compared < 1_000_000


@settings(max_examples=examples(30), deadline=None)
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
    with sizes(8, 512, 1000):  # four million buckets, the real number, are slow to set up for each example
        found, found_before = find([text for _, text in texts]), find(old)
    number_of = [number for number, _ in texts]
    among_old = {
        number_of[row]: (number_of[original], similarity)
        for row, (original, similarity) in found.items()
        if number_of[row] is not None
    }
    assert among_old == found_before
