"""The model whose predictions are wanted, ready to run."""

from typing import Any

import torch

from stages.lib.model.adapter import load_adapter
from stages.lib.model.hardware import Hardware
from stages.lib.model.weights import load_base_model
from stages.lib.records.predictions import Contender


def load_contender(name: Contender, hardware: Hardware) -> Any:
    model = load_base_model(hardware.precision, hardware.device)
    return model if name == "base" else merge(load_adapter(model))


def merge(model: Any) -> Any:
    """The adapter added to the weights, which saves its own products at each token.

    In float32 alone: in bfloat16 the sum would be rounded, and the model would be another one.
    """
    if not hasattr(model, "merge_and_unload") or model.dtype != torch.float32:
        return model
    return model.merge_and_unload().eval()
