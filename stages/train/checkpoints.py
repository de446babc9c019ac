"""Where a run stands, on disk, so that a killed one goes on."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch

from stages.lib.model import scratch
from stages.lib.records.loss_history import HistoryRow
from stages.train.ranks import Ranks, wait_for_all
from stages.train.shards import Tensors

ROOM = Path(__file__).parent


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


def take_fingerprint(decisive: object, files: Iterable[Path]) -> str:
    return scratch.take_fingerprint(ROOM, decisive, files)


@contextmanager
def scratch_folder(stage: str, fingerprint: str, ranks: Ranks) -> Iterator[Path]:
    """The run's folder, which the first process holds for all."""
    if not ranks.first:
        wait_for_all(ranks)
        yield scratch.folder_of(stage, fingerprint)
        wait_for_all(ranks)
        return
    with scratch.hold_folder(stage, fingerprint) as folder:
        wait_for_all(ranks)
        yield folder
        wait_for_all(ranks)


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
