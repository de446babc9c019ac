"""A colleague's clone of this checkout: everything restored and nothing computed, over SSH and over S3, on this machine.

    python -m benchmarks.sharing

Run it in a checkout whose `dvc repro` has finished and is committed, after `make env REMOTES=s3,ssh,tests`. Prints seconds from
`git clone` to the end of `dvc repro`, and how many stages that ran. Both servers are those of the tests.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS = 3


def run(folder: Path, home: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"HOME": str(home), "DVC_NO_ANALYTICS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def push(here: Path, project: Path, server: Any, home: Path) -> None:
    """The results of this checkout, from a clone with its cache: its own settings stay as they are."""
    run(here, home, "git", "clone", "-q", str(here), str(project))
    run(project, home, "dvc", "cache", "dir", "--local", str(here / ".dvc" / "cache"))
    run(project, home, sys.executable, "-m", "tools.remote", "add", "measured", server.url, *server.settings)
    run(project, home, "dvc", "config", "core.remote", "measured")
    run(project, home, "git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qam", "A remote")
    run(project, home, "dvc", "push", "-q", "--run-cache")


def restore(project: Path, clone: Path, home: Path) -> tuple[float, int]:
    """(seconds, stages that ran)"""
    start = time.perf_counter()
    run(project, home, "git", "clone", "-q", str(project), str(clone))
    run(clone, home, "dvc", "pull", "-q", "--run-cache")
    said = run(clone, home, "dvc", "repro")
    return time.perf_counter() - start, said.count("Running stage")


def measure(servers: Any, kind: str, folder: Path) -> None:
    server = getattr(servers, f"{kind}_server")(folder / "server")
    process = server.start()
    try:
        if kind == "s3":
            servers.make_bucket(server)
        home = server.make_home(folder / "home")
        push(Path.cwd(), folder / "project", server, home)
        for number in range(RUNS):
            seconds, stages = restore(folder / "project", folder / f"clone{number}", home)
            print(f"{kind}: {seconds:.1f} s from `git clone` to the end of `dvc repro`, {stages} stages ran", flush=True)
    finally:
        server.stop(process)


def main() -> None:
    if "up to date" not in run(Path.cwd(), Path.home(), "dvc", "repro", "--dry"):
        sys.exit("the pipeline is not up to date here: run `dvc repro` and commit before measuring")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    servers = importlib.import_module("servers")
    for kind in ("ssh", "s3"):
        with tempfile.TemporaryDirectory() as folder:
            measure(servers, kind, Path(folder))


if __name__ == "__main__":
    main()
