"""data/tokenized/{train,validation}.parquet and the base model -> models/adapter/ (LoRA), models/loss_history.jsonl,
models/environment.json."""

import math
import random
import re
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from peft import LoraConfig, get_peft_model
from pydantic import Field
from transformers import TrainingArguments, set_seed

from stages.lib.adapter import ADAPTER, ignore_renaming, write_adapter
from stages.lib.base_model import load_base_model, project_root
from stages.lib.chat_template import IGNORE_INDEX, Example
from stages.lib.conversations import write_jsonl
from stages.lib.errors import ReprotuneError, run_stage
from stages.lib.hardware import Hardware, Precision, describe_environment, find_hardware
from stages.lib.json_file import write_json
from stages.lib.packing import pack
from stages.lib.params import Section, read_params
from stages.lib.requirements import check_installed
from stages.lib.trainer import PackedTrainer, read_history

TOKENIZED = Path("data/tokenized")
LOSS_HISTORY = Path("models/loss_history.jsonl")
ENVIRONMENT = Path("models/environment.json")


class TrainParams(Section):
    seed: int = Field(ge=0)
    precision: Precision
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(ge=1)
    learning_rate: float = Field(gt=0, lt=1)
    schedule: Literal["linear", "cosine", "constant_with_warmup"]
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    max_gradient_norm: float = Field(gt=0)
    pack_length: int = Field(ge=8)
    packs_per_step: int = Field(ge=1)
    gradient_checkpointing: bool
    validations: int = Field(ge=1)
    lora_rank: int = Field(ge=1)
    lora_alpha: int = Field(ge=1)
    lora_dropout: float = Field(ge=0, lt=1)
    lora_targets: str | list[str]


def read_packs(split: str, capacity: int, seed: int) -> list[list[Example]]:
    """The split's examples, shuffled and packed. One without a label trains nothing and is left out."""
    table = pq.read_table(TOKENIZED / f"{split}.parquet", columns=["input_ids", "labels"])
    examples = [Example(*pair) for pair in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    examples = [example for example in examples if any(label != IGNORE_INDEX for label in example.labels[1:])]
    random.Random(seed).shuffle(examples)
    groups = pack([len(example.input_ids) for example in examples], capacity)
    return [[examples[position] for position in group] for group in groups]


def add_adapter(model: Any, params: TrainParams) -> Any:
    """The model with LoRA on its linear layers; only the adapter's tensors train."""
    names = [name for name, _ in model.named_modules()]
    for target in params.lora_targets if isinstance(params.lora_targets, list) else []:
        if not any(name == target or name.endswith(f".{target}") for name in names):  # peft minds only if none is found
            raise ReprotuneError(f"params.yaml: train.lora_targets: the base model has no layer {target!r}")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params.lora_rank,
        lora_alpha=params.lora_alpha,
        lora_dropout=params.lora_dropout,
        target_modules=params.lora_targets,
    )
    if params.gradient_checkpointing:
        # transformers 5.23 has a new name for it and warns of the old one; 5.17 has the old one only
        enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
    set_seed(params.seed)
    try:
        with ignore_renaming():
            return get_peft_model(model, config)
    except (ValueError, re.error) as error:
        raise ReprotuneError(f"params.yaml: train.lora_targets: {error}") from None


def training_arguments(params: TrainParams, hardware: Hardware, packs: int) -> TrainingArguments:
    steps = math.ceil(math.ceil(packs / params.packs_per_step) * params.epochs)
    planned = min(params.max_steps or steps, steps)
    return TrainingArguments(
        output_dir=str(project_root() / ".scratch" / "train"),
        num_train_epochs=params.epochs,
        max_steps=planned,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=params.packs_per_step,
        learning_rate=params.learning_rate,
        lr_scheduler_type=params.schedule,
        warmup_steps=params.warmup_share,
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=params.seed,
        data_seed=params.seed,
        bf16=hardware.precision == "bfloat16",
        use_cpu=hardware.device == "cpu",
        eval_strategy="steps",
        eval_steps=math.ceil(planned / params.validations),
        eval_on_start=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
    )


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    params = read_params("train", TrainParams)
    hardware = find_hardware(params.precision)
    train, validation = (read_packs(split, params.pack_length, params.seed) for split in ("train", "validation"))
    model = add_adapter(load_base_model(hardware.precision, hardware.device), params)
    arguments = training_arguments(params, hardware, packs=len(train))
    trainer = PackedTrainer(model=model, args=arguments, train_dataset=train, eval_dataset=validation)
    trainer.train()
    history = read_history(trainer.state.log_history)
    write_adapter(model)
    write_jsonl(LOSS_HISTORY, history)
    write_json(ENVIRONMENT, describe_environment(hardware))
    first, last = history[0]["validation_loss"], history[-1]["validation_loss"]
    print(
        f"train: {trainer.state.global_step:,} steps of {params.packs_per_step} x {params.pack_length} tokens on "
        f"{hardware.device} in {hardware.precision}; validation loss {first:.3f} -> {last:.3f}"
    )


if __name__ == "__main__":
    run_stage(main, outs=[ADAPTER, ENVIRONMENT, LOSS_HISTORY], restore="dvc checkout train")
