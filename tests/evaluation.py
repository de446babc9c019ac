"""The stage evaluate on made-up predictions, in a folder of its own: what its tests share."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from conftest import write_conversations

from stages.evaluate import __main__ as evaluate
from stages.evaluate.figures import to_digits
from stages.lib.core.files import read_json, write_json, write_jsonl
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import predictions_of
from stages.lib.records.scores import EXAMPLES, SCORES
from stages.report.reasons import in_chinese

SCHEMA = pa.schema(
    {"set": pa.string(), "id": pa.string(), "turn": pa.int64(), "nll": pa.float64(), "labels": pa.int64(),
     "unscored": pa.string(), "reply": pa.string(), "reply_tokens": pa.int64(), "stopped": pa.bool_(), "unanswered": pa.string(),
     "label_nll": pa.map_(pa.string(), pa.float64())}
)  # fmt: skip
CONDITIONS = {
    "task": "dialogue", "task_reason": "many replies", "labels": [], "decoding": "greedy", "max_new_tokens": 40, "batch_size": 4,
    "environment": {"precision": "float32", "device": "cpu", "torch": "2"},
}  # fmt: skip
PIN = {"files": {"model.safetensors": {"sha256": "ab", "size": 3}}, "tokenizer": {"tokenizer.json": {"sha256": "cd", "size": 4}}}


def example(reference: str, base: tuple | None, tuned: tuple | None, **more: object) -> dict:
    """A test conversation and what each model made of it: (nll, labels, reply), None where it made nothing."""
    return {"reference": reference, "base": base, "tuned": tuned, "language": "en", "label": None, "group": None} | more


def predict(id: str, found: tuple | None, label_nll: dict | None) -> dict:
    nll, labels, reply = found or (None, None, None)
    row = {"set": "test", "id": id, "turn": 1, "nll": nll, "labels": labels, "reply": reply, "label_nll": label_nll}
    missing = {"unscored": "too long", "unanswered": "too long", "stopped": None, "reply_tokens": None}
    return row | (missing if found is None else dict.fromkeys(missing) | {"stopped": len(reply) < 20, "reply_tokens": len(reply)})


def evaluate_folder(
    folder: Path,
    rows: list[dict],
    conditions: dict | None = None,
    more: dict | None = None,
    contenders: str = "none.jsonl",
    embedding: str | None = None,
    prompts: Sequence[dict] = (),
) -> dict:
    """Run the stage. `more`: contender -> further rows of its predictions; `contenders`: file or folder of other models;
    `prompts`: general ones.
    """
    folder.mkdir(exist_ok=True)
    for name in ("none.jsonl", "votes.jsonl"):
        if not (folder / name).exists():
            (folder / name).write_text("\n", encoding="utf-8")
    params = {
        "evaluate": {"seed": 0, "confidence": 0.95, "rouge_max_words": 500, "contenders": contenders, "votes": "votes.jsonl",
                     "embedding": embedding},
        "predict": {"retention": "retention.jsonl"},
    }  # fmt: skip
    write_jsonl(folder / "retention.jsonl", prompts)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    conversations, assignment = [], []
    predictions: dict[str, list[dict]] = {model: list((more or {}).get(model, [])) for model in ("base", "tuned")}
    for number, row in enumerate(rows):
        id = f"pairs/{number:04}"
        messages = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": row["reference"]}]
        conversations.append({"id": id, "label": row["label"], "language": row["language"], "group": None, "messages": messages})
        assignment.append({"id": id, "split": "test", "stratum": "", "group": row["group"] or id})
        for model, table in predictions.items():
            table.append(predict(id, row[model], row.get(f"{model}_label_nll")) | row.get("row", {}))
    write_conversations(folder / conversations_of("test"), conversations)
    train = [{**one, "id": f"train/{at}"} for at, one in enumerate(conversations)]
    write_conversations(folder / conversations_of("train"), train)
    write_jsonl(folder / ASSIGNMENT, assignment)
    write_json(folder / "models/base.json", PIN)
    (folder / "data/predictions").mkdir(parents=True, exist_ok=True)
    schema = SCHEMA.with_metadata({b"reprotune": json.dumps(CONDITIONS | (conditions or {})).encode()})
    for model, table in predictions.items():
        pq.write_table(pa.Table.from_pylist(table, schema), folder / predictions_of(model))
    (folder / EXAMPLES).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        evaluate.main()
    scores: dict = read_json(folder / SCORES)
    check_reasons(scores)
    assert scores == to_digits(scores), "another processor would write other bytes"
    return scores


def check_reasons(scores: dict) -> None:
    """Whatever the test is about: each reason is one that the page can say in Chinese."""
    claims = [*scores["claims"], *(claim for other in scores["others"].values() for claim in other["claims"])]
    for reason in [*scores["reasons"].values(), *filter(None, (claim["reason"] for claim in claims))]:
        assert in_chinese(reason) != reason, reason


def many(number: int, gain: float = 0.4, groups: int = 1) -> list[dict]:
    random = np.random.default_rng(0)
    rows = []
    for at in range(number):
        labels = int(random.integers(2, 30))
        base = labels * random.uniform(1, 3)
        tuned = base - labels * (gain + random.normal(0, 0.3))
        group = None if groups == 1 else f"g{at // groups}"
        rows.append(
            example(f"reference number {at}", (base, labels, f"reply {at}"), (tuned, labels, f"number {at}"), group=group)
        )
    return rows
