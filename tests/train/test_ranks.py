"""Several processes give the loss of one: gradients summed (DDP) or weights divided (FSDP2), on one machine or two."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPO, environment, make_conversations, tiny_params, write_params
from safetensors.torch import load_file
from transformers import AutoTokenizer

from stages.base_model import __main__ as base_model
from stages.lib.base_model.tokenized import examples_of
from stages.lib.chat_template import tokenize_conversation
from stages.lib.core.errors import ReprotuneError
from stages.tokenize.__main__ import write_examples
from stages.train import ranks

LOSS_TOLERANCE = 1e-5
TENSOR_TOLERANCE = 1e-3  # of the largest change that training made; the order of sums differs, and Adam divides small by small


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """What the train stage needs: five packs of uneven numbers of labels a step, and one left over."""
    folder = tmp_path_factory.mktemp("ranks") / "project"
    shutil.copytree(REPO / "requirements", folder / "requirements")
    shutil.copytree(tiny_model_folder, folder / "tiny_model")
    write_params(folder, tiny_params())
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    rows = make_conversations(60)
    pairs = [(row["id"], example) for row in rows for example in tokenize_conversation(tokenizer, row["messages"])]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        base_model.main()
        write_examples(examples_of("train"), pairs[:-7])
        write_examples(examples_of("validation"), pairs[-7:])
    return folder


def prepare(prepared: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(prepared, folder)
    params = tiny_params()
    params["train"] |= {
        "max_steps": 9,
        "num_train_epochs": 9,
        "packs_per_step": 3,
        "validations": 3,
        "learning_rate": 0.01,
    } | changes
    write_params(folder, params)
    return folder


def variables(**extra: str) -> dict[str, str]:
    return environment(PYTHONPATH=str(REPO), OMP_NUM_THREADS="1", **extra)


def train_in(folder: Path, **extra: str) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """History and tensors of a run."""
    done = subprocess.run(
        ["python", "-m", "stages.train"], cwd=folder, env=variables(**extra), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train: 9 steps") == 1
    return results(folder)


def results(folder: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    history = [json.loads(line) for line in (folder / "models/training/loss_history.jsonl").read_text().splitlines()]
    [file] = (folder / "models/adapter").glob("*.safetensors")
    return history, load_file(file)


def assert_alike(one: tuple[list[dict], dict], other: tuple[list[dict], dict]) -> None:
    (history, tensors), (other_history, other_tensors) = one, other
    assert len(history) == len(other_history) == 10
    for row, other_row in zip(history, other_history, strict=True):
        assert row.keys() == other_row.keys()
        for key in ("train_loss", "validation_loss"):
            assert row.get(key, 0) == pytest.approx(other_row.get(key, 0), abs=LOSS_TOLERANCE)
    assert tensors.keys() == other_tensors.keys()
    largest = max(tensor.abs().max() for tensor in tensors.values())
    assert max((tensors[name] - other_tensors[name]).abs().max() for name in tensors) <= TENSOR_TOLERANCE * largest


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_give_the_losses_and_tensors_of_one(
    method: str, prepared: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    rate = 0.01 if method == "lora" else 0.001
    folders = [prepare(prepared, tmp_path / name, method=method, learning_rate=rate) for name in ("one", "ddp", "fsdp")]
    one = train_in(folders[0], **warm)
    assert one[0][-1]["train_loss"] < one[0][1]["train_loss"]
    ddp = train_in(folders[1], REPROTUNE_TRAIN_PROCESSES="2", REPROTUNE_SHARD="0", **warm)
    fsdp = train_in(folders[2], REPROTUNE_TRAIN_PROCESSES="2", REPROTUNE_SHARD="1", **warm)
    assert_alike(one, ddp)
    assert_alike(one, fsdp)
    # Packs of uneven numbers of labels: the mean of the processes' means would be off by far more than the tolerance.
    assert json.loads((folders[1] / "models/training/environment.json").read_text())["processes"] == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of its own on Linux alone")
def test_two_machines_train_together_as_docs_training_md_says(prepared: Path, warm: dict[str, str], tmp_path: Path) -> None:
    """Two addresses of this machine stand for two machines with one folder."""
    one = train_in(prepare(prepared, tmp_path / "one"), **warm)
    folder = prepare(prepared, tmp_path / "two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    recipe = (REPO / "docs/training.md").read_text(encoding="utf-8")
    [line] = [line for line in recipe.splitlines() if line.startswith("torchrun ")]
    assert "--nproc-per-node 8" in line
    nodes = []
    for number, address in enumerate(["127.0.0.1", "127.0.0.2"]):
        command = line.partition(" #")[0].replace("NUMBER", str(number)).replace("FIRST_ADDRESS", "127.0.0.1")
        command = (
            command.replace("OWN_ADDRESS", address).replace("29500", port).replace("--nproc-per-node 8", "--nproc-per-node 1")
        )
        nodes.append(
            subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *command.split()[1:]], cwd=folder, env=variables())
        )
    assert [node.wait(300) for node in nodes] == [0, 0]
    assert_alike(one, results(folder))


def checkpoint_names(folder: Path) -> set[str]:
    """Of those that are written whole."""
    return {path.name for path in (folder / ".scratch/train").glob("*/step-[0-9]*") if not path.suffix}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_stopped_run_of_two_processes_goes_on_to_the_same_bytes_and_leaves_no_process(
    prepared: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    def prepared_long(name: str) -> Path:
        return prepare(prepared, tmp_path / name, max_steps=30, num_train_epochs=99, lora_dropout=0.2)

    two = {"REPROTUNE_TRAIN_PROCESSES": "2", "REPROTUNE_CHECKPOINT_SECONDS": "0"}
    command, warmly = ([python, "-m", "stages.train"] for python in (sys.executable, "python"))
    whole, stopped = prepared_long("whole"), prepared_long("stopped")
    subprocess.run(warmly, cwd=whole, env=variables(**two, **warm), check=True, timeout=300)
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = checkpoint_names(stopped)
        process = subprocess.Popen(command, cwd=stopped, env=variables(**two), stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 120
        while checkpoint_names(stopped) <= before and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(process.pid, number)
        told = process.communicate(timeout=600)[1]
        assert process.returncode != 0
        if number == signal.SIGTERM:
            assert told.count("error: train: stopped by SIGTERM after step ") == 1
            assert "Traceback" not in told
    done = subprocess.run(
        warmly, cwd=stopped, env=variables(**two, **warm), capture_output=True, text=True, check=True, timeout=300
    )
    assert "train: goes on after step" in done.stderr
    for path in (whole / "models").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (stopped / path.relative_to(whole)).read_bytes(), path


@pytest.mark.parametrize("value", ["0", "two", "-1", ""])
def test_a_number_of_processes_that_is_none_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv(ranks.PROCESSES, value)
    with pytest.raises(ReprotuneError, match=f"{ranks.PROCESSES}={value}: expected a positive integer"):
        ranks.processes_wanted()


def test_without_a_gpu_or_a_wish_one_process_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv(ranks.PROCESSES, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert ranks.processes_wanted() == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert ranks.processes_wanted() == 4
