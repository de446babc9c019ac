"""The section `train` of params.yaml."""

import math
import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.lib.core.params import Section
from stages.lib.model.hardware import Precision

Method = Literal["lora", "dora", "qlora", "full"]


class TrainParams(Section):
    other_names = {  # in transformers, peft, TRL, Axolotl and LLaMA-Factory, and our own until version 1
        "seed": ("data_seed", "random_seed", "random_state"),
        "precision": ("bf16", "fp16", "dtype", "torch_dtype"),
        "deterministic": ("full_determinism",),
        "method": ("adapter", "finetuning_type", "use_dora", "load_in_4bit"),
        "num_train_epochs": ("epochs", "num_epochs", "train_epochs"),
        "max_steps": ("steps", "num_steps", "max_train_steps"),
        "learning_rate": ("lr",),
        "lr_scheduler_type": ("schedule", "scheduler", "lr_schedule", "lr_scheduler"),
        "warmup_steps": ("warmup", "warmup_share", "warmup_ratio", "num_warmup_steps"),
        "max_grad_norm": ("max_gradient_norm", "gradient_clipping", "gradient_clip_val", "grad_clip"),
        "pack_length": ("packing", "max_length", "max_seq_length", "max_seq_len", "sequence_len", "cutoff_len"),
        "packs_per_step": (
            "batch_size", "train_batch_size", "per_device_train_batch_size", "micro_batch_size", "gradient_accumulation_steps",
        ),
        "gradient_checkpointing": ("activation_checkpointing", "use_gradient_checkpointing"),
        "early_stopping_patience": ("early_stopping", "patience"),
        "keep": ("load_best_model_at_end",),
        "r": ("rank", "lora_r", "lora_rank"),
        "lora_alpha": ("alpha",),
        "lora_dropout": ("dropout",),
        "use_rslora": ("rslora", "lora_rslora"),
        "target_modules": ("lora_target", "lora_targets", "lora_target_modules", "lora_target_linear"),
        "target_parameters": ("lora_target_parameters",),
    }  # fmt: skip
    seed: int = Field(ge=0)
    precision: Precision
    deterministic: bool
    method: Method
    num_train_epochs: float = Field(gt=0)
    max_steps: int | None = Field(ge=1)
    learning_rate: float = Field(gt=0, lt=1)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"]
    warmup_steps: float = Field(ge=0)
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    pack_length: int = Field(ge=8)
    packs_per_step: int = Field(ge=1)
    gradient_checkpointing: bool
    validations: int = Field(ge=1)
    early_stopping_patience: int | None = Field(ge=1)
    keep: Literal["best", "last"]
    r: int = Field(ge=1)
    lora_alpha: int = Field(ge=1)
    lora_dropout: float = Field(ge=0, lt=1)
    use_rslora: bool
    target_modules: str | list[str]
    target_parameters: list[str]

    @field_validator("target_modules")
    @classmethod
    def is_an_expression(cls, targets: str | list[str]) -> str | list[str]:
        """
        Raises:
            ValueError: text that is no regular expression.
        """
        if isinstance(targets, str):
            try:
                re.compile(targets)
            except re.error as error:
                raise ValueError(f"{targets!r} is no regular expression ({error}); expected one, all-linear or a list") from None
        return targets

    @model_validator(mode="after")
    def parameters_take_plain_lora(self) -> Self:
        if not self.target_modules and not self.target_parameters and self.method != "full":
            raise ValueError("target_modules and target_parameters are empty, so that nothing would train")
        if self.target_parameters and (self.method == "dora" or self.lora_dropout):
            found = "method: dora" if self.method == "dora" else f"lora_dropout: {self.lora_dropout}"
            raise ValueError(
                f"{found} does not go with target_parameters, which peft adapts by plain LoRA; set method: lora and "
                "lora_dropout: 0.0"
            )
        return self


def count_warmup(warmup_steps: float, steps: int) -> int:
    """Of `steps`; below 1 it is a share of them, as in transformers' TrainingArguments.

    >>> count_warmup(0.1, 61), count_warmup(5, 61)
    (7, 5)
    """
    return int(warmup_steps) if warmup_steps >= 1 else math.ceil(steps * warmup_steps)
