"""The section `predict` of params.yaml."""

from typing import Literal

from pydantic import Field

from stages.lib.core.params import Section
from stages.lib.model.hardware import Precision


class PredictParams(Section):
    other_names = {
        "precision": ("bf16", "fp16", "dtype", "torch_dtype"),
        "batch_size": ("eval_batch_size", "per_device_eval_batch_size"),
        "max_new_tokens": ("max_length", "max_tokens", "generation_max_length"),
    }
    precision: Precision
    task: Literal["auto", "dialogue", "classification"]
    seed: int = Field(ge=0)
    turns: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    max_new_tokens: int | None = Field(ge=1)
    retention: str
