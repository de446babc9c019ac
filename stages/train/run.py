"""The training loop, from the start or from a checkpoint, to its end or until it is asked to stop."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from stages.lib.records.loss_history import HistoryRow
from stages.train import checkpoints
from stages.train.outcome import Outcome, Stopped
from stages.train.plan import Pack, count_tokens
from stages.train.ranks import add_up, wait_for_all
from stages.train.stop_requests import requests_to_stop
from stages.train.trainer import Trainer


def run_trainer(trainer: Trainer, validation: Sequence[Pack], folder: Path, log: Callable[[HistoryRow], None]) -> Outcome:
    """Train from where the folder's checkpoint stands, or from the start.

    Raises:
        Stopped: a signal came, or the process that started this one is gone.
    """
    plan, ranks = trainer.plan, trainer.ranks
    if _restore(trainer, folder):
        if ranks.first:
            print(f"train: goes on after step {trainer.step:,} of {plan.steps:,}", file=sys.stderr, flush=True)
    else:
        trainer.history.append({"step": 0, "validation_loss": trainer.validate(validation)})
        log(trainer.history[-1])
    pace, began, tokens = checkpoints.Pace(), time.monotonic(), 0
    trainer.model.train()
    with requests_to_stop() as asked, _progress(trainer) as bar:
        while trainer.step < plan.steps and not trainer.stops_early():
            tokens += sum(map(count_tokens, plan.global_batch(trainer.step)))
            row = trainer.train_step()
            if trainer.step % trainer.validate_every == 0 or trainer.step == plan.steps:
                row["validation_loss"] = trainer.validate(validation)
                trainer.note_validation(row["validation_loss"])
            trainer.history.append(row)
            log(row)
            bar.update(trainer.step - bar.n)
            shown = {key: f"{value:.3f}" for key, value in row.items() if key in ("train_loss", "validation_loss")}
            bar.set_postfix(shown | {"tokens/s": f"{tokens / (time.monotonic() - began):,.0f}"})
            stop, due = add_up(ranks, [bool(asked()), pace.due()], trainer.model.device)
            if stop or due:
                started = time.monotonic()
                _write_checkpoint(trainer, folder)
                pace.wrote(started)
            if stop:  # after the last step too: DVC, interrupted or gone, would not save what is exported
                raise Stopped(
                    f"train: {asked() or 'stopped'} after step {trainer.step:,} of {plan.steps:,}; `dvc repro` goes on from there"
                )
    return trainer.whole_tensors()


def _restore(trainer: Trainer, folder: Path) -> bool:
    """Whether there was a checkpoint."""
    state = checkpoints.read_state(folder, trainer.ranks.rank)
    if state:
        trainer.restore(state)
    return state is not None


def _write_checkpoint(trainer: Trainer, folder: Path) -> None:
    checkpoints.write_state(folder, trainer.step, trainer.ranks.rank, trainer.state())
    wait_for_all(trainer.ranks)
    if trainer.ranks.first:
        checkpoints.finish_checkpoint(folder, trainer.step)
    wait_for_all(trainer.ranks)


def _progress(trainer: Trainer) -> tqdm:
    shown = None if trainer.ranks.first else True  # None: where the output is a terminal
    return tqdm(total=trainer.plan.steps, initial=trainer.step, desc="train", unit="step", disable=shown)
