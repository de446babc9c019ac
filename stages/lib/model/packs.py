"""Several examples in one row of tokens, each blind to the others, and the likelihood of the labels in it."""

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional

from stages.lib.base_model.tokenized import IGNORE_INDEX

Batch = dict[str, torch.Tensor]
COUNTS_PADDING = ("index_topk", "indexer_budget", "compress_rates")  # names in configurations of models that do


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


def causal_lm(model: Any) -> Any:
    """The model inside one with an adapter; else the model."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def label_nll(model: Any, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats of each labelled token of a pack, in order: float32 (N,).

    The LM head is computed at the positions that predict a label, nowhere else, in models that can do so. A model that takes no
    positions is right for one example alone.
    """
    causal = causal_lm(model)
    forget_longest_row(causal)
    following = batch["labels"][0, 1:]
    predicting = (following != IGNORE_INDEX).nonzero().squeeze(-1)
    options = {"position_ids": batch["position_ids"], "use_cache": False, "logits_to_keep": predicting}
    taken = inspect.signature(causal.forward).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        options = {name: value for name, value in options.items() if name in taken}
    logits = causal(input_ids=batch["input_ids"], **options).logits[0]
    if len(logits) != len(predicting):
        logits = logits[predicting]
    return functional.cross_entropy(logits.float(), following[predicting], reduction="none")


def forget_longest_row(causal: Any) -> None:
    """As if no row had run yet: frequencies of dynamic RoPE grow with the longest row, and stay so for the next ones."""
    if "dynamic" not in rotations_of(causal):
        return
    for module in causal.modules():
        for name in [name for name in vars(module) | module._buffers if name.endswith("original_inv_freq")]:
            prefix = name.removesuffix("original_inv_freq")
            setattr(module, f"{prefix}inv_freq", getattr(module, name))
            setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def rows_change_each_other(causal: Any) -> bool:
    """Whether a reply depends on the prompts in its batch. Long and dynamic RoPE choose frequencies by the longest row; attention
    to chosen or compressed keys counts the padding among them.
    """
    settings = causal.config.get_text_config()
    rotates = any(kind in rotations_of(causal) for kind in ("dynamic", "longrope"))
    return rotates or any(getattr(settings, name, None) for name in COUNTS_PADDING)


def rotations_of(causal: Any) -> str:
    """The configuration's RoPE parameters, printed: some kinds of layers have their own."""
    return str(getattr(causal.config.get_text_config(), "rope_parameters", None))
