"""Ids and labels in metrics/: those that hold personal data are hashed, the others stand as they are."""

import re

import pytest
from conftest import REPO

from stages.report.excerpts import render_examples
from stages.report.names import shown_label, shown_name


@pytest.mark.parametrize(
    "id",
    [
        "mail/ann.lee@firm.io",
        "mail/ann.lee@firm.io_2",
        "calls/13812345678",
        "crm2/13812345678",
        "crm/chat_13812345678_7",
        "logs/93.184.216.34",
        "bank/DE89370400440532013000",
        "shop/4111111111111111#2",
        "people/11010519491231002X",
    ],
)
def test_an_id_that_holds_personal_data_is_its_source_and_a_hash(id: str) -> None:
    source = id.partition("/")[0]
    assert re.fullmatch(rf"{source}/[0-9a-f]{{12}}", shown_name(id))
    assert shown_name(id) == shown_name(id)
    assert shown_name(id) != shown_name(id + "1")


@pytest.mark.parametrize("name", ["pairs/1", "chats/2024-01-15-0012", "billing", "退款", "", "mail/ann"])
def test_any_other_name_stands_as_it_is(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize("label", ["ann.lee@firm.io", "call 13812345678", "ann.lee@firm.io/1"])
def test_a_label_that_holds_personal_data_is_a_hash_alone(label: str) -> None:
    assert re.fullmatch("[0-9a-f]{12}", shown_name(label))


def test_no_id_of_the_examples_that_git_tracks_is_hashed() -> None:
    ids = re.findall(r"^## `(.*)`$", (REPO / "metrics/examples.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert ids
    assert [id for id in ids if shown_name(id) != id] == []


def test_the_heading_of_an_excerpt_holds_no_personal_data() -> None:
    assert "ann.lee" not in render_examples([{"id": "mail/ann.lee@firm.io", "pieces": []}], [])


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("<script>alert(1)</script>", "‹script›alert(1)‹/script›"),
        ('=HYPERLINK("https://evil.io")', '\'=HYPERLINK("https://evil.io")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-2+3 / en", "'-2+3 / en"),
        (" =1", "' =1"),
        ("\t=1", "' =1"),
        ("＝1", "'＝1"),
        ("a\n=1", "a =1"),
    ],
)
def test_a_label_is_one_line_and_neither_markup_nor_a_formula(label: str, shown: str) -> None:
    assert shown_label(label) == shown


@pytest.mark.parametrize(
    "label", ["", " / en", "billing / en / 1 turn / under 256 characters", "R&D", "a = b", "退款 / zh", "c++"]
)
def test_any_other_label_stands_as_it_is(label: str) -> None:
    assert shown_label(label) == label


@pytest.mark.parametrize("label", ["ann.lee@firm.io", "13812345678", "DE89370400440532013000"])
def test_of_a_stratum_the_part_that_is_personal_is_hashed(label: str) -> None:
    assert re.fullmatch("[0-9a-f]{12} / en / 1 turn", shown_label(f"{label} / en / 1 turn"))


def test_a_number_that_is_personal_only_as_a_whole_is_hashed_as_a_whole() -> None:
    assert re.fullmatch("[0-9a-f]{12}", shown_label("138 / 1234 / 5678"))
