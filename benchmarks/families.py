"""Training's speed on shapes of several families, beside another version of this repository, in turn in one run.

    git worktree add ../before 326457c
    python -m benchmarks.families ../before [--shape 1B] [--steps 20] [--rounds 3]   # on a GPU where there is one

Random weights; the loop, the documents and the packs of benchmarks.gpu, each version's own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
Sizes = dict[str, Any]
SHAPES: dict[str, Sizes] = {
    "tiny": {
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 64, "vocab_size": 4000,
    },
    "1B": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 12, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 64_000,
    },
}  # fmt: skip
FAMILIES: dict[str, Sizes] = {
    "llama": {},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"use_sliding_window": False},
    "mistral": {"sliding_window": 1024},
    "gemma3_text": {"sliding_window": 512},
    "phi3": {"sliding_window": 2047},
}
USUAL: Sizes = {"max_position_embeddings": 4096, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def train(kind: str, shape: str, steps: int) -> dict[str, float]:
    """By the version that this process imports: tokens a second, peak of memory in bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from benchmarks import gpu

    def make_model(shape: str, device: str) -> Any:
        known = {name: value for name, value in SHAPES[shape].items() if name != "head_dim" or kind not in ("phi3", "qwen2")}
        config = AutoConfig.for_model(kind, **USUAL | known | FAMILIES[kind])
        torch.manual_seed(0)
        with torch.device(device):
            return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()

    gpu.make_model = make_model
    gpu.SHAPES[shape] = (0, 0, 0, 0, 0, int(SHAPES[shape]["vocab_size"]))
    if shape == "tiny":
        gpu.PACK_LENGTH = 1024
    return gpu.run_ours(shape, steps, "cuda" if torch.cuda.is_available() else "cpu", "ours")


def in_process(repo: Path, kind: str, shape: str, steps: int) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(repo), os.environ.get("PYTHONPATH"))))}
    options = ["--inside", kind, "--shape", shape, "--steps", str(steps)]
    command = [sys.executable, "-P", "-W", "ignore", __file__, str(repo), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=repo, env=environment)
    if done.returncode:
        sys.exit(f"{kind} in {repo}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of the other version")
    parser.add_argument("--shape", default="1B", choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=20, help="measured, after those to warm up")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many")
    parser.add_argument("--only", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--inside", choices=list(FAMILIES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(train(options.inside, options.shape, options.steps)))
        return
    print("| family | tokens/s before | now | ratio | peak memory before | now |\n|---|---|---|---|---|---|", flush=True)
    for kind in options.only:
        pairs = []
        for turn in range(options.rounds):
            both = (options.before.resolve(), REPO)
            found = {repo: in_process(repo, kind, options.shape, options.steps) for repo in (both if turn % 2 else both[::-1])}
            pairs.append([found[repo] for repo in both])
        before, now = (statistics.median(pair[at]["tokens_per_second"] for pair in pairs) for at in (0, 1))
        ratio = statistics.median(pair[1]["tokens_per_second"] / pair[0]["tokens_per_second"] for pair in pairs)
        memory = [f"{pairs[0][at]['peak'] / 2**30:.1f} GiB" for at in (0, 1)]
        print(f"| {kind} | {before:,.0f} | {now:,.0f} | {ratio:.2f} | {memory[0]} | {memory[1]} |", flush=True)


if __name__ == "__main__":
    main()
