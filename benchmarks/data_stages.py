"""Time and memory of collect, clean and split on made-up conversations.

    python -m benchmarks.data_stages [CONVERSATIONS ...]

Each stage is a process of its own, as under DVC; its memory is the largest sum over it and its workers (resident, sampled;
pages that they share count for each).
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from benchmarks.conversations import write_conversations
from stages.lib.core.params import PARAMS, Yaml12Loader

REPO = Path(__file__).parent.parent
STAGES = (["sources"], ["collect", "made_up"], ["clean"], ["split"])


def make_project(folder: Path, number: int) -> None:
    """The repo's code and params, with one source of `number` conversations."""
    for name in ("stages", "requirements"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data" / "raw").mkdir(parents=True)
    shutil.copy(REPO / "data" / "no_locked_test.jsonl", folder / "data")
    params = yaml.load((REPO / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["collect"]["sources"] = {"made_up": {"format": "jsonl", "path": "data/raw/made_up.jsonl"}}
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    write_conversations(folder / "data" / "raw" / "made_up.jsonl", number)


def run_stage(folder: Path, arguments: list[str]) -> tuple[float, int]:
    """(seconds, bytes at the peak)."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    started = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", f"stages.{arguments[0]}", *arguments[1:]], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            pass  # ended between two looks
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"stages.{arguments[0]} ended with {process.returncode}")
    return time.perf_counter() - started, peak


def main() -> None:
    for number in map(int, sys.argv[1:] or ["100000", "1000000"]):
        runs = 3 if number <= 100_000 else 1
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_project(folder, number)
            size = (folder / "data" / "raw" / "made_up.jsonl").stat().st_size
            totals = []
            for run in range(runs):
                measured = {arguments[0]: run_stage(folder, arguments) for arguments in STAGES}
                totals.append(sum(seconds for seconds, _ in measured.values()))
                parts = ", ".join(f"{stage} {seconds:.1f} s {peak / 1e9:.2f} GB" for stage, (seconds, peak) in measured.items())
                print(f"{number:,} conversations, {size / 1e6:.0f} MB, run {run + 1}: {totals[-1]:.1f} s; {parts}", flush=True)
            print(f"{number:,} conversations: {statistics.median(totals):.1f} s (median of {runs})", flush=True)


if __name__ == "__main__":
    main()
