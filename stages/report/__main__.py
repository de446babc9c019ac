"""Ledgers, loss history and scores -> metrics/: what git tracks of a run, flat and sorted, the data of its plots, and a page.

The only stage whose outs are not cached by DVC but committed to git, so that a pull request shows them; all but the page.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field

from stages.lib.base_model.pins import ADAPTER_PIN, AdapterPin, read_pin
from stages.lib.core.errors import run_stage
from stages.lib.core.files import read_json, read_jsonl, write_json
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records import cleaned, tokenize_ledger
from stages.lib.records.assignment import ASSIGNMENT, GATE, AssignedRow, Gate
from stages.lib.records.conversation import SPLITS, conversations_of, read_conversations
from stages.lib.records.loss_history import ENVIRONMENT, LOSS_HISTORY, HistoryRow
from stages.lib.records.predictions import CONTENDERS
from stages.lib.records.scores import EXAMPLES, REPLIES, RETENTION, SCORES, Evaluation, perplexity
from stages.report import accounts
from stages.report.evaluation import apart_from, confusion_table, languages_table, report_evaluation, strata_table
from stages.report.excerpts import render_examples, render_replies
from stages.report.files import ADAPTER, DETAILS, GATES, METRICS, PAGE, PLOTS
from stages.report.gates import Gate as ShippingGate
from stages.report.names import shown_label
from stages.report.page.document import Content, render_page
from stages.report.page.replies import describe_replies
from stages.report.page.retention import describe_retained
from stages.report.page.texts import Both
from stages.report.page.verdict import LANGUAGES
from stages.report.seeds import adapter_hash, describe_seed_noise, read_seed_noise


class ReportParams(Section):
    show_text: list[str]
    replies: int = Field(ge=0)
    smallest_label: int = Field(ge=1)
    strata: int = Field(ge=1)
    gates: list[ShippingGate]


def describe_training(history: Sequence[HistoryRow]) -> dict[str, float]:
    """Losses in nats per label on the whole validation split, before and after."""
    validations = [row["validation_loss"] for row in history if "validation_loss" in row]
    kept = next(row for row in history if row.get("kept"))
    return {
        "steps": history[-1]["step"],
        "kept_step": kept["step"],
        "validation_loss_start": validations[0],
        "validation_loss": kept.get("validation_loss", validations[-1]),
    }


def perplexity_by_label(examples: pd.DataFrame, smallest: int) -> pd.DataFrame:
    """Rows (label, model, perplexity, conversations); labels with fewer than `smallest` test conversations become `(other)`.

    Neither it nor `(none)`, for what has no label, is a label that a user gave.
    """
    scored = examples[examples["base_unscored"].isna() & examples["tuned_unscored"].isna()].copy()
    labels = scored["label"].map(shown_label, na_action="ignore")
    small = labels.notna() & (scored["label"].map(scored["label"].value_counts()) < smallest)
    for name, among in (("(other)", small), ("(none)", labels.isna())):
        labels = labels.mask(among, apart_from(name, set(labels.dropna())))
    scored["label"] = labels
    rows = []
    for label, part in scored.groupby("label", sort=True):
        for model in CONTENDERS:
            value = perplexity(part[f"{model}_nll"], part[f"{model}_labels"])
            if math.isfinite(value):
                rows.append({"label": label, "model": model, "perplexity": value, "conversations": len(part)})
    return pd.DataFrame(rows, columns=["label", "model", "perplexity", "conversations"])


def write_table(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"fate": str, "label": str}, keep_default_na=False)


def report_data(params: ReportParams) -> None:
    """What was done to the data: counts, balance, nearness of test to train."""
    sources: dict[str, dict[str, int]] = read_json(cleaned.SOURCES)
    rows: list[cleaned.CleanedRow] = read_jsonl(cleaned.LEDGER)
    assignment: list[AssignedRow] = read_jsonl(ASSIGNMENT)
    tokenized: list[tokenize_ledger.TokenizedRow] = read_jsonl(tokenize_ledger.LEDGER)
    gate: Gate = read_json(GATE)
    shares = accounts.shares_of_strata(assignment)
    counts = accounts.count_collected(sources) | accounts.count_cleaned(rows) | accounts.count_split(assignment)
    measures = accounts.measure_balance(shares) | accounts.measure_nearness(assignment)
    write_json(METRICS / "data.json", {**counts, **gate, **measures, **accounts.count_tokenized(tokenized)})
    write_table(PLOTS / "fates.csv", accounts.fates_of_rows(sources, rows, assignment, tokenized))
    largest = shares.sort_values(["conversations", "stratum"], ascending=[False, True])[: params.strata].reset_index()
    largest["stratum"] = largest["stratum"].map(shown_label)
    long = largest.melt(["stratum", "conversations"], ["whole", *SPLITS], "split", "share")
    write_table(PLOTS / "balance.csv", long)
    (METRICS / "examples.md").write_text(
        render_examples(read_jsonl(tokenize_ledger.RENDERED), params.show_text), encoding="utf-8"
    )


def report_training(history: Sequence[HistoryRow]) -> None:
    write_json(METRICS / "training.json", describe_training(history))
    write_json(ADAPTER, read_pin(ADAPTER_PIN, AdapterPin).model_dump())
    losses = pd.DataFrame(history)
    for split in ("train", "validation"):
        curve = losses[["step", f"{split}_loss"]].dropna().rename(columns={f"{split}_loss": "loss"})
        write_table(PLOTS / f"{split}_loss.csv", curve)
    for name in ("learning_rate", "gradient_norm"):
        write_table(PLOTS / f"{name}.csv", losses[["step", name]].dropna())


def report_scores(params: ReportParams) -> None:
    evaluation: Evaluation = read_json(SCORES)
    report_evaluation(evaluation, params.gates, read_pin(ADAPTER_PIN, AdapterPin))
    examples = pd.read_parquet(EXAMPLES)
    write_table(PLOTS / "perplexity.csv", perplexity_by_label(examples, params.smallest_label))
    write_table(PLOTS / "confusion.csv", confusion_table(evaluation))
    write_table(DETAILS / "strata.csv", strata_table(evaluation["strata"]))
    write_table(DETAILS / "languages.csv", languages_table(evaluation))
    messages_of = {row["id"]: row["messages"] for row in read_conversations(conversations_of("test"))}
    replies = render_replies(pd.read_parquet(REPLIES), messages_of, params.show_text, params.replies)
    (METRICS / "replies.md").write_text(replies, encoding="utf-8")


def report_page(params: ReportParams, history: Sequence[HistoryRow]) -> None:
    """One file for a browser, from what the stage wrote before it and each reply."""
    messages_of = {row["id"]: row["messages"] for row in read_conversations(conversations_of("test"))}
    evaluation: Evaluation = read_json(SCORES)
    noise, adapter = read_seed_noise(), adapter_hash(read_pin(ADAPTER_PIN, AdapterPin).model_dump())
    told = (describe_seed_noise(noise, adapter, evaluation["comparability"], evaluation["claims"], one) for one in LANGUAGES)
    page = render_page(
        Content(
            evaluation=evaluation,
            outcomes=read_json(GATES),
            replies=describe_replies(pd.read_parquet(REPLIES), pd.read_parquet(EXAMPLES), messages_of, params.show_text),
            history=history,
            data=read_json(METRICS / "data.json"),
            fates=read_table(PLOTS / "fates.csv"),
            perplexities=read_table(PLOTS / "perplexity.csv"),
            environment=read_json(ENVIRONMENT),
            seed_noise=Both(*told),
            retained=describe_retained(pd.read_parquet(RETENTION), read_json(cleaned.SOURCES), params.show_text),
        )
    )
    PAGE.write_text(page, encoding="utf-8", newline="\n")


def main() -> None:
    check_installed("stages/lib/personal_data")
    params = read_params("report", ReportParams)
    report_data(params)
    history: list[HistoryRow] = read_jsonl(LOSS_HISTORY)
    report_training(history)
    report_scores(params)
    report_page(params, history)
    print(f"report: {len(list(METRICS.glob('*.json')))} metrics files in {METRICS}/")


if __name__ == "__main__":
    run_stage(main, outs=[PAGE], restore="git checkout -- metrics && dvc checkout report")
