"""Thirty experiments in one table, and two runs compared: how long a person waits.

    python -m benchmarks.experiments

Run it in a checkout whose `dvc repro` has finished and is committed. In a clone that shares its cache, experiments are made
without training, each with another learning rate and validation loss. Prints seconds, the median of three; of `dvc exp show` also
the first time, when DVC has read none of the experiments.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from stages.lib.core.params import Yaml12Loader

EXPERIMENTS, RUNS = 30, 3
SHOW = [
    "dvc",
    "exp",
    "show",
    "--drop",
    ".*",
    "--keep",
    "Experiment|train.learning_rate|validation_loss$|metrics/tuned.json:perplexity",
]


def git(folder: Path, *command: str) -> str:
    return subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def make_experiments(folder: Path) -> None:
    """Commits on HEAD under the refs by which DVC knows them."""
    head = git(folder, "rev-parse", "HEAD")
    params = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    training = folder / "metrics/training.json"
    for number in range(EXPERIMENTS):
        params["train"]["learning_rate"] = (number + 1) * 1e-5
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        training.write_text(
            json.dumps({**json.loads(training.read_text()), "validation_loss": 3 - number / 100}), encoding="utf-8"
        )
        git(folder, "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-qam", f"experiment {number}")
        git(folder, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/bench-{number:02}", "HEAD")
        git(folder, "reset", "-q", "--hard", head)


def seconds(folder: Path, *command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    here = Path.cwd()
    if git(here, "status", "--porcelain", "--untracked-files=no"):
        sys.exit("commit the run before measuring: experiments are made of what HEAD has")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clone"
        subprocess.run(["git", "clone", "-q", str(here), str(folder)], check=True)
        (folder / ".dvc/config.local").write_text(f"[cache]\n    dir = {here / '.dvc/cache'}\n", encoding="utf-8")
        make_experiments(folder)
        compare = [sys.executable, "-m", "tools.compare"]
        print(f"{' '.join(SHOW[:3])}, {EXPERIMENTS} experiments, the first time: {seconds(folder, *SHOW):.1f} s")
        for words, command in (
            ("dvc exp show, again", SHOW),
            (f"tools.compare --best, {EXPERIMENTS} experiments", [*compare, "--best"]),
            ("tools.compare of two runs, local data", [*compare, "bench-00", "bench-01"]),
        ):
            print(f"{words}: {statistics.median(seconds(folder, *command) for _ in range(RUNS)):.1f} s", flush=True)


if __name__ == "__main__":
    main()
