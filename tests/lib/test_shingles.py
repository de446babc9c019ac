"""N-gram sets against a slow tokeniser of the tests' own, in many scripts; a text's set depends on that text alone."""

import random
import unicodedata

import numpy as np
import pytest
from conftest import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.lib.similarity import shingles
from stages.lib.similarity.shingles import Shingles, concatenate, jaccard, shingle, shingle_dialogues

TEXTS = [
    "how do i reset my password? it's 2 o'clock, naïve café",
    "我的发票在哪里？2024年，第3张。",
    "電車は遅れています。コーヒー、カタカナひらがな々",
    "ฉันจะรีเซ็ตรหัสผ่านได้อย่างไร",
    "비밀번호를 어떻게 재설정하나요? 네",
    "как мне сбросить пароль? ещё раз",
    "ok 👍 great 👍🏽 😀😀 family 👨‍👩‍👧",
    "كيف حالك؟ हिन्दी में नमस्ते",
    "x=1+2 €5 $5 a_b c-d e.f @me #tag \n\t\u3000\u00a0",
    "𠮷野家 and 𠮷",
]
ALONE_NAMES = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC ITERATION", "THAI", "LAO", "TIBETAN", "MYANMAR", "KHMER")
WRITTEN = st.text(st.sampled_from(sorted(set("".join(TEXTS)))), max_size=25)
# Few words, so that sets overlap in part.
MIXED = st.lists(st.sampled_from(["a", "b", "c d", "你", "好", "ไป", "네", "да", "👍", "?"]), max_size=10).map(" ".join)
ANY = st.text(st.characters(codec="utf-8"), max_size=25)


def slow_tokens(text: str) -> list[str]:
    """Runs of letters, digits and marks; alone: characters of scripts without spaces, symbols, all beyond the basic plane."""
    tokens, word = [], ""
    for character in [*text, " "]:
        category = unicodedata.category(character)
        name = unicodedata.name(character, "")
        writes = category[0] in "LNM"
        alone = ord(character) > 0xFFFF or category in ("So", "Sm", "Sc") or (writes and name.startswith(ALONE_NAMES))
        if writes and not alone:
            word += character
            continue
        tokens += [word] if word else []
        word = ""
        tokens += [character] if alone else []
    return tokens


def slow_set(text: str, n: int = 2) -> set[tuple[str, ...]]:
    tokens = slow_tokens(text)
    return {tuple(tokens[first : first + n]) for first in range(max(1, len(tokens) - n + 1))} if tokens else set()


def slow_jaccard(a: str, b: str, n: int = 2) -> float:
    one, other = slow_set(a, n), slow_set(b, n)
    return len(one & other) / len(one | other) if one | other else 0.0


def rows_of(sets: Shingles) -> list[list[int]]:
    return [part.tolist() for part in np.split(sets.values, sets.offsets[1:-1])] if len(sets.offsets) > 1 else []


def test_the_slow_tokeniser_is_what_the_module_says() -> None:
    assert slow_tokens("It's 5€, 我 ok!👍🏽") == ["It", "s", "5", "€", "我", "ok", "👍", "🏽"]


@settings(max_examples=examples(120), deadline=None)
@given(texts=st.lists(WRITTEN | MIXED, min_size=1, max_size=6), n=st.sampled_from([1, 2, 3, 8]))
@example(texts=TEXTS, n=2)
@example(texts=TEXTS, n=8)
@example(texts=["a b c"], n=8)
def test_sets_and_their_jaccard_index_are_those_of_a_slow_tokeniser(texts: list[str], n: int) -> None:
    sets = shingle(texts, n)
    assert sets.sizes().tolist() == [len(slow_set(text, n)) for text in texts]
    pairs = [(a, b) for a in range(len(texts)) for b in range(len(texts))]
    assert jaccard(sets, np.array(pairs)).tolist() == [slow_jaccard(texts[a], texts[b], n) for a, b in pairs]


@pytest.mark.parametrize("text", TEXTS)
def test_one_changed_character_is_seen_in_each_script(text: str) -> None:
    tokens = slow_tokens(text)
    changed = text.replace(tokens[1], "ж" if len(tokens[1]) > 1 else "龍", 1)
    assert 0 < jaccard(shingle([text, changed]), np.array([[0, 1]]))[0] == slow_jaccard(text, changed) < 1


@settings(max_examples=examples(200), deadline=None)
@given(texts=st.lists(ANY | WRITTEN, max_size=8), n=st.sampled_from([2, 8]), order=st.randoms(use_true_random=False))
def test_neither_the_other_texts_of_a_batch_nor_their_order_change_a_set(texts: list[str], n: int, order: random.Random) -> None:
    alone = [shingle([text], n).values.tolist() for text in texts]
    assert rows_of(shingle(texts, n)) == alone
    shuffled = list(range(len(texts)))
    order.shuffle(shuffled)
    assert rows_of(shingle([texts[row] for row in shuffled], n)) == [alone[row] for row in shuffled]


@settings(max_examples=examples(50), deadline=None)
@given(texts=st.lists(ANY, max_size=8))
def test_values_ascend_without_repetition_and_offsets_count_them(texts: list[str]) -> None:
    sets = shingle(texts)
    assert sets.values.dtype == np.uint32
    assert sets.offsets.dtype == np.int64
    assert sets.offsets.tolist() == np.cumsum([0, *sets.sizes()]).tolist()
    assert len(sets.offsets) == len(texts) + 1
    assert all(row == sorted(set(row)) for row in rows_of(sets))


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_a_text_of_fewer_than_n_tokens_has_one_n_gram_which_is_all_that_it_holds(n: int) -> None:
    texts = [" ".join("abcdefgh"[:length]) for length in range(1, n)]
    sets = shingle([*texts, *texts, "z"], n)
    assert set(sets.sizes().tolist()) == {1}
    assert sets.values[: len(texts)].tolist() == sets.values[len(texts) : -1].tolist()
    assert len(set(sets.values.tolist())) == len(texts) + 1


def test_a_text_without_tokens_has_an_empty_set_which_is_like_nothing() -> None:
    sets = shingle(["", " \n\t", "?!... — -", "a", ""])
    assert sets.sizes().tolist() == [0, 0, 0, 1, 0]
    assert jaccard(sets, np.array([[0, 0], [0, 4], [0, 3], [3, 3]])).tolist() == [0, 0, 0, 1]
    assert shingle([]).offsets.tolist() == concatenate([]).offsets.tolist() == [0]
    assert jaccard(sets, np.empty((0, 2), np.int64)).tolist() == []


def test_texts_are_not_joined_over_their_border() -> None:
    assert slow_jaccard("a b\nc", "a b c") == 1
    assert rows_of(shingle(["a b", "c d"])) == [*rows_of(shingle(["a b"])), *rows_of(shingle(["c d"]))]
    assert shingle(["ab", "cd"], 1).values.tolist() != shingle(["abcd", ""], 1).values.tolist()


# Who speaks

SPOKEN = st.lists(st.tuples(st.sampled_from(["user", "assistant", ""]), MIXED), max_size=5)


@settings(max_examples=examples(200), deadline=None)
@given(dialogues=st.lists(SPOKEN, min_size=1, max_size=6), n=st.sampled_from([1, 2, 3, 8]))
def test_a_dialogues_set_is_that_of_each_message_under_its_speaker(dialogues: list[list[tuple[str, str]]], n: int) -> None:
    slow = [{(speaker, gram) for speaker, text in dialogue for gram in slow_set(text, n)} for dialogue in dialogues]
    sets = shingle_dialogues(dialogues, n)
    assert sets.sizes().tolist() == list(map(len, slow))
    pairs = [(a, b) for a in range(len(slow)) for b in range(len(slow))]
    expected = [len(slow[a] & slow[b]) / len(slow[a] | slow[b]) if slow[a] | slow[b] else 0.0 for a, b in pairs]
    assert jaccard(sets, np.array(pairs)).tolist() == expected
    assert rows_of(sets) == [shingle_dialogues([dialogue], n).values.tolist() for dialogue in dialogues]


def test_the_same_words_from_another_speaker_are_other_words() -> None:
    asked, answered = ("user", "where is my order"), ("assistant", "where is my order")
    assert jaccard(shingle_dialogues([[asked], [answered]]), np.array([[0, 1]])).tolist() == [0]
    assert rows_of(shingle_dialogues([[asked, ("assistant", "here")]]))[0] != rows_of(shingle_dialogues([[asked]]))[0]


def test_two_messages_do_not_run_together_at_their_seam() -> None:
    one = [("user", "a b"), ("user", "c d")]
    assert shingle_dialogues([one]).sizes().tolist() == [2]
    assert shingle(["a b c d"]).sizes().tolist() == [3]


def test_order_and_repetition_of_tokens_are_told_apart() -> None:
    a, b, c, d = rows_of(shingle(["a b", "b a", "a a", "a"]))
    assert len({*a, *b, *c, *d}) == 4
    assert shingle(["ab ba", "ba ab", "a bba", "abb a"], 1).sizes().tolist() == [2, 2, 2, 2]
    assert len(set(shingle(["ab ba", "ba ab", "a bba", "abb a"]).values.tolist())) == 4


def test_half_a_surrogate_pair_is_a_text_as_any_other() -> None:
    assert shingle(["a \ud800 b", "a b"]).sizes().tolist() == [1, 1]


@settings(max_examples=examples(50), deadline=None)
@given(texts=st.lists(MIXED, min_size=1, max_size=8), data=st.data())
def test_take_gives_the_sets_at_rows_in_any_order_and_more_than_once(texts: list[str], data: st.DataObject) -> None:
    sets = shingle(texts)
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1)))
    taken = sets.take(np.array(rows, np.int64))
    assert rows_of(taken) == [rows_of(sets)[row] for row in rows]
    assert taken.values.dtype == np.uint32


@settings(max_examples=examples(50), deadline=None)
@given(texts=st.lists(MIXED, max_size=8), borders=st.lists(st.integers(0, 8), max_size=3).map(sorted))
def test_concatenate_puts_batches_end_to_end(texts: list[str], borders: list[int]) -> None:
    whole = shingle(texts)
    parts = [shingle(texts[first:last]) for first, last in zip([0, *borders], [*borders, len(texts)], strict=True)]
    joined = concatenate(parts)
    assert joined.values.tolist() == whole.values.tolist()
    assert joined.offsets.tolist() == whole.offsets.tolist()
    assert (joined.values.dtype, joined.offsets.dtype) == (np.uint32, np.int64)


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_how_many_pairs_are_verified_at_once_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shingles, "VERIFIED_AT_ONCE", at_once)
    texts = ["", "a b c d", "a b c e", "a b", "你好吗", "你好"]
    pairs = [(a, b) for a in range(6) for b in range(6)]
    assert jaccard(shingle(texts), np.array(pairs)).tolist() == [slow_jaccard(texts[a], texts[b]) for a, b in pairs]


def test_a_token_hashes_the_same_wherever_it_stands_in_a_very_long_text() -> None:
    sets = shingle(["a", "one two three " * 150_000, "one two three one", "二三" * 200_000, "二三二"])
    assert sets.sizes().tolist() == [1, 3, 3, 2, 2]
    assert jaccard(sets, np.array([[1, 2], [3, 4], [1, 3]])).tolist() == [1, 1, 0]


def test_of_100_000_different_n_grams_hardly_any_share_a_hash() -> None:
    sets = shingle([" ".join(map(str, range(100_001)))])
    assert 100_000 - 10 <= sets.sizes()[0] <= 100_000  # 32 bits: one or two are expected to
