"""What both runs know of other models' replies and of people's votes: of each figure both values, with their intervals."""

import math
from collections.abc import Mapping
from typing import TypedDict

from stages.report.files import METRICS
from stages.report.names import shown_name
from tools.compare.fingerprints import Comparability
from tools.compare.run import Run

MEASURES = ("accuracy_difference", "chrf_difference", "broken_difference", "length_ratio")
OF_REPLIES = ("replies", "missing", "foreign", "not_asked", "scores")  # which tell one file of replies from another


class Interval(TypedDict):
    value: float
    low: float | None
    high: float | None


class Beside(TypedDict):
    """A tuned model less, or over, another model. `measure`: as in metrics/contenders.json. `same`: whether A and B were held
    against the same replies of it.
    """

    name: str
    measure: str
    same: bool
    a: Interval
    b: Interval


class Votes(TypedDict):
    """The share of votes that each tuned model won against its base. `change`: b less a, with an interval as if nobody's vote
    counted in both: where one does, it is too wide.
    """

    votes_a: int
    votes_b: int
    a: Interval
    b: Interval
    change: Interval


class Others(TypedDict):
    """`models`: of those that both runs have; `only_a`, `only_b`: names of the rest. `votes`: None where one run has none."""

    models: list[Beside]
    only_a: list[str]
    only_b: list[str]
    votes: Votes | None


def compare_others(a: Run, b: Run, comparability: Comparability) -> Others:
    """None of it where the test sets differ, and no vote where the base models do."""
    ours, theirs = (read_models(run) for run in (a, b))
    differ = {one["name"] for one in comparability["differences"]}
    comparable = a.why_none is None and "test" not in differ
    models = [one for name in ours if name in theirs for one in beside(name, ours[name], theirs[name])] if comparable else []
    return {
        "models": models,
        "only_a": [shown_name(name) for name in ours if name not in theirs],
        "only_b": [shown_name(name) for name in theirs if name not in ours],
        "votes": compare_votes(a, b) if comparable and not differ & {"base_model", "tokenizer", "chat_template"} else None,
    }


def read_models(run: Run) -> dict[str, Mapping[str, object]]:
    found = run.revision.read_json(METRICS / "contenders.json")
    return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}


def beside(name: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[Beside]:
    same = all(ours.get(key) == theirs.get(key) for key in OF_REPLIES)
    rows: list[Beside] = []
    for measure in MEASURES:
        a, b = (interval_of(one.get("comparison"), measure) for one in (ours, theirs))
        if a is not None and b is not None:
            rows.append({"name": shown_name(name), "measure": measure, "same": same, "a": a, "b": b})
    return rows


def interval_of(figures: object, name: str) -> Interval | None:
    """None where the figure is none."""
    if not isinstance(figures, Mapping):
        return None
    value, low, high = (number_of(figures.get(f"{name}{end}")) for end in ("", "_low", "_high"))
    return None if value is None else {"value": value, "low": low, "high": high}


def number_of(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def compare_votes(a: Run, b: Run) -> Votes | None:
    figures = [run.metrics.get("comparison", {}) for run in (a, b)]
    votes = [number_of(one.get("votes")) for one in figures]
    rates = [interval_of(one, "win_rate") for one in figures]
    if not all(votes) or rates[0] is None or rates[1] is None:
        return None
    numbers = [int(number or 0) for number in votes]
    return {"votes_a": numbers[0], "votes_b": numbers[1], "a": rates[0], "b": rates[1], "change": difference(rates[0], rates[1])}


def difference(a: Interval, b: Interval) -> Interval:
    """B less A, of two independent estimates with intervals of their own (Zou and Donner 2008, MOVER).

    >>> found = difference({"value": 0.5, "low": 0.4, "high": 0.6}, {"value": 0.7, "low": 0.6, "high": 0.8})
    >>> [round(found[key], 3) for key in ("value", "low", "high")]
    [0.2, 0.059, 0.341]
    """
    value = b["value"] - a["value"]
    if a["low"] is None or a["high"] is None or b["low"] is None or b["high"] is None:
        return {"value": value, "low": None, "high": None}
    low = value - math.hypot(b["value"] - b["low"], a["high"] - a["value"])
    return {"value": value, "low": low, "high": value + math.hypot(b["high"] - b["value"], a["value"] - a["low"])}
