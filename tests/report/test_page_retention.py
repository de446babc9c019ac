"""The general prompts with both models' replies on the page: what is shown, to whom, and how many."""

import pandas as pd
import pytest
from html_tree import Element, read
from pages import RETAINED, make_page, reply

from stages.report.page.retention import describe_retained

ROWS = [reply("pairs/1", "base one", "tuned one")]


def retained_of(tree: Element) -> Element:
    [found] = [one for one in tree.all("details") if one.attributes.get("id") == "retained"]
    return found


def test_the_replies_to_general_prompts_stand_beside_each_other() -> None:
    first, second = retained_of(read(make_page(ROWS))).all("article")
    assert [one.text().strip() for one in first.all("p") if one.attributes.get("dir")] == ["What is rain?", "Water.", "Bread."]
    assert "loss on base's reply: +1.50 nats a token" in first.text()
    assert "no likelihood of base's reply" in second.text()
    assert "(no reply: not scored)" in second.text()


@pytest.mark.parametrize("show_text", [[], ["pairs"]])
def test_a_tuned_models_replies_are_shown_only_where_all_that_it_learned_from_may_be(show_text: list[str]) -> None:
    page = make_page(ROWS, retained=describe_retained(RETAINED, ["pairs", "chats"], show_text))
    assert "Bread." not in page
    assert "What is rain?" not in page
    found = retained_of(read(page))
    assert "Missing: chats" in found.text()
    assert len(found.all("article")) == 2


def test_of_very_many_general_prompts_the_first_are_shown_and_counted() -> None:
    table = pd.concat([RETAINED] * 80, ignore_index=True)
    found = retained_of(read(make_page(ROWS, retained=describe_retained(table, ["pairs"], ["pairs"]))))
    assert len(found.all("article")) == 100
    assert "(100 of 160)" in found.text()
