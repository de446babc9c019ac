"""Our training against TRL's SFTTrainer on a CPU: the default model, data and LoRA, the same tokens and labels.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.training [--tokens N] [--rounds N]
    python -m benchmarks.training --profile              # where the time of our step goes
    python -m benchmarks.training --trl '{"packing": true, "max_length": 512}' '{}'   # TRL alone, with other settings, in turn
    python -m benchmarks.training --ours '{}' '{"method": "dora"}'                    # ours alone, with other params, in turn

Each contestant trains in a process of its own, in turn, on the same conversations (a random share of up to N tokens), with the
same base model, LoRA, learning rate and seed. Ours is the stage `train` as it is. Tokens a second are without padding, model
loading and the first two optimiser steps; memory is the process's largest resident set; the validation loss is computed by this
file for all: each example alone, in float32. The matrix rate is that of this machine's products at the model's own shapes;
attention is not counted among the operations.

TRL's defaults are SFTConfig's: float32 weights under bfloat16 autocast, padded batches of 8, gradient checkpointing, a linear
schedule. Its best settings are the fastest found that keep our 768 tokens in a step and cut no conversation (the longest has 346
tokens). What was tried with trl 1.16.0, on two cores of an AMD EPYC (AVX512-BF16) shared with others, in one or two runs of 7 to
11 steps each:

| bfloat16 weights, no checkpointing, and | tokens/s alone | tokens in 2 processor seconds | GB |
|---|---|---|---|
| packs of 384, two accumulated: the best settings | 220 | 269-291 | 2.2 |
| the same with eager attention | | 282 | 2.4 |
| packs of 384, batches of 2 | | 265 | 2.9 |
| packs of 512, one a step (fewer tokens a step) | 289, with GOMP_SPINCOUNT=1000 | 260-324 | 2.4 |
| packs of 512, one a step, float32 weights | | 255 | 3.0 |
| packs of 512, one a step, no autocast | | 245 | 2.6 |
| packs of 768, one a step | 155-200 | 248-255 | 3.0 |
| the same with eager attention | | 287 | 4.1 |
| the same, float32 weights | | 242 | 3.6 |
| the same, no autocast | | 255 | 3.0 |
| the same with gradient checkpointing | | 196 | 2.3 |
| padding_free, 13 conversations | | 245 | 2.9 |
| padded, grouped by length, 13 | 149 | | 8.5 |
| padded, grouped by length, 4, three accumulated | | 202-232 | 2.6 |
| padded in random batches of 13 | stopped, unfinished: under 60 | | |
| torch_compile, packs of 384 | | unfinished after 200 s, busy | |

The second figure depends less on what else the machine does; where the machine was busy the first is left out, and the run had
GOMP_SPINCOUNT=1000. The runs rank roughly: differences of a tenth are noise. TRL's likelihood loss ("chunked_nll" is now another
name of it) goes over all positions of a pack on a CPU, labelled or not. Not run: flash attention and the hub's kernels, which
need a GPU or the hub, and FlexAttention, which has no gradient on a CPU.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import yaml

from stages.lib.base_model.tokenized import IGNORE_INDEX, TokenizedSplit, examples_of
from stages.lib.core.params import PARAMS, Yaml12Loader
from stages.lib.records.loss_history import HistoryRow

REPO = Path(__file__).parent.parent
WARM_UP_STEPS = 2
PROFILED_STEPS = 5

# `dtype` and `attn_implementation` are the model's, the rest SFTConfig's.
TRL_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "TRL, its defaults": ("trl", {}),
    "TRL, its best settings": (
        "trl",
        {
            "dtype": "bfloat16",
            "packing": True,
            "max_length": 384,
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 2,
            "gradient_checkpointing": False,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.1,
        },
    ),
}

# An operator's group is the first that its name matches; what runs inside the loss or the optimiser belongs there.
GROUPS = {
    "matrix products": "aten::(mm|addmm|bmm|baddbmm|mv|dot)$|mkldnn_linear|onednn|gemm",
    "attention": "scaled_dot_product|flash_attention",
    "loss": "log_softmax|nll_loss|cross_entropy|Nll",
    "optimiser": "adam|Optimizer|_foreach_|vector_norm",
    "copies, casts": r"aten::(copy_|_to_copy|to|clone|cat|stack|contiguous|fill_|resize_|(index|embedding|zero|empty|split)\w*)$",
    "elementwise": r"aten::((r?sub|add|mul|div|neg|exp|pow|r?sqrt|mean|sum|sigmoid|cos|sin|where|eq|ne|lt|gt)_?|silu\w*)$",
}


class Measured(Exception):
    """Enough steps were seen."""


class Meter:
    """The time after each optimiser step, and the tokens until then, padding excluded."""

    def __init__(self) -> None:
        self.tokens = 0
        self.marks: list[tuple[float, int]] = []

    def mark(self) -> None:
        self.marks.append((time.perf_counter(), self.tokens))

    def tokens_per_second(self) -> float:
        (first, before), (last, after) = self.marks[WARM_UP_STEPS - 1], self.marks[-1]
        return (after - before) / (last - first)


def make_project(folder: Path, tokens: int) -> None:
    """What the stage `train` needs, with a random share of the train split of up to `tokens` tokens."""
    for name in ("stages", "requirements", "models/tokenizer"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "models" / "base.json", folder / "models")
    if (REPO / ".base_models").is_dir():
        (folder / ".base_models").symlink_to(REPO / ".base_models")
    write_params(folder, {})
    train, validation = examples_of("train"), examples_of("validation")
    (folder / train.parent).mkdir(parents=True)
    shutil.copy(REPO / validation, folder / validation)
    table = pq.read_table(REPO / train)
    kept, total = [], 0
    for row in random.Random(0).sample(range(table.num_rows), table.num_rows):
        total += len(table["input_ids"][row])
        if total > tokens:
            break
        kept.append(row)
    pq.write_table(table.take(kept), folder / train)


def write_params(folder: Path, changes: dict[str, Any]) -> None:
    """The repo's, with changes to the section train."""
    params = read_yaml(REPO / PARAMS)
    params["train"] |= {"validations": 1} | changes
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")


def read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Yaml12Loader)


def read_rows(folder: Path, split: TokenizedSplit) -> dict[str, list[list[int]]]:
    return pq.read_table(folder / examples_of(split), columns=["input_ids", "labels"]).to_pydict()


def count_tokens(folder: Path) -> tuple[int, int]:
    """Tokens and labels of the train split."""
    rows = read_rows(folder, "train")
    return sum(map(len, rows["input_ids"])), sum(label != IGNORE_INDEX for labels in rows["labels"] for label in labels[1:])


def run_stage(around: Callable[[Any, Callable[[], Any]], Any]) -> Path:
    """The stage `train`, with `around(tokens of the step, step)` in the place of each optimiser step; the adapter's folder.

    The one place that knows our trainer: a method that does one step, and the plan that says what the step will see.
    """
    from stages.lib.model.adapter import ADAPTER
    from stages.train import __main__ as train
    from stages.train.trainer import Trainer

    train_step = Trainer.train_step

    def step(trainer: Trainer) -> HistoryRow:
        packs = trainer.plan.global_batch(trainer.step)
        tokens = sum(len(document.input_ids) for pack in packs for document in pack)
        return around(tokens, lambda: train_step(trainer))

    Trainer.train_step = step  # type: ignore[method-assign, assignment]
    train.main()
    return ADAPTER


def train_ours(changes: dict[str, Any], meter: Meter) -> Path:
    write_params(Path(), changes)

    def around(tokens: int, step: Callable[[], Any]) -> Any:
        row = step()
        meter.tokens += tokens
        meter.mark()
        return row

    return run_stage(around)


def train_trl(settings: dict[str, Any], meter: Meter) -> Path:
    """SFTTrainer with the same model, adapter, token ids and labels; the adapter's folder."""
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from stages.lib.base_model.pin import pinned_folder
    from stages.lib.chat_template.tokenizer import load_tokenizer

    class Marks(TrainerCallback):
        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            meter.mark()

    disable_progress_bars()
    params = read_yaml(PARAMS)["train"]
    model_settings = {name: settings[name] for name in ("dtype", "attn_implementation") if name in settings}
    config = SFTConfig(
        output_dir="trl",
        num_train_epochs=1,
        learning_rate=params["learning_rate"],
        seed=params["seed"],
        use_cpu=True,  # without it SFTConfig refuses its own default, bf16
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        model_init_kwargs=model_settings,
        **{name: value for name, value in settings.items() if name not in model_settings},
    )
    trainer = SFTTrainer(
        model=str(pinned_folder()),
        args=config,
        train_dataset=Dataset.from_dict(read_rows(Path(), "train")),
        processing_class=load_tokenizer(),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=params["r"], lora_alpha=params["lora_alpha"], target_modules=params["target_modules"]
        ),
        callbacks=[Marks()],
    )
    training_step = trainer.training_step

    def count(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        mask = inputs.get("attention_mask")
        meter.tokens += inputs["input_ids"].numel() if mask is None else int(mask.sum())
        return training_step(model, inputs, *args, **kwargs)

    trainer.training_step = count
    trainer.train()
    trainer.model.save_pretrained("trl/adapter")
    return Path("trl/adapter")


def validation_loss(adapter: Path) -> float:
    """Nats per label on the validation split: each example alone, in float32, whatever the adapter was trained in."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from stages.lib.model.weights import load_base_model

    if (adapter / "adapter_config.json").is_file():
        model = PeftModel.from_pretrained(load_base_model("float32", "cpu"), adapter).eval()
    else:
        model = AutoModelForCausalLM.from_pretrained(adapter, dtype=torch.float32).eval()
    rows = read_rows(Path(), "validation")
    total, labels = 0.0, 0
    for ids, row_labels in zip(rows["input_ids"], rows["labels"], strict=True):
        following = torch.tensor(row_labels[1:])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).logits[0]
        total += torch.nn.functional.cross_entropy(logits, following, ignore_index=IGNORE_INDEX, reduction="sum").item()
        labels += int((following != IGNORE_INDEX).sum())
    return total / labels


def other_processes_seconds() -> float:
    """Processor time that other processes have used, and other virtual machines."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return machine.user + machine.nice + machine.system + machine.steal - own.user - own.system


def contend(contestant: tuple[str, dict[str, Any]]) -> dict[str, float]:
    """One contestant's run in this process: "ours" with changes to the section train of params.yaml, or "trl" with settings."""
    whose, settings = contestant
    meter = Meter()
    started, others = time.perf_counter(), other_processes_seconds()
    adapter = train_ours(settings, meter) if whose == "ours" else train_trl(settings, meter)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    others = (other_processes_seconds() - others) / (time.perf_counter() - started) / (os.cpu_count() or 1)
    return {
        "tokens": meter.tokens,
        "steps": len(meter.marks),
        "tokens_per_second": meter.tokens_per_second(),
        "peak": peak,
        "others": others,
        "validation_loss": validation_loss(adapter),
    }


def matrix_rates() -> dict[str, float]:
    """Operations a second of this machine's matrix products, and how many our training needs for a token.

    Products of the model's own frozen weights: forward and gradient to the input, a full pack of tokens at the linear layers,
    the pack's labels at the LM head. The time for all is what counts, so each shape weighs what it has in the model.
    """
    import torch

    from stages.lib.model.hardware import find_hardware
    from stages.lib.model.weights import load_base_model

    params = read_yaml(PARAMS)["train"]
    tokens, labels = count_tokens(Path())
    rows = params["pack_length"]
    labelled = round(rows * labels / tokens)
    found: dict[str, float] = {}
    for precision in ("bfloat16", "float32"):
        model = load_base_model(precision, "cpu")
        head = model.get_output_embeddings().weight.detach()
        layers = [module.weight.detach() for module in model.base_model.modules() if isinstance(module, torch.nn.Linear)]
        linear = statistics.median(product_seconds(layers, rows) for _ in range(5))
        last = statistics.median(product_seconds([head], labelled) for _ in range(5))
        size = sum(weight.numel() for weight in layers)
        found[f"{precision} linear layers"] = 4 * rows * size / linear
        found[f"{precision} LM head"] = 4 * labelled * head.numel() / last
        found[precision] = 4 * (rows * size + labelled * head.numel()) / (linear + last)
        adapter = sum(params["r"] * sum(weight.shape) for weight in layers)
        found["operations a token"] = 4 * size + 6 * adapter + 4 * head.numel() * labels / tokens
    found["used"] = found[find_hardware(params["precision"]).precision]
    return found


def product_seconds(weights: list[Any], rows: int) -> float:
    """Forward and gradient to the input for each weight."""
    import torch

    sizes = {size for weight in weights for size in weight.shape}
    sides = {size: torch.randn(rows, size, dtype=weights[0].dtype) for size in sizes}
    started = time.perf_counter()
    for weight in weights:
        outs, ins = weight.shape
        sides[ins] @ weight.T
        sides[outs] @ weight
    return time.perf_counter() - started


def profile_ours() -> dict[str, list[tuple[str, float]]]:
    """Each group's operators with their seconds in one of our steps, the largest first."""
    from torch.profiler import ProfilerActivity, profile

    profiler = profile(activities=[ProfilerActivity.CPU])
    steps: list[int] = []

    def around(tokens: int, step: Callable[[], Any]) -> Any:
        if len(steps) == WARM_UP_STEPS:
            profiler.start()
        row = step()
        steps.append(tokens)
        if len(steps) == WARM_UP_STEPS + PROFILED_STEPS:
            profiler.stop()
            raise Measured
        return row

    try:
        run_stage(around)
    except Measured:
        pass
    else:
        sys.exit(f"the share of the data gave {len(steps)} steps; {WARM_UP_STEPS + PROFILED_STEPS} are needed (--tokens)")
    groups: dict[str, dict[str, float]] = {name: defaultdict(float) for name in (*GROUPS, "rest")}
    for event in profiler.events() or []:
        groups[group_of(event)][event.name] += event.self_cpu_time_total / 1e6 / PROFILED_STEPS
    return {name: sorted(operators.items(), key=itemgetter(1), reverse=True) for name, operators in groups.items()}


def group_of(event: Any) -> str:
    for name in ("matrix products", "attention"):
        if re.search(GROUPS[name], event.name):
            return name
    around = event
    while around is not None:
        for name in ("loss", "optimiser"):
            if re.search(GROUPS[name], around.name):
                return name
        around = around.cpu_parent
    return next((name for name, pattern in GROUPS.items() if re.search(pattern, event.name)), "rest")


def in_process(folder: Path, what: str, settings: Any = None) -> Any:
    """The result of one of WORK in a process of its own, at work in the project in `folder`."""
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    environment |= {"PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training", "--work", what, json.dumps(settings)]
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{what} {settings}: ended with {done.returncode}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


WORK: dict[str, Callable[[Any], Any]] = {
    "contend": contend,
    "rates": lambda _: matrix_rates(),
    "profile": lambda _: profile_ours(),
}


def compare(folder: Path, contestants: dict[str, tuple[str, dict[str, Any]]], rounds: int) -> dict[str, float]:
    """Print the table; the medians of tokens a second."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, settings in contestants.items():
            run = in_process(folder, "contend", settings)
            runs[name].append(run)
            busy = f"; other processes took {run['others']:.0%} of the machine: repeat" if run["others"] > 0.05 else ""
            print(f"round {number + 1}, {name}: {run['tokens_per_second']:.0f} tokens/s{busy}", file=sys.stderr, flush=True)

    def median(name: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[name])

    [tokens] = {int(run["tokens"]) for found in runs.values() for run in found}
    first = next(iter(contestants))
    print(f"| {tokens:,} tokens, median of {rounds} | steps | tokens/s | ratio | peak memory | validation loss |")
    print("|---|---|---|---|---|---|")
    for name in contestants:
        rate = median(name, "tokens_per_second")
        print(
            f"| {name} | {median(name, 'steps'):.0f} | {rate:.0f} | {median(first, 'tokens_per_second') / rate:.2f} "
            f"| {median(name, 'peak') / 1e9:.2f} GB | {median(name, 'validation_loss'):.3f} |"
        )
    return {name: median(name, "tokens_per_second") for name in contestants}


def print_share(rates: dict[str, float], tokens_per_second: float) -> None:
    needed = rates["operations a token"]
    for precision in ("bfloat16", "float32"):
        parts = ", ".join(f"{rates[f'{precision} {part}'] / 1e9:.0f} at the {part}" for part in ("linear layers", "LM head"))
        print(f"matrix products in {precision}: {rates[precision] / 1e9:.0f} GFLOP/s ({parts})")
    print(
        f"ours: {needed / 1e6:.0f} MFLOP a token, {tokens_per_second:.0f} tokens/s of the {rates['used'] / needed:.0f} that the "
        f"products alone would allow: {tokens_per_second * needed / rates['used']:.0%} of the matrix rate"
    )


def print_profile(groups: dict[str, list[tuple[str, float]]]) -> None:
    sums = {name: sum(seconds for _, seconds in operators) for name, operators in groups.items()}
    total = sum(sums.values())
    print(f"| {total:.2f} s a step | share | ms | the largest, ms |\n|---|---|---|---|")
    for name, operators in groups.items():
        largest = ", ".join(f"{operator.removeprefix('aten::')} {seconds * 1000:.0f}" for operator, seconds in operators[:4])
        print(f"| {name} | {sums[name] / total:.0%} | {sums[name] * 1000:.0f} | {largest} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--trl", type=json.loads, nargs="+", metavar="SETTINGS", default=[])
    parser.add_argument("--ours", type=json.loads, nargs="+", metavar="PARAMS", default=[])
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)  # what a contestant's own process is started with
    given = parser.parse_args()
    if given.work:
        print(json.dumps(WORK[given.work[0]](json.loads(given.work[1]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder, given.tokens)
        if given.profile:
            print_profile(in_process(folder, "profile"))
        elif given.trl or given.ours:
            contestants = {f"ours {json.dumps(changes)}": ("ours", changes) for changes in given.ours}
            contestants |= {f"TRL {json.dumps(settings)}": ("trl", settings) for settings in given.trl}
            compare(folder, contestants, given.rounds)
        else:
            before = in_process(folder, "rates")
            medians = compare(folder, {"ours": ("ours", {}), **TRL_SETTINGS}, given.rounds)
            after = in_process(folder, "rates")
            print_share(max(before, after, key=lambda rates: rates["used"]), medians["ours"])


if __name__ == "__main__":
    main()
