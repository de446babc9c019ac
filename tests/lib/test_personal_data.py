"""Personal data: golden cases of each kind, numbers that must stay, and linear time on hostile input."""

import json
import random
import re
import string
import time

import pytest
from conftest import REPO, examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.lib.personal_data import kinds
from stages.lib.personal_data.kinds import PERSONAL_DATA, is_personal

CASES = REPO / "tests/cases"
PLACEHOLDERS = {
    "secret": "[SECRET]",
    "email": "[EMAIL]", "iban": "[IBAN]", "id_card": "[ID]", "payment_card": "[CARD]", "ip_address": "[IP]", "phone": "[PHONE]",
}  # fmt: skip


ALPHABETS = {"": string.ascii_letters + string.digits, " upper": string.ascii_uppercase + "234567", " hex": "0123456789abcdef"}
ALPHABETS[" lower"] = "0123456789abcdef"


def filled(text: str) -> str:
    """`<36>` becomes 36 letters and digits drawn at random: no key, not even one made up, stands in a file of this repository."""
    choose = random.Random(text)
    return re.sub(r"<(\d+)( \w+)?>", lambda match: "".join(choose.choices(ALPHABETS[match[2] or ""], k=int(match[1]))), text)


def read_cases(name: str) -> list[dict]:
    with (CASES / f"personal_data_{name}.jsonl").open(encoding="utf-8") as file:
        cases = [json.loads(line) for line in file]
    same = [case["input"] == case["expected"] for case in cases]
    for case, stays in zip(cases, same, strict=True):
        case["input"] = filled(case["input"])
        case["expected"] = case["input"] if stays else case["expected"]
    return cases


def mask_all(text: str) -> str:
    for mask in PERSONAL_DATA.values():
        text = mask(text)
    return text


GOLDEN = [pytest.param(name, case, id=f"{name}: {case['label']}") for name in PERSONAL_DATA for case in read_cases(name)]
KNOWN_FAILURES = [pytest.param(case, id=f"{case['function']}: {case['label']}") for case in read_cases("known_failures")]
ALL = [pytest.param(case, id=case["label"]) for case in read_cases("all")]


@pytest.mark.parametrize(("name", "case"), GOLDEN)
def test_personal_data_of_a_kind_is_masked_and_nothing_else(name: str, case: dict) -> None:
    assert PERSONAL_DATA[name](case["input"]) == case["expected"]


@pytest.mark.parametrize("case", ALL)
def test_all_kinds_in_their_order_give_each_its_own_placeholder(case: dict) -> None:
    assert mask_all(case["input"]) == case["expected"]


@pytest.mark.parametrize(("name", "case"), GOLDEN)
def test_no_kind_takes_what_must_stay_in_another_ones_cases(name: str, case: dict) -> None:
    expected = case["input"].replace("+4915112345678", "[PHONE]")  # no card, but a telephone number
    if case["input"] == case["expected"]:
        assert mask_all(case["input"]) == expected, name


@pytest.mark.parametrize("case", KNOWN_FAILURES)
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert getattr(kinds, case["function"])(case["input"]) != case["expected"]


@pytest.mark.parametrize(("name", "case"), GOLDEN)
def test_a_text_is_personal_where_a_kind_is_found(name: str, case: dict) -> None:
    if case["input"] != case["expected"]:
        assert is_personal(case["input"]), name
    assert is_personal(case["input"]) == (mask_all(case["input"]) != case["input"])


@pytest.mark.parametrize("name", PERSONAL_DATA)
def test_each_kind_has_cases_that_change_and_cases_that_must_not(name: str) -> None:
    cases = read_cases(name)
    changed = [case for case in cases if case["input"] != case["expected"]]
    assert len(changed) >= 4
    assert all(PLACEHOLDERS[name] in case["expected"] for case in changed)
    assert len(cases) - len(changed) >= 10


@pytest.mark.parametrize("digits", ["13812345678", "11010519491231002X", "4111111111111111"])
def test_chinese_beside_a_number_does_not_hide_it_and_a_digit_or_letter_does(digits: str) -> None:
    assert mask_all(f"号{digits}是") in ("号[PHONE]是", "号[ID]是", "号[CARD]是")
    assert mask_all(f"A{digits}") == f"A{digits}"
    assert mask_all(f"{digits}A") == f"{digits}A"


# Properties, over text of all kinds and over pieces of numbers and addresses.
PIECES = [
    "13812345678", "138", "1234", "5678", "4111", "1111", "0", "10", "020 7946 0958", "+1", "+86", "(555)", "1", "2024-01-15",
    "-", " ", ".", ":", "::", "/", "(", ")", "ann", "@", "example.com", "c-d.io", "192.168.0.1", "2001:db8", "11010519491231002X",
    "DE89", "3704", "号", "，", "１３８", "＠", "[PHONE]", "x", "转", "ext. 12", "a",
]  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=10).map("".join))


@pytest.mark.parametrize("mask", [*PERSONAL_DATA.values(), mask_all])
@settings(deadline=None, max_examples=examples(120))
@given(text=TEXTS)
@example(text="13812345678-13912345678")
@example(text="4111 1111 1111 1111 4111 1111 1111 1111")
def test_a_second_pass_changes_nothing(mask: object, text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_characters="@＠", exclude_categories=["Nd", "Cs"])))
def test_without_a_digit_or_an_at_sign_there_is_no_personal_data(text: str) -> None:
    assert mask_all(text) == text


@settings(deadline=None)
@given(
    year=st.integers(1950, 2049),
    month=st.integers(1, 12),
    day=st.integers(1, 28),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_no_date_or_time_is_personal_data(year: int, month: int, day: int, hour: int, minute: int) -> None:
    texts = [
        f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year}", f"{day:02}-{month:02}-{year}",
        f"{year}年{month}月{day}日 {hour:02}:{minute:02}", f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z",
        f"{day:02}.{month:02}.{year} {hour:02}:{minute:02}", f"{year}{month:02}{day:02}{hour:02}{minute:02}",
        f"{year}-{month:02}-{day:02} {hour:02}:{minute:02}:00",
    ]  # fmt: skip
    assert [mask_all(text) for text in texts] == texts


HOSTILE = [
    "a@",
    "a.",
    "@",
    "1",
    "1 ",
    ":1",
    "1.",
    "+1",
    "(1",
    "4111 ",
    "DE89 ",
    "01 23 ",
    "1\t",
    "a",
    "1-",
    "13812345678 ",
    "a@a.",
    "sk-",
    "eyJ.",
    "://a:b",
    "aws_secret_",
    "-----BEGIN " + "PRIVATE KEY-----",
    "AKIA",
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("name", PERSONAL_DATA)
def test_long_hostile_text_takes_seconds_at_most(name: str, piece: str) -> None:
    text = piece * (100_000 // len(piece)) + "@ 1"
    start = time.process_time()
    PERSONAL_DATA[name](text)
    assert time.process_time() - start < 10
