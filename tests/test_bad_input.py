"""What a user does wrong, run as a user runs a stage: one message with place and remedy, no traceback, nothing half done."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPO, copy_project, run, tiny_params, write_params

from stages.lib.core import errors, requirements

PAIRS, CHATS = "data/raw/pairs.csv", "data/raw/chats.jsonl"
HEADER = "question,answer,topic\n"
FAULTS = yaml.safe_load((REPO / "tests/cases/bad_input.yaml").read_text(encoding="utf-8"))
PIPELINE = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
BY_MESSAGE = FAULTS["CSV role that is not mapped"]["params"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a project with good sources."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPROTUNE_ANY_VERSIONS", raising=False)
    write(tmp_path / PAIRS, HEADER + "".join(f"question {number},answer,topic\n" for number in range(30)))
    write(
        tmp_path / CHATS, "".join(f'{{"messages": [{{"role": "user", "content": "chat {number}"}}]}}\n' for number in range(30))
    )
    write(tmp_path / "data/no_locked_test.jsonl", "")
    write_params(tmp_path, tiny_params())
    return tmp_path


def write(path: Path, content: str | None, encoding: str = "utf-8") -> None:
    """Write a file, or take it away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content.encode(encoding))


def change_params(folder: Path, changes: dict[str, dict]) -> None:
    params = tiny_params()
    for section, values in changes.items():
        params[section] |= values
    write_params(folder, params)


def run_stage(command: str) -> None:
    """`python -m stages.<command>` in this process."""
    name, *arguments = command.split()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.delitem(sys.modules, f"stages.{name}.__main__", raising=False)
        runpy.run_module(f"stages.{name}", run_name="__main__")


def message_of(command: str) -> str:
    """What the stage ends with: text makes the exit code 1, any other error would fail the test."""
    with pytest.raises(SystemExit) as caught:
        run_stage(command)
    assert isinstance(caught.value.code, str)
    return caught.value.code


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_a_message_with_place_and_remedy_and_nothing_is_written(folder: Path, fault: dict) -> None:
    for name, content in fault.get("files", {}).items():
        write(folder / name, content, fault.get("encoding", "utf-8"))
    change_params(folder, fault.get("params", {}))
    before = files_in(folder)
    message = message_of(fault["stage"])
    assert re.match(r"error: " + ".*".join(map(re.escape, ["", *fault["says"]])), message, re.DOTALL), message
    restore = fault.get("restore", "dvc checkout")
    assert re.search(rf"\nNothing was saved\. `{restore}[^`]*` brings back the results of the last good run\.$", message)
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("pins", "says"),
    [
        ("numpy==0.0.1\n", r"numpy 0\.0\.1 is pinned; installed: .*\nRun `make env`, or set REPROTUNE_ANY_VERSIONS=1"),
        (None, r"not found; `git checkout -- stages/lib/base_model/requirements\.txt` restores it"),
    ],
    ids=["others installed", "gone"],
)
def test_pins_that_do_not_hold_are_told_before_anything_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pins: str | None, says: str
) -> None:
    monkeypatch.setattr(requirements, "PROJECT", folder)
    write(folder / "stages/lib/core/requirements.txt", "")
    write(folder / "stages/lib/base_model/requirements.txt", pins)
    before = files_in(folder)
    assert re.match(rf"error: stages/lib/base_model/requirements\.txt: {says}", message_of("base_model"))
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("stage", "content", "first", "params"),
    [
        ("collect chats", "{\n" * 25, 1, {}),
        ("collect chats", '{"id": 7, "messages": []}\n' * 26, 2, {}),
        ("collect pairs", HEADER + "a,b\n" * 25, 2, {}),
        ("collect pairs", "ticket,from,text\n" + "1,bot,a\n" * 25, 2, BY_MESSAGE),
    ],
    ids=["JSON", "ids", "cells", "roles"],
)
def test_of_25_bad_lines_the_first_ten_are_shown_and_the_rest_counted(
    folder: Path, stage: str, content: str, first: int, params: dict
) -> None:
    path = CHATS if stage == "collect chats" else PAIRS
    write(folder / path, content)
    change_params(folder, params)
    *problems, rest, _ = message_of(stage).removeprefix("error: ").splitlines()
    assert [line.split(": ")[0] for line in problems] == [f"{path}:{number}" for number in range(first, first + 10)]
    assert rest == "... and 15 more like these"


@pytest.mark.parametrize(
    ("stage", "out"),
    [
        ("collect pairs", "data/collected/pairs.jsonl"),
        ("collect pairs", "data/ledger/collect/pairs.jsonl"),
        ("clean", "data/cleaned.jsonl"),
        ("clean", "data/ledger/clean/conversations.jsonl"),
        ("split", "data/split/train.jsonl"),
        ("split", "data/split/assignment.jsonl"),
    ],
)
def test_a_full_disk_is_a_message_with_the_remedy(folder: Path, stage: str, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.lib.core.cache.detach", lambda _outs: None)  # the link below is the full disk, and must stay
    change_params(folder, {"collect": {"sources": {"pairs": tiny_params()["collect"]["sources"]["pairs"]}}})
    stages = ["sources", "collect pairs", "clean", "split"]
    for earlier in stages[: stages.index(stage)]:
        run_stage(earlier)
    (folder / out).parent.mkdir(parents=True, exist_ok=True)
    (folder / out).unlink(missing_ok=True)
    (folder / out).symlink_to("/dev/full")
    message = message_of(stage)
    assert (
        "no space left; free some and run it again (`du -sh .dvc/cache` shows what results take)\nNothing was saved." in message
    )


def test_a_base_model_without_a_chat_template_is_a_message_with_the_remedy(folder: Path, tiny_model_folder: Path) -> None:
    shutil.copytree(tiny_model_folder, folder / "tiny_model")
    (folder / "tiny_model/chat_template.jinja").unlink()
    assert re.match(
        r"error: base_model: .*/tiny_model has no chat template; .*base_model\.chat_template\n", message_of("base_model")
    )
    assert not (folder / "models").exists()


def test_in_a_terminal_it_is_exit_code_1_and_no_traceback(folder: Path) -> None:
    write(folder / CHATS, "{")
    done = run([sys.executable, "-m", "stages.collect", "chats"], folder, check=False, PYTHONPATH=str(REPO))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.startswith(f"error: {CHATS}:1: not a JSON object")


# With DVC: what a failed stage leaves is never taken for a result


@pytest.mark.parametrize(
    "name", ["collect@pairs", "predict@base", "predict@tuned", *sorted(PIPELINE.keys() - {"collect", "predict"})]
)
def test_a_stage_takes_its_half_written_outs_away_and_names_itself_in_the_command_that_restores(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given: dict = {}
    monkeypatch.setattr(errors, "run_stage", lambda _main, **options: given.update(options))
    run_stage(name.replace("@", " "))
    if name == "report":  # its outs are git's, all but the page
        assert given == {"outs": [Path("metrics/report.html")], "restore": "git checkout -- metrics && dvc checkout report"}
    else:
        room, _, key = name.partition("@")
        stage = PIPELINE[room].get("do", PIPELINE[room])
        assert sorted(map(str, given["outs"])) == sorted(out.replace("${key}", key) for out in stage["outs"])
        assert given["restore"] == f"dvc checkout {name}"


@pytest.fixture
def split_project(tmp_path: Path, finished_project: Path) -> Path:
    return copy_project(finished_project, tmp_path / "project")


def outs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data/split").glob("*.jsonl"))}


@pytest.mark.parametrize("command", [pytest.param("dvc repro split", marks=pytest.mark.slow), "python -m stages.split"])
def test_after_a_full_disk_the_named_command_restores_and_nothing_half_written_is_committed(
    split_project: Path, warm: dict[str, str], command: str
) -> None:
    folder, before, lock = split_project, outs(split_project), (split_project / "dvc.lock").read_bytes()
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["split"]["seed"] = 1
    write_params(folder, params)
    shell = folder.parent / "shell"  # no file grows over a few kilobytes in it; DVC runs a stage in $SHELL
    # What measures coverage would write a file of its own.
    shell.write_text('#!/bin/sh\nunset COVERAGE_PROCESS_CONFIG\nulimit -f 4\nexec /bin/sh "$@"\n', encoding="utf-8")
    shell.chmod(0o755)

    typed = command.split() if command.startswith("dvc") else [str(shell), "-c", command]
    failed = run(typed, folder, check=False, SHELL=str(shell))
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr + failed.stdout
    assert [line for line in failed.stderr.splitlines() if "File too large" in line] == [
        "error: the project's disk: File too large"
    ]
    assert outs(folder) != before
    assert (folder / "dvc.lock").read_bytes() == lock

    restore = re.search(r"Nothing was saved\. `([^`]+)`", failed.stderr)
    assert restore
    run(restore[1].split(), folder)
    assert outs(folder) == before

    run(["dvc", "repro", "-q", "split"], folder, **warm)
    after = outs(folder)
    assert after != before
    assert sum(after[f"{name}.jsonl"].count(b"\n") for name in ("train", "validation", "test")) == 60
