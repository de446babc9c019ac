"""Ledgers, loss history and scores -> metrics/: what git tracks of a run, flat and sorted, and the data of its plots.

The only stage whose outs are not cached by DVC but committed to git, so that a pull request shows them.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from stages.lib.conversations import read_conversations, read_jsonl
from stages.lib.errors import run_stage
from stages.lib.json_file import read_json, write_json
from stages.lib.params import Section, read_params
from stages.lib.requirements import check_installed

CLEAN_LEDGER = Path("data/ledger/clean.jsonl")
TOKENIZE_LEDGER = Path("data/ledger/tokenize.jsonl")
ASSIGNMENT = Path("data/split/assignment.jsonl")
TEST = Path("data/split/test.jsonl")
LOSS_HISTORY = Path("models/loss_history.jsonl")
SCORES = Path("data/evaluation/scores.json")
EXAMPLES = Path("data/evaluation/examples.parquet")
METRICS = Path("metrics")
PLOTS = METRICS / "plots"
REPLIES = METRICS / "replies.md"


class ReportParams(Section):
    show_text: list[str]
    replies: int = Field(ge=0)
    smallest_label: int = Field(ge=1)


def count_rows() -> dict[str, int]:
    """Where each conversation went: collected = kept + repaired + dropped, kept + repaired = train + validation + test."""
    clean = read_jsonl(CLEAN_LEDGER)
    fates = Counter(row["fate"] for row in clean)
    counts = {"collected": len(clean), **{fate: fates[fate] for fate in ("kept", "repaired", "dropped")}}
    counts |= {f"dropped_{reason}": n for reason, n in Counter(row["reason"] for row in clean if row["reason"]).items()}
    counts |= {f"repaired_{step}": n for step, n in Counter(s for row in clean for s in row["repaired_by"]).items()}
    assignment = read_jsonl(ASSIGNMENT)
    splits = Counter(row["split"] for row in assignment)
    counts |= {split: splits[split] for split in ("train", "validation", "test")}
    counts["groups"] = len({row["group"] for row in assignment})
    for split in ("train", "validation"):
        rows = [row for row in read_jsonl(TOKENIZE_LEDGER) if row["split"] == split]
        counts |= {f"{split}_{total}": sum(row[total] for row in rows) for total in ("examples", "tokens", "labels")}
        fates = Counter(row["fate"] for row in rows)
        counts |= {f"{split}_{fate}": fates[fate] for fate in ("too_long", "cut", "template_misfit")}
    return counts


def describe_training(history: list[dict[str, Any]]) -> dict[str, float]:
    """Losses in nats per label on the whole validation split, before and after."""
    validations = [row["validation_loss"] for row in history if "validation_loss" in row]
    return {"steps": history[-1]["step"], "validation_loss_start": validations[0], "validation_loss": validations[-1]}


def perplexity_by_label(examples: pd.DataFrame, smallest: int) -> pd.DataFrame:
    """Rows (label, model, perplexity, conversations); labels with fewer than `smallest` test conversations become `other`."""
    scored = examples[examples["base_unscored"].isna() & examples["tuned_unscored"].isna()].copy()
    sizes = scored["label"].map(scored["label"].value_counts())
    scored["label"] = scored["label"].where(sizes >= smallest, "other")
    rows = []
    for label, part in scored.groupby("label", sort=True):
        for model in ("base", "tuned"):
            value = math.exp(part[f"{model}_nll"].sum() / part[f"{model}_labels"].sum())
            rows.append({"label": label, "model": model, "perplexity": value, "conversations": len(part)})
    return pd.DataFrame(rows)


def render_replies(examples: pd.DataFrame, show_text: list[str], number: int) -> str:
    """Markdown: evenly spaced test conversations with both models' replies. Text only of sources that `show_text` names."""
    lines = ["# Replies on test conversations", ""]
    messages = {row["id"]: row["messages"] for row in read_conversations(TEST)}
    for position in sorted({len(examples) * index // number for index in range(number)} if number else set()):
        row = examples.iloc[position]
        lines += [f"## {row['id']}", ""]
        if row["id"].split("/")[0] not in show_text:
            lines += ["(text not shown: its source is not in report.show_text)", ""]
            continue
        last = max(index for index, message in enumerate(messages[row["id"]]) if message["role"] == "assistant")
        turns = [(message["role"], message["content"]) for message in messages[row["id"]][:last]]
        turns += [("reference", row["reference"]), ("base", row["base_reply"]), ("tuned", row["tuned_reply"])]
        for name, text in turns:
            lines += [
                f"**{name}**",
                "",
                *(f"    {line}".rstrip() for line in (text if isinstance(text, str) else "(none)").splitlines()),
                "",
            ]
    return "\n".join(lines)


def main() -> None:
    check_installed("requirements/core.txt")
    params = read_params("report", ReportParams)
    scores, history, examples = read_json(SCORES), read_jsonl(LOSS_HISTORY), pd.read_parquet(EXAMPLES)
    write_json(METRICS / "data.json", count_rows())
    write_json(METRICS / "training.json", describe_training(history))
    for name, values in scores.items():  # base, tuned, reference, comparison, signatures
        write_json(METRICS / f"{name}.json", values)
    PLOTS.mkdir(parents=True, exist_ok=True)
    losses = pd.DataFrame(history)
    for split in ("train", "validation"):
        curve = losses[["step", f"{split}_loss"]].dropna().rename(columns={f"{split}_loss": "loss"})
        curve.to_csv(PLOTS / f"{split}_loss.csv", index=False, lineterminator="\n")
    by_label = perplexity_by_label(examples, params.smallest_label)
    by_label.to_csv(PLOTS / "perplexity.csv", index=False, lineterminator="\n")
    REPLIES.write_text(render_replies(examples, params.show_text, params.replies), encoding="utf-8")
    print(f"report: {len(list(METRICS.glob('*.json')))} metrics files in {METRICS}/")


if __name__ == "__main__":
    run_stage(main, restore="git checkout -- metrics")
