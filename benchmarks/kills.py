"""Twenty runs of the stage `train` on the default model, each killed at a random moment and run again: one adapter?

    python -m benchmarks.kills [--runs N]
    python -m benchmarks.kills --made-up 60M    # a random Llama and made-up tokens, where there is neither data nor network

With `train.deterministic`, which decides something on a GPU alone.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from benchmarks import preflight
from benchmarks.training import REPO, make_project, read_yaml
from stages.lib.base_model.tokenized import examples_of
from stages.lib.core.params import PARAMS

TOKENS = 2500
VALIDATION_ROWS = 10
CHANGES = {"pack_length": 384, "validations": 2, "lora_dropout": 0.05, "deterministic": True}
MADE_UP_STEPS = 20


def start(folder: Path) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    path = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
    environment |= {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "REPROTUNE_ANY_VERSIONS": "1"}
    environment |= {"REPROTUNE_CHECKPOINT_SECONDS": "0", "REPROTUNE_TRAIN_PROCESSES": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def bytes_of(folder: Path) -> str:
    files = sorted(path for path in (folder / "models").rglob("*") if path.is_file() and path.parent.name != "tokenizer")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def prepare(folder: Path, llama: str | None) -> None:
    """`llama`: its name in benchmarks.preflight; None is the default model on the default data."""
    changes: dict[str, object] = dict(CHANGES)
    if llama:
        folder.mkdir()
        preflight.make_project(folder, preflight.Case(llama, "auto", pack_length=384, packs_per_step=2))
        os.chdir(REPO)
        changes |= {"max_steps": MADE_UP_STEPS, "num_train_epochs": 1000}
    else:
        make_project(folder, TOKENS)
        validation = folder / examples_of("validation")
        pq.write_table(pq.read_table(validation).slice(0, VALIDATION_ROWS), validation)
    params = read_yaml(folder / PARAMS)
    params["train"] |= changes
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")


def kill_one(prepared: Path, folder: Path, seconds: float, expected: str) -> tuple[bool, str]:
    """Whether the bytes are the expected ones after a kill within `seconds`; and what happened."""
    shutil.copytree(prepared, folder, symlinks=True)
    process = start(folder)
    moment = random.Random(int(folder.name)).uniform(0, seconds)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [path.name for path in (folder / ".scratch").glob("train/*/step-*")]
    again = start(folder)
    told = again.communicate()[1]
    same = again.returncode == 0 and bytes_of(folder) == expected
    went_on = next((line for line in told.splitlines() if "goes on after" in line), "from the start")
    shutil.rmtree(folder)
    return same, f"{folder.name}: killed after {moment:.1f} s ({', '.join(left) or 'no checkpoint'}); {went_on}; same: {same}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="runs side by side")
    parser.add_argument("--made-up", choices=list(preflight.LLAMAS), help="this Llama of benchmarks.preflight, random weights")
    options = parser.parse_args()
    runs = options.runs
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / "prepared"
        prepare(prepared, options.made_up)
        whole = Path(name) / "whole"
        shutil.copytree(prepared, whole, symlinks=True)
        started = time.monotonic()
        undisturbed = start(whole)
        told = undisturbed.communicate()[1]
        if undisturbed.returncode:
            sys.exit(f"the undisturbed run failed: {told}")
        seconds = time.monotonic() - started
        expected, alike = bytes_of(whole), 0
        print(f"undisturbed: {seconds:.0f} s, {expected[:12]}", flush=True)
        with ThreadPoolExecutor(options.at_once) as pool:
            folders = [Path(name) / str(number) for number in range(runs)]
            for same, line in pool.map(lambda folder: kill_one(prepared, folder, seconds, expected), folders):
                alike += same
                print(line, flush=True)
        print(f"{alike} of {runs} are the bytes of the undisturbed run")


if __name__ == "__main__":
    main()
