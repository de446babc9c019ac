"""Twenty runs of the stage `train` on the default model, each killed at a random moment and run again: one adapter?

python -m benchmarks.kills [RUNS]
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from benchmarks.training import REPO, make_project, read_yaml
from stages.lib.core.params import PARAMS
from stages.lib.records.tokenized import examples_of

TOKENS = 2500
VALIDATION_ROWS = 10
CHANGES = {"pack_length": 384, "validations": 2, "lora_dropout": 0.05}


def start(folder: Path) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    environment |= {"PYTHONPATH": str(REPO), "REPROTUNE_CHECKPOINT_SECONDS": "0", "HF_HUB_OFFLINE": "1"}
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


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / "prepared"
        make_project(prepared, TOKENS)
        validation = prepared / examples_of("validation")
        pq.write_table(pq.read_table(validation).slice(0, VALIDATION_ROWS), validation)
        params = read_yaml(prepared / PARAMS)
        params["train"] |= CHANGES
        (prepared / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
        whole = Path(name) / "whole"
        shutil.copytree(prepared, whole, symlinks=True)
        started = time.monotonic()
        if start(whole).wait():
            sys.exit("the undisturbed run failed")
        seconds = time.monotonic() - started
        expected, alike = bytes_of(whole), 0
        print(f"undisturbed: {seconds:.0f} s, {expected[:12]}", flush=True)
        for number in range(runs):
            folder = Path(name) / str(number)
            shutil.copytree(prepared, folder, symlinks=True)
            process = start(folder)
            moment = random.Random(number).uniform(0, seconds)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
            left = [path.name for path in (folder / ".scratch").glob("train/*/step-*")]
            again = start(folder)
            told = again.communicate()[1]
            same = again.returncode == 0 and bytes_of(folder) == expected
            alike += same
            went_on = next((line for line in told.splitlines() if "goes on after" in line), "from the start")
            print(
                f"{number + 1}: killed after {moment:.1f} s ({', '.join(left) or 'no checkpoint'}); {went_on}; same: {same}",
                flush=True,
            )
            shutil.rmtree(folder)
        print(f"{alike} of {runs} are the bytes of the undisturbed run")


if __name__ == "__main__":
    main()
