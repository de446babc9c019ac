"""Replies that are not what they were: those that gained most and those that lost most, side by side."""

from typing import TypedDict

import numpy as np
import pandas as pd

from stages.report.excerpts import may_show
from stages.report.names import shown_name
from tools.compare.pairs import classify, join_replies
from tools.compare.run import Run


class Texts(TypedDict):
    prompt: str
    reference: str
    a: str
    b: str


class Flip(TypedDict):
    """A reply, of message `turn` of a conversation. `chrf`: 0 to 100; `nll`: of the conversation's references, nats a token.

    `texts`: None where `report.show_text` of one of the two revisions keeps them back.
    """

    id: str
    turn: int
    chrf_a: float
    chrf_b: float
    nll_a: float | None
    nll_b: float | None
    broken_a: bool
    broken_b: bool
    texts: Texts | None


class Flips(TypedDict):
    """`compared`: replies of both runs; `changed`: those with another text; `mended`, `broke`: those no longer broken, and newly
    so; in classification `righted`, `wronged`. `best`, `worst`: by chrF, in classification those that turned right and wrong.
    """

    compared: int
    changed: int
    mended: int
    broke: int
    righted: int | None
    wronged: int | None
    best: list[Flip]
    worst: list[Flip]


def find_flips(a: Run, b: Run, number: int) -> Flips | None:
    """None where the replies of one are out of reach."""
    joined = join_replies(a, b)
    if joined is None:
        return None
    scored = joined[joined["tuned_chrf_a"].notna() & joined["tuned_chrf_b"].notna()].reset_index(drop=True)
    changed = (scored["tuned_reply_a"] != scored["tuned_reply_b"]).to_numpy(bool)
    broken = [scored[f"tuned_broken_{run}"].to_numpy(bool) for run in "ab"]
    gain = scored["tuned_chrf_b"].to_numpy(float) - scored["tuned_chrf_a"].to_numpy(float)
    right: list[np.ndarray] | None = None
    if a.is_classification and b.is_classification:
        right, _ = classify(scored, sorted({*scored["reference_a"], *a.labels(), *b.labels()}))
        gain = right[1] - right[0]
    order = np.lexsort((np.arange(len(gain)), -gain))
    best, worst = [at for at in order if changed[at] and gain[at] > 0], [at for at in order[::-1] if changed[at] and gain[at] < 0]
    nll = [nll_of(run) for run in (a, b)]
    shown = a.show_text(), b.show_text()
    return {
        "compared": len(scored),
        "changed": int(changed.sum()),
        "mended": int((broken[0] & ~broken[1]).sum()),
        "broke": int((~broken[0] & broken[1]).sum()),
        "righted": None if right is None else int((right[1] > right[0]).sum()),
        "wronged": None if right is None else int((right[1] < right[0]).sum()),
        "best": [describe(scored.iloc[at], nll, shown) for at in best[:number]],
        "worst": [describe(scored.iloc[at], nll, shown) for at in worst[:number]],
    }


def nll_of(run: Run) -> dict[str, float]:
    """Of each conversation, a token."""
    if run.examples is None:
        return {}
    with np.errstate(all="ignore"):
        means = run.examples["tuned_nll"].to_numpy(float) / run.examples["tuned_labels"].to_numpy(float)
    return {id: float(value) for id, value in zip(run.examples["id"], means, strict=True) if np.isfinite(value)}


def describe(row: pd.Series, nll: list[dict[str, float]], shown: tuple[list[str], list[str]]) -> Flip:
    allowed = all(may_show(row["id"], sources) for sources in shown)
    texts: Texts = {
        "prompt": row["prompt_b"], "reference": row["reference_b"], "a": row["tuned_reply_a"], "b": row["tuned_reply_b"],
    }  # fmt: skip
    return {
        "id": shown_name(row["id"]),
        "turn": int(row["turn"]),
        "chrf_a": float(row["tuned_chrf_a"]),
        "chrf_b": float(row["tuned_chrf_b"]),
        "nll_a": nll[0].get(row["id"]),
        "nll_b": nll[1].get(row["id"]),
        "broken_a": bool(row["tuned_broken_a"]),
        "broken_b": bool(row["tuned_broken_b"]),
        "texts": texts if allowed else None,
    }
