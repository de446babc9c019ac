"""The leakage gate against brute force, and the traits of a conversation that it compares."""

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from similar_sets import alike, by_pair, sets_and_sides, sets_of, sizes

from stages.lib.core.files import to_line
from stages.lib.similarity.join import Join, Joins, similar_pairs
from stages.lib.similarity.shingles import Shingles, jaccard
from stages.split import leakage, traits
from stages.split.leakage import covered_share, find_crossings, nearest_others
from stages.split.traits import Traits, describe_all, describe_lines, equal_pairs

HASHES = st.lists(st.integers(0, 3), min_size=0, max_size=12)


def test_sides_without_rows_or_tokens_are_like_nothing() -> None:
    sets, none, all_rows = sets_of([[], [], [1]]), np.empty(0, np.int64), np.arange(3)
    for queries, others in [(none, none), (none, all_rows), (all_rows, none), (np.array([0]), np.array([1]))]:
        assert by_pair(*similar_pairs(Joins(sets).at(0.5), queries, others)) == {}
        assert nearest_others(Joins(sets).at(0.5), queries, others) == {}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
@settings(max_examples=examples(40), deadline=None)
@given(drawn=sets_and_sides())
def test_the_nearest_is_the_one_of_highest_index_and_of_several_the_first_row(
    threshold: float, drawn: tuple[list[frozenset[int]], list[int], list[int]]
) -> None:
    sets, queries, others = drawn
    with sizes(8, 1, 10):
        found = nearest_others(Joins(sets_of(sets)).at(threshold), np.array(queries, np.int64), np.array(others, np.int64))
    expected = {}
    for (query, other), index in sorted(alike(sets, queries, others, threshold).items()):
        if index > expected.get(query, (0, 0))[1]:
            expected[query] = (other, index)
    assert found == expected


class Known:
    """A join of row 0 with the others, whose indices are known, and bounds of them."""

    def __init__(self, drawn: list[tuple[float, float]], blocks: int) -> None:
        self.index = np.array([0.0, *(index for index, _ in drawn)])
        self.bounds = self.index + np.array([0.0, *(slack for _, slack in drawn)])
        self.sizes, self.blocks = np.ones(len(self.index), np.int64), blocks

    def by_size(self, queries: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from ((queries, block) for block in np.array_split(others, self.blocks))

    def candidates(self, queries: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
        pairs = np.column_stack([np.repeat(queries, len(others)), others])
        yield from np.array_split(pairs[::-1], self.blocks)

    def at_most(self, pairs: np.ndarray) -> np.ndarray:
        return self.bounds[pairs[:, 1]]

    def verified(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pairs, self.index[pairs[:, 1]]


@settings(max_examples=examples(150), deadline=None)
@given(
    drawn=st.lists(st.tuples(st.sampled_from([0.5, 0.75]), st.sampled_from([0.0, 0.125, 0.25])), min_size=1, max_size=30),
    blocks=st.integers(1, 3),
)
def test_of_equals_the_first_row_is_nearest_however_near_the_bounds_come(drawn: list[tuple[float, float]], blocks: int) -> None:
    known = Known(drawn, blocks)
    found = nearest_others(cast(Join, known), np.array([0]), np.arange(1, len(known.index)))
    assert found == {0: (int(known.index.argmax()), known.index.max())}


def test_of_many_that_are_alike_few_are_compared_to_find_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dialogues of one template, each with slots of its own: every held-out one is like every one in train."""
    choose = np.random.Generator(np.random.PCG64(1))
    template = choose.integers(0, 2**32, 40).tolist()
    sets = [[*choose.choice(template, 34, False).tolist(), *choose.integers(0, 2**32, 4).tolist()] for _ in range(600)]
    compared = 0
    verified = Join.verified

    def counted(join: Join, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal compared
        compared += len(pairs)
        return verified(join, pairs)

    monkeypatch.setattr(Join, "verified", counted)
    found = nearest_others(Joins(sets_of(sets)).at(0.5), np.arange(100), np.arange(100, 600))
    assert len(found) == 100
    assert compared < 0.2 * 100 * 500
    pairs, similarities = similar_pairs(Joins(sets_of(sets)).at(0.5), np.arange(100), np.arange(100, 600))
    assert len(pairs) > 0.9 * 100 * 500
    assert {row: index for row, (_, index) in found.items()} == {
        row: similarities[pairs[:, 0] == row].max() for row in range(100)
    }


@settings(max_examples=examples(30), deadline=None)
@given(drawn=sets_and_sides(), at_once=st.integers(1, 5))
def test_the_covered_share_is_that_of_n_grams_that_stand_in_any_of_the_others(
    drawn: tuple[list[frozenset[int]], list[int], list[int]], at_once: int
) -> None:
    sets, queries, others = drawn
    known = frozenset().union(*(sets[other] for other in others))
    expected = [len(sets[query] & known) / len(sets[query]) if sets[query] else np.nan for query in queries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "QUERIES_AT_ONCE", at_once)
        found = covered_share(sets_of(sets), np.array(queries, np.int64), np.array(others, np.int64))
    np.testing.assert_array_equal(found, expected)


# Crossings


def traits_of(group: list[int], text: list[int], sets: list[Iterable[int]]) -> Traits:
    number, none = len(group), sets_of([[] for _ in group])
    hashes = (np.array(group, np.uint64), np.zeros(number, np.uint64), np.array(text, np.uint64))
    names = [str(row) for row in range(number)]
    return Traits(names, [""] * number, *hashes, sets_of(sets), none)


def crossings_of(traits: Traits, held_out: np.ndarray, train: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    return find_crossings(traits, Joins(traits.shingles, lowest=threshold).at(threshold), held_out, train)


def connected(pairs: list[list[int]], rows: Iterable[int]) -> set[frozenset[int]]:
    """The components of more than one row, by merging until nothing changes."""
    component = {row: {row} for row in rows}
    for a, b in pairs:
        merged = component[a] | component[b]
        for row in merged:
            component[row] = merged
    return {frozenset(rows) for rows in component.values() if len(rows) > 1}


@settings(max_examples=examples(120), deadline=None)
@given(group=HASHES, data=st.data())
def test_groups_and_texts_that_cross_are_connected_whole_and_no_others(group: list[int], data: st.DataObject) -> None:
    number = len(group)
    text = data.draw(st.lists(st.integers(0, 3), min_size=number, max_size=number))
    side = data.draw(st.lists(st.sampled_from(["held out", "train", "neither"]), min_size=number, max_size=number))
    held_out, train = ([row for row in range(number) if side[row] == name] for name in ("held out", "train"))
    with sizes(4, 512, 1000):
        found = crossings_of(traits_of(group, text, [[]] * number), np.array(held_out, int), np.array(train, int), 0.8)
    assert list(found) == ["group", "text", "near"]
    for name, hashes in (("group", group), ("text", text)):
        crossing = {hashes[row] for row in held_out} & {hashes[row] for row in train} - {0}
        expected = {frozenset(row for row in held_out + train if hashes[row] == hash) for hash in crossing}
        assert connected(found[name].tolist(), range(number)) == expected
    assert found["near"].shape == (0, 2)


def test_near_duplicates_cross_from_their_threshold_on() -> None:
    sets = [range(100), range(4), range(90), range(5), range(50, 60)]
    told = traits_of([0] * 5, [0] * 5, sets)
    held_out, train = np.array([0, 1]), np.array([2, 3, 4])
    for threshold, expected in [(0.8, [[0, 2], [1, 3]]), (0.9, [[0, 2]]), (0.91, []), (0.1, [[0, 2], [0, 4], [1, 3]])]:
        assert sorted(crossings_of(told, held_out, train, threshold)["near"].tolist()) == expected


def test_what_has_no_group_does_not_share_it() -> None:
    rows = [conversation(str(row), f"question nr{row}", group) for row, group in enumerate([None, None, "", "", "ann", "ann"])]
    told = describe_lines([to_line(row) for row in rows], [])
    crossings = crossings_of(told, np.array([0, 2, 4]), np.array([1, 3, 5]), 0.8)
    assert [len(found) for found in crossings.values()] == [1, 0, 0]
    assert sorted(crossings["group"][0].tolist()) == [4, 5]


@settings(max_examples=examples(30), deadline=None)
@given(hashes=HASHES)
def test_equal_pairs_connect_all_rows_of_a_hash_and_none_of_hash_zero(hashes: list[int]) -> None:
    expected = {frozenset(row for row, other in enumerate(hashes) if other == hash) for hash in set(hashes) - {0}}
    pairs = equal_pairs(np.array(hashes, np.uint64)).tolist()
    assert connected(pairs, range(len(hashes))) == {rows for rows in expected if len(rows) > 1}


# Traits


def conversation(id: str, prompt: str, group: str | None = None, reply: str = "yes", system: str | None = None) -> dict:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return {"id": id, "label": None, "language": "en", "group": group, "messages": messages}


def shares(one: dict, other: dict) -> list[str]:
    told = describe_lines([to_line(one), to_line(other)], [])
    return [name for name in ("group", "prompt", "text") if getattr(told, name)[0] == getattr(told, name)[1] != 0]


def test_what_two_conversations_share_is_seen_with_case_width_and_spaces_set_aside() -> None:
    one = conversation("a", "Hello  you", "ann")
    assert shares(one, conversation("b", "ｈｅｌｌｏ you ", "ann", " YES")) == ["group", "prompt", "text"]
    assert shares(one, conversation("b", "hello you", "Ann", "no")) == ["prompt"]
    assert shares(one, conversation("b", "hello", "ann", "you")) == ["group"]
    assert shares(one, conversation("b", "hello you", None, system="be kind")) == ["prompt"]
    assert shares(one, conversation("b", "helloyou", "bob")) == []


def test_the_same_words_from_the_other_side_are_another_text() -> None:
    swapped = conversation("b", "hi")
    swapped["messages"] = [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "yes"}]
    assert shares(conversation("a", "hi"), swapped) == []
    assert shares(conversation("a", "yes"), swapped) == ["prompt"]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("Where is my order?", "where is my order", True),
        ("Where is my order?", "WHERE IS MY ORDER ?!", True),
        ("订单在哪里？", "订单在哪里", True),
        ("订单在哪里。", "订单在哪里……", True),
        ("Is it C?", "Is it C++?", False),
        ("5 - 3", "5 + 3", False),
        ("?", "!", False),
        ("is it, now", "is it now", False),
    ],
)
def test_prompts_that_differ_in_case_or_in_their_last_punctuation_are_one(one: str, other: str, shared: bool) -> None:
    assert ("prompt" in shares(conversation("a", one), conversation("b", other, reply="no"))) is shared
    assert "text" not in shares(conversation("a", one), conversation("b", other))


def test_a_system_prompt_that_all_share_makes_no_two_alike() -> None:
    system = "You are the assistant of a shop that sells tea, and you answer in one sentence, kindly and with care."
    rows = [to_line(conversation(str(number), f"question {number}", system=system)) for number in range(2)]
    told = describe_lines(rows, [])
    assert jaccard(told.shingles, np.array([[0, 1]]))[0] < 0.5
    assert told.long_grams.sizes().tolist() == [1, 1]


def test_a_prompt_is_shared_only_where_all_that_the_user_says_is_the_same() -> None:
    one, same, other, longer = (conversation(id, "Hi", reply=id) for id in "abcd")
    for row, question, reply in ((one, "my invoice?", "sent"), (same, " My  invoice?", "lost"), (other, "a train?", "sent")):
        row["messages"] += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    assert shares(one, same) == ["prompt"]
    assert shares(one, other) == shares(one, longer) == []


def test_a_conversation_without_a_question_has_no_prompt_to_share() -> None:
    rows = [conversation(id, "hi") for id in "ab"]
    for row in rows:
        row["messages"] = row["messages"][1:]
    assert shares(*rows) == ["text"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_traits_do_not_depend_on_the_chunks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROTUNE_PROCESSES", "1")
    prompts = ["", "hi", "how are you", "你好吗", "one two three four five six seven eight nine"]
    groups = [None, "ann"]
    lines = [to_line(conversation(str(row), prompts[row % 5], groups[row % 2])) for row in range(9)]
    whole = describe_lines(lines, ["language"])
    monkeypatch.setattr(traits, "ROWS_AT_ONCE", size)
    parts = describe_all(iter(lines), ["language"])
    for name, one, other in zip(Traits._fields, parts, whole, strict=True):
        for left, right in zip(one, other, strict=True) if isinstance(one, Shingles) else [(one, other)]:
            assert np.array_equal(left, right), name
            assert getattr(left, "dtype", None) == getattr(right, "dtype", None), name
    assert parts.long_grams.sizes().tolist() == [1, 1, 1, 1, 3, 1, 1, 1, 1]


def test_no_conversations_have_traits_too() -> None:
    assert [len(part) for part in describe_all([], [])] == [0, 0, 0, 0, 0, 2, 2]
