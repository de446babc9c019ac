"""`dvc repro` with nothing to do: this pipeline against one of as many trivial stages, in turn, in one run.

    python -m benchmarks.noop

Run it in a checkout whose `dvc repro` has finished. Prints both medians in seconds and their ratio.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

RUNS = 15


def make_trivial_pipeline(folder: Path, stages: int) -> None:
    """A chain of stages that each copy a file; already run."""
    entries = {
        f"stage{number}": {"cmd": f"cp {number}.txt {number + 1}.txt", "deps": [f"{number}.txt"], "outs": [f"{number + 1}.txt"]}
        for number in range(stages)
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": entries}), encoding="utf-8")
    (folder / "0.txt").write_text("0\n", encoding="utf-8")
    commands = ["git init -q", "dvc init -q", "dvc config core.analytics false", "dvc repro -q"]
    for command in map(str.split, commands):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def seconds(folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(["dvc", "repro"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    os.environ["DVC_NO_ANALYTICS"] = "1"
    here = Path.cwd()
    dry = subprocess.run(["dvc", "repro", "--dry"], check=True, capture_output=True, text=True)
    if "up to date" not in dry.stdout:
        sys.exit("the pipeline is not up to date; run `dvc repro` before measuring")
    lock = yaml.safe_load((here / "dvc.lock").read_text(encoding="utf-8"))
    stages = len(lock["stages"])
    with tempfile.TemporaryDirectory() as folder:
        make_trivial_pipeline(Path(folder), stages)
        for place in (here, Path(folder)):
            seconds(place)
        pairs = [(seconds(here), seconds(Path(folder))) for _ in range(RUNS)]
    ours, trivial = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"no-op dvc repro, {stages} stages, median of {RUNS}: {ours:.2f} s; trivial stages: {trivial:.2f} s; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
