"""Where tuning helped and where it did not: the comparison within each label, language, number of turns, length and source."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from stages.evaluate.claims import Paired, compare_likelihoods, compare_shares, shown, verdict_of
from stages.evaluate.intervals import FEWEST_GROUPS, Estimate, holm
from stages.lib.records.scores import Influence, Measure, Stratum, perplexity

FEWEST_ROWS = 20  # of a stratum; the others of its kind are pooled
MOST_INFLUENTIAL = 3
LENGTHS = (0, 64, 256, 1024, 4096)  # characters of a conversation, from which each class begins


def turn_class(turns: int) -> str:
    return "1" if turns <= 1 else "2-3" if turns < 4 else "4+"


def length_class(characters: int) -> str:
    """
    >>> length_class(10), length_class(64), length_class(9999)
    ('0-63', '64-255', '4096+')
    """
    at = max(position for position, least in enumerate(LENGTHS) if characters >= least)
    return f"{LENGTHS[at]}-{LENGTHS[at + 1] - 1}" if at + 1 < len(LENGTHS) else f"{LENGTHS[at]}+"


KINDS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "label": lambda table: table["label"],
    "language": lambda table: table["language"],
    "turns": lambda table: table["turns"].map(turn_class),
    "length": lambda table: table["characters"].map(length_class),
    "source": lambda table: table["source"],
}


def parts_of(table: pd.DataFrame) -> Iterator[tuple[str, str | None, bool, np.ndarray]]:
    """(kind, value, whether pooled, positions of its rows) of every stratum; nothing of a kind that has one value only.

    The rows without a value are a stratum with the value None; so are, pooled, those whose value has too few rows.
    """
    for kind, values_of in KINDS.items():
        values = values_of(table).astype(object)
        values = values.where(values.notna(), None)
        if values.nunique(dropna=False) < 2:
            continue
        small = np.zeros(len(table), bool)
        for value in sorted(values.dropna().unique()):
            found = (values == value).to_numpy()
            if found.sum() >= FEWEST_ROWS:
                yield kind, str(value), False, np.flatnonzero(found)
            else:
                small |= found
        without = values.isna().to_numpy()
        if without.sum() >= FEWEST_ROWS:
            yield kind, None, False, np.flatnonzero(without)
        else:
            small |= without
        if small.any():
            yield kind, None, True, np.flatnonzero(small)


def compare_strata(table: pd.DataFrame, pairs: Paired, measure: Measure, confidence: float) -> list[Stratum]:
    """Of the rows of `table`, which are those of `pairs`; with Holm over all strata, apart from the claims."""
    parts = list(parts_of(table))
    estimates: list[Estimate] = []
    for _, _, _, rows in parts:
        part = Paired(*(column[rows] for column in pairs))
        compare = compare_shares if measure == "accuracy_difference" else compare_likelihoods
        estimates.append(compare(part, confidence))
    p_values = holm([one.p if one.groups >= FEWEST_GROUPS else None for one in estimates])
    strata: list[Stratum] = []
    for (kind, value, pooled, rows), estimate, p in zip(parts, estimates, p_values, strict=True):
        base, tuned = (value_of(column[rows], pairs.weights[rows], measure) for column in (pairs.base, pairs.tuned))
        strata.append(
            {
                "stratum": kind, "value": value, "pooled": pooled, "measure": measure, "conversations": len(rows),
                "groups": estimate.groups, "base": base, "tuned": tuned, "estimate": shown(estimate.value, measure),
                "low": shown(estimate.low, measure), "high": shown(estimate.high, measure), "p_holm": p,
                "verdict": verdict_of(estimate, p, confidence)[0],
            }
        )  # fmt: skip
    return strata


def value_of(column: np.ndarray, weights: np.ndarray, measure: Measure) -> float | None:
    value = float(column.mean()) if measure == "accuracy_difference" else perplexity(column, weights)
    return value if np.isfinite(value) else None


def find_influence(ids: list[str], pairs: Paired) -> Influence:
    """The perplexity ratio without the conversations that move it most, each by itself."""
    differences, weights = pairs.tuned - pairs.base, pairs.weights
    with np.errstate(all="ignore"):
        whole = differences.sum() / weights.sum()
        moves = np.abs((differences.sum() - differences) / (weights.sum() - weights) - whole)
        order = np.lexsort((np.arange(len(moves)), -np.nan_to_num(moves, nan=np.inf)))
        weighty, rest = order[:MOST_INFLUENTIAL], order[MOST_INFLUENTIAL:]
        ratio = float(np.exp(differences[rest].sum() / weights[rest].sum())) if len(rest) else float("nan")
    return {"without": [ids[at] for at in weighty], "perplexity_ratio": ratio if np.isfinite(ratio) else None}
