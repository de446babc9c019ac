"""What a test shows about tuning: claims with an interval, a p that counts the other claims, and what could have been shown."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.evaluate.figures import exponential_of
from stages.evaluate.intervals import (
    DETECTABLE,
    FEWEST_GROUPS,
    Estimate,
    holm,
    jackknife_t,
    log_ratio_of_sums,
    mean_difference,
    more_needed,
    sign_test,
    within,
)
from stages.lib.records.scores import Claim, ClaimName, Measure, Reason, Verdict, Why

AS_RATIO: tuple[Measure, ...] = ("perplexity_ratio", "length_ratio", "retention_ratio")  # estimated as logarithms
BOUNDS: dict[Measure, float] = {  # between minus this and this lies whatever is found
    "accuracy_difference": 1, "majority_difference": 1, "broken_difference": 1, "chrf_difference": 100, "memorised_auc": 0.5,
    "win_rate": 0.5,
}  # fmt: skip


class Question(NamedTuple):
    """A claim before the other claims are known; `estimate` None where `reason` says why nothing was measured."""

    name: ClaimName
    measure: Measure
    estimate: Estimate | None
    conversations: int
    base: float | None = None
    tuned: float | None = None
    reason: str | None = None


class Paired(NamedTuple):
    """A value of both models for each row, and the row's group: (N,) each. `weights`: what a ratio divides by, or ones."""

    base: np.ndarray
    tuned: np.ndarray
    weights: np.ndarray
    groups: np.ndarray


def compare_likelihoods(pairs: Paired, confidence: float) -> Estimate:
    """The log of tuned over base perplexity: below 0 tuned is better."""
    return mean_difference(pairs.tuned - pairs.base, pairs.weights, pairs.groups, confidence)


def compare_shares(pairs: Paired, confidence: float) -> Estimate:
    """Difference of two shares, tuned less base; the p is exact, since few rows may differ."""
    differences = pairs.tuned.astype(float) - pairs.base.astype(float)
    found = mean_difference(differences, pairs.weights, pairs.groups, confidence)._replace(p=sign_test(differences, pairs.groups))
    return within(found, BOUNDS["accuracy_difference"])


def compare_scores(pairs: Paired, confidence: float, bound: float = BOUNDS["chrf_difference"]) -> Estimate:
    """Difference of two mean scores that lie between 0 and `bound`, tuned less base; by default of chrF."""
    return within(mean_difference(pairs.tuned - pairs.base, pairs.weights, pairs.groups, confidence), bound)


def compare_lengths(pairs: Paired, confidence: float) -> Estimate:
    """The log of tuned over base characters."""
    return jackknife_t(np.column_stack([pairs.tuned, pairs.base]), pairs.groups, log_ratio_of_sums, confidence)


def verdict_of(
    estimate: Estimate, p: float | None, confidence: float, few: Why = Why.FEW_GROUPS
) -> tuple[Verdict, Reason | None]:
    """The verdict, and why there is none."""
    if estimate.groups < FEWEST_GROUPS:
        return "too_few", few.said(groups=estimate.groups, fewest=FEWEST_GROUPS)
    if estimate.value is None:
        return "not_measured", estimate.reason
    if p is None or p > 1 - confidence:
        return "unclear", estimate.reason
    return ("less" if estimate.value < 0 else "more"), None


def shown(value: float | None, measure: Measure) -> float | None:
    """On the scale that people read: a factor for what was estimated as a logarithm."""
    if value is None or measure not in AS_RATIO:
        return value
    factor = exponential_of(value)
    return factor if np.isfinite(factor) else None


def moved(value: float | None, measure: Measure) -> float | None:
    """`shown`, from where people count: a share of votes is estimated as its distance from a half."""
    factor = shown(value, measure)
    return factor + 0.5 if factor is not None and measure == "win_rate" else factor


def claim(question: Question, p_holm: float | None, confidence: float) -> Claim:
    estimate, measure = question.estimate or Estimate(None, None, None, None, None, 0, None), question.measure
    verdict: Verdict = "not_measured"
    reason = question.reason
    if question.estimate:
        few = Why.FEW_PROMPTS if measure == "retention_ratio" else Why.FEW_GROUPS
        verdict, reason = verdict_of(estimate, p_holm, confidence, few)
    undecided = verdict in ("unclear", "too_few")
    bound = BOUNDS.get(measure, math.inf)
    return {
        "name": question.name,
        "measure": measure,
        "verdict": verdict,
        "base": question.base,
        "tuned": question.tuned,
        "estimate": moved(estimate.value, measure),
        "low": moved(estimate.low, measure),
        "high": moved(estimate.high, measure),
        "p": estimate.p,
        "p_holm": p_holm,
        "conversations": question.conversations,
        "groups": estimate.groups,
        "detectable": shown(None if estimate.error is None else min(bound, DETECTABLE * estimate.error), measure),
        "more_conversations": more_needed(estimate, question.conversations) if undecided else None,
        "reason": reason,
    }


def make_claims(questions: Sequence[Question], confidence: float) -> list[Claim]:
    """All of them together err in at most 1 - confidence (Holm); what is too small to judge is not among them."""
    tested = [one.estimate.p if one.estimate and one.estimate.groups >= FEWEST_GROUPS else None for one in questions]
    return [claim(one, p, confidence) for one, p in zip(questions, holm(tested), strict=True)]
