"""Several processes that train together, one a GPU: starting them, and the little that they tell each other."""

import logging
import math
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist

from stages.lib.core.errors import ReprotuneError
from stages.lib.model import processes

PROCESSES = "REPROTUNE_TRAIN_PROCESSES"
SHARD = "REPROTUNE_SHARD"


class Ranks(NamedTuple):
    """Which of how many processes this is. `local`: its number on this machine, that of its GPU too."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0


def processes_wanted() -> int:
    """One a visible GPU, else one; REPROTUNE_TRAIN_PROCESSES overrides. 1 in a process that torchrun has started.

    Raises:
        ReprotuneError: the variable is no positive integer.
    """
    if "RANK" in os.environ:
        return 1
    return processes.processes_wanted(PROCESSES, torch.cuda.device_count())


def start_processes(number: int, module: str) -> None:
    """Run `python -m module` in so many processes, by torchrun's launcher, and wait for them.

    Raises:
        SystemExit: one failed; it has said why.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        rdzv_backend="static",
        rdzv_endpoint=f"127.0.0.1:{port}",
        rdzv_configs={"rank": 0, "timeout": 60},
        max_restarts=0,
        run_id=module,
        monitor_interval=0.1,
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes speak for themselves
    try:
        elastic_launch(config, sys.executable)("-m", module)
    except (ChildFailedError, SignalException):
        sys.exit(1)


def shards_wanted(model: torch.nn.Module, ranks: Ranks) -> bool:
    """Whether each process should hold a part of the weights: all of them train, or they leave one GPU too little room.

    REPROTUNE_SHARD=1 or 0 overrides.
    """
    if ranks.world == 1:
        return False
    if chosen := os.environ.get(SHARD):
        return chosen == "1"
    trained = all(parameter.requires_grad for parameter in model.parameters())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    room = torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else math.inf
    return trained or weights > 0.5 * room


@contextmanager
def join() -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did. An error that all of them see is told by the first one alone."""
    if "RANK" not in os.environ:
        yield Ranks()
        return
    processes.end_with_parent()
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]))
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield ranks
    except ReprotuneError as error:
        if ranks.first or error.one_process_alone:
            raise
        sys.exit(1)
    dist.destroy_process_group()


def add_up(ranks: Ranks, values: list[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    if ranks.world == 1:
        return values
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return sums.tolist()


def wait_for_all(ranks: Ranks) -> None:
    if ranks.world > 1:
        dist.barrier()
