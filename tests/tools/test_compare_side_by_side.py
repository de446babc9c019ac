"""The page of two runs as it is written; what a browser does with it, test_compare_browser.py."""

import contextlib
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from compare_project import NUMBER, commit, commit_runs, likely, make_repository, reference
from conftest import run
from html_tree import Element, chinese_texts, read

from tools.compare.__main__ import read_two
from tools.compare.comparison import Comparison, compare
from tools.compare.run import Run
from tools.compare.side_by_side import texts
from tools.compare.side_by_side.chinese import OF_DATA, SENTENCES
from tools.compare.side_by_side.document import render_page
from tools.compare.side_by_side.replies import find_replies

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
CHINESE = re.compile("[\u4e00-\u9fff]")
IDENTIFIER = re.compile(r"\b[\w-]*[._/@-][\w./@-]+|`[^`]*`|dvc repro|python -m [\w.]+|\b[0-9a-f]{7}\b", re.ASCII)
ENGLISH = re.compile("[A-Za-z]{2,}[ ,;]+[A-Za-z]{2,}")


def other(number: int) -> str:
    return f"{HOSTILE} {number}" if number % 3 == 0 else reference(number)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_repository(tmp_path_factory.mktemp("side") / "project")
    commit(folder, "empty")
    run(["git", "tag", "empty"], folder)
    runs = {
        "start": {"nll": likely(0)},
        "changed": {
            "nll": likely(-1, 1), "replies": other, "params": {"train.learning_rate": 0.0002, "clean.refusals": "drop"},
            "dropped": {"pairs/0100": "refusal"}, "repaired": ("pairs/0101",),
        },
        "hidden": {"nll": likely(-1, 1), "replies": other, "params": {"report.show_text": []}},
        "other_test": {"nll": likely(-1, 4), "questions": "another question"},
        "other_decoding": {"nll": likely(-1, 4), "replies": other, "conditions": {"decoding": "beam search"}},
        "other_tokenizer": {"nll": likely(-1, 4), "labels": 8},
        "other_base": {"nll": likely(0), "base_replies": lambda number: f"base {number}"},
    }  # fmt: skip
    commit_runs(folder, runs)
    return folder


def two(folder: Path, *names: str) -> tuple[Comparison, Run, Run]:
    with contextlib.chdir(folder):
        runs = read_two(list(names), fetch=False)
        return compare(*runs), *runs


def page_of(folder: Path, *names: str) -> str:
    found, a, b = two(folder, *names)
    with contextlib.chdir(folder):
        return render_page(found, a, b)


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return page_of(repository, "start", "changed")


@pytest.fixture(scope="module")
def tree(page: str) -> Element:
    return read(page)


def section(tree: Element, id: str) -> Element:
    [found] = [one for one in tree.all("section") if one.attributes["id"] == id]
    return found


def data_of(tree: Element) -> dict:
    [script] = [one for one in tree.all("script") if one.attributes.get("id") == "data"]
    return json.loads(script.text())


def test_the_verdict_comes_first_then_what_was_done_for_it(tree: Element) -> None:
    verdict = section(tree, "verdict").text()
    assert "B is better than A: perplexity 0.9" in verdict
    assert "B 比 A 好：困惑度是 A 的 0.9" in verdict
    assert "A: start" in verdict
    changes = section(tree, "changes").text()
    for said in (
        "train.learning_rate",
        "0.0004",
        "0.0002",
        "train, now dropped, refusal",
        "训练集，现在被丢弃（refusal）",
        "pairs/0100",
    ):
        assert said in changes
    rows = {row.all("th")[0].text(): row.text() for row in section(tree, "changes").all("tr")}
    assert "params train.learning_rate" in rows["train"]
    assert "perplexity" in section(tree, "metrics").text()
    paths = [one.attributes["class"] for one in section(tree, "training").all("path") if "class" in one.attributes]
    assert {"train_a", "train_b", "validation_a", "validation_b"} <= set(paths)


def test_where_only_what_they_learned_from_differs_the_page_says_so(page: str) -> None:
    assert "Comparable in part: the two learned from different conversations." in page
    assert "部分可比：两次训练用的对话不同。" in page
    assert "These differ:<" not in page


def test_each_reply_stands_beside_the_other_runs_and_the_bases(tree: Element) -> None:
    data = data_of(tree)
    assert len(data["replies"]) == NUMBER
    by_id = {data["conversations"][row[0]][0]: row for row in data["replies"]}
    row = by_id["pairs/0003"]
    assert row[2:4] == [reference(3), other(3)]
    assert row[10][0][:2] == ["beside", "no"]
    assert (row[11], by_id["pairs/0004"][11]) == (False, True)
    conversation = data["conversations"][row[0]]
    assert [text for _, text in conversation[5]] == ["question 3", reference(3)]
    assert conversation[4] == pytest.approx((likely(-1, 1) - likely(0))[3] / 10, abs=1e-3)


def test_base_models_that_reply_otherwise_are_told_apart(repository: Path) -> None:
    data = data_of(read(page_of(repository, "start", "other_base")))
    assert [one[:2] for one in data["replies"][0][10]] == [["beside_a", "no"], ["beside_b", "base 0"]]


def test_texts_of_others_stay_texts(tree: Element) -> None:
    assert len(tree.all("script")) == 3
    assert not [one for one in tree.all() if {"src", "style", "onerror"} & set(one.attributes)]
    assert any(HOSTILE in str(row[3]) for row in data_of(tree)["replies"])
    [policy] = [one.attributes["content"] for one in tree.all("meta") if one.attributes.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")


@pytest.mark.parametrize("names", [("start", "hidden"), ("hidden", "changed")])
def test_a_text_stays_back_where_either_revision_keeps_it_back(repository: Path, names: tuple[str, str]) -> None:
    page = page_of(repository, *names)
    assert "late again" not in page
    assert "taken" not in page
    data = data_of(read(page))
    assert {row[5] is None for row in data["conversations"]} == {True}
    assert {(row[2], row[3], str(row[10])) for row in data["replies"]} == {(None, None, "[]")}
    assert {row[11] for row in data["replies"]} == {True, False} or names[0] == "hidden"


def test_of_another_test_set_no_replies_stand_side_by_side(repository: Path) -> None:
    tree = read(page_of(repository, "start", "other_test"))
    assert "No replies to show: the test sets differ." in section(tree, "replies").text()
    assert data_of(tree) == {}
    assert "Not comparable" in section(tree, "verdict").text()


def test_other_decoding_shows_replies_and_says_that_their_scores_tell_nothing(repository: Path) -> None:
    tree = read(page_of(repository, "start", "other_decoding"))
    assert "can't be held against each other: replies were decoded in different ways" in section(tree, "replies").text()
    assert len(data_of(tree)["replies"]) == NUMBER
    assert not [one for one in tree.all("section") if one.attributes["id"] == "worst"]


def test_without_the_tables_the_page_says_what_is_missing(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone" / "project"
    run(["git", "clone", "-q", str(repository.parent), "clone"], tmp_path)
    tree = read(page_of(clone, "start", "changed"))
    assert "data/evaluation/replies.parquet" in section(tree, "missing").text()
    assert "取不到" in section(tree, "replies").text()
    assert "learning_rate" in section(tree, "changes").text()


PAIRS = [
    ("start", "changed"), ("changed", "start"), ("start", "start"), ("empty", "start"), ("start", "hidden"),
    ("start", "other_test"), ("start", "other_decoding"), ("start", "other_tokenizer"), ("start", "other_base"),
]  # fmt: skip


@pytest.fixture(scope="module")
def trees(repository: Path) -> dict[tuple[str, str], Element]:
    return {names: read(page_of(repository, *names)) for names in PAIRS}


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_all_that_the_page_says_stands_in_both_languages(trees: dict[tuple[str, str], Element], names: tuple[str, str]) -> None:
    tree = trees[names]
    spans = [one for one in tree.all("span") if one.attributes.get("class") in ("en", "zh")]
    classes = Counter(one.attributes["class"] for one in spans)
    assert classes["en"] == classes["zh"] > 30
    for one in spans:
        assert bool(CHINESE.search(one.text())) == (one.attributes["class"] == "zh"), one.text()
    left = [text for text in chinese_texts(tree.all("body")[0]) if ENGLISH.search(IDENTIFIER.sub("", text))]
    assert left == []


def test_every_reference_within_the_page_has_its_one_target_and_every_table_a_caption(
    trees: dict[tuple[str, str], Element],
) -> None:
    for tree in trees.values():
        ids = Counter(one.attributes["id"] for one in tree.all() if "id" in one.attributes)
        assert set(ids.values()) == {1}
        named = {one.attributes["aria-labelledby"] for one in tree.all() if "aria-labelledby" in one.attributes}
        linked = {str(one.attributes["href"]).removeprefix("#") for one in tree.all("a")}
        assert named | linked <= set(ids)
        levels = [int(one.name[1]) for one in tree.all("h1", "h2", "h3", "h4")]
        assert all(after <= before + 1 for before, after in pairwise(levels))
        for table in tree.all("table"):
            assert table.all("caption")[0].text().strip()
            assert all(one.attributes.get("scope") in ("col", "row") for one in table.all("th"))
            assert len({len(row.all("th", "td")) for row in table.all("tr")}) == 1


def test_each_sentence_has_the_same_values_in_both_languages() -> None:
    for english, chinese in [*SENTENCES.items(), *OF_DATA.items()]:
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", chinese)), english
        assert CHINESE.search(chinese) or english == "{one}; {more}", english
    for words in (texts.WORDS, texts.OF_SCRIPTS):
        for key, both in words.items():
            assert sorted(re.findall(r"\{\w+\}", both.en)) == sorted(re.findall(r"\{\w+\}", both.zh)), key


def test_without_votes_of_both_nothing_is_said_of_them(repository: Path) -> None:
    found, *_ = two(repository, "start", "changed")
    assert found["others"] == {"models": [], "only_a": [], "only_b": [], "votes": None}


def test_the_replies_can_be_had_without_likelihoods(repository: Path) -> None:
    _, a, b = two(repository, "start", "changed")
    with contextlib.chdir(repository):
        found = find_replies(a, b, per_token=False)
    assert not isinstance(found, str)
    assert {row[4] for row in found.conversations} == {None}
