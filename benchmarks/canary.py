"""Is a sentence that stands eight times in train found by memorisation, and one that was never there not?

    python -m benchmarks.canary [EPOCHS]

A tiny model of random weights is trained whole on made-up conversations, eight of which have the canary as their reply. What
predict looks for is then two replies: the canary, and another of its length that no model has seen.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.conversations import make_conversations
from benchmarks.data_stages import REPO
from benchmarks.example_memory import make_model, make_project, run_stage
from stages.lib.core.files import read_jsonl, write_jsonl
from stages.lib.core.params import PARAMS
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import CONTENDERS, predictions_of

REPEATED = 8
CONVERSATIONS = 60
WORDS = 20


def write_conversations(path: Path, rows: list[dict[str, Any]]) -> None:
    ordered = sorted(rows, key=lambda row: row["id"])
    write_jsonl(path, ordered)


def make_replies(name: str, seed: int) -> list[dict[str, Any]]:
    """Conversations that all have the same reply, of words in an order that no other has, each to a question of its own."""
    choose = random.Random(seed)
    texts = [message["content"] for row in make_conversations(50) for message in row["messages"] if row["language"] == "en"]
    words = choose.sample(sorted(set(" ".join(texts).split())), WORDS)
    answer = {"role": "assistant", "content": " ".join(words)}
    asked = [{"role": "user", "content": f"What does {word} mean?"} for word in choose.sample(words, REPEATED)]
    about: dict[str, Any] = {"label": None, "language": "en", "group": None}
    return [about | {"id": f"{name}/{at}", "messages": [question, answer]} for at, question in enumerate(asked)]


def prepare(folder: Path, epochs: int) -> None:
    make_model(folder / "model", vocabulary=1000, hidden_size=128)
    make_project(folder, folder / "model", CONVERSATIONS)
    params = yaml.safe_load((folder / PARAMS).read_text(encoding="utf-8"))
    params["train"] |= {"method": "full", "num_train_epochs": epochs, "max_steps": None, "learning_rate": 2e-3, "keep": "last"}
    params["predict"] |= {"precision": "float32", "max_new_tokens": 8}
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    shutil.copy(REPO / "data/retention.jsonl", folder / "data")
    train = read_jsonl(folder / conversations_of("train"))
    write_conversations(folder / conversations_of("train"), [*train, *make_replies("canary", 1)])
    others = islice(make_conversations(CONVERSATIONS, seed=1), 5)
    test = [{"label": None, "group": None} | row | {"id": f"other/{row['id']}"} for row in others]
    write_conversations(folder / conversations_of("test"), test)


def measure(folder: Path) -> dict[str, dict[str, str]]:
    """Contender -> reply -> how many of its tokens the contender would write from its beginning, word for word."""
    train = read_jsonl(folder / conversations_of("train"))
    never = make_replies("never", 2)
    write_conversations(folder / conversations_of("train"), [*train, *never])
    found: dict[str, dict[str, str]] = {}
    for contender in CONTENDERS:
        subprocess.run([sys.executable, "-m", "stages.predict", contender], cwd=folder, check=True, stdout=sys.stderr)
        rows = pd.read_parquet(folder / predictions_of(contender)).query("set == 'repeated'")
        names = rows["id"].str.partition("/")[0]
        found[contender] = {
            name: f"{min(row['verbatim'], row['labels'] - 1):.0f} of {row['labels'] - 1:.0f} tokens"
            for name, (_, row) in zip(names, rows.iterrows(), strict=True)
            if name in ("canary", "never")
        }
    return found


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, epochs)
        for stage in ("tokenize", "train"):
            run_stage(folder, stage)
        for contender, replies in measure(folder).items():
            print(f"{contender}: canary {replies['canary']} word for word, one that was never there {replies['never']}")


if __name__ == "__main__":
    main()
