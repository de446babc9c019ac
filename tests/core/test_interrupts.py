"""Ctrl-C while a stage or tool still imports its libraries, which takes seconds, or one that is not there: a line each."""

import re
import signal
import subprocess
import sys

import pytest
from conftest import REPO, environment

PROGRAMS = sorted(
    ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__main__")
    for pattern in ("stages/*/__main__.py", "tools/*/__main__.py", "tools/*.py")
    for path in REPO.glob(pattern)
    if path.name not in ("__init__.py", "console.py")
)
# Runs a module as `python -m` does, until it asks for a library that isn't Python's own.
INTERRUPTED = """
import runpy, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first not in sys.stdlib_module_names and first not in ("stages", "tools"):
            {what}

sys.meta_path.insert(0, Interrupt())
sys.argv[:] = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_until_library(program: str, what: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", INTERRUPTED.format(what=what), program]
    return subprocess.run(command, cwd=REPO, env=environment(**variables), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_during_imports_is_one_line(program: str) -> None:
    done = run_until_library(program, "raise KeyboardInterrupt")
    assert (done.stderr, done.returncode) == ("error: interrupted\n", -signal.SIGINT)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_library_that_is_not_there_is_one_line(program: str) -> None:
    done = run_until_library(program, "raise ModuleNotFoundError('No module named ' + name, name=name)")
    said = rf"error: \w+ is not installed for {re.escape(sys.executable)}; `source .venv/bin/activate` \(`make env` makes it\)\n"
    assert re.fullmatch(said, done.stderr)
    assert done.returncode == 1


def test_a_module_of_ours_that_is_not_there_keeps_its_traceback() -> None:
    done = run_until_library("stages.clean", "raise ModuleNotFoundError('No module named tools.x', name='tools.x')")
    assert done.stderr.startswith("Traceback ")


def test_under_dvc_it_says_what_brings_the_removed_outs_back() -> None:
    done = run_until_library("stages.report", "raise KeyboardInterrupt", DVC_STAGE="report")
    assert done.stderr.splitlines()[0] == "error: interrupted"
    assert done.stderr.splitlines()[1:] == ["Nothing was saved. `dvc checkout` brings back the results of the last good run."]


def test_of_several_processes_that_train_together_the_first_one_says_it() -> None:
    assert run_until_library("stages.train", "raise KeyboardInterrupt", RANK="1").stderr == ""


def test_any_other_fault_keeps_its_traceback() -> None:
    done = run_until_library("stages.clean", "raise LookupError('of the code')")
    assert done.stderr.startswith("Traceback ")
    assert done.stderr.endswith("LookupError: of the code\n")
