"""A step and a validation: losses summed over labels and divided by their number in the global batch."""

import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import get_scheduler

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.lib.records.loss_history import HistoryRow
from stages.train.checkpoints import State
from stages.train.likelihood import LabelNll
from stages.train.outcome import Outcome, OutOfRoom
from stages.train.params import TrainParams, count_warmup
from stages.train.plan import Document, Pack, Plan, count_labels, count_tokens, micro_batches
from stages.train.ranks import Ranks, add_up
from stages.train.shards import (
    Tensors,
    clip_gradients,
    is_divided,
    like,
    local,
    optimizer_state,
    restore_optimizer,
    sum_gradients,
    whole,
)

if TYPE_CHECKING:
    from stages.train.methods import Model


class Trainer:
    """A run over a plan. Its state is the trained tensors, the optimiser, the history and the best tensors so far."""

    def __init__(
        self,
        model: "Model",
        nll: LabelNll,
        plan: Plan,
        params: TrainParams,
        hardware: Hardware,
        ranks: Ranks,
        tokens_at_once: int,
    ) -> None:
        self.model, self.nll, self.plan, self.params = model, nll, plan, params
        self.hardware, self.ranks, self.tokens_at_once = hardware, ranks, tokens_at_once
        self.validate_every = math.ceil(plan.steps / params.validations)
        self.trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.sharded = any(map(is_divided, self.trained.values()))
        groups = [
            [parameter for parameter in self.trained.values() if is_divided(parameter) == divided] for divided in (False, True)
        ]
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups if group],
            lr=params.learning_rate,
            weight_decay=params.weight_decay,
            fused=True,
        )
        warmup = count_warmup(params.warmup_steps, plan.steps)
        self.scheduler = get_scheduler(params.lr_scheduler_type, self.optimizer, warmup, plan.steps)
        self.step = 0
        self.history: list[HistoryRow] = []
        self.best: tuple[float, int, Tensors] | None = None
        self.without_improvement = 0

    # --- One step -----------------------------------------------------------------------------------------------------

    def train_step(self) -> HistoryRow:
        """One optimiser step over the step's global batch; the row of the history."""
        packs = self.plan.global_batch(self.step)
        labels = sum(count_labels(pack) for pack in packs)
        own = packs[self.ranks.rank :: self.ranks.world]
        loss = self._within_memory(own, lambda: self._backward(own, packs, labels))
        [loss] = add_up(self.ranks, [loss], self.model.device)
        parameters = list(self.trained.values())
        sum_gradients(parameters, self.sharded, self.ranks)
        norm = clip_gradients(parameters, self.params.max_grad_norm, self.ranks)
        self._check_finite("loss", loss, packs)
        self._check_finite("gradient norm", norm, packs)
        [rate, *_] = self.scheduler.get_last_lr()
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.step += 1
        return {"step": self.step, "train_loss": loss, "learning_rate": rate, "gradient_norm": norm}

    def _backward(self, own: Sequence[Pack], packs: Sequence[Pack], labels: int) -> float:
        """Gradients of this process's share of the mean loss over `labels`; that share of the loss."""
        total = 0.0
        for number, documents in enumerate(self._micro_batches(own, packs)):
            seed = f"{self.plan.seed} {self.step} {self.ranks.rank} {number}"  # of dropout; so there is nothing to restore
            torch.manual_seed(random.Random(seed).getrandbits(63))
            with self.hardware.autocast():
                loss = self.nll(self.model, documents).sum() / labels
            # Sharded gradients are averaged over the processes by torch, the others summed here.
            (loss * self.ranks.world if self.sharded else loss).backward()
            total += loss.item()
        return total

    def _micro_batches(self, own: Sequence[Pack], packs: Sequence[Pack]) -> Iterator[list[Document]]:
        """Of this process's packs. Sharded, all processes run the same number of them; what is added has no label."""
        number = 0
        for documents in micro_batches(own, self.tokens_at_once):
            number += 1
            yield documents
        if self.sharded:
            shares = [packs[rank :: self.ranks.world] for rank in range(self.ranks.world)]
            most = max(sum(1 for _ in micro_batches(share, self.tokens_at_once)) for share in shares)
            first = packs[0][0]
            yield from [[first._replace(labels=[IGNORE_INDEX] * len(first.labels))]] * (most - number)

    def _within_memory(self, own: Sequence[Pack], compute: Callable[[], float]) -> float:
        """What `compute` gives, with fewer tokens at once each time that memory runs out."""
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError:
                pass  # the error holds on to the tensors of the attempt: they go with it
            self._halve_tokens(own)

    def _halve_tokens(self, own: Sequence[Pack]) -> None:
        """After the GPU ran out of memory: half as many tokens at once. The global batch and its order stay."""
        largest = max(map(count_tokens, micro_batches(own, self.tokens_at_once)))
        alone = all(len(batch) == 1 for batch in micro_batches(own, self.tokens_at_once))
        if self.sharded or alone:
            name = torch.cuda.get_device_name() if self.hardware.device == "cuda" else "this machine"
            raise OutOfRoom(
                f"train: {name} ran out of memory with {largest:,} tokens at once; set "
                "train.gradient_checkpointing: true, lower tokenize.max_length and train.pack_length, or take train.method: qlora"
            )
        self.optimizer.zero_grad()
        torch.cuda.empty_cache()
        self.tokens_at_once = max(1, min(largest, self.tokens_at_once) // 2)
        print(f"train: out of GPU memory; {self.tokens_at_once:,} tokens at once from step {self.step + 1} on", file=sys.stderr)

    def _check_finite(self, name: str, value: float, packs: Sequence[Pack]) -> None:
        """Before the optimiser moves, so that the weights stay what they were."""
        if not math.isfinite(value):
            ids = [document.id for pack in packs for document in pack]
            more = f" and {len(ids) - 10:,} more" if len(ids) > 10 else ""
            raise ReprotuneError(
                f"train: the {name} is {value} at step {self.step + 1}; lower train.learning_rate or set train.precision to "
                f"float32. The step's rows (`python -m tools.trace ID` shows one): {', '.join(ids[:10])}{more}"
            )

    # --- Validation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, packs: Sequence[Pack]) -> float:
        """Mean NLL per label over all packs: it depends neither on packing nor on the number of processes."""
        self.model.eval()
        own = packs[self.ranks.rank :: self.ranks.world]
        total = self._within_memory(own, lambda: self._sum_nll(own, packs))
        self.model.train()
        [total] = add_up(self.ranks, [total], self.model.device)
        if not math.isfinite(total):
            raise ReprotuneError(
                f"train: the validation loss is {total} at step {self.step}; lower train.learning_rate or set train.precision to "
                "float32"
            )
        return total / sum(map(count_labels, packs))

    def _sum_nll(self, own: Sequence[Pack], packs: Sequence[Pack]) -> float:
        total = 0.0
        for documents in self._micro_batches(own, packs):
            with self.hardware.autocast():
                total += self.nll(self.model, documents).double().sum().item()
        return total

    def note_validation(self, loss: float) -> None:
        """The loss after a step: is it the best so far? The start does not count: what was not trained is not kept."""
        if self.best is None or loss < self.best[0]:
            kept = {name: local(parameter).detach().cpu().clone() for name, parameter in self.trained.items()}
            self.best = (loss, self.step, kept if self.params.keep == "best" else {})
            self.without_improvement = 0
        else:
            self.without_improvement += 1

    def stops_early(self) -> bool:
        patience = self.params.early_stopping_patience
        return patience is not None and self.without_improvement >= patience

    # --- State --------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        return {
            "step": self.step,
            "tokens_at_once": self.tokens_at_once,
            "history": self.history,
            "best": self.best,
            "without_improvement": self.without_improvement,
            "tensors": {name: local(parameter).detach().cpu() for name, parameter in self.trained.items()},
            "scheduler": self.scheduler.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
        }

    @torch.no_grad()
    def restore(self, state: State) -> None:
        self.step, self.tokens_at_once, self.history = state["step"], state["tokens_at_once"], state["history"]
        self.best, self.without_improvement = state["best"], state["without_improvement"]
        for name, parameter in self.trained.items():
            local(parameter).copy_(state["tensors"][name])
        self.scheduler.load_state_dict(state["scheduler"])
        restore_optimizer(self.optimizer, state["optimizer"], self.scheduler.get_last_lr())

    def whole_tensors(self) -> Outcome:
        """What is kept, gathered from all processes."""
        kept = self.best if self.best and self.params.keep == "best" else None
        tensors = {}
        for name, parameter in self.trained.items():
            part = kept[2][name].to(parameter.device) if kept else local(parameter).detach()
            tensors[name] = whole(like(parameter, part)).cpu()
        step = kept[1] if kept else self.step
        return Outcome(tensors, step, [{**row, "kept": True} if row["step"] == step else row for row in self.history])
