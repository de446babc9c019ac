"""How a run ends: with what was trained, with a checkpoint to go on from, or for want of memory."""

from typing import NamedTuple

from stages.lib.core.errors import ReprotuneError
from stages.lib.records.loss_history import HistoryRow
from stages.train.shards import Tensors


class Outcome(NamedTuple):
    """`tensors`: what was trained, by its name in the model, whole (on the first process). `step`: after which step it was so."""

    tensors: Tensors
    step: int
    history: list[HistoryRow]


class Stopped(ReprotuneError):
    """The run was asked to end; a checkpoint is written."""


class OutOfRoom(ReprotuneError):
    """This process's GPU has too little memory; the other processes do not know."""

    one_process_alone = True
