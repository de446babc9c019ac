"""What dvc.lock records of a stage came of a run: who edits a result together with its hash is found out."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import REPO, run

STAGE = {"cmd": "echo 1 > figure.json", "deps": ["params.yaml"], "metrics": [{"figure.json": {"cache": False}}]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With a remote and a stage whose result git tracks; all of it whole."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"figure": STAGE}}), encoding="utf-8")
    (folder / "params.yaml").write_text("collect: {sources: {}}\n", encoding="utf-8")
    commands = """git init -q -b main / git config user.name T / git config user.email t@example.org / dvc init -q
        dvc remote add -q --default team ../team / dvc remote modify team verify true / dvc repro -q
        git add . / git commit -qm start"""
    for command in commands.replace("\n", " / ").split(" / "):
        run(command.split(), folder)
    for name in ("tools", "stages"):
        (folder / name).symlink_to(REPO / name)
    return folder


def doctor(project: Path) -> tuple[int, list[str]]:
    done = run(["python", "-m", "tools.doctor"], project, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def shell(command: str, project: Path) -> None:
    subprocess.run(command, shell=True, cwd=project, check=True, capture_output=True)


def records(project: Path) -> list[Path]:
    """Of the run cache, the oldest first."""
    found = [path for path in (project / ".dvc/cache/runs").rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def record_as_it_is(project: Path, before: bytes) -> None:
    """figure.json's hash in dvc.lock, as somebody who edits both writes it there. `before`: its bytes until then."""
    old, new = (hashlib.md5(content).hexdigest() for content in (before, (project / "figure.json").read_bytes()))
    lock = project / "dvc.lock"
    lock.write_text(lock.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_a_metric_that_was_edited_together_with_its_hash_is_found_and_running_its_stage_brings_it_back(project: Path) -> None:
    before = (project / "dvc.lock").read_bytes()
    (project / "figure.json").write_text("9\n")
    record_as_it_is(project, b"1\n")
    assert "up to date" in run(["dvc", "status"], project).stdout
    code, lines = doctor(project)
    assert code == 1
    assert lines[0] == "figure: no run that is known here wrote what dvc.lock records of figure.json"
    shell(lines[1], project)
    assert doctor(project)[0] == 0
    assert ((project / "figure.json").read_text(), (project / "dvc.lock").read_bytes()) == ("1\n", before)


def test_a_run_of_another_machine_with_other_results_is_known_once_it_is_fetched(project: Path) -> None:
    (project / "figure.json").write_text("1.0000001\n")
    run(["dvc", "commit", "--force", "figure"], project)
    run(["dvc", "push", "--run-cache"], project)
    assert doctor(project)[0] == 0
    records(project)[-1].unlink()
    code, lines = doctor(project)
    assert code == 1
    shell(lines[1].partition("elsewhere: ")[2], project)
    assert doctor(project)[0] == 0


def test_without_a_run_cache_or_with_a_damaged_record_in_it_nothing_is_said_of_runs(project: Path) -> None:
    for path in records(project):
        path.write_text("{")
    assert doctor(project)[0] == 0
    shutil.rmtree(project / ".dvc/cache/runs")
    assert doctor(project)[0] == 0
