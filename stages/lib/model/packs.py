"""Several examples in one row of tokens, each blind to the others, and the likelihood of the labels in it."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional

from stages.lib.records.tokenized import IGNORE_INDEX

Batch = dict[str, torch.Tensor]


class Tokens(Protocol):
    """An Example, or what has more fields than that; see there."""

    @property
    def input_ids(self) -> list[int]: ...

    @property
    def labels(self) -> list[int]: ...


def collate_pack(examples: Sequence[Tokens]) -> Batch:
    """One row: `input_ids`, `labels`, `position_ids`, each (1, T). Positions start at 0 in each example.

    There is no attention mask on purpose: from position ids alone, with `use_cache=False`, transformers keeps the examples
    apart; with an all-ones mask they would see each other.
    """
    ids = [token for example in examples for token in example.input_ids]
    # No example predicts its first token: that would be from the example before it.
    labels = [label for example in examples for label in (IGNORE_INDEX, *example.labels[1:])]
    positions = [position for example in examples for position in range(len(example.input_ids))]
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.tensor([positions]),
    }


def label_nll(model: Any, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats of each labelled token of a pack, in order: float32 (N,).

    The LM head is computed at the positions that predict a label, nowhere else.
    """
    following = batch["labels"][0, 1:]
    predicting = (following != IGNORE_INDEX).nonzero().squeeze(-1)
    logits = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        use_cache=False,
        logits_to_keep=predicting,
    ).logits
    return functional.cross_entropy(logits[0].float(), following[predicting], reduction="none")
