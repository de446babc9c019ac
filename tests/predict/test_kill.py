"""The stage, killed as the system kills: what it had done is used, and its file has the bytes of a run that nobody stopped."""

import re
import signal
from pathlib import Path

import pytest
from conftest import copy_project, run

from stages.lib.records.predictions import predictions_of

# Runs the stage, which ends itself after so many results as if the machine had been switched off.
KILLED = """
import os, runpy, signal, sys
from stages.predict.journal import Journal

left, put = int(sys.argv.pop()), Journal.put

def put_some(*given):
    global left
    put(*given)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.put = put_some
runpy.run_module("stages.predict", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(
    finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    (folder / "killed.py").write_text(KILLED, encoding="utf-8")
    path = folder / predictions_of("tuned")
    expected = path.read_bytes()
    path.unlink()
    for results in (9, 15):
        killed = run(["python", "-m", "killed", "tuned", str(results)], folder, check=False, **warm)
        assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), killed.stderr
        assert not path.exists()
    done = run(["python", "-m", "stages.predict", "tuned"], folder, **warm)
    assert re.search(r"predict tuned: goes on after 24 results", done.stderr), done.stderr
    assert path.read_bytes() == expected
    assert not [place for place in (folder / ".scratch/predict_tuned").iterdir() if place.is_dir()]
