"""The page of two runs in a real browser that reaches no network."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, open_browser
from compare_project import NUMBER, commit, commit_runs, likely, make_repository, reference
from conftest import run
from pages import HOSTILE

from tools.compare.__main__ import read_two
from tools.compare.comparison import compare
from tools.compare.side_by_side.document import render_page

pytestmark = pytest.mark.slow


def other(number: int) -> str:
    """Another reply to each third question, each with a text that would like to be more."""
    return f"{number} {HOSTILE[number % len(HOSTILE)]}" if number % 3 == 0 else reference(number)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`both`: two runs; `first`: one that has none before it; `hidden`: whose texts may not be shown."""
    folder = make_repository(tmp_path_factory.mktemp("pages") / "project")
    commit(folder, "empty")
    run(["git", "tag", "empty"], folder)
    params = {"train.learning_rate": 0.0002, "clean.refusals": "drop"}
    runs = {
        "start": {"nll": likely(0)},
        "changed": {"nll": likely(-1, 1), "replies": other, "params": params, "dropped": {"pairs/0100": "refusal"}},
        "hidden": {"nll": likely(-1, 1), "replies": other, "source": "chats"},
    }
    commit_runs(folder, runs)
    made = {}
    with contextlib.chdir(folder):
        for name, names in (("both", ["start", "changed"]), ("first", ["empty", "start"]), ("hidden", ["hidden", "hidden"])):
            both = read_two(names, fetch=False)
            made[name] = folder.parent / f"{name}.html"
            made[name].write_text(render_page(compare(*both), *both), encoding="utf-8")
    return made


def search(browser: Page, **values: str) -> str:
    """Fill in the form as a person would; how many are found."""
    browser.run(
        f"for (const [name, value] of Object.entries({json.dumps(values)})) filters.elements[name].value = value;"
        "filters.dispatchEvent(new Event('input', { bubbles: true }))"
    )
    return browser.run("document.querySelector('#count .en').textContent")


def first(browser: Page) -> str:
    return browser.run("document.querySelector('#rows h3').textContent")


def test_nothing_is_asked_of_a_network_and_no_text_becomes_more_than_text(browser: Page, pages: dict[str, Path]) -> None:
    for path in pages.values():
        browser.open(path)
        assert browser.asked() == []
        assert browser.complaints() == []
        assert browser.run("document.title") == "What changed from A to B"
        assert browser.run("document.querySelectorAll('img, iframe, [onclick], [onerror]').length") == 0


def test_replies_of_both_stand_side_by_side_those_that_lost_most_first_and_are_found(
    browser: Page, pages: dict[str, Path]
) -> None:
    browser.open(pages["both"])
    assert search(browser) == f"{NUMBER} of {NUMBER} replies"
    sides = browser.run(
        "[...document.querySelector('#rows article').querySelectorAll('.side h4 .en')].map((one) => one.innerText)"
    )
    assert sides[:3] == ["Prompt", "Reference", "Base of both"]
    assert {"A, tuned", "B, tuned"} <= set(sides)
    places = "['.base', '.tuned'].map((one) => document.querySelector(`#rows .side${one}`).getBoundingClientRect().top)"
    browser.show_as(1280)
    one, other_one = browser.run(places)
    assert one == other_one
    lost = int(first(browser).removeprefix("pairs/"))
    assert lost % 3 == 0
    assert search(browser, changed="changed") == f"{NUMBER // 3} of {NUMBER} replies"
    assert search(browser, changed="unchanged") == f"{NUMBER - NUMBER // 3} of {NUMBER} replies"
    assert search(browser, changed="", search="QUESTION pairs/0007") == f"1 of {NUMBER} replies"
    assert first(browser) == "pairs/0007"
    assert search(browser, search="", sort="sort_more_likely").startswith(f"{NUMBER} of")
    assert search(browser, fault="fault_new", sort="sort_loss").endswith(f"of {NUMBER} replies")


def test_texts_that_may_not_be_shown_are_not_in_the_file(browser: Page, pages: dict[str, Path]) -> None:
    assert "late again" not in pages["hidden"].read_text(encoding="utf-8")
    browser.open(pages["hidden"])
    assert "not in report.show_text of both revisions" in browser.run("document.querySelector('#rows article').innerText")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen_in_either_language(browser: Page, pages: dict[str, Path], width: int) -> None:
    browser.show_as(width, phone=width < 500)
    for path in pages.values():
        browser.open(path)
        for language in ("en", "zh-Hans"):
            browser.run(f"speak('{language}')")
            assert browser.run("document.documentElement.scrollWidth") <= width
    browser.show_as(1280)


def test_the_switch_reaches_all_of_it(browser: Page, pages: dict[str, Path]) -> None:
    for path in pages.values():
        browser.open(path)
        browser.run("document.querySelector('[data-language=zh-Hans]').click()")
        assert browser.run("[...document.querySelectorAll('.en')].filter((one) => one.checkVisibility()).length") == 0
        assert browser.run("document.title") == "从 A 到 B 改变了什么"
    browser.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage="zh-CN")
    browser.open(pages["first"])
    assert browser.run("document.documentElement.lang") == "zh-Hans"
    browser.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage="en-US")


def test_dark_where_the_system_is_and_the_curves_of_both_differ_in_more_than_colour(
    browser: Page, pages: dict[str, Path]
) -> None:
    colours = []
    for dark in (False, True):
        browser.show_as(1280, dark=dark)
        browser.open(pages["both"])
        style = (
            "(({stroke, strokeDasharray}) => [stroke, strokeDasharray])(getComputedStyle(document.querySelector('.plot .%s')))"
        )
        styles = [browser.run(style % f"validation_{run}") for run in "ab"]
        assert styles[0][0] != styles[1][0]
        assert styles[0][1] != styles[1][1] == "none"
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    browser.show_as(1280)
    assert colours == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]


def test_a_keyboard_reaches_every_control_and_a_screen_reader_their_names(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["both"])
    assert {("INPUT", "search"), ("SELECT", "sort"), ("SELECT", "changed"), ("SUMMARY", "")} <= browser.tab_through(90)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    assert {("searchbox", "Search"), ("combobox", "Replies"), ("region", "Verdict")} <= named
    assert not [name for role, name in named if role in ("button", "combobox", "link", "table", "searchbox") and not name.strip()]


def test_without_its_script_the_page_still_reads(browser: Page, pages: dict[str, Path]) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(pages["both"])
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    text = browser.run("document.body.innerText")
    assert "B is better than A" in text
    assert "train.learning_rate" in text
    assert "allow this page its own script" in text
    assert "测试集" not in text
