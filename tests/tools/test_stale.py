"""Whether dvc.lock is current is told alike where the data is here, where none of it is, and where some is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import REPO, run
from dvc.repo import Repo

from tools.stale import find_stale

STAGES = {
    "names": {
        "cmd": "mkdir -p data && echo checked > data/sources.txt && cp params.yaml data/names",
        "params": ["names"],
        "outs": ["data/sources.txt", "data/names"],
    },
    "make": {
        "foreach": {"a": {}, "b": {}},
        "do": {
            "cmd": "mkdir -p folder && cp raw/${key} folder/${key}",
            "deps": ["raw/${key}", "data/sources.txt"],
            "outs": ["folder/${key}"],
        },
    },
    "join": {"cmd": "cat folder/* > joined", "deps": ["folder", "data/names"], "params": ["join"], "outs": ["joined"]},
    "last": {"cmd": "cp joined last", "deps": ["joined"], "outs": ["last"]},
}


def write_pipeline(folder: Path, stages: dict) -> None:
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stale") / "project"
    (folder / "raw").mkdir(parents=True)
    write_pipeline(folder, STAGES)
    (folder / "params.yaml").write_text("join: {deep: {x: 1}, y: 1}\nnames: 1\n", encoding="utf-8")
    (folder / ".gitignore").write_text("/data/\n/folder/\n/joined\n/last\n", encoding="utf-8")
    for name in "ab":
        (folder / "raw" / name).write_text(f"{name}\n", encoding="utf-8")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
        run(command, folder)
    return folder


def without_data(folder: Path) -> None:
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / "folder")
    shutil.rmtree(folder / ".dvc" / "cache")
    (folder / "joined").unlink()
    (folder / "last").unlink()


def with_a_part(folder: Path) -> None:
    shutil.copytree(folder / "data", folder.parent / "kept")
    without_data(folder)
    (folder.parent / "kept").rename(folder / "data")
    (folder / "folder").mkdir()
    (folder / "folder" / "a").write_text((folder / "raw" / "a").read_text())


def with_all(_folder: Path) -> None:
    pass


@pytest.fixture(params=[with_all, without_data, with_a_part])
def project(finished: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    take_away: Callable[[Path], None] = request.param
    take_away(folder)
    monkeypatch.chdir(folder)
    return folder


def stale() -> tuple[dict[str, list[str]], list[str]]:
    with Repo() as repo:
        return find_stale(repo)


@pytest.mark.usefixtures("project")
def test_after_a_run_nothing_is_stale() -> None:
    assert stale() == ({}, [])


def test_a_param_is_told_by_its_full_name(project: Path) -> None:
    (project / "params.yaml").write_text("join: {deep: {x: 2}, y: 1}\nnames: 1\n", encoding="utf-8")
    assert stale() == ({"join": ["join.deep.x changed"]}, ["last"])


def test_what_reads_only_what_is_always_the_same_does_not_come_after(project: Path) -> None:
    (project / "params.yaml").write_text("join: {deep: {x: 1}, y: 1}\nnames: 2\n", encoding="utf-8")
    assert stale() == ({"names": ["names changed"]}, ["join", "last"])


def test_a_file_and_a_command_are_told_with_all_that_comes_after(project: Path) -> None:
    (project / "raw" / "b").write_text("changed\n", encoding="utf-8")
    write_pipeline(project, STAGES | {"last": STAGES["last"] | {"cmd": "cp ./joined last"}})
    assert stale() == ({"make@b": ["raw/b changed"], "last": ["its command changed"]}, ["join"])


def test_a_stage_that_was_never_run_is_told(project: Path) -> None:
    more = {"cmd": "cp last more", "deps": ["last", "raw/a"], "params": ["join.y"], "outs": ["more"]}
    write_pipeline(project, STAGES | {"more": more})
    assert stale() == ({"more": ["last is new", "raw/a is new", "join.y changed"]}, [])


@pytest.mark.parametrize(("stage", "after"), [("make@a", "join"), ("join", "last")])
def test_stages_that_were_never_run_together_are_told(project: Path, stage: str, after: str) -> None:
    """As where git merged the locks of two branches: each is current, but for the version that it knows of what comes before."""
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    [out] = lock["stages"][stage]["outs"]
    file = project / out["path"]
    if file.exists():
        file.write_text("of the other branch\n", encoding="utf-8")
        with Repo() as repo:
            repo.commit(stage, force=True)
    else:
        out["md5"] = "0" * 32
        (project / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    assert stale()[0] == {after: [f"{'folder' if after == 'join' else 'joined'} changed"]}


def test_what_was_changed_by_hand_is_told(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    Path("joined").write_text("mine\n", encoding="utf-8")
    assert stale() == ({"join": ["joined is not what dvc.lock records"], "last": ["joined changed"]}, [])


def test_the_command_says_what_to_do_and_an_unreadable_lock_is_one_sentence(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "project")
    for name in ("tools", "stages"):
        (tmp_path / "project" / name).symlink_to(REPO / name)

    def said(code: int) -> str:
        done = run(["python", "-m", "tools.stale"], tmp_path / "project", check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stdout + done.stderr

    assert said(0) == "dvc.lock is that of this code, data and params\n"
    (tmp_path / "project" / "raw" / "a").write_text("changed\n", encoding="utf-8")
    *stages, remedy = said(1).splitlines()
    assert stages == ["make@a: raw/a changed", "after it: join, last"]
    assert remedy.endswith("`dvc repro --pull`, then `git add dvc.lock metrics`")
    with (tmp_path / "project" / "dvc.lock").open("a") as lock:
        lock.write("<<<<<<< HEAD\n")
    assert said(1).startswith("error: dvc.lock holds marks of a merge: ")
