"""LoRA in bfloat16 on one GPU: our training loop and TRL's SFTTrainer on Llama shapes with random weights.

    bash benchmarks/gpu.sh                                   # what a bare machine needs, then all of it, one table
    python -m benchmarks.gpu --shapes tiny --steps 4         # on a CPU, to see that it runs

Made-up conversations of some 250 tokens, 40% of them labels, in packs of 4,096, four a step; the same tokens for all. TRL
computes one pack at a time, as many as its batch size says; ours all four, or one for a comparison of memory. Each contestant
is a process of its own. Operations a token: 4 for each frozen weight of a linear layer (forward, and gradient to the input), 6
for the adapter's, 4 for the LM head's on labelled tokens; attention is not counted. Divided by what this GPU does in a product
of two bfloat16 matrices of 8,192 x 8,192.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stages.lib.base_model.tokenized import IGNORE_INDEX

SHAPES = {  # hidden, intermediate, layers, heads, key heads, vocabulary
    "1B": (2048, 8192, 16, 32, 8, 128_256),
    "8B": (4096, 14336, 32, 32, 8, 128_256),
    "tiny": (64, 128, 2, 4, 2, 1000),
}
PACK_LENGTH = 4096
PACKS_PER_STEP = 4
WARM_UP = 3
PARAMS_HERE = {  # of the section train, in place of what params.yaml has
    "method": "lora", "learning_rate": 1e-4, "lr_scheduler_type": "constant", "warmup_steps": 0, "r": 16, "lora_alpha": 32,
    "lora_dropout": 0.0, "use_rslora": False, "target_modules": "all-linear", "keep": "last",
}  # fmt: skip
CONTESTANTS = (
    "ours",
    "ours, one pack at once",
    "ours, deterministic",
    "ours, gradient checkpointing",
    "ours, peft's layers",
    "TRL, packed",
    "TRL, packed, liger",
)


def make_documents(number: int, vocabulary: int) -> list[tuple[list[int], list[int]]]:
    chance = random.Random(0)
    documents = []
    for _ in range(number):
        length = max(16, min(PACK_LENGTH, round(chance.lognormvariate(5.3, 0.7))))
        ids = [chance.randrange(10, vocabulary) for _ in range(length)]
        documents.append((ids, [IGNORE_INDEX] * round(0.6 * length) + ids[round(0.6 * length) :]))
    return documents


def make_model(shape: str, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    hidden, intermediate, layers, heads, key_heads, vocabulary = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=key_heads, vocab_size=vocabulary, max_position_embeddings=PACK_LENGTH, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()


def run_ours(shape: str, steps: int, device: str, options: str) -> dict[str, float]:
    import torch
    from peft.helpers import disable_input_dtype_casting

    from stages.lib.core.params import read_params
    from stages.lib.model.hardware import Hardware, use_deterministic_algorithms
    from stages.train.comparison import choose_nll
    from stages.train.methods import add_adapter, checkpoint_activations
    from stages.train.packing import pack
    from stages.train.params import TrainParams
    from stages.train.plan import Document, Plan
    from stages.train.quick_layers import quicken
    from stages.train.ranks import Ranks
    from stages.train.trainer import Trainer

    use_deterministic_algorithms("deterministic" in options)
    model = make_model(shape, device)
    if "checkpointing" in options:
        checkpoint_activations(model)
    params = read_params("train", TrainParams).model_copy(update=PARAMS_HERE)
    model = add_adapter(model, params)
    if "peft" not in options:
        quicken(model)
    documents = [Document(str(at), *row) for at, row in enumerate(make_documents(40 * (steps + WARM_UP) * 2, SHAPES[shape][-1]))]
    groups = pack([len(document.input_ids) for document in documents], PACK_LENGTH)
    packs = [[documents[at] for at in group] for group in groups]
    plan = Plan(packs, PACKS_PER_STEP, min(steps + WARM_UP, len(packs) // PACKS_PER_STEP), 0)
    hardware = Hardware(device, "bfloat16")
    with disable_input_dtype_casting(model):
        nll = choose_nll(model, packs[0], hardware)
        at_once = 1 if "one pack" in options else PACKS_PER_STEP
        trainer = Trainer(model, nll, plan, params, hardware, Ranks(), at_once * PACK_LENGTH)
        model.train()
        tokens, started = 0, 0.0
        for step in range(plan.steps):
            if step == WARM_UP:
                synchronize(device)
                tokens, started = 0, time.perf_counter()
            tokens += sum(len(document.input_ids) for each in plan.global_batch(step) for document in each)
            trainer.train_step()
        synchronize(device)
    print(f"{nll.__name__}, {trainer.tokens_at_once:,} tokens at once", file=sys.stderr)
    return {"tokens_per_second": tokens / (time.perf_counter() - started), "peak": peak_memory(device)} | {
        "torch": float(torch.__version__.split("+")[0].rsplit(".", 1)[0])
    }


def run_trl(shape: str, steps: int, device: str, options: str) -> dict[str, float]:
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Marks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if state.global_step == WARM_UP:
                synchronize(device)
                seen.update(tokens=0, started=time.perf_counter())

    seen: dict[str, float] = {"tokens": 0, "started": 0.0}
    rows = make_documents(40 * (steps + WARM_UP) * 2, SHAPES[shape][-1])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), eos_token="a", pad_token="a")
    with TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder, max_steps=steps + WARM_UP, gradient_accumulation_steps=PACKS_PER_STEP,
            per_device_train_batch_size=1,
            packing=True, max_length=PACK_LENGTH, bf16=True, use_cpu=device == "cpu", learning_rate=1e-4,
            lr_scheduler_type="constant", gradient_checkpointing=False, optim="adamw_torch_fused", save_strategy="no",
            logging_strategy="no", report_to=[], use_liger_kernel="liger" in options,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=make_model(shape, device),
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": [ids for ids, _ in rows], "labels": [labels for _, labels in rows]}),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
            callbacks=[Marks()],
        )
        training_step = trainer.training_step

        def count(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            mask = inputs.get("attention_mask")
            seen["tokens"] += inputs["input_ids"].numel() if mask is None else int(mask.sum())
            return training_step(model, inputs, *args, **kwargs)

        trainer.training_step = count
        trainer.train()
    synchronize(device)
    return {"tokens_per_second": seen["tokens"] / (time.perf_counter() - seen["started"]), "peak": peak_memory(device)}


def synchronize(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: str) -> float:
    import resource

    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def matrix_rate(device: str) -> float:
    """Operations a second of a large product in bfloat16, the best of five."""
    import torch

    size = 8192 if device == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        synchronize(device)
        started = time.perf_counter()
        for _ in range(20):
            left @ right
        synchronize(device)
        best = min(best, (time.perf_counter() - started) / 20)
    return 2 * size**3 / best


def operations_per_token(shape: str) -> float:
    hidden, intermediate, layers, heads, key_heads, vocabulary = SHAPES[shape]
    keys = hidden // heads * key_heads
    linear = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden), *[(hidden, intermediate)] * 3]
    frozen = layers * sum(a * b for a, b in linear)
    adapter = layers * sum(16 * (a + b) for a, b in linear)
    return 4 * frozen + 6 * adapter + 4 * 0.4 * hidden * vocabulary


def in_process(name: str, shape: str, steps: int) -> dict[str, float] | str:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", "--inside", name, "--shapes", shape, "--steps", str(steps)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    sys.stderr.write(done.stderr[-2000:] if done.returncode else "")
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:120]
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["1B", "8B"], choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=10, help=f"measured, after {WARM_UP} to warm up")
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many")
    parser.add_argument("--inside", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.inside:
        run = run_ours if options.inside.startswith("ours") else run_trl
        print(json.dumps(run(options.shapes[0], options.steps, device, options.inside)))
        return
    rate = matrix_rate(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}: {rate / 1e12:.1f} TFLOP/s in bfloat16\n")
    print("| shape | contestant | tokens/s | share of the matrix rate | peak memory |\n|---|---|---|---|---|", flush=True)
    for shape in options.shapes:
        for contestant in CONTESTANTS:
            runs = [in_process(contestant, shape, options.steps) for _ in range(options.rounds)]
            good = sorted((run for run in runs if isinstance(run, dict)), key=lambda run: run["tokens_per_second"])
            if not good:
                print(f"| {shape} | {contestant} | not measured: {runs[0]} | | |", flush=True)
                continue
            speed, peak = good[len(good) // 2]["tokens_per_second"], good[-1]["peak"]
            share = speed * operations_per_token(shape) / rate
            print(f"| {shape} | {contestant} | {speed:,.0f} | {share:.0%} | {peak / 2**30:.1f} GiB |", flush=True)


if __name__ == "__main__":
    main()
