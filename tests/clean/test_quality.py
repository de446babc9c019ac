"""Judgements on a message: golden cases of each, what must never be called bad, and languages without a network."""

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.clean.automatic_messages import (
    AUTOMATIC_HEADER,
    AUTOMATIC_SENTENCE,
    AUTOMATIC_SIGNS,
    AUTOMATIC_SIGNS_CHINESE,
    any_boilerplate,
    is_boilerplate,
)
from stages.clean.refusals import (
    REFUSAL_CHINESE,
    REFUSAL_ENGLISH,
    REFUSAL_SIGNS,
    REFUSAL_SIGNS_CHINESE,
    any_refusal,
    is_refusal,
)
from stages.clean.repetition import is_repetitive
from stages.clean.signs import ASCII_WORD, has_sign
from stages.lib.languages import detect_language

CASES = REPO / "tests/cases"
JUDGEMENTS: dict[str, Callable[[str], bool]] = {
    "is_repetitive": is_repetitive, "is_refusal": is_refusal, "is_boilerplate": is_boilerplate,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[str], object]] = {**JUDGEMENTS, "detect_language": detect_language}


def read_cases(name: str) -> list[dict]:
    with (CASES / f"text_quality_{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


GOLDEN = [pytest.param(name, case, id=f"{name}: {case['label']}") for name in FUNCTIONS for case in read_cases(name)]
KNOWN_FAILURES = [pytest.param(case, id=f"{case['function']}: {case['label']}") for case in read_cases("known_failures")]


@pytest.mark.parametrize(("name", "case"), GOLDEN)
def test_a_message_is_judged_as_a_reader_would(name: str, case: dict) -> None:
    assert FUNCTIONS[name](case["input"]) == case["expected"]


@pytest.mark.parametrize("case", KNOWN_FAILURES)
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert FUNCTIONS[case["function"]](case["input"]) != case["expected"]


@pytest.mark.parametrize(("name", "of_several"), [("is_refusal", any_refusal), ("is_boilerplate", any_boilerplate)])
def test_one_message_of_a_conversation_is_found_whatever_the_others_are(
    name: str, of_several: Callable[[list[str]], bool]
) -> None:
    cases = [case for judgement in JUDGEMENTS for case in read_cases(judgement)]
    others = [case["input"] for case in cases if not JUDGEMENTS[name](case["input"])]
    assert not of_several(others)
    assert not of_several([])
    for case in cases:
        for messages in ([case["input"]], [*others, case["input"], *others]):
            assert of_several(messages) == JUDGEMENTS[name](case["input"])


def test_signs_are_of_the_kind_that_they_are_sought_as() -> None:
    assert all(ASCII_WORD.search(sign) and sign == sign.lower() for sign in (*AUTOMATIC_SIGNS, *REFUSAL_SIGNS))
    assert not any(sign.isascii() for sign in (*AUTOMATIC_SIGNS_CHINESE, *REFUSAL_SIGNS_CHINESE))


AUTOMATIC = (AUTOMATIC_SIGNS, AUTOMATIC_SIGNS_CHINESE)
REFUSAL = (REFUSAL_SIGNS, REFUSAL_SIGNS_CHINESE)


@pytest.mark.parametrize(
    ("pattern", "signs"),
    [(AUTOMATIC_SENTENCE, AUTOMATIC), (AUTOMATIC_HEADER, AUTOMATIC), (REFUSAL_ENGLISH, REFUSAL), (REFUSAL_CHINESE, REFUSAL)],
    ids=["automatic sentence", "automatic header", "refusal in English", "refusal in Chinese"],
)
def test_what_a_pattern_finds_has_a_sign(pattern: re.Pattern[str], signs: tuple[Sequence[str], Sequence[str]]) -> None:
    @settings(deadline=None, max_examples=1000, derandomize=True)
    @given(text=st.from_regex(pattern))
    def holds(text: str) -> None:
        assert has_sign(text, *signs)

    holds()


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_each_judgement_has_cases_of_both_kinds(name: str) -> None:
    verdicts = [case["expected"] for case in read_cases(name)]
    assert sum(verdicts) >= 6
    assert verdicts.count(False) >= 15


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_what_one_judgement_must_not_take_the_others_take_for_their_own_reasons_only(name: str) -> None:
    for other in JUDGEMENTS.keys() - {name}:
        taken = [case["input"] for case in read_cases(other) if case["expected"] and FUNCTIONS[name](case["input"])]
        assert taken == []


@pytest.mark.parametrize(
    ("unit", "other"), [("Please try again later. ", "I have no idea what "), ("请稍后再试，", "我不知道该怎么办，")]
)
def test_a_loop_is_found_wherever_the_text_is_cut_off(unit: str, other: str) -> None:
    loop = other + unit * 20
    assert all(is_repetitive(loop[: len(loop) - cut]) for cut in range(len(unit)))
    assert not is_repetitive(other + unit * 2)


def test_long_prose_that_says_a_thing_twice_is_not_stuck() -> None:
    words = (REPO / "README.md").read_text(encoding="utf-8")
    assert not is_repetitive(words)
    assert not is_repetitive(words * 2)


@settings(deadline=None)
@given(text=st.text(), name=st.sampled_from(sorted(JUDGEMENTS)))
def test_a_judgement_is_a_verdict_on_any_text_and_seldom_a_bad_one(text: str, name: str) -> None:
    assert FUNCTIONS[name](text) is False


@settings(deadline=None)
@given(text=st.text())
def test_any_text_has_a_language_code(text: str) -> None:
    assert detect_language(text).replace("-", "").isalpha()


@settings(deadline=None)
@given(text=st.text(st.sampled_from("0123456789 .,;:-+*/=()!?👍\n")))
def test_a_text_without_letters_has_no_language(text: str) -> None:
    assert detect_language(text) == "und"


def test_language_detection_is_silent_and_needs_no_network(caplog: pytest.LogCaptureFixture) -> None:
    code = (
        "import socket; socket.socket.connect = None; socket.getaddrinfo = None\n"
        "from stages.lib.languages import detect_language\n"
        "print(detect_language('Wo ist der Bahnhof? ' * 500))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("de\n", "")
    with caplog.at_level(logging.DEBUG):
        detect_language("Où est la gare ? " * 100)
    assert caplog.records == []


HOSTILE = [
    "a",
    "a ",
    "哈",
    "no ",
    "I'm sorry, ",
    "sorry ",
    "as an ai ",
    "`",
    "[A",
    "<",
    "@",
    "a@",
    "。",
    "thanks for ",
    "|",
    "\t",
    "```",
    "我",
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_long_hostile_text_takes_seconds_at_most(name: str, piece: str) -> None:
    for length in (400, 790, 200_000):
        start = time.process_time()
        FUNCTIONS[name](piece * (length // len(piece)))
        assert time.process_time() - start < 5
