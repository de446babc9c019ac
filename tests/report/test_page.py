"""The page as it is written: what a reader, a screen reader and a browser's policy find in it, whatever texts it holds."""

import base64
import hashlib
import json
import re
from collections import Counter
from itertools import pairwise

import pytest
from html_tree import Element, read
from pages import GATE, HOSTILE, STRATUM, claim, evaluation, hostile_rows, make_content, make_page, page_replies, reply

from stages.report.page.charts import draw_losses, scale_over
from stages.report.page.document import FOLDER, render_page
from stages.report.page.tables import fate_rows, label_rows, strata_rows
from stages.report.page.texts import BROWSER, COLUMNS, FAULTS, PAGE, VOTING
from stages.report.page.verdict import judge, tone_of

ROWS = [
    reply("pairs/1", "base one", "tuned one", tuned_chrf=10.0),
    reply("pairs/2", "base two", "tuned two", tuned_runaway=True),
    reply("chats/3", "geheim", "geheim", tuned_chrf=5.0),
    reply("pairs/4", "same", "same", tuned_chrf=20.0),
    reply("pairs/5", None, None, base_chrf=float("nan"), tuned_chrf=float("nan"), tuned_looping=None, base_looping=None),
]


@pytest.fixture(scope="module")
def page() -> str:
    return make_page(ROWS)


@pytest.fixture(scope="module")
def tree(page: str) -> Element:
    return read(page)


# For a screen reader and the keyboard


def test_every_reference_within_the_page_has_its_one_target(tree: Element) -> None:
    ids = Counter(one.attributes["id"] for one in tree.all() if "id" in one.attributes)
    assert set(ids.values()) == {1}
    named = {
        one.attributes[name] for one in tree.all() for name in ("aria-labelledby", "aria-describedby") if name in one.attributes
    }
    linked = {str(one.attributes["href"]) for one in tree.all("a")}
    assert named | {link.removeprefix("#") for link in linked} <= set(ids)
    assert all(link.startswith("#") for link in linked)


def test_headings_landmarks_and_labels_say_where_one_is(tree: Element) -> None:
    levels = [int(one.name[1]) for one in tree.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(tree.all("main")) == len(tree.all("header")) == len(tree.all("h1")) == 1
    assert all({"aria-label", "aria-labelledby"} & set(one.attributes) for one in tree.all("nav", "section", "dialog"))
    assert all(one.parent and one.parent.name == "label" for one in tree.all("input", "select"))
    assert all(one.text().strip() or one.attributes["id"].startswith("ballot") for one in tree.all("button", "label"))
    assert {one.attributes["id"] for one in tree.all() if one.attributes.get("aria-live") == "polite"} == {
        "count",
        "ballot-status",
    }


def test_each_table_has_a_caption_and_the_scope_of_its_heads(tree: Element) -> None:
    tables = tree.all("table")
    assert len(tables) >= 7
    for table in tables:
        [caption] = table.all("caption")
        assert caption.text().strip()
        assert all(one.attributes.get("scope") in ("col", "row") for one in table.all("th"))
        widths = {sum(int(cell.attributes.get("colspan") or 1) for cell in row.all("th", "td")) for row in table.all("tr")}
        assert len(widths) == 1


def test_all_that_the_page_says_stands_in_both_languages(tree: Element) -> None:
    spans = Counter(one.attributes.get("class") for one in tree.all("span") if one.attributes.get("class") in ("en", "zh"))
    assert spans["en"] == spans["zh"] > 100
    assert all(one.text().strip() for one in tree.all("span") if one.attributes.get("class") in ("en", "zh"))
    for words in (PAGE, COLUMNS, BROWSER, VOTING, FAULTS):
        for key, both in words.items():
            assert re.findall(r"\{\w+\}", both.en) != [] or "{" not in both.zh, key
            assert sorted(re.findall(r"\{\w+\}", both.en)) == sorted(re.findall(r"\{\w+\}", both.zh)), key
            assert not re.search("[\u4e00-\u9fff]", both.en), key
    attributes = [one.attributes for one in tree.all() if "data-en" in one.attributes]
    assert attributes
    assert all(one["data-zh"] for one in attributes)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(scheme: int) -> None:
    """WCAG's contrast for text of any size, AA."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    blocks = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)]
    colours = blocks[scheme]
    for name in ("text", "quiet", "good", "bad", "open", "tuned", "base"):
        for behind in ("back", "raised"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, behind)


# Nothing but itself


def test_the_policy_allows_the_pages_own_script_and_style_and_no_request(page: str, tree: Element) -> None:
    [policy] = [one.attributes["content"] for one in tree.all("meta") if one.attributes.get("http-equiv")]
    allowed = dict(part.strip().split(" ", 1) for part in str(policy).split(";"))
    assert allowed["default-src"] == "'none'"
    for directive, pattern in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        [text] = re.findall(pattern, page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[directive] == f"'sha256-{digest}'"
    assert not [
        one for one in tree.all() if {"src", "style", "action"} & set(one.attributes) or one.name in ("link", "img", "iframe")
    ]
    assert not [key for one in tree.all() for key in one.attributes if key.startswith("on")]


def test_the_same_run_gives_the_same_bytes(page: str) -> None:
    assert make_page(ROWS) == page


def data_of(tree: Element, id: str = "data") -> dict:
    [script] = [one for one in tree.all("script") if one.attributes.get("id") == id]
    return json.loads(script.text())


def test_hostile_texts_stay_texts_and_change_no_element() -> None:
    tree = read(make_page(hostile_rows()))
    plain = read(
        make_page([row | {"base_reply": "a", "tuned_reply": "b", "id": f"pairs/x{at}"} for at, row in enumerate(hostile_rows())])
    )
    assert [one.name for one in tree.all()] == [one.name for one in plain.all()]
    assert [row[2] for row in data_of(tree)["replies"]][: len(HOSTILE)] == HOSTILE
    shown = [one.text() for one in tree.all("p") if one.attributes.get("dir") == "auto"]
    assert any(HOSTILE[-1] in text for text in shown)


# Whose texts may be shown


def test_of_a_source_that_is_not_shown_there_are_ids_scores_and_how_to_allow_it(page: str, tree: Element) -> None:
    assert "geheim" not in page
    assert "prompt of chats" not in page
    data = data_of(tree)
    [conversation] = [one for one in data["conversations"] if one[0] == "chats/3"]
    [row] = [one for one in data["replies"] if data["conversations"][one[0]] == conversation]
    assert conversation[5] is None
    assert row[2:] == [None, None, 20.0, 5.0, 0, 0, None, 0]
    worst = next(one for one in tree.all("article") if "chats/3" in one.text())
    assert "add the source chats to report.show_text" in worst.text()


def test_an_id_or_label_that_is_personal_data_stands_nowhere() -> None:
    page = make_page([reply("pairs/ann.lee@firm.io", "a", "b", tuned_chrf=1.0)], show_text=[])
    assert "ann.lee" not in page
    assert re.search(r"pairs/[0-9a-f]{12}", page)


# What is said


def test_new_faults_come_first_then_what_lost_most_overlap(tree: Element) -> None:
    heads = [one.all("h3")[0].text() for one in tree.all("article") if "worst" in str(one.attributes["aria-labelledby"])]
    assert heads == ["pairs/2", "chats/3", "pairs/1"]


def test_a_conversation_of_several_turns_shows_the_last_question_before_the_reply() -> None:
    rows = [reply("pairs/1", "b", "t", tuned_chrf=1.0)]
    content = make_content(page_replies(rows, ["pairs"], {"pairs/1": "What then?"}))
    sides = [one.text() for one in read(render_page(content)).all("div") if one.attributes.get("class", "").startswith("side ")]
    assert "What then?" in sides[0]
    assert "right pairs/1" in sides[1]


RIGHT = claim("better", "accuracy_difference", "more")
FORGOT = claim("forgot", "retention_ratio", "more")


@pytest.mark.parametrize(
    ("claims", "passed", "tone", "says"),
    [
        ([claim("better", "perplexity_ratio", "less")], True, "good", "Nothing else that was measured got worse."),
        ([claim("better", "perplexity_ratio", "less"), FORGOT], True, "good", "The price: base's own replies"),
        ([claim("better", "perplexity_ratio", "less")], False, "bad", "Gates that fail: 1 of 1."),
        ([claim("better", "perplexity_ratio", "more")], True, "bad", "All gates hold (1)."),
        ([claim("better", "accuracy_difference", "more")], True, "good", "Nothing else"),
        ([claim("better", "accuracy_difference", "less")], True, "bad", "All gates hold (1)."),
        ([claim("better", "perplexity_ratio", "unclear")], True, "open", "All gates hold (1)."),
        ([RIGHT, claim("majority", "majority_difference", "more")], True, "good", "Nothing else that was measured"),
        ([RIGHT, claim("majority", "majority_difference", "less")], True, "good", "The price: always replying with the most"),
        ([RIGHT, claim("majority", "majority_difference", "unclear")], True, "open", "Not shown to be better than always"),
        ([claim("better", "perplexity_ratio", "too_few", reason="few")], True, "open", "All gates hold (1)."),
    ],
)
def test_the_verdict_follows_from_claims_and_gates(claims: list[dict], passed: bool, tone: str, says: str) -> None:
    verdict = judge(claims, [GATE | {"passed": passed}])
    assert verdict.tone == tone
    assert any(line.en.startswith(says) for line in verdict.lines)
    assert not any("{" in text for line in (verdict.head, *verdict.lines) for text in line)


def test_shorter_is_neither_better_nor_worse_and_a_lost_vote_is_worse() -> None:
    assert tone_of(claim("length", "length_ratio", "less")) == "open"
    assert tone_of(claim("preferred", "win_rate", "less")) == "bad"
    assert tone_of(claim("preferred", "win_rate", "more")) == "good"


CONFUSED = [("travel", "billing")] * 2 + [("travel", "travel")] * 5 + [("billing", "")] * 3 + [("<b>", "travel")]
MAJORITY = claim("majority", "majority_difference", "more")
CLASSIFIED = {"task": "classification", "confusion": CONFUSED, "claims": [RIGHT, MAJORITY], "strata": [
    STRATUM | {"measure": "accuracy_difference", "estimate": 0.0, "low": -0.1, "high": 0.1, "verdict": "unclear"},
    STRATUM | {"measure": "accuracy_difference", "value": None, "estimate": None, "low": None, "high": None},
]}  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"strata": []}, {"claims": [claim("better", "perplexity_ratio", "not_measured", reason="no")]}]
)
def test_what_is_not_there_leaves_a_page_all_the_same(change: dict) -> None:
    nothing = {"outcomes": [], "history": [{"step": 0}], "perplexities": make_content(page_replies(ROWS, [])).perplexities[:0]}
    assert read(make_page(ROWS, [], evaluation=evaluation() | change, **nothing)).all("main")
    assert read(make_page([], [], evaluation=evaluation() | change, **nothing)).all("main")


def test_a_classifier_is_shown_by_its_right_replies() -> None:
    tree = read(make_page(ROWS, evaluation=evaluation() | CLASSIFIED))
    [strata] = [one for one in tree.all("section") if one.attributes["id"] == "strata"]
    assert "difference of accuracy" in strata.text()
    assert "can't tell" in strata.text()
    [mistakes] = [one for one in tree.all("section") if one.attributes["id"] == "mistakes"]
    rows = [[cell.text() for cell in row.all("th", "td")] for row in mistakes.all("tr")]
    assert rows[1:] == [["billing", "(no label)（不是标签）", "3"], ["travel", "billing", "2"], ["‹b›", "travel", "1"]]
    [limits] = [one for one in tree.all("section") if one.attributes["id"] == "limits"]
    assert "perplexity" not in limits.text()


# Drawings


def test_a_loss_curve_leaves_out_what_is_no_number_and_starts_at_its_step() -> None:
    chart = draw_losses(
        [{"step": 10, "train_loss": 2.0}, {"step": 20, "train_loss": float("inf")}, {"step": 30, "train_loss": 1.0}]
    )
    assert chart is not None
    assert chart.curves[0].path == "M0 0L100 100"
    assert [text for _, text in chart.ticks] == ["1.0", "1.5", "2.0"]
    assert draw_losses([{"step": 0}]) is None
    flat = draw_losses([{"step": 0, "train_loss": 2.0}])
    assert flat is not None
    assert flat.curves[0].path == "M50 100"


def test_intervals_lie_on_one_axis_with_the_line_of_no_change() -> None:
    rows, neutral = strata_rows(evaluation()["strata"] + [evaluation()["strata"][0] | {"low": None, "high": None}])
    assert neutral is not None
    assert rows[0].low is not None
    assert rows[0].high is not None
    assert 0 < rows[0].low < rows[0].estimate < rows[0].high < neutral < 100  # type: ignore[operator]
    assert (rows[1].low, rows[1].interval) == (None, "")
    assert scale_over([], True) is None


def test_bars_and_dots_are_as_long_as_their_numbers() -> None:
    content = make_content(page_replies(ROWS, []))
    assert [(number, length) for _, number, length in fate_rows(content.fates)] == [(508, 100.0), (2, 0.39)]
    [row] = label_rows(content.perplexities)
    assert (row.label.en, row.conversations, row.base, row.base_place) == ("travel", 5, "10", row.tuned_place)
