"""How the tools end."""

import ast
import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, run

from stages.lib.core.errors import ReprotuneError
from tools.console import run_tool, whole


def fail_with(error: BaseException) -> None:
    def main() -> None:
        raise error

    run_tool(main)


def test_an_error_of_the_user_is_one_message_that_can_not_control_the_terminal() -> None:
    with pytest.raises(SystemExit) as end:
        fail_with(ReprotuneError("a\x1b[2Jb.csv: no such file"))
    assert end.value.code == "error: a\\x1b[2Jb.csv: no such file"


def test_a_failed_write_names_the_file() -> None:
    with pytest.raises(SystemExit) as end:
        fail_with(PermissionError(errno.EACCES, "Permission denied", "out.csv"))
    assert end.value.code == "error: out.csv: Permission denied"


@pytest.mark.parametrize("before", ["earlier", None])
def test_what_can_not_be_written_whole_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "below" / "answers.jsonl"
    if before:
        path.parent.mkdir()
        path.write_text(before, encoding="utf-8")

    def main() -> None:
        with whole(path) as half:
            half.write_text("hal", encoding="utf-8")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemExit, match=f"^error: {path}: no space left"):
        run_tool(main)
    assert [one.read_text(encoding="utf-8") for one in path.parent.iterdir()] == ([before] if before else [])


def test_a_failed_read_within_names_what_was_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), whole(tmp_path / "new"):
        (tmp_path / "absent").read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == []


WRITES = {"write_text", "write_bytes", "write_json", "write_jsonl", "write_lines", "to_csv", "write_csv"}
WRITERS = [path for path in sorted((REPO / "tools").rglob("*.py")) if path.parent.name != "remote"]  # which puts a file back


@pytest.mark.parametrize("path", WRITERS, ids=lambda path: path.relative_to(REPO / "tools").as_posix())
def test_a_tool_writes_its_files_whole(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With) and "whole(" in ast.unparse(node.items[0])]
    inside = {id(node) for block in blocks for node in ast.walk(block)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in inside]
    assert [ast.unparse(call) for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) in WRITES] == []


@pytest.mark.parametrize(("place", "needed"), [("file", "folder"), ("file/below", "folder"), ("folder", "file")])
def test_a_place_of_the_wrong_kind_is_told_with_what_to_do(tmp_path: Path, place: str, needed: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    def main() -> None:
        if needed == "folder":
            (tmp_path / place).mkdir(exist_ok=True)
        else:
            (tmp_path / place).write_text("x", encoding="utf-8")

    with pytest.raises(SystemExit) as end:
        run_tool(main)
    assert str(end.value.code).endswith(f"stands where a {needed} is needed; name another place")


def test_an_interrupt_ends_as_a_shell_says_and_shows_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        fail_with(KeyboardInterrupt())
    assert end.value.code == 130
    assert capsys.readouterr().err == "\n"


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_with(ZeroDivisionError())


def test_the_status_is_what_the_tool_returns() -> None:
    run_tool(lambda: 0)
    run_tool(lambda: None)
    with pytest.raises(SystemExit) as end:
        run_tool(lambda: 1)
    assert end.value.code == 1


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_leaves_early_is_no_error(lines: int) -> None:
    code = f"from tools.console import run_tool; run_tool(lambda: [print('line') for _ in range({lines})] and None)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=0
    )
    assert process.stdout is not None
    process.stdout.close()
    _, stderr = process.communicate(timeout=600)
    assert (process.returncode, stderr) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_no_error(closed: str) -> None:
    code = "import sys; from tools.console import run_tool, takes_colour; "
    code += "run_tool(lambda: print(takes_colour(), sys.stdin.read(), sys.stderr.isatty()))"
    command = f'{sys.executable} -c "{code}" {closed}'
    done = subprocess.run(command, shell=True, cwd=REPO, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_where_dvc_keeps_its_notes_is_told_with_what_to_do() -> None:
    with pytest.raises(SystemExit, match=r"^error: DVC can't use its notes on files: database or disk is full; make room"):
        fail_with(sqlite3.OperationalError("database or disk is full"))


@pytest.mark.parametrize("tool", ["compare", "doctor", "seeds"])
def test_a_folder_that_git_refuses_is_told_with_what_lets_it_in(tool: str, tmp_path: Path) -> None:
    run(["git", "init", "-q"], tmp_path)
    command = [sys.executable, "-m", f"tools.{tool}"]
    another = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    done = run(command, tmp_path, check=False, PYTHONPATH=str(REPO), **another)
    assert f"if you trust them, `git config --global --add safe.directory {tmp_path}`" in done.stderr
    without = run(command, tmp_path, check=False, PYTHONPATH=str(REPO), PATH=str(tmp_path))
    assert without.stderr == "error: git: not found; install it, and run this in the project's folder\n"
