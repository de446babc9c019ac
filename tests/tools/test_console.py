"""How the tools end."""

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, run

from stages.lib.core.errors import ReprotuneError
from tools.console import run_tool


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
