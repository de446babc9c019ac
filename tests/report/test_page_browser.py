"""The page in a real browser that reaches no network: what people do with it, and how long 10,000 replies take."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, open_browser
from pages import HOSTILE, hostile_rows, make_page, many_rows, reply

pytestmark = pytest.mark.slow
NUMBER = 10_000
HIDDEN = reply("chats/1", "geheim", "geheim too", base_chrf=90.0, tuned_chrf=80.0)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    rows = {
        "few": [*many_rows(30), HIDDEN],
        "many": many_rows(NUMBER),
        "hostile": hostile_rows(),
        "votes": rows_to_vote_on(),
        "none": [],
    }
    for name, some in rows.items():
        (folder / f"{name}.html").write_text(make_page(some), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in rows}


def rows_to_vote_on() -> list[dict]:
    """Four, of which the first in order has a vote."""
    rows = many_rows(4)
    min(rows, key=lambda row: row["hash"])["votes"] = 1
    return rows


def search(browser: Page, **values: str) -> None:
    """Fill in the form as if a person had, and tell the page."""
    browser.run(
        f"for (const [name, value] of Object.entries({json.dumps(values)})) filters.elements[name].value = value;"
        "filters.dispatchEvent(new Event('input', { bubbles: true }))"
    )


def count(browser: Page) -> str:
    return browser.run("document.querySelector('#count .en').textContent")


def visible(browser: Page, selector: str) -> bool:
    return browser.run(f"document.querySelector({json.dumps(selector)}).checkVisibility()")


def test_no_request_leaves_the_page_and_no_text_becomes_more_than_text(browser: Page, pages: dict[str, Path]) -> None:
    for name in ("few", "none", "hostile"):
        browser.open(pages[name])
        assert browser.asked() == []
        assert browser.complaints() == []
    assert browser.run("document.title") == "What tuning changed"
    assert browser.run("document.querySelectorAll('img, iframe, [onclick], [onerror]').length") == 0
    found = browser.run("[...document.querySelectorAll('#rows .side.base .said')].map((one) => one.textContent)")
    assert set(HOSTILE) <= set(found)


def test_what_is_injected_all_the_same_is_refused(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"])
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x\" onerror=\"document.title = 1\">')"
    )
    browser.run("fetch('https://example.org/x').catch((error) => String(error))")
    time.sleep(0.2)
    assert browser.run("document.title") == "What tuning changed"
    assert not [event for event in browser.events if event["method"] == "Network.responseReceived" and "example" in str(event)]
    assert sum("Content Security Policy" in text for text in browser.complaints()) >= 2


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("name", ["few", "hostile"])
def test_nothing_is_wider_than_the_screen(browser: Page, pages: dict[str, Path], width: int, name: str) -> None:
    browser.show_as(width, phone=width < 500)
    for language in ("en", "zh-Hans"):
        browser.open(pages[name])
        browser.run(f"speak('{language}')")
        assert browser.run("document.documentElement.scrollWidth") <= width
    browser.show_as(1280)


def test_one_language_is_shown_at_a_time_and_the_switch_reaches_all_of_it(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["few"])
    hidden = "[...document.querySelectorAll('.zh')].filter((one) => one.checkVisibility()).length"
    assert browser.run(hidden) == 0
    browser.run("document.querySelector('[data-language=zh-Hans]').click()")
    assert browser.run(hidden) > 100
    assert browser.run("[...document.querySelectorAll('.en')].filter((one) => one.checkVisibility()).length") == 0
    assert browser.run("[document.documentElement.lang, document.title, filters.elements.search.placeholder]") == [
        "zh-Hans", "微调改变了什么", "提示、回复或 id 里的词",
    ]  # fmt: skip
    assert browser.run("[...filters.elements.sort.options].every((one) => /[一-鿿]/.test(one.textContent))")
    search(browser, search="answer 7")
    assert browser.run("document.querySelector('#count .zh').checkVisibility()")


def test_a_chinese_browser_begins_in_chinese(browser: Page, pages: dict[str, Path]) -> None:
    browser.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage="zh-CN")
    browser.open(pages["few"])
    assert browser.run("document.documentElement.lang") == "zh-Hans"
    browser.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage="en-US")


def test_dark_where_the_system_is(browser: Page, pages: dict[str, Path]) -> None:
    colours = []
    for dark in (False, True):
        browser.show_as(1280, dark=dark)
        browser.open(pages["few"])
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    browser.show_as(1280)
    assert colours == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]


def test_search_filters_and_order_find_what_they_say(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["few"])
    assert count(browser) == "31 of 31 replies"
    search(browser, search="ANSWER 17 train")
    assert count(browser) == "1 of 31 replies"
    assert browser.run("document.querySelector('#rows h3').textContent") == "pairs/00017"
    search(browser, search="geheim")
    assert count(browser) == "0 of 31 replies"
    search(browser, search="", fault="fault_new")
    assert count(browser) == "3 of 31 replies"
    search(browser, fault="", sort="sort_win")
    assert browser.run("document.querySelector('#rows h3').textContent") == "pairs/00029"
    label = browser.run("[...filters.elements.label.options].findIndex((one) => one.textContent === 'billing')")
    search(browser, label=browser.run(f"filters.elements.label.options[{label}].value"))
    assert count(browser) == "10 of 31 replies"
    search(browser, label="", sort="sort_loss")
    assert browser.run("document.querySelectorAll('#rows article').length") == 20
    browser.run("document.querySelector('[data-step=\"1\"]').click()")
    assert browser.run("document.querySelectorAll('#rows article').length") == 11
    assert browser.run("document.activeElement.id") == "replies-head"
    search(browser, search="chats")
    assert "add the source chats to report.show_text" in browser.run("document.querySelector('#rows article').innerText")


def test_ten_thousand_replies_are_there_at_once_and_searched_while_one_types(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["many"])
    shown = browser.run("performance.getEntriesByName('reprotune-shown')[0].startTime")
    assert count(browser) == f"{NUMBER:,} of {NUMBER:,} replies"
    assert browser.run("document.querySelectorAll('#rows article').length") == 20
    times = []
    for text in ("answer 99", "answer 999", "late again", "nowhere", ""):
        start = browser.run("performance.now()")
        search(browser, search=text)
        times.append(browser.run("performance.now()") - start)
    print(f"\nfirst rows after {shown:.0f} ms; searches {', '.join(f'{one:.0f}' for one in times)} ms")
    assert shown < 5000
    assert max(times) < 2000


def press_digits(browser: Page, digits: str) -> None:
    for digit in digits:
        browser.press(digit, f"Digit{digit}", ord(digit), digit)


def test_votes_by_keyboard_hide_whose_is_whose_until_the_end_and_are_saved_as_evaluate_reads_them(
    browser: Page, pages: dict[str, Path], tmp_path: Path
) -> None:
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(pages["votes"])
    browser.run("begin.focus()")
    browser.press("Enter", "Enter", 13, "\r")
    assert visible(browser, "#ballot-pair")
    asked = browser.run("ballot.innerText")
    assert "Pair 1 of 4" in asked
    assert not {"Base", "Tuned", "chrF"} & set(asked.split())
    press_digits(browser, "10")
    assert "Pair 1 of 4" in browser.run("ballot.innerText")
    press_digits(browser, "1234")
    assert not visible(browser, "#ballot-pair")
    assert "Your votes" in browser.run("ballot.innerText")
    browser.run("document.getElementById('ballot-save').click()")
    saved = tmp_path / "votes.jsonl"
    deadline = time.monotonic() + 10
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
        browser.run("0")
    votes = [json.loads(line) for line in saved.read_text(encoding="utf-8").splitlines()]
    rows = {row["hash"]: row for row in many_rows(4)}
    assert [sorted(vote) for vote in votes] == [["id", "replies", "turn", "winner"]] * 4
    assert all(rows[vote["replies"]]["id"] == vote["id"] for vote in votes)
    in_order = [*sorted(rows)[1:], min(rows)]
    assert [vote["replies"] for vote in votes] == in_order
    first_is_tuned = [int(hash[-1], 16) % 2 == 1 for hash in in_order]
    assert [vote["winner"] for vote in votes] == [
        "tuned" if first_is_tuned[0] else "base", "base" if first_is_tuned[1] else "tuned", "tie", "bad",
    ]  # fmt: skip
    assert browser.asked() == []
    browser.press("Escape", "Escape", 27)
    assert not visible(browser, "#ballot")


def test_a_keyboard_reaches_every_control_and_one_sees_where_it_is(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["few"])
    assert {("INPUT", "search"), ("SELECT", "sort"), ("SELECT", "label"), ("BUTTON", "vote-begin")} <= browser.tab_through(120)


def test_a_screen_reader_finds_names_and_roles(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["few"])
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    roles = {role for role, _ in named}
    assert {"banner", "main", "navigation", "search", "table", "status", "article"} <= roles
    assert {("searchbox", "Search"), ("combobox", "Order"), ("button", "Begin"), ("region", "Verdict")} <= named
    assert not [name for role, name in named if role in ("button", "combobox", "link", "table", "searchbox") and not name.strip()]


def test_without_its_script_the_page_still_reads(browser: Page, pages: dict[str, Path]) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(pages["few"])
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    text = browser.run("document.body.innerText")
    assert "Better on test" in text
    assert "allow this page its own script" in text
    assert "测试集上更好" not in text
