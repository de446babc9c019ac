"""Several processes that predict together: the bytes of one, whoever of them is killed and when; none is left behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from conftest import copy_project, environment, run

from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.lib.records.predictions import predictions_of
from stages.predict import workers
from stages.predict.work import OneModel

CPU = Hardware("cpu", "float32")

# Runs the stage; after so many results it does to the processes what the first argument says.
DISTURBED = """
import json, multiprocessing, os, runpy, signal, sys, time
from pathlib import Path
from stages.predict.journal import Journal

(how, left), put = (sys.argv.pop(1), int(sys.argv.pop(1))), Journal.put

def put_some(*given):
    global left
    put(*given)
    left -= 1
    if left:
        return
    others = multiprocessing.active_children()
    Path("pids.json").write_text(json.dumps([process.pid for process in others]))
    if how == "one is killed":
        others[0].kill()
    elif how == "the first is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        for process in others:
            os.kill(process.pid, signal.SIGINT)
        time.sleep(1)  # time enough to speak of it
        os.killpg(os.getpgrp(), signal.SIGINT)

Journal.put = put_some
runpy.run_module("stages.predict", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["one is killed", "the first is killed", "interrupted"])
def test_disturbed_processes_lose_nothing_and_another_number_of_them_ends_with_the_bytes_of_one(
    how: str, finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    (folder / "disturbed.py").write_text(DISTURBED, encoding="utf-8")
    path = folder / predictions_of("tuned")
    expected = path.read_bytes()
    path.unlink()
    disturbed = subprocess.Popen(
        [sys.executable, "disturbed.py", how, "20", "tuned"], cwd=folder, start_new_session=True, text=True,
        env=environment(PYTHONPATH=".", REPROTUNE_PREDICT_PROCESSES="2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said = disturbed.communicate(timeout=300)[1]
    assert disturbed.returncode == (-signal.SIGKILL if how == "the first is killed" else 1)
    told = {"one is killed": "error: predict: one of 2 processes was ended by SIGKILL; ", "interrupted": "error: interrupted"}
    assert [line.startswith(told.get(how, "")) for line in said.splitlines()] == ([] if how not in told else [True, False]), said
    assert not path.exists()
    pids = json.loads((folder / "pids.json").read_text())
    assert len(pids) == 2
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(processes, timeout=60)[1]
    number = "3" if how == "one is killed" else "1"
    done = run(["python", "-m", "stages.predict", "tuned"], folder, REPROTUNE_PREDICT_PROCESSES=number, **warm)
    assert "predict tuned: goes on after 2" in done.stderr
    assert path.read_bytes() == expected
    assert not [place for place in (folder / ".scratch/predict_tuned").iterdir() if place.is_dir()]


@pytest.mark.slow
def test_what_a_process_stumbles_on_is_said_once_as_if_there_were_one(
    finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    (folder / "models/adapter/adapter_model.safetensors").unlink()
    done = run(["python", "-m", "stages.predict", "tuned"], folder, check=False, REPROTUNE_PREDICT_PROCESSES="2", **warm)
    first, last = done.stderr.splitlines()
    assert first.startswith("error: models/adapter/adapter_model.safetensors: ")
    assert last.startswith("Nothing was saved.")


@pytest.mark.parametrize("value", ["0", "two", "-1", ""])
def test_a_number_of_processes_that_is_none_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.PROCESSES, value)
    error = f"{workers.PROCESSES}={value}: expected a positive integer"
    with pytest.raises(ReprotuneError, match=error), workers.start_work("base", CPU, 1):
        pass


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The devices for which a process would have been started."""
    devices: list[int | None] = []
    monkeypatch.delenv(workers.PROCESSES, raising=False)
    monkeypatch.setattr(workers.Processes, "start", lambda _self, device, *_given: devices.append(device))
    monkeypatch.setattr(workers, "load_contender", lambda *_given: torch.nn.Module())
    monkeypatch.setattr(workers, "load_tokenizer", lambda: None)
    monkeypatch.setattr(OneModel, "__init__", lambda *_given: None)
    return devices


def test_each_gpu_of_the_first_ones_kind_has_a_process(started: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Hardware("cuda", "bfloat16")
    names = ["A", "B", "A", "A"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: names[number])
    with workers.start_work("base", cuda, 1):
        assert started == [0, 2, 3]
    started.clear()
    monkeypatch.setenv(workers.PROCESSES, "5")
    with workers.start_work("base", cuda, 1):
        assert started == [0, 2, 3, 0, 2]


def test_without_several_gpus_the_model_is_in_the_process_itself(
    started: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _number=0: "A")
    for hardware in (CPU, Hardware("cuda", "bfloat16")):
        with workers.start_work("base", hardware, 1) as worker:
            assert isinstance(worker, OneModel)
    assert started == []
