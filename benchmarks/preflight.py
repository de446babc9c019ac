"""Estimated memory against what training took, each run in a process of its own.

    python -m benchmarks.preflight [--only N ...]
    python -m benchmarks.preflight --cuda   # on a GPU: what torch allocated there

Random Llamas, 20 to 300 million parameters, and the default model; the stage `train` itself, two steps. On a CPU the figure is
the process's peak of resident memory, libraries included.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.lib.core.params import PARAMS, Yaml12Loader

REPO = Path(__file__).parent.parent
# layers, hidden size, MLP's size, heads, key heads, vocabulary
LLAMAS = {
    "20M": (8, 384, 1024, 6, 2, 8_000),
    "60M": (12, 512, 1536, 8, 4, 49_152),
    "110M": (8, 512, 2048, 8, 8, 150_000),
    "300M": (22, 1024, 2816, 16, 4, 49_152),
    "1B": (16, 2048, 8192, 32, 8, 128_256),
}


class Case(NamedTuple):
    """`model`: of LLAMAS, or "default"."""

    model: str
    precision: str
    method: str = "lora"
    pack_length: int = 768
    gradient_checkpointing: bool = False
    lora_dropout: float = 0.0
    packs_per_step: int = 1

    def describe(self) -> str:
        more = [f"packs of {self.pack_length}"] + ["checkpointing"] * self.gradient_checkpointing
        more += [f"dropout {self.lora_dropout}"] if self.lora_dropout else []
        more += [f"{self.packs_per_step} packs a step"] if self.packs_per_step > 1 else []
        return f"{self.model} {self.precision} {self.method}, {', '.join(more)}"


CPU_CASES = [
    Case("default", "bfloat16"),
    Case("default", "float32"),
    Case("default", "bfloat16", gradient_checkpointing=True),
    Case("default", "bfloat16", "dora"),
    Case("default", "bfloat16", "full"),
    Case("default", "float32", pack_length=1536),
    Case("20M", "float32", pack_length=256),
    Case("20M", "bfloat16", "full", pack_length=1536),
    Case("60M", "float32", "full", pack_length=768),
    Case("60M", "float32", "dora", pack_length=256, lora_dropout=0.1),
    Case("110M", "bfloat16", pack_length=1536),
    Case("110M", "float32", "full", pack_length=256, gradient_checkpointing=True),
    Case("300M", "bfloat16", pack_length=768, gradient_checkpointing=True),
    Case("300M", "float32", pack_length=256),
]
CUDA_CASES = [
    Case("1B", "bfloat16", pack_length=2048, packs_per_step=8),
    Case("1B", "bfloat16", pack_length=2048, packs_per_step=8, gradient_checkpointing=True),
    Case("1B", "bfloat16", "dora", pack_length=2048, packs_per_step=4),
    Case("1B", "bfloat16", "full", pack_length=2048, packs_per_step=4),
    Case("300M", "float32", pack_length=1024, packs_per_step=4),
    Case("110M", "bfloat16", pack_length=1024, packs_per_step=16, lora_dropout=0.1),
]


def make_project(folder: Path, case: Case) -> None:
    """What the stage `train` needs: params, pinned model, made-up tokens of which two fifths are labels."""
    from stages.lib.base_model.tokenized import IGNORE_INDEX, Example, TokenizedSplit, examples_of, write_examples

    shutil.copytree(REPO / "requirements", folder / "requirements")
    params = yaml.load((REPO / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    settings = case._asdict() | {"max_steps": 2, "validations": 2}
    del settings["model"]
    params["train"] |= settings
    vocabulary = 40_000
    os.chdir(folder)
    if case.model == "default":
        (folder / "models").mkdir()
        shutil.copy(REPO / "models" / "base.json", folder / "models")
        (folder / ".base_models").symlink_to(REPO / ".base_models")
    else:
        vocabulary = LLAMAS[case.model][-1]
        write_llama(folder / "llama", case.model)
        params["base_model"] |= {"source": "path", "name": "llama", "path": "llama", "revision": None}
    PARAMS.write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    if case.model != "default":
        from stages.lib.base_model.pin import PIN, BasePin, pin_files
        from stages.lib.base_model.pins import write_pin
        from stages.lib.base_model.source import BaseModelSource

        source = BaseModelSource(**params["base_model"])
        write_pin(PIN, BasePin(**source.model_dump(), files=pin_files(folder / "llama", source), tokenizer={}))
    choose = random.Random(0)
    wanted: tuple[tuple[TokenizedSplit, int], ...] = (
        ("train", 6 * case.pack_length * case.packs_per_step),
        ("validation", case.pack_length),
    )
    for split, tokens in wanted:
        examples: list[tuple[str, Example]] = []
        while sum(len(example.input_ids) for _, example in examples) < tokens:
            length = choose.randint(30, min(400, case.pack_length))
            ids = [choose.randrange(3, vocabulary) for _ in range(length)]
            ignored = length * 3 // 5
            examples.append((f"row{len(examples)}", Example(ids, [IGNORE_INDEX] * ignored + ids[ignored:])))
        write_examples(examples_of(split), examples)


def write_llama(folder: Path, name: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    layers, hidden, inner, heads, key_heads, vocabulary = LLAMAS[name]
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_heads, tie_word_embeddings=True, dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)


def train_here(cuda: bool) -> int:
    """Run the stage in this process and this folder; the peak in bytes."""
    import resource

    import torch

    from stages.train import __main__ as train

    train.main()
    if cuda:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def estimate_here(cuda: bool) -> int:
    """The total that tools.preflight gives for this folder; for a GPU without the context, which torch does not count."""
    from tools.preflight.device import Device
    from tools.preflight.examination import examine
    from tools.preflight.project import read_project

    device = Device("cuda" if cuda else "cpu", "", 1 << 50, 1)
    needed = examine(read_project(), device).needed
    return needed.total - (needed.fixed if cuda else 0)


def measure(case: Case, cuda: bool) -> tuple[int, int]:
    """Bytes estimated and measured."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "project"
        folder.mkdir()
        outputs = []
        for what in ("prepare", "estimate", "train"):
            command = [sys.executable, "-m", "benchmarks.preflight", "--inside", what, "--case", json.dumps(case)]
            path = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
            variables = os.environ | {"PYTHONPATH": path, "REPROTUNE_TRAIN_PROCESSES": "1", "REPROTUNE_ANY_VERSIONS": "1"}
            done = subprocess.run(
                [*command, *["--cuda"] * cuda], cwd=folder, env=variables, check=False, capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{case.describe()}: {what}: {done.stderr}")
            outputs.append(done.stdout.splitlines()[-1:])
        return int(outputs[1][0]), int(outputs[2][0])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.preflight", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuda", action="store_true", help="measure on a GPU")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these lines of the table, counted from 0")
    parser.add_argument("--inside", choices=("prepare", "estimate", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside == "prepare":
        make_project(Path.cwd(), Case(*json.loads(options.case)))
    elif options.inside:
        print((estimate_here if options.inside == "estimate" else train_here)(options.cuda))
    else:
        cases: list[Any] = CUDA_CASES if options.cuda else CPU_CASES
        print(f"{'':60} {'estimated':>9} {'measured':>9} {'ratio':>5}  (MiB)")
        wanted = [cases[number] for number in options.only or range(len(cases))]
        with ThreadPoolExecutor(len(wanted) if options.cuda else 1) as pool:  # what torch allocates does not depend on neighbours
            figures_of = pool.map(lambda case: measure(case, options.cuda), wanted)
            for case, (estimated, measured) in zip(wanted, figures_of, strict=True):
                figures = f"{estimated / 2**20:9,.0f} {measured / 2**20:9,.0f} {estimated / measured:5.2f}"
                print(f"{case.describe():60} {figures}", flush=True)


if __name__ == "__main__":
    main()
