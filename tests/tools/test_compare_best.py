"""The best of several: chosen on validation, claimed on test, counted for how many were tried."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from compare_project import NUMBER, commit, likely, make_repository, write_run
from conftest import run

from stages.evaluate.claims import Question, make_claims
from stages.evaluate.intervals import mean_difference
from stages.report.files import GATES
from stages.report.seeds import adapter_hash
from tools.compare import git
from tools.compare.best import Best, find_best, render_best
from tools.compare.revision import Revision


def experiment(folder: Path, name: str, baseline: str) -> None:
    """As DVC keeps one: a commit on the baseline under a ref of its own; the branch stays where it was."""
    made = commit(folder, name)
    run(["git", "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", made], folder)
    run(["git", "reset", "-q", "--hard", baseline], folder)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_repository(tmp_path_factory.mktemp("best") / "project")
    write_run(folder, likely(0))
    baseline = commit(folder, "baseline")
    for name, shift, seed, loss, validation in (
        ("good", -1.0, 1, 2.1, b"validation"),
        ("nearly", -0.95, 2, 2.2, b"validation"),
        ("lucky-on-test", -1.5, 3, 2.6, b"validation"),
        ("elsewhere", -1.0, 4, 1.0, b"other"),
    ):
        write_run(
            folder,
            likely(shift, seed),
            params={"train.learning_rate": 0.0001 * seed},
            validation_loss=loss,
            validation=validation,
        )
        experiment(folder, name, baseline)
    run(["git", "update-ref", "refs/exps/exec/EXEC_APPLY", baseline], folder)
    return folder


@pytest.fixture(scope="module")
def best(repository: Path) -> Best:
    with contextlib.chdir(repository):
        return find_best([], fetch=False)


def test_the_lowest_validation_loss_is_chosen_whatever_test_says(best: Best) -> None:
    assert [one["name"] for one in best["candidates"]] == ["good", "nearly", "lucky-on-test", "elsewhere"]
    assert (best["chosen"], best["verdict"], best["tried"]) == ("good", "better", 3)


def test_what_was_validated_on_other_conversations_has_no_place(best: Best) -> None:
    last = best["candidates"][-1]
    assert (last["claim"], last["why_not"]) == (None, "validated on other conversations, or other tokens of them")


def test_each_p_counts_how_many_were_tried(best: Best) -> None:
    claims = [one["claim"] for one in best["candidates"][:3]]
    assert min(claim["p_holm"] / claim["p"] for claim in claims) >= 1
    assert max(claim["p_holm"] / claim["p"] for claim in claims) == pytest.approx(3)


def test_the_best_two_are_not_told_apart_where_they_are_alike(best: Best) -> None:
    assert best["against_second"]["verdict"] == "unclear"


def test_the_page_names_the_choice_the_params_and_the_next_command(best: Best) -> None:
    page = render_best(best)
    assert page.startswith("## `good`: better\n")
    assert "`train.learning_rate=0.0001`" in page
    assert "`dvc exp branch good NEW-BRANCH`" in page
    assert "can't be told apart" in page


@pytest.mark.parametrize(
    ("failing", "rest"),
    [
        (("good",), "the best that fails none is `nearly`"),
        (("good", "nearly", "lucky-on-test"), "none of them keeps all gates"),
        (("nearly",), None),
    ],
)
def test_the_gates_that_an_experiment_fails_are_named(
    repository: Path, failing: tuple[str, ...], rest: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Revision.read_json
    gate = {"metric": "tuned.runaway", "key": "", "value": 1.8, "bound": "at most 1.5", "reason": None}

    def read_json(self: Revision, path: Path) -> object:
        return [gate | {"passed": self.name not in failing}] if path == GATES else read(self, path)

    monkeypatch.setattr(Revision, "read_json", read_json)
    with contextlib.chdir(repository):
        page = render_best(find_best([], fetch=False))
    assert re.findall(r"It fails 1 gate of its report \(tuned.runaway\); (.*)\.", page) == ([rest] if rest else [])
    assert len(re.findall(r"\| tuned.runaway \|$", page, re.MULTILINE)) == len(failing)


def test_what_is_no_experiment_is_made_no_branch_by_dvc(repository: Path) -> None:
    run(["git", "tag", "-f", "tagged", "HEAD"], repository)
    with contextlib.chdir(repository):
        pages = [render_best(find_best([name], fetch=False)) for name in ("workspace", "tagged", "HEAD")]
        made = next(one.commit for one in git.experiments() if one.name == "good")
        named = find_best([made], fetch=False)
    assert not any("dvc exp branch" in page for page in pages)
    assert named["experiment"] == "good"


def test_sentences_do_not_run_into_each_other(repository: Path) -> None:
    with contextlib.chdir(repository):
        page = render_best(find_best(["workspace"], fetch=False))
    assert "counted for 1 try. All groups give the same figure" in page
    assert not re.search(r"[a-z]\.[A-Z]", page)


def test_two_that_cannot_be_compared_are_so_for_a_reason(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.compare.run.Run.examples", None)
    with contextlib.chdir(repository):
        page = render_best(find_best(["good", "nearly"], fetch=False))
    assert "can't be compared (data/evaluation/examples.parquet of " in page
    assert "?" not in page


def test_only_those_named_are_ranked(repository: Path) -> None:
    with contextlib.chdir(repository):
        found = find_best(["nearly", "lucky-on-test"], fetch=False)
    assert (found["chosen"], found["tried"]) == ("nearly", 2)


def test_an_experiment_that_failed_is_listed_with_the_reason(repository: Path) -> None:
    run(["git", "rm", "-q", "--cached", "metrics/tuned.json"], repository)
    tree = run(["git", "write-tree"], repository).stdout.strip()
    run(["git", "reset", "-q"], repository)
    run(["git", "tag", "-f", "failed", run(["git", "commit-tree", "-m", "x", tree], repository).stdout.strip()], repository)
    with contextlib.chdir(repository):
        found = find_best(["good", "failed"], fetch=False)
    assert found["tried"] == 1
    assert found["candidates"][1]["why_not"].startswith("metrics/tuned.json: failed (")


def test_ten_tries_that_do_nothing_raise_no_more_false_alarms_than_one() -> None:
    draw = np.random.default_rng(1)
    groups, ones, alarms = np.arange(NUMBER).astype(str), np.full(NUMBER, 10.0), 0
    for _ in range(200):
        estimates = [mean_difference(draw.normal(0, 1, NUMBER), ones, groups, 0.95) for _ in range(10)]
        claims = make_claims([Question("better", "perplexity_ratio", one, NUMBER) for one in estimates], 0.95)
        alarms += any(claim["verdict"] != "unclear" for claim in claims)
    assert alarms <= 20  # 10 are expected of 200, with a standard deviation of 3


def test_what_another_seed_changes_is_said_where_it_was_measured(repository: Path) -> None:
    seeds = repository / "metrics/seeds.json"
    with contextlib.chdir(repository):
        assert "Seed noise not measured" in render_best(find_best(["workspace"], fetch=False))
        adapter = adapter_hash(json.loads(Path("metrics/details/adapter.json").read_text(encoding="utf-8")))
        measures = {"log_perplexity_ratio": {"values": [-1.0, -1.01, -0.99]}}
        seeds.write_text(json.dumps({"adapters": [adapter], "measures": measures}), encoding="utf-8")
        page = render_best(find_best(["workspace"], fetch=False))
    seeds.unlink()
    assert "By another seed alone, two runs differ by up to a factor of 1.063 (3 seeds)" in page
