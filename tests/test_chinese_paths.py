"""In a folder whose path is not ASCII: what docs/sharing.md says of DVC's configuration files is so."""

import os
from pathlib import Path

import pytest
from conftest import run

pytestmark = pytest.mark.slow

PIPELINE = "stages:\n  one:\n    cmd: echo 一 > out\n    outs: [out]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of one stage."""
    folder = tmp_path / "项目"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.name", "Test"],
        ["git", "config", "user.email", "test@example.org"],
        ["dvc", "init", "-q"],
        ["dvc", "repro", "-q"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "start"],
    ):
        run(command, folder)
    return folder


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_experiments_in_copies_need_a_cache_whose_path_is_ascii(folder: Path, tmp_path: Path, locale: str) -> None:
    command = ["dvc", "exp", "run", "--force", "--temp"]
    refused = run(command, folder, check=False, LC_ALL=locale, PYTHONUTF8="1")
    assert "'ascii' codec can't encode" in refused.stderr, "DVC has mended it: docs/sharing.md need not speak of it any more"
    run(["dvc", "cache", "dir", "--local", str(tmp_path / "cache")], folder, LC_ALL=locale)
    assert "dvc exp apply" in run(command, folder, LC_ALL=locale).stdout


def test_a_remote_with_such_a_path_works_once_it_stands_in_the_configuration(folder: Path, tmp_path: Path) -> None:
    remote = tmp_path / "远端"
    refused = run(["dvc", "remote", "add", "-d", "team", str(remote)], folder, check=False)
    assert "'ascii' codec can't encode" in refused.stderr
    with (folder / ".dvc/config").open("w", encoding="utf-8") as config:
        config.write(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {os.path.relpath(remote, folder / '.dvc')}\n")
    run(["dvc", "push", "-q"], folder)
    assert [path for path in remote.rglob("*") if path.is_file()]
    run(["git", "commit", "-qam", "a remote"], folder)
    run(["git", "clone", "-q", str(folder), str(tmp_path / "克隆")], tmp_path)
    run(["dvc", "pull", "-q"], tmp_path / "克隆")
    assert (tmp_path / "克隆" / "out").read_text(encoding="utf-8") == "一\n"
