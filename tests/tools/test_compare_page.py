"""What a pull request shows of a comparison: nothing that it may not, no markup of others, never more than a comment holds."""

import contextlib
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from compare_project import commit, likely, make_repository, reference, write_run
from conftest import run

from stages.report.files import GATES
from tools.compare import __main__ as tool
from tools.compare.claims import OTHER_RUN, UNMEASURED, adapter_hash, find_seed_noise
from tools.compare.comparison import Comparison
from tools.compare.flips import describe
from tools.compare.loss import draw
from tools.compare.markdown import code, plain, texts
from tools.compare.page import LEFT_OUT, LONGEST, render
from tools.compare.revision import Revision

HOSTILE = "</details><img src=x onerror=alert(1)> @octocat #1 https://evil.io ``` ~~~ | [a](http://b) \u202egnp.exe"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_repository(tmp_path_factory.mktemp("page") / "project")
    for name, source in (("shown", "pairs"), ("hidden", "chats")):
        for number, replies in enumerate((reference, lambda number: f"{HOSTILE} {number}")):
            write_run(folder, likely(-number, number), replies, source=source)
            commit(folder, f"{name} {number}")
            run(["git", "tag", f"{name}-{number}"], folder)
    return folder


def compare(folder: Path, *names: str) -> Comparison:
    with contextlib.chdir(folder):
        return tool.compare_two(list(names), fetch=False)


@pytest.fixture(scope="module")
def shown(repository: Path) -> Comparison:
    return compare(repository, "shown-0", "shown-1")


@pytest.fixture(scope="module")
def hidden(repository: Path) -> Comparison:
    return compare(repository, "hidden-0", "hidden-1")


def outside_code(markdown: str) -> str:
    """What GitHub takes for Markdown and HTML."""
    return re.sub(r"`[^`\n]*`|<code>[^<\n]*</code>", "", markdown)


def test_the_verdict_comes_first_and_every_fold_is_closed(shown: Comparison) -> None:
    page = render(shown)
    assert page.startswith("## Better\n\nB is better than A: perplexity ")
    rest = outside_code(page)
    assert rest.count("<details>") == rest.count("</details>") > 2
    assert len(page) < LONGEST


@pytest.mark.parametrize(("a", "b", "head"), [("shown-0", "shown-1", "Better, but"), ("shown-1", "shown-0", "Worse, and")])
def test_a_gate_that_fails_stands_beside_the_verdict(
    repository: Path, a: str, b: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = {"key": "", "value": 1.8, "bound": "at most 1.5", "reason": None}
    gates = [outcome | {"metric": f"tuned.{name}", "passed": name != "runaway"} for name in ("broken", "runaway", "chrf")]
    read = Revision.read_json
    monkeypatch.setattr(Revision, "read_json", lambda self, path: gates if path == GATES else read(self, path))
    found = compare(repository, a, b)
    assert render(found).startswith(f"## {head} B fails a gate\n\nB is ")
    assert found["notes"][0] == "B fails 1 of its 3 gates: tuned.runaway."
    gates[1]["passed"] = True
    assert "fails" not in render(compare(repository, a, b)).partition("### Claims")[0]


def test_no_markup_mention_or_link_of_a_reply_comes_through(shown: Comparison) -> None:
    page = render(shown)
    assert "octocat" in page
    rest = outside_code(page)
    assert not re.search(r"evil|octocat|<img|\u202e", rest)


@pytest.mark.parametrize(
    "name", [HOSTILE, "a`b", "``", "a|b", "a\\|b", "@team", "<b>", "a\nb", "", "*_x_*", "x" * 500, "\\", "`x`"]
)
def test_any_name_stays_within_its_cell(name: str) -> None:
    cell = code(name)
    assert "\n" not in cell
    assert not re.search(r"[|<>@`*_#\[\]]", outside_code(cell))
    assert "|" not in cell


@pytest.mark.parametrize("text", ["```\nout", "~~~", "a\r\nb", "\n\n", "````` five", "a\x0bb", HOSTILE])
def test_any_text_stays_within_its_cell(text: str) -> None:
    cell = texts(text)
    assert set(outside_code(cell).split("<br>")) == {""}
    assert not re.search(r"[|\n]", cell)


def test_words_of_others_in_our_sentences_are_shown_as_they_are_written() -> None:
    said = plain("remote: <b>@octocat</b> see https://evil.io `dvc push`")
    assert "<b>" not in said
    assert "@octocat" not in said
    assert "https://" not in said
    assert said.endswith("`dvc push`")


def test_texts_of_a_source_that_may_not_be_shown_stand_nowhere(hidden: Comparison) -> None:
    assert hidden["replies"]["changed"] > 0
    for page in (render(hidden), json.dumps(hidden)):
        assert "octocat" not in page
        assert "late again" not in page
    assert "not shown: its source" in render(hidden)


def test_a_text_stays_back_where_either_revision_keeps_it_back() -> None:
    row = pd.Series({"id": "pairs/1", "turn": 1, "prompt_b": "p", "reference_b": "r", "tuned_reply_a": "a", "tuned_reply_b": "b",
                     "tuned_chrf_a": 1.0, "tuned_chrf_b": 2.0, "tuned_broken_a": False, "tuned_broken_b": False})  # fmt: skip
    assert describe(row, [{}, {}], (["pairs"], ["pairs"]))["texts"]
    assert describe(row, [{}, {}], (["pairs"], []))["texts"] is None
    assert describe(row, [{}, {}], ([], ["pairs"]))["texts"] is None
    personal = row.replace("pairs/1", "pairs/ann.lee@firm.io")
    assert "ann.lee" not in str(describe(personal, [{}, {}], (["pairs"], [])))


def test_what_a_comment_does_not_hold_is_left_out_and_said(shown: Comparison) -> None:
    params = [{"name": f"collect.sources.s{number}", "a": None, "b": "x" * 100} for number in range(30)]
    flip = shown["replies"]["worst"][0]
    long = {**flip, "texts": dict.fromkeys(("prompt", "reference", "a", "b"), "長い" * 5000)}
    replies = {**shown["replies"], "best": [long] * 50}
    page = render({**shown, "params": params, "replies": replies})
    assert len(page) < 65_536
    assert LEFT_OUT in page
    assert "### Validation loss" in page or shown["loss"]["a"] == shown["loss"]["b"]


def test_the_files_are_those_that_a_workflow_takes(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "shown-0", "shown-1", "--json", "--out", str(tmp_path)])
    with contextlib.chdir(repository):
        tool.main()
    record = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "compare.json").read_text()) == record
    assert set(record) == set(Comparison.__annotations__)
    assert (tmp_path / "compare.md").read_text(encoding="utf-8") == render(record)
    assert (tmp_path / "compare.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert ElementTree.parse(tmp_path / "loss.svg").getroot().tag.endswith("svg")


def test_the_curves_of_both_runs_are_drawn_over_each_other() -> None:
    one = {"train": [(1.0, 4.0), (2.0, 3.0)], "validation": [(0.0, 4.0), (2.0, 2.0)]}
    other = {"train": [], "validation": [(1.0, 2.5)]}
    drawn = ElementTree.fromstring(draw(one, other))
    assert len(drawn.findall("{*}polyline")) == 3
    assert draw({"train": [], "validation": []}, {"train": [], "validation": []}) is None
    assert draw({"train": [(0.0, 1.0)], "validation": []}, other)


CLAIM = {"measure": "perplexity_ratio", "estimate": 0.98}
ADAPTERS = [{"files": {"a": 1}}, {"files": {"b": 2}}]


def seeds(*values: float | None) -> dict:
    """metrics/seeds.json, measured on the second run."""
    return {"adapters": [adapter_hash(ADAPTERS[1]), "x"], "measures": {"log_perplexity_ratio": {"values": list(values)}}}


def test_a_change_that_another_seed_would_make_too_is_said_to_be_one() -> None:
    near = find_seed_noise(seeds(-1.2, -1.21, -1.19, None, -1.25), ADAPTERS, CLAIM, 0.95)
    assert (near["seeds"], near["beyond"]) == (4, False)
    assert near["said"].endswith("no larger than that")
    assert find_seed_noise(seeds(-1.2, -1.21, -1.19), ADAPTERS, CLAIM | {"estimate": 0.5}, 0.95)["beyond"] is True
    assert find_seed_noise(seeds(-1.2, -1.21, -1.19), ADAPTERS[:1], CLAIM, 0.95)["said"] == OTHER_RUN


@pytest.mark.parametrize("found", [None, {}, {"seeds": []}, seeds(), seeds(3.0), {"measures": "x"}, [], {"measures": {"a": 1}}])
def test_without_seeds_their_noise_is_said_not_to_be_measured(found: object) -> None:
    assert find_seed_noise(found, ADAPTERS, CLAIM, 0.95)["said"] == UNMEASURED
