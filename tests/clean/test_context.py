"""An export's HTML goes and markup that is the answer stays: 300 conversations, each with what cleaning makes of it."""

import json
import time
from collections import Counter

import pytest
from conftest import REPO, examples
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.clean.markup import TAGS
from stages.clean.wrapping import may_be_wrapped, wrapped_messages
from stages.lib.records.conversation import Message
from tests.clean.test_clean import clean_messages, message, only

with (REPO / "tests/cases/markup_conversations.jsonl").open(encoding="utf-8") as file:
    CASES = [json.loads(line) for line in file]
HTML = only("html")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["label"]) for case in CASES if case["kind"] != "known failure"])
def test_an_exports_tags_go_and_those_that_are_said_stay(case: dict) -> None:
    assert clean_messages(case["input"], HTML)[0] == case["expected"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["label"]) for case in CASES if case["kind"] == "known failure"])
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert clean_messages(case["input"], HTML)[0] != case["expected"]


def test_of_more_than_two_hundred_conversations_about_markup_hardly_any_loses_a_tag() -> None:
    """The figure in docs/data.md. Wrapping that stays is counted too: it is the price."""
    counts = Counter(case["kind"] for case in CASES)
    assert counts["stays"] + counts["known failure"] == 253
    assert counts["known failure"] == 1
    assert (counts["wrapping"], counts["known to stay"]) == (46, 15)
    assert all((case["input"] == case["expected"]) == (case["kind"] != "wrapping") for case in CASES)
    assert len({case["label"] for case in CASES}) == len(CASES)


def exchange(user: str, assistant: str) -> list[Message]:
    return [message("user", user), message("assistant", assistant)]


WRAPPED = exchange("<p>Is it open?</p>", "<p>Until six.</p>")


@pytest.mark.parametrize("hint", ["HTML", "this tag", "an &lt;p&gt;", "标签"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_word_of_markup_anywhere_keeps_all_tags_of_a_conversation(hint: str, place: int) -> None:
    assert wrapped_messages(WRAPPED) == {0, 1}
    said = [*WRAPPED, *exchange("<p>Thanks</p>", "<p>Bye</p>")]
    said[place] = message(said[place]["role"], f"<p>Here is {hint}</p>")
    assert wrapped_messages(said) == set()
    assert wrapped_messages([message("system", f"Speak of {hint}"), *WRAPPED]) == set()


@pytest.mark.parametrize("role", ["system", "tool"])
def test_tags_in_instructions_and_in_what_tools_returned_stay(role: str) -> None:
    assert 0 not in wrapped_messages([message(role, "<p>Be kind.</p>"), *WRAPPED])
    assert not may_be_wrapped(message(role, "<p>x</p>"))


def test_a_side_of_which_one_message_is_no_html_is_not_wrapped() -> None:
    assert wrapped_messages([*WRAPPED, *exchange("<p>And on Sunday?</p>", "No")]) == set()


@pytest.mark.parametrize("tag", ["thinking", "note", "Header", "x-card", "?php", "!DOCTYPE html", "%= x %"])
def test_a_tag_that_no_export_writes_keeps_its_message(tag: str) -> None:
    assert "thinking" not in TAGS
    assert wrapped_messages(exchange("<p>Is it open?</p>", f"<p>Until <{tag}>six.</p>")) == set()


@settings(deadline=None, max_examples=examples(200))
@given(text=st.text(st.sampled_from(list("ab <>&;/p\n\"'=")), max_size=40), other=st.text(max_size=20))
def test_plain_text_without_a_tag_or_an_entity_is_never_wrapped(text: str, other: str) -> None:
    found = wrapped_messages(exchange(text, other.replace("<", "").replace("&", "")))
    assert 1 not in found
    assert not found or "<" in text or "&" in text


@pytest.mark.parametrize(
    "piece", ["<p ", '<p a="', "<p a='b' ", "<br>", "&amp;", "&amp;amp;", "<p>a</p>", "use <br", "a <b", " <", "|\n", ";\n"]
)
def test_a_long_hostile_text_takes_no_quadratic_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.process_time()
    wrapped_messages(exchange(text, f"<p>{text}</p>"))
    assert time.process_time() - start < 3


SUMS = exchange("What is 2106441506498 + 2106441506498?", "The result is: 4212883012996")


@pytest.mark.parametrize(
    "asked", ["What is 5 * 3227777755555222?", "Calculate 15612345678 for me, please: 2 times 7806172839", "计算：9 乘以 3"]
)
def test_a_number_in_a_conversation_that_counts_is_no_card_or_phone_in_any_message(asked: str) -> None:
    masks = only(personal_data=["payment_card", "phone"])
    for number in ("4111111111111111", "15612345678"):
        said = [message("user", asked), message("assistant", f"It is {number}")]
        assert clean_messages(said, masks) == (said, [])
        assert clean_messages(exchange("May I have it?", f"It is {number}"), masks)[0][1]["content"] in (
            "It is [CARD]",
            "It is [PHONE]",
        )
    called = [message("user", asked), message("assistant", "Done. My phone is 15612345678, my card 4111111111111111")]
    assert clean_messages(called, masks)[0][1]["content"] == "Done. My phone is [PHONE], my card [CARD]"
    assert clean_messages(SUMS, masks) == (SUMS, [])
