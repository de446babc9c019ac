"""Two branches of one repo, merged by git itself."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPO, run

CODE = ".gitattributes"  # any file that git holds: DVC mistakes a stage of params alone for one that it has in its cache
STAGES = {
    name: {
        "cmd": f"cp {name}.yaml {name} && echo {name} >> ../ran",
        "deps": [CODE],
        "params": [{f"{name}.yaml": ["x"]}],
        "outs": [name],
    }
    for name in ("first", "second")
} | {
    "both": {
        "cmd": "mkdir -p metrics && cat first second > metrics/both.yaml && echo both >> ../ran",
        "deps": ["first", "second", CODE],
        "outs": [{"metrics/both.yaml": {"cache": False}}],
    },
}


def commit(folder: Path, branch: str, files: dict[str, str]) -> None:
    run(["git", "checkout", "-q", "-B", branch], folder)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    run(["git", "add", "."], folder)
    run(["git", "commit", "-qm", branch], folder)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "a repo"
    folder.mkdir()
    for command in (["init", "-q"], ["config", "user.name", "Test"], ["config", "user.email", "test@example.org"]):
        run(["git", *command], folder)
    shutil.copy(REPO / ".gitattributes", folder)
    return folder


def install(folder: Path) -> None:
    """As it is typed in a clone: the folder that `tools` lies in."""
    for name in ("tools", "stages"):
        (folder / name).symlink_to(REPO / name)
    with (folder / ".git/info/exclude").open("a") as excluded:
        excluded.write("tools\nstages\n")
    run(["python", "-m", "tools.merge_lock", "--install"], folder)


def lock(**hashes: str) -> str:
    stages = {name: {"cmd": name, "outs": [{"path": name, "md5": md5}]} for name, md5 in hashes.items()}
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)


def hashes_of(folder: Path) -> dict[str, str]:
    stages = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {name: entry["outs"][0]["md5"] for name, entry in stages.items()}


def test_stages_that_one_branch_changed_are_merged_and_ours_stay_where_both_did(repo: Path) -> None:
    (repo / "metrics").mkdir()
    install(repo)
    commit(repo, "start", {"dvc.lock": lock(a="1", b="1", c="1", gone="1"), "metrics/m.json": "1\n"})
    commit(repo, "theirs", {"dvc.lock": lock(a="1", b="3", c="3", new="3"), "metrics/m.json": "3\n"})
    run(["git", "checkout", "-q", "start"], repo)
    commit(repo, "ours", {"dvc.lock": lock(a="2", b="1", c="2", gone="1"), "metrics/m.json": "2\n"})
    run(["git", "merge", "-q", "-m", "merge", "theirs"], repo)
    assert hashes_of(repo) == {"a": "2", "b": "3", "c": "2", "new": "3"}
    assert (repo / "metrics/m.json").read_text() == "2\n"


@pytest.mark.parametrize("tool", [["tools.doctor"], ["tools.stale"], ["tools.compare", "HEAD"]], ids=lambda tool: tool[0])
@pytest.mark.parametrize("state", ["in a merge", "cut off"])
def test_where_git_could_not_merge_each_tool_names_what_restores_the_lock(repo: Path, tool: list[str], state: str) -> None:
    install(repo)
    for name in ("dvc-lock", "keep-ours"):
        run(["git", "config", "--unset", f"merge.{name}.driver"], repo)
    run(["dvc", "init", "-q"], repo)
    (repo / "metrics").mkdir()
    params = {"params.yaml": "train: {}\n", "dvc.yaml": "stages: {}\n"}
    commit(repo, "start", {"dvc.lock": lock(a="1"), "metrics/tuned.json": "{}\n", **params})
    commit(repo, "theirs", {"dvc.lock": lock(a="3"), "metrics/tuned.json": '{"a": 3}\n'})
    run(["git", "checkout", "-q", "start"], repo)
    commit(repo, "ours", {"dvc.lock": lock(a="2"), "metrics/tuned.json": '{"a": 2}\n'})
    if state == "in a merge":
        assert run(["git", "merge", "-q", "theirs"], repo, check=False).returncode
    else:
        text = (repo / "dvc.lock").read_text()
        (repo / "dvc.lock").write_text(text[: text.index("outs:")] + "outs: [")
    for _ in range(2):  # the comparison reads one file after the other, and names each
        done = run(["python", "-m", *tool], repo, check=False)
        assert "Traceback" not in done.stderr
        if named := re.search(r"`(git checkout [^`]*)`", done.stderr):
            run(["sh", "-c", named[1]], repo)
    assert hashes_of(repo) == {"a": "2"}
    assert (repo / "metrics/tuned.json").read_text() == '{"a": 2}\n'


@pytest.mark.parametrize("tool", ["tools.doctor", "tools.stale"])
@pytest.mark.parametrize("damaged", ["<<<<<<< HEAD\nstages: {}\n", "stages: ["], ids=["marks", "cut off"])
def test_a_damaged_lock_that_is_committed_is_not_restored_from_git(repo: Path, tool: str, damaged: str) -> None:
    install(repo)
    commit(repo, "damaged", {"dvc.lock": damaged})
    said = run(["python", "-m", tool], repo, check=False).stderr
    assert "it is committed so; `rm dvc.lock`, `dvc repro` and commit it" in said
    assert "checkout" not in said


def test_a_merged_lock_is_written_as_dvc_writes_it(repo: Path) -> None:
    text = (REPO / "dvc.lock").read_text(encoding="utf-8")
    versions = [repo / name for name in ("base", "ours", "theirs")]
    for path in versions:
        path.write_text(text, encoding="utf-8")
    run(["python", "-m", "tools.merge_lock", *map(str, versions)], REPO)
    assert versions[1].read_text(encoding="utf-8") == text


def test_without_the_two_names_that_git_gives_nothing_is_touched(tmp_path: Path) -> None:
    done = run(["python", "-m", "tools.merge_lock", "--install"], REPO, check=False, GIT_DIR=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: git can't be set up: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_after_a_merge_only_what_depends_on_both_branches_runs(repo: Path) -> None:
    run(["dvc", "init", "-q"], repo)
    install(repo)
    commit(repo, "start", {"dvc.yaml": yaml.safe_dump({"stages": STAGES}), "first.yaml": "x: 1\n", "second.yaml": "x: 1\n"})
    run(["dvc", "repro", "-q"], repo)
    commit(repo, "start", {})
    for branch, changed in (("theirs", "first"), ("ours", "second")):
        run(["git", "checkout", "-q", "start"], repo)
        (repo / f"{changed}.yaml").write_text("x: 2\n", encoding="utf-8")
        run(["dvc", "repro", "-q"], repo)
        commit(repo, branch, {})
    (repo.parent / "ran").unlink()
    run(["git", "merge", "-q", "-m", "merge", "theirs"], repo)
    run(["dvc", "repro"], repo)
    assert (repo.parent / "ran").read_text().split() == ["both"]
    assert (repo / "metrics/both.yaml").read_text() == "x: 2\nx: 2\n"


@pytest.mark.parametrize("damaged", ["", "stages:\n", "[1]\n", "stages: [1]\n", "<<<<<<< HEAD\nstages: {\n", b"\xff\xfe"])
@pytest.mark.parametrize("branch", ["this", "the other"])
def test_a_lock_that_is_damaged_on_a_branch_is_one_line_and_none_is_lost(repo: Path, damaged: str | bytes, branch: str) -> None:
    install(repo)
    commit(repo, "main", {"dvc.lock": lock(first="1")})
    commit(repo, "whole", {"dvc.lock": lock(first="2")})
    run(["git", "checkout", "-q", "main"], repo)
    (repo / "dvc.lock").write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    run(["git", "commit", "-qam", "damaged"], repo)
    if branch == "the other":
        run(["git", "checkout", "-q", "whole"], repo)
    done = run(["git", "merge", "main" if branch == "the other" else "whole"], repo, check=False)
    said = done.stdout + done.stderr
    assert f"dvc.lock is not merged: it is damaged on {branch} branch" in said
    assert "Traceback" not in said
    if branch == "this":
        assert "git checkout --theirs dvc.lock" in said
        run(["git", "checkout", "--theirs", "dvc.lock"], repo)
    assert (repo / "dvc.lock").read_text(encoding="utf-8") == lock(first="2")
