"""Where much is too long for training, the stage says how much, which length would fit, and what cutting keeps."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from stages.lib.records.tokenize_ledger import Lengths
from stages.tokenize.__main__ import TokenizeParams, advise, tokenize_split
from stages.tokenize.lengths import first_turn, measure, tell_too_long


def lengths(tokens: int, first: int = 10, characters: int = 100, unspaced: int = 0) -> Lengths:
    return {"tokens": tokens, "first_turn": first, "characters": characters, "unspaced": unspaced}


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=300), st.integers(8, 2000))
def test_at_the_length_that_is_named_99_percent_fit_and_one_token_less_is_too_little(tokens: list[int], max_length: int) -> None:
    said = tell_too_long([lengths(one) for one in tokens if one > max_length], len(tokens), max_length)
    too_long = sum(one > max_length for one in tokens)
    assert (said is None) == (10 * too_long <= len(tokens))
    if said:
        named = int(re.search(r"99% would fit at ([\d,]+)", said)[1].replace(",", ""))  # type: ignore[index]
        assert said.startswith(f"{too_long:,} of {len(tokens):,} conversations (")
        assert sum(one <= named for one in tokens) >= math.floor(0.99 * len(tokens))
        assert sum(one < named for one in tokens) < 0.99 * len(tokens) + 1


def test_what_cutting_keeps_is_counted() -> None:
    rows = [lengths(900, first=100), lengths(900, first=768), lengths(900, first=769)]
    said = tell_too_long(rows, 4, 768)
    assert said is not None
    assert "`too_long: cut` keeps 2 of them without their last turns, and leaves out 1 whose first reply ends too late" in said
    assert str(tell_too_long(rows[:2], 4, 768)).endswith("`too_long: cut` keeps 2 of them without their last turns")


def test_where_most_is_chinese_it_says_what_the_tokenizer_takes() -> None:
    chinese, english = lengths(900, characters=600, unspaced=301), lengths(900, characters=4000, unspaced=2000)
    assert "this tokenizer takes 1.5 tokens a character, where one made for Chinese takes about 0.6" in str(
        tell_too_long([chinese], 1, 768)
    )
    assert "Chinese" not in str(tell_too_long([english], 1, 768))


def test_a_conversation_is_measured_as_a_whole_and_by_its_first_turn() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert first_turn(messages) == messages[:3]  # type: ignore[arg-type, comparison-overlap]
    assert measure({"messages": messages}, 9, 5) == lengths(9, 5, 5, 2)  # type: ignore[typeddict-item]


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_the_ledger_has_the_lengths_of_what_was_too_long_and_of_nothing_else(tiny_model_folder: Path, too_long: str) -> None:
    def converse(id: str, turns: int) -> dict:
        pairs = [
            ({"role": "user", "content": f"{id} {turn}?"}, {"role": "assistant", "content": "yes " * 5}) for turn in range(turns)
        ]
        return {"id": id, "messages": [message for pair in pairs for message in pair]}

    rows = [converse("a", 1), converse("b", 8), converse("c", 9)]
    params = TokenizeParams(max_length=80, too_long=too_long, identical_replies=None)
    _, ledger = tokenize_split(AutoTokenizer.from_pretrained(tiny_model_folder), rows, "train", params)  # type: ignore[arg-type]
    assert ["whole" in row for row in ledger] == [False, True, True]
    assert all(row["whole"]["first_turn"] <= 80 < row["whole"]["tokens"] for row in ledger[1:])
    said = advise(ledger, 80)
    assert (said == "") == (too_long == "cut")
    assert too_long == "cut" or "2 of 3 conversations (67%)" in said
