"""Runs that DVC itself recorded, an experiment among them."""

import json
from pathlib import Path

import pytest
from conftest import copy_project, run


def compare(project: Path, warm: dict[str, str], *arguments: str) -> dict:
    return json.loads(run(["python", "-m", "tools.compare", "--json", *arguments], project, **warm).stdout)


def test_a_run_is_the_same_as_itself_and_nothing_is_out_of_reach(
    finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    found = compare(copy_project(finished_project, tmp_path / "project"), warm, "HEAD")
    assert (found["verdict"], found["missing"], found["notes"], found["stages"]) == ("the same", [], [], [])
    assert found["data"] == {"same": True, "changes": [], "unknown": []}


@pytest.mark.slow
def test_an_experiment_is_compared_by_its_name_and_ranked(finished_project: Path, warm: dict[str, str], tmp_path: Path) -> None:
    project = copy_project(finished_project, tmp_path / "project")
    run(["dvc", "exp", "run", "-q", "-n", "faster", "-S", "train.learning_rate=0.01"], project, **warm)
    found = compare(project, warm, "HEAD", "faster")
    assert [one["name"] for one in found["params"]] == ["train.learning_rate"]
    assert {one["name"] for one in found["stages"]} == {"train", "predict@tuned", "evaluate", "report"}
    command = ["dvc", "metrics", "diff", "HEAD", "faster", "--targets", "metrics/tuned.json", "--json"]
    diff = json.loads(run(command, project, **warm).stdout)
    for key, values in diff["metrics/tuned.json"].items():
        ours = found["metrics"]["tuned"][key]
        assert (ours["a"], ours["b"]) == (values["old"], values["new"])
    assert found["missing"] == []
    best = compare(project, warm, "--best")
    assert (best["chosen"], best["tried"], best["verdict"]) == ("faster", 1, "too few to tell")
