"""What can't be compared ends in one line that says why."""

import contextlib
import shutil
from pathlib import Path

import pytest
from compare_project import commit, likely, make_repository, write_run
from conftest import run

from stages.lib.core.errors import ReprotuneError
from tools.compare.__main__ import compare_two
from tools.compare.best import find_best
from tools.compare.revision import find_revisions


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`empty`, without a run, then a run on main."""
    folder = make_repository(tmp_path_factory.mktemp("errors") / "project")
    commit(folder, "nothing")
    run(["git", "tag", "empty"], folder)
    write_run(folder, likely(0))
    commit(folder, "a run")
    return folder


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    shutil.copytree(repository.parent, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy" / "project"


def refused(folder: Path, *names: str) -> str:
    with contextlib.chdir(folder), pytest.raises(ReprotuneError) as error:
        compare_two(list(names), fetch=False)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["no-such-branch", "-x", "", "HEAD~99", "*", "refs/exps"])
def test_an_unknown_revision_is_named(repository: Path, name: str) -> None:
    assert refused(repository, name).startswith(f"{name}: no revision and no experiment here")


def test_a_folder_outside_git_is_no_project(tmp_path: Path) -> None:
    assert "no git repository" in refused(tmp_path)


def test_a_revision_without_a_run_says_what_makes_one(repository: Path) -> None:
    commit_of_empty = run(["git", "rev-parse", "--short=7", "empty"], repository).stdout.strip()
    expected = f"metrics/tuned.json: empty ({commit_of_empty}) has none, so no run of it is known; `dvc repro` makes it"
    assert refused(repository, "empty") == expected


def test_a_revision_without_a_lock_says_so(copy: Path) -> None:
    (copy / "dvc.lock").unlink()
    assert refused(copy, "HEAD").startswith("dvc.lock: workspace has none")


@pytest.mark.parametrize("content", ["<<<<<<< ours\nstages: {}\n", "", "stages: [1]", "[]", "stages: {a: {}}", "\x00"])
def test_a_damaged_lock_is_named(copy: Path, content: str) -> None:
    (copy / "dvc.lock").write_text(content)
    assert refused(copy, "HEAD").startswith("dvc.lock of workspace: damaged")


def test_damaged_metrics_and_params_are_named(copy: Path) -> None:
    (copy / "metrics/comparison.json").write_text("<<<<<<< ours\n")
    assert refused(copy, "HEAD").startswith("metrics/comparison.json of workspace: not JSON")
    run(["git", "checkout", "-q", "."], copy)
    (copy / "params.yaml").write_text("a: [\n")
    assert refused(copy, "HEAD").startswith("params.yaml of workspace: not valid YAML")


def test_by_default_the_work_tree_is_held_against_the_last_commit_of_the_main_branch(copy: Path) -> None:
    start = run(["git", "rev-parse", "HEAD"], copy).stdout.strip()
    run(["git", "switch", "-qc", "mine"], copy)
    write_run(copy, likely(-1, 1))
    commit(copy, "mine")
    with contextlib.chdir(copy):
        before, after = find_revisions(None, None)
        assert (before.commit, after.commit) == (start, None)
        assert compare_two([], fetch=False)["verdict"] == "better"


def test_without_a_common_commit_the_remedy_is_named(copy: Path) -> None:
    run(["git", "checkout", "-q", "--orphan", "alone"], copy)
    run(["git", "commit", "-qm", "alone"], copy)
    assert "no commit in common with main" in refused(copy)


def test_what_was_not_run_since_is_said(copy: Path) -> None:
    params = (copy / "params.yaml").read_text(encoding="utf-8")
    (copy / "params.yaml").write_text(params.replace("learning_rate: 0.0004", "learning_rate: 0.1"), encoding="utf-8")
    (copy / "metrics/tuned.json").write_text('{"perplexity": 1.0}\n')
    with contextlib.chdir(copy):
        notes = compare_two(["HEAD"], fetch=False)["notes"]
    assert "B was run with other values of train.learning_rate than its params.yaml has: `dvc repro` is due." in notes
    assert "metrics/tuned.json of B is not what its dvc.lock records: `dvc repro` is due." in notes


def test_a_rate_that_dvc_writes_with_an_exponent_alone_is_the_one_in_params(copy: Path) -> None:
    for name, found, written in (
        ("params.yaml", "learning_rate: 0.0004", "0.00005"),
        ("dvc.lock", "learning_rate: 0.0004", "5e-05"),
    ):
        text = (copy / name).read_text(encoding="utf-8")
        assert found in text
        (copy / name).write_text(text.replace(found, f"learning_rate: {written}"), encoding="utf-8")
    with contextlib.chdir(copy):
        found = compare_two(["HEAD"], fetch=False)
    assert found["notes"] == []
    assert found["params"] == [{"name": "train.learning_rate", "a": 4e-4, "b": 5e-05}]


def test_without_experiments_the_command_that_makes_one_is_named(repository: Path) -> None:
    with contextlib.chdir(repository), pytest.raises(ReprotuneError, match="dvc exp run --queue"):
        find_best([], fetch=False)
