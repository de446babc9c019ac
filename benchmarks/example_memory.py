"""Memory of tokenize and train on made-up conversations, with a tiny model of random weights.

    python -m benchmarks.example_memory [CONVERSATIONS]

Nine in ten are for training, one for validation. Each stage is a process of its own, as under DVC; its memory is the largest
resident set. What the conversations add is the difference to the same stage with a hundredth of them. Training takes one step,
with a validation before and after it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import yaml

from benchmarks.conversations import make_conversations
from benchmarks.data_stages import REPO
from stages.lib.base_model.tokenized import TOKENIZED_SPLITS
from stages.lib.core.files import write_jsonl
from stages.lib.core.params import PARAMS, Yaml12Loader
from stages.lib.records.conversation import conversations_of

SPECIAL_TOKENS = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_model(folder: Path, vocabulary: int = 8000, hidden_size: int = 32) -> None:
    """A Llama of two layers with random weights, and a tokenizer from such conversations."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((message["content"] for row in make_conversations(2000) for message in row["messages"]), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def make_project(folder: Path, model: Path, number: int) -> None:
    """The repo's code and params, the tiny model pinned, the conversations split."""
    for name in ("stages", "requirements"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    params = yaml.load((REPO / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["base_model"] |= {"source": "path", "name": "tiny", "path": str(model), "revision": None, "chat_template": None}
    params["train"] |= {"max_steps": 1, "validations": 1, "precision": "float32"}
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    rows = ({"label": None, "group": None} | row | {"id": f"made_up/{row['id']}"} for row in make_conversations(number))
    for split, share in zip(TOKENIZED_SPLITS, (number * 9 // 10, None), strict=True):
        write_jsonl(folder / conversations_of(split), islice(rows, share))
    run_stage(folder, "base_model")


def run_stage(folder: Path, stage: str, *arguments: str) -> int:
    """Bytes of the largest resident set."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DVC_ROOT")}
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *arguments], cwd=folder, env=environment, stdout=sys.stderr
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"stages.{stage} ended with {process.returncode}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        make_model(Path(name) / "tiny")
        peaks: dict[str, list[int]] = {"tokenize": [], "train": []}
        for size in (number // 100, number):
            folder = Path(name) / str(size)
            make_project(folder, Path(name) / "tiny", size)
            for stage, measured in peaks.items():
                measured.append(run_stage(folder, stage))
    for stage, (few, all_) in peaks.items():
        print(
            f"{stage}: {all_ / 1e9:.2f} GB with {number:,} conversations, {(all_ - few) / 1e9:.2f} GB more than with a hundredth"
        )


if __name__ == "__main__":
    main()
