"""The replies to the test conversations, as data for the page's script: texts only of the sources that may be shown."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd

from stages.lib.records.conversation import Message, reply_text
from stages.lib.records.predictions import CONTENDERS
from stages.report.excerpts import may_show
from stages.report.names import shown_label, shown_name

BEHAVIOURS = ("looping", "runaway", "empty", "wrong_language", "prompt_copy")  # the bits of a reply's faults, in this order
WORST = 3
Json = list[object]


class PageReplies(NamedTuple):
    """`conversations`: (id, label, language, source, change, messages), the last None where no text is shown.

    `change`: of the references' likelihood in nats a token, above 0 less likely when tuned; None where one model has none.
    `replies`: (position of the conversation, turn, base's text, tuned's, base's chrF, tuned's, base's faults, tuned's, the hash
    of both texts, how many votes they have); None for what is not there or not shown. `worst`: positions of the replies that got
    worse most.
    """

    conversations: list[Json]
    replies: list[Json]
    worst: list[int]


def describe_replies(
    replies: pd.DataFrame, examples: pd.DataFrame, messages_of: Mapping[str, Sequence[Message]], show_text: Sequence[str]
) -> PageReplies:
    label_of, name_of = cache(shown_label), cache(shown_name)
    last_turn = replies.groupby("id")["turn"].max().to_dict()
    conversations: list[Json] = []
    position_of: dict[str, int] = {}
    for row in examples.to_dict("records"):
        id = str(row["id"])
        if id not in last_turn:
            continue
        label = None if pd.isna(row["label"]) else label_of(row["label"])
        messages = None
        if may_show(id, show_text):
            messages = [[message["role"], reply_text(message)] for message in messages_of[id][: last_turn[id] + 1]]
        position_of[id] = len(conversations)
        source = label_of(id.partition("/")[0])
        change = _change(row["base_nll"], row["base_labels"], row["tuned_nll"], row["tuned_labels"])
        conversations.append([_one_line(name_of(id)), label, label_of(row["language"]), source, change, messages])
    rows: list[Json] = []
    for row in replies.to_dict("records"):
        id, shown = str(row["id"]), may_show(str(row["id"]), show_text)
        texts = [_text(row[f"{model}_reply"], shown) for model in CONTENDERS]
        scores = [_rounded(row[f"{model}_chrf"]) for model in CONTENDERS]
        faults = [fault_bits([row[f"{model}_{name}"] for name in BEHAVIOURS]) for model in CONTENDERS]
        rows.append([position_of[id], int(row["turn"]), *texts, *scores, *faults, row["hash"] if shown else None, row["votes"]])
    return PageReplies(conversations, rows, find_worst(rows))


def find_worst(rows: Sequence[Json]) -> list[int]:
    """Positions of the replies with a fault that base's had not, then of those that lost most chrF."""
    found = []
    for position, (_, _, _, _, base_chrf, tuned_chrf, base_faults, tuned_faults, *_) in enumerate(rows):
        if not isinstance(base_chrf, float) or not isinstance(tuned_chrf, float):
            continue
        is_new = bool(tuned_faults) and not base_faults
        if is_new or tuned_chrf < base_chrf:
            found.append((not is_new, tuned_chrf - base_chrf, position))
    return [position for _, _, position in sorted(found)[:WORST]]


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _change(base_nll: float, base_labels: float, tuned_nll: float, tuned_labels: float) -> float | None:
    change = tuned_nll / tuned_labels - base_nll / base_labels if base_labels > 0 and tuned_labels > 0 else math.nan
    return round(change, 3) if math.isfinite(change) else None


def _text(value: object, shown: bool) -> str | None:
    return value if shown and isinstance(value, str) else None


def _rounded(value: float) -> float | None:
    return round(float(value), 1) if math.isfinite(value) else None


def fault_bits(flags: Sequence[bool | float | None]) -> int | None:
    """A bit for each of BEHAVIOURS; None where the reply has no scores."""
    return None if pd.isna(flags[0]) else sum(1 << bit for bit, flag in enumerate(flags) if flag)
