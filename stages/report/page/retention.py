"""Both models' replies to the general prompts, what tuning made least likely first."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from stages.report.names import shown_label, shown_name
from stages.report.page.texts import Both

SHOWN = 100  # prompts, of more that a user's file may have
CHANGE = Both("loss on base's reply: {change} nats a token", "基座模型那条回复的损失变化：每 token {change} nat")
NO_CHANGE = Both("no likelihood of base's reply", "没有基座模型那条回复的似然")
HIDDEN = Both(
    "Texts not shown: a tuned model may repeat what it learned, so every source must be in report.show_text. Missing: {sources}.",
    "文本未显示：微调后的模型可能复述学过的内容，所以所有来源都要写进 report.show_text。还缺：{sources}。",
)
HEAD = Both(
    "Replies to general prompts ({number} of {all}), base's own reply grown least likely first",
    "对通用提示的回复（{all} 条中的 {number} 条），先列基座模型自己的回复变得最不可能的",
)


class RetainedReply(NamedTuple):
    """`prompt`, `base`, `tuned`: texts, None for what is not there."""

    id: str
    language: str
    change: Both
    prompt: str
    base: str | None
    tuned: str | None


class Retained(NamedTuple):
    """`hidden`: why the rows have no texts; None where they have."""

    head: Both
    hidden: Both | None
    rows: list[RetainedReply]


def describe_retained(table: pd.DataFrame, sources: Iterable[str], show_text: Sequence[str]) -> Retained:
    """`table`: data/evaluation/retention.parquet; `sources`: those that the tuned model learned from."""
    rows = [describe_row(row) for row in table[:SHOWN].to_dict("records")]
    missing = sorted(set(sources) - set(show_text))
    hidden = HIDDEN.filled(sources=", ".join(map(shown_name, missing))) if missing else None
    return Retained(HEAD.filled(number=f"{len(rows):,}", all=f"{len(table):,}"), hidden, rows)


def describe_row(row: Mapping[Hashable, Any]) -> RetainedReply:
    change = row["change"]
    known = isinstance(change, float) and math.isfinite(change)
    texts = [text if isinstance(text, str) else None for text in (row["base_reply"], row["tuned_reply"])]
    told = CHANGE.filled(change=f"{change:+.2f}") if known else NO_CHANGE
    return RetainedReply(shown_name(str(row["id"])), shown_label(str(row["language"])), told, str(row["prompt"]), *texts)
