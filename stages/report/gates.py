"""Bounds that a run must keep to be shipped, each on the bad end of its interval."""

import operator
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

from pydantic import Field, model_validator

from stages.lib.core.files import read_json
from stages.lib.core.params import Section
from stages.report.files import METRICS, REASONS
from stages.report.reasons import MISSING, NULL

Bound = Literal["below", "at_most", "above", "at_least"]
HOLDS: dict[Bound, Callable[[float, float], bool]] = {
    "below": operator.lt, "at_most": operator.le, "above": operator.gt, "at_least": operator.ge,
}  # fmt: skip
WORDS: dict[Bound, str] = {"below": "below", "at_most": "at most", "above": "above", "at_least": "at least"}


class Gate(Section):
    """`metric`: a file of metrics/ and a key in it, such as tuned.runaway or contenders.last_year.comparison.chrf_difference.

    With one of the bounds.
    """

    metric: str = Field(pattern=r"^\w+(\.[\w-]+)+$")
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def has_one_bound(self) -> "Gate":
        if len(self.bounds()) != 1:
            raise ValueError(f"{self.metric} needs one of {', '.join(HOLDS)}; found {len(self.bounds())}")
        return self

    def bounds(self) -> list[tuple[Bound, float]]:
        return [(name, value) for name in HOLDS if (value := getattr(self, name)) is not None]


class Outcome(TypedDict):
    """`key`: the end of the interval that is held against the bound, or the metric itself where it has none."""

    metric: str
    key: str
    value: float | None
    bound: str
    passed: bool
    reason: str | None


def check_gate(gate: Gate, values: dict[str, object] | None, reasons: dict[str, str]) -> Outcome:
    """A metric that is not there, or null, fails: what was not measured was not kept."""
    [(bound, limit)] = gate.bounds()
    file, *parents, name = gate.metric.split(".")
    for parent in parents:
        inner = (values or {}).get(parent)
        values = inner if isinstance(inner, dict) else None
    bad_end = f"{name}_{'high' if bound in ('below', 'at_most') else 'low'}"
    key = bad_end if values and bad_end in values else name
    whole_key = ".".join([file, *parents, key])
    found = (values or {}).get(key)
    value = float(found) if isinstance(found, int | float) else None
    reason = None
    if value is None:
        missing = MISSING.format(file=METRICS / f"{file}.json", key=".".join([*parents, name]))
        reason = reasons.get(whole_key, missing if values is None or key not in values else NULL)
    return {
        "metric": gate.metric,
        "key": whole_key,
        "value": value,
        "bound": f"{WORDS[bound]} {limit:g}",
        "passed": value is not None and HOLDS[bound](value, limit),
        "reason": reason,
    }


def check_gates(gates: Sequence[Gate]) -> list[Outcome]:
    """Against metrics/ as it is."""
    reasons = read_json(REASONS) if REASONS.exists() else {}
    outcomes = []
    for gate in gates:
        path = METRICS / f"{gate.metric.partition('.')[0]}.json"
        values = read_json(path) if path.exists() else None
        outcomes.append(check_gate(gate, values if isinstance(values, dict) else None, reasons))
    return outcomes


def describe(outcome: Outcome) -> str:
    """
    >>> describe({"metric": "tuned.runaway", "key": "tuned.runaway_high", "value": 0.2, "bound": "at most 0.1", "passed": False,
    ...           "reason": None})
    'fails: tuned.runaway_high is 0.2; expected at most 0.1'
    """
    verdict = "passes" if outcome["passed"] else "fails"
    if outcome["value"] is None:
        return f"{verdict}: {outcome['metric']} could not be computed: {outcome['reason']}"
    return f"{verdict}: {outcome['key']} is {outcome['value']:.4g}; expected {outcome['bound']}"
