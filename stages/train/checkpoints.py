"""Where a run stands, on disk, so that a killed one goes on: .scratch/<stage>/<fingerprint>/ under the main checkout.

The fingerprint covers everything that decides the result: params, data, code, packages and hardware. So a run with another
learning rate starts afresh, and one that was killed continues as if nothing had been.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch
from filelock import AcquireReturnProxy, FileLock, Timeout

from stages.lib.core.files import project_root
from stages.lib.records.loss_history import HistoryRow
from stages.train.ranks import Ranks, wait_for_all
from stages.train.shards import Tensors

ROOM = Path(__file__).parent
OTHERS_KEPT = 2  # scratch folders of other runs: going back to a param that was tried continues it


class State(TypedDict):
    """One process's part of a run's state."""

    step: int
    tokens_at_once: int
    history: list[HistoryRow]
    best: tuple[float, int, Tensors] | None  # validation loss, step and, if they are kept, the tensors
    without_improvement: int
    tensors: Tensors
    scheduler: dict[str, object]
    optimizer: list[Tensors]


def code_files() -> list[Path]:
    """All of this room, and of stages/lib what is loaded. The room by its folder: the stage's own module is called `__main__`."""
    loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith("stages.lib.")}
    library = {Path(file) for file in loaded.values() if file}
    return sorted({*ROOM.rglob("*.py"), *library})


def take_fingerprint(decisive: object, files: Iterable[Path]) -> str:
    """Of JSON values, of files by path and content, and of the code."""
    taken = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    named = [(path.as_posix(), path) for path in sorted(files)]
    named += [(path.relative_to(ROOM.parent).as_posix(), path) for path in code_files()]
    for name, path in named:
        with path.open("rb") as file:
            taken.update(f"{name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return taken.hexdigest()[:16]


def hold(path: Path) -> AcquireReturnProxy:
    """Lock a file until the end of the `with` or of this process, however it ends; wait for who holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        print(f"train: another run is at work here ({path}); waiting for its end", file=sys.stderr, flush=True)
        return lock.acquire()


@contextmanager
def scratch_folder(stage: str, fingerprint: str, ranks: Ranks) -> Iterator[Path]:
    """The run's folder, for this run alone; the first process holds it for all.

    No two runs work in one checkout, nor on one fingerprint. The folder stays after an error or a kill and goes after success;
    of other runs' folders the newest OTHERS_KEPT stay.
    """
    folder = project_root() / ".scratch" / stage / fingerprint
    if not ranks.first:
        wait_for_all(ranks)
        yield folder
        wait_for_all(ranks)
        return
    with hold(Path(".scratch") / f"{stage}.lock"), hold(folder.with_suffix(".lock")):
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        prune(folder)
        wait_for_all(ranks)
        yield folder
        wait_for_all(ranks)
        shutil.rmtree(folder)


def prune(current: Path) -> None:
    """Remove what older runs left, but for the newest ones and those at work."""
    others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -OTHERS_KEPT or None]:
        lock = path.with_suffix(".lock")
        with contextlib.suppress(Timeout), FileLock(lock, blocking=False):
            shutil.rmtree(path)
            lock.unlink()


def write_state(folder: Path, step: int, rank: int, state: State) -> None:
    """One process's part of a checkpoint; it counts once `finish_checkpoint` has run."""
    target = folder / f"step-{step}.part" / f"rank-{rank}.pt"
    target.parent.mkdir(exist_ok=True)
    with target.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def finish_checkpoint(folder: Path, step: int) -> None:
    """Give a checkpoint that is written whole its name, in one step, then remove the others."""
    target = folder / f"step-{step}"
    shutil.rmtree(target, ignore_errors=True)
    (folder / f"step-{step}.part").rename(target)
    for path in folder.iterdir():
        if path.is_dir() and path != target:
            shutil.rmtree(path)


def read_state(folder: Path, rank: int) -> State | None:
    """This process's part of the checkpoint, if there is one."""
    steps = [
        int(path.name.removeprefix("step-")) for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal()
    ]
    if not steps:
        return None
    return torch.load(folder / f"step-{max(steps)}" / f"rank-{rank}.pt", map_location="cpu", weights_only=True)


class Pace:
    """When the next checkpoint is due: a minute after the last one, later where writing takes long. No result depends on it."""

    def __init__(self) -> None:
        self.seconds = float(os.environ.get("REPROTUNE_CHECKPOINT_SECONDS", "60"))
        self.last = time.monotonic()
        self.cost = 0.0

    def due(self) -> bool:
        wait = max(self.seconds, 20 * self.cost) if self.seconds else 0
        return time.monotonic() - self.last >= wait

    def wrote(self, started: float) -> None:
        self.last = time.monotonic()
        self.cost = self.last - started
