"""data/tokenized/{train,validation}.parquet and the base model -> models/adapter/, models/loss_history.jsonl,
models/environment.json."""

import itertools
import math
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from peft.helpers import disable_input_dtype_casting
from pydantic import Field
from transformers import AutoConfig, AutoModelForCausalLM

from stages.lib.base_model.pin import PIN, pinned_folder, read_base_pin
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.files import write_json, write_jsonl
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.model.adapter import ADAPTER, write_adapter
from stages.lib.model.hardware import Hardware, Precision, describe_environment, find_hardware, use_deterministic_algorithms
from stages.lib.model.weights import load_base_model
from stages.lib.records.loss_history import ENVIRONMENT, LOSS_HISTORY
from stages.lib.records.pins import ADAPTER_PIN
from stages.lib.records.tokenized import TOKENIZED_SPLITS, examples_of, read_examples
from stages.train.checkpoints import scratch_folder, take_fingerprint
from stages.train.likelihood import choose_nll, packed_nll
from stages.train.loggers import start_logging
from stages.train.memory import find_hopeless, read_total_memory
from stages.train.methods import Method, add_adapter, check_installed_for, checkpoint_activations, shard, train_all
from stages.train.packing import pack
from stages.train.plan import Document, Pack, Plan, count_labels
from stages.train.quick_layers import quicken
from stages.train.ranks import Ranks, join, processes_wanted, shards_wanted, start_processes
from stages.train.trainer import Outcome, Settings, Trainer

TOKENS_AT_ONCE = 16_384  # on a GPU; halved when its memory runs out


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


def read_packs(split: str, capacity: int, seed: int) -> list[Pack]:
    """The split's examples, shuffled and packed. One without a label trains nothing and is left out.

    Raises:
        ReprotuneError: none has a label.
    """
    table = read_examples(examples_of(split))
    documents = [Document(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    labelled = [document for document in documents if count_labels([document])]
    if not labelled:
        raise ReprotuneError(
            f"{examples_of(split)}: none of {len(documents):,} examples has a label to learn from; "
            "see metrics/examples.md, and data/ledger/tokenize.jsonl for what was dropped"
        )
    random.Random(seed).shuffle(labelled)
    groups = pack([len(document.input_ids) for document in labelled], capacity)
    return [[labelled[position] for position in group] for group in groups]


def make_plan(params: TrainParams, packs: list[Pack]) -> Plan:
    steps = math.ceil(math.ceil(len(packs) / params.packs_per_step) * params.num_train_epochs)
    return Plan(packs, params.packs_per_step, min(params.max_steps or steps, steps), params.seed)


def count_warmup(warmup_steps: float, steps: int) -> int:
    """Of `steps`; below 1 it is a share of them, as in transformers' TrainingArguments.

    >>> count_warmup(0.1, 61), count_warmup(5, 61)
    (7, 5)
    """
    return int(warmup_steps) if warmup_steps >= 1 else math.ceil(steps * warmup_steps)


def make_settings(params: TrainParams, steps: int) -> Settings:
    return Settings(
        learning_rate=params.learning_rate,
        lr_scheduler_type=params.lr_scheduler_type,
        warmup=count_warmup(params.warmup_steps, steps),
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        validate_every=math.ceil(steps / params.validations),
        early_stopping_patience=params.early_stopping_patience,
        keep=params.keep,
    )


def check_memory(params: TrainParams, hardware: Hardware, ranks: Ranks) -> None:
    """
    Raises:
        ReprotuneError: the run can't fit, whatever its micro-batches; told before weights are read.
    """
    trusted = read_base_pin().trust_remote_code
    config = AutoConfig.from_pretrained(pinned_folder(), local_files_only=True, trust_remote_code=trusted)
    with torch.device("meta"):
        parameters = AutoModelForCausalLM.from_config(config, trust_remote_code=trusted).num_parameters()
    memory = read_total_memory(hardware.device)
    parts = ranks.world if hardware.device == "cuda" else 1
    if reason := find_hopeless(parameters, params.method, hardware.precision, hardware.device, parts, memory):
        raise ReprotuneError(reason)


def load_model(params: TrainParams, hardware: Hardware, ranks: Ranks) -> Any:
    """The base model with what is to be trained, on this process's device, divided over the processes if need be."""
    device = f"cuda:{ranks.local}" if hardware.device == "cuda" else "cpu"
    model = load_base_model(hardware.precision, device, four_bit=params.method == "qlora")
    if params.gradient_checkpointing:
        checkpoint_activations(model)
    if params.method == "full":
        model = train_all(model)
    else:
        model = add_adapter(
            model, params.method, params.r, params.lora_alpha, params.lora_dropout, params.use_rslora,
            params.target_modules, params.seed,
        )  # fmt: skip
        quicken(model)
    if shards_wanted(model, ranks):
        shard(model)
    return model


def train_model(params: TrainParams, hardware: Hardware, ranks: Ranks, folder: Path) -> tuple[Any, Outcome, bool]:
    """The model, what was trained of it, and whether packs ran as packs."""
    train, validation = (read_packs(split, params.pack_length, params.seed) for split in ("train", "validation"))
    plan = make_plan(params, train)
    check_memory(params, hardware, ranks)
    model = load_model(params, hardware, ranks)
    # peft casts each layer's input to the adapter's float32, and autocast back again: no bit changes, and time goes.
    with disable_input_dtype_casting(model) if hardware.precision == "bfloat16" else nullcontext():
        longest = max(itertools.chain(*train), key=lambda document: len(document.input_ids))
        nll = choose_nll(model, [*train[0], longest], hardware)
        at_once = TOKENS_AT_ONCE if hardware.device == "cuda" else params.pack_length
        trainer = Trainer(model, nll, plan, make_settings(params, plan.steps), hardware, ranks, at_once)
        with start_logging(model, plan.steps) if ranks.first else nullcontext(lambda _row: None) as log:
            return model, trainer.run(validation, folder, log), nll is packed_nll


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    params = read_params("train", TrainParams)
    check_installed_for(params.method)
    if (processes := processes_wanted()) > 1:
        start_processes(processes, "stages.train")
        return
    use_deterministic_algorithms(params.deterministic)
    with join() as ranks:
        train(params, find_hardware(params.precision), ranks)


def train(params: TrainParams, hardware: Hardware, ranks: Ranks) -> None:
    """One process's part; the first one writes the outs."""
    environment = describe_environment(hardware) | {"processes": ranks.world}
    files = [PIN, *map(examples_of, TOKENIZED_SPLITS)]
    with scratch_folder("train", take_fingerprint([params.model_dump(), environment], files), ranks) as folder:
        model, outcome, packed = train_model(params, hardware, ranks, folder)
        if ranks.first:
            write_adapter(model, outcome.tensors)
            write_jsonl(LOSS_HISTORY, outcome.history)
            write_json(ENVIRONMENT, environment | {"packed_documents": packed})
            print(describe(params, hardware, outcome))


def describe(params: TrainParams, hardware: Hardware, outcome: Outcome) -> str:
    losses = {row["step"]: row["validation_loss"] for row in outcome.history if "validation_loss" in row}
    kept = "" if outcome.step == outcome.history[-1]["step"] else f" (kept: step {outcome.step:,})"
    return (
        f"train: {outcome.history[-1]['step']:,} steps of {params.packs_per_step} x {params.pack_length} tokens on "
        f"{hardware.device} in {hardware.precision}; validation loss {losses[0]:.3f} -> {losses[outcome.step]:.3f}{kept}"
    )


if __name__ == "__main__":
    run_stage(main, outs=[ADAPTER, ADAPTER_PIN, ENVIRONMENT, LOSS_HISTORY], restore="dvc checkout train")
