"""The controls of the evaluation without their trainings: what is shuffled, what is copied, and what counts as seen."""

from pathlib import Path

import pytest
from evaluation import evaluate_folder, many

from benchmarks import controls
from stages.lib.core.files import read_jsonl
from stages.lib.records.conversation import conversations_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and one on the same test set whose model gained nothing."""
    folders = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("bad")
    evaluate_folder(folders[0], many(40))
    bad = [row | {"tuned": (row["base"][0] + at % 5 - 2, *row["tuned"][1:])} for at, row in enumerate(many(40))]
    evaluate_folder(folders[1], bad)
    return folders


def test_a_run_that_gained_nothing_is_called_worse_and_the_run_itself_is_not(runs: tuple[Path, Path]) -> None:
    good, bad = runs
    assert controls.compare_runs(good, bad)["verdict"] == "more"
    assert controls.describe(controls.compare_runs(good, bad)).startswith("worse, perplexity 1.")
    assert controls.compare_runs(good, good)["verdict"] == "unclear"


def test_replies_change_places_and_prompts_do_not(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("data", "models", "requirements", "stages"):
        (runs[0] / name).mkdir(exist_ok=True)
    controls.copy_run(runs[0], tmp_path / "copy")
    path = conversations_of("train")
    controls.shuffle_replies(tmp_path / "copy" / path, 0)
    before, after = (read_jsonl(folder / path) for folder in (runs[0], tmp_path / "copy"))
    said = [[[row["messages"][at]["content"] for row in rows] for at in (0, 1)] for rows in (before, after)]
    assert said[0][0] == said[1][0]
    assert said[0][1] != said[1][1]
    assert sorted(said[0][1]) == sorted(said[1][1])


def test_what_was_not_measured_passes_no_gate(runs: tuple[Path, Path]) -> None:
    (runs[0] / "params.yaml").write_text("report: {gates: []}\n", encoding="utf-8")
    assert controls.tell_gate(controls.retention_gate(*runs)).startswith("fails (predict gave no likelihoods of general prompts")
