"""Each reply of both tuned models beside the base model's, as data for the page; texts only where both revisions allow."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from stages.lib.records.conversation import Message, conversations_of, read_conversations
from stages.lib.records.scores import REPLIES
from stages.report.page.replies import BEHAVIOURS, Json, PageReplies, describe_replies, fault_bits
from tools.compare.pairs import missing_of
from tools.compare.run import Run

TEST = conversations_of("test")
OF_MODEL = ("reply", "chrf", *BEHAVIOURS)
COLUMNS = ("id", "turn", "label", "language", *(f"{model}_{name}" for model in ("base", "tuned") for name in OF_MODEL))


def find_replies(a: Run, b: Run, per_token: bool) -> PageReplies | str:
    """Those that both runs wanted, A in base's place, B in tuned's; or why there are none.

    Each row has two more entries: the base model's reply, of each run where they differ, as (name, text, chrF, faults), and
    whether the two tuned models' texts are the same. `per_token`: whether likelihoods are of the same tokens.
    """
    if a.why_none is not None:
        return a.why_none
    tables = [run.table(REPLIES, COLUMNS) for run in (a, b)]
    path = b.find(TEST)
    if tables[0] is None or tables[1] is None:
        return missing_of(a, b, REPLIES)
    if path is None:
        return f"{TEST} of B is out of reach"
    joined = tables[0].merge(tables[1], on=["id", "turn"], suffixes=("_a", "_b"), validate="one_to_one")
    joined = joined.sort_values(["id", "turn"], ignore_index=True)
    messages_of: dict[str, list[Message]] = {row["id"]: row["messages"] for row in read_conversations(path)}
    joined = joined[joined["id"].isin(list(messages_of))]
    if joined.empty:
        return "the two have no test message in common"
    shown = sorted({*a.show_text()} & {*b.show_text()})
    found = describe_replies(as_two_models(joined), likelihoods_of(joined, a, b, per_token), messages_of, shown)
    for row, more in zip(found.replies, joined.to_dict("records"), strict=True):
        is_shown = found.conversations[int(str(row[0]))][-1] is not None
        row += [base_replies(more) if is_shown else [], same(more["tuned_reply_a"], more["tuned_reply_b"])]
    return found


def as_two_models(joined: pd.DataFrame) -> pd.DataFrame:
    columns = {name: joined[name] for name in ("id", "turn")}
    for model, run in (("base", "a"), ("tuned", "b")):
        columns |= {f"{model}_{name}": joined[f"tuned_{name}_{run}"] for name in OF_MODEL}
    return pd.DataFrame(columns).assign(hash=None, votes=0)


def likelihoods_of(joined: pd.DataFrame, a: Run, b: Run, per_token: bool) -> pd.DataFrame:
    """A row a conversation, with NaN where there is none that could be held against the other's."""
    table = joined.drop_duplicates("id")[["id", "label_b", "language_b"]]
    table = table.rename(columns={"label_b": "label", "language_b": "language"})
    for model, run in (("base", a), ("tuned", b)):
        known = None if run.examples is None or not per_token else run.examples.set_index("id")
        for name in ("nll", "labels"):
            table[f"{model}_{name}"] = float("nan") if known is None else table["id"].map(known[f"tuned_{name}"])
    return table


def base_replies(row: Mapping[Hashable, Any]) -> list[Json]:
    ours, theirs = ([row[f"base_{name}_{run}"] for name in OF_MODEL] for run in "ab")
    if same(ours[0], theirs[0]):
        return [describe("beside", theirs)]
    return [describe("beside_a", ours), describe("beside_b", theirs)]


def describe(name: str, values: Sequence[Any]) -> Json:
    text, chrf, *flags = values
    score = float(chrf) if isinstance(chrf, int | float) and math.isfinite(chrf) else None
    return [name, text if isinstance(text, str) else None, None if score is None else round(score, 1), fault_bits(flags)]


def same(one: object, other: object) -> bool:
    """Two texts, or none of both."""
    return one == other if isinstance(one, str) or isinstance(other, str) else True
