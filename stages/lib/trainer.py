"""transformers' Trainer on packs: losses summed over labels, a progress bar of our own, the history as a table."""

import math
from typing import Any

import torch
from tqdm import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from stages.lib.errors import ReprotuneError
from stages.lib.packing import collate_pack, label_nll

HISTORY_COLUMNS = {
    "loss": "train_loss",
    "eval_loss": "validation_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
}


class PackedTrainer(Trainer):
    """transformers' Trainer with losses summed over labels and divided by their number, in training and validation."""

    def __init__(self, **kwargs: Any) -> None:
        """Datasets are lists of packs, each a list of examples; one pack is one micro-batch."""
        super().__init__(data_collator=lambda packs: collate_pack(packs[0]), callbacks=[ProgressBar()], **kwargs)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts the labels of each global batch

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The micro-batch's share of the mean over all labels of the global batch (all accumulated micro-batches)."""
        loss = label_nll(model, inputs).sum() / num_items_in_batch
        check_finite("loss", loss.item(), self.state.global_step + 1)
        return (loss, None) if return_outputs else loss

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean NLL per label over the whole validation split: it does not depend on how the split is packed."""
        self.model.eval()
        total, labels = 0.0, 0
        for batch in self.get_eval_dataloader():
            with self.accelerator.autocast():
                nll = label_nll(self.model, self._prepare_inputs(batch))
            total, labels = total + nll.double().sum().item(), labels + nll.numel()
        check_finite("validation loss", total, self.state.global_step)
        metrics = {"eval_loss": total / labels}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def check_finite(name: str, loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise ReprotuneError(
            f"train: the {name} is {loss} at step {step}; lower train.learning_rate or set train.precision to float32"
        )


class ProgressBar(TrainerCallback):
    """Steps done, with the last losses; nothing where the output is not a terminal."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", unit="step", disable=None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        shown = read_history(state.log_history)[-1:]
        self.bar.set_postfix({key: row[key] for row in shown for key in ("train_loss", "validation_loss") if key in row})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


def read_history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a step: the losses in nats per label, learning rate and gradient norm logged for it; no times."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        named = {column: entry[key] for key, column in HISTORY_COLUMNS.items() if key in entry}
        if named:
            rows.setdefault(entry["step"], {}).update(named)
    return [{"step": step, **rows[step]} for step in sorted(rows)]
