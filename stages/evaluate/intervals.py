"""How sure a figure is: intervals over groups of conversations, exact tests, and what a test set of this size can show.

Conversations of one group answer for each other, so groups are what is left out and counted, never turns or rows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, betainc, betaincinv, ndtri, stdtr, stdtrit

from stages.lib.records.scores import Reason, Why

FEWEST_GROUPS = 20  # below that no claim is made
DETECTABLE = 2.8  # standard errors: 1.96 for a test at 5%, and 0.84 to find the effect four times in five


class Estimate(NamedTuple):
    """`value` with its standard error, interval and two-sided p against 0; `reason`, why some of these are None."""

    value: float | None
    error: float | None
    low: float | None
    high: float | None
    p: float | None
    groups: int
    reason: Reason | None


def group_sums(rows: np.ndarray, groups: Sequence[str] | np.ndarray) -> np.ndarray:
    """(N, K) summed within each group: (G, K)."""
    _, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.zeros((group_of.max(initial=-1) + 1, rows.shape[1]))
    np.add.at(sums, group_of, rows)
    return sums


def effective_groups(weights: np.ndarray) -> float:
    """Of groups of unequal weight, how many equal ones would say as much (Kish 1965): (G,) -> at most G."""
    return float(weights.sum() ** 2 / np.square(weights).sum()) if np.square(weights).sum() > 0 else 0.0


def jackknife_t(
    rows: np.ndarray, groups: Sequence[str] | np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], confidence: float
) -> Estimate:
    """A statistic of column sums (..., K) -> (...), each group left out in turn (Tukey 1958; Bell and McCaffrey 2002, CR3).

    The last column is what weighs a group. Student's t has the degrees of freedom of the effective number of groups: with the
    plain number, a few long conversations make intervals too narrow.
    """
    sums = group_sums(rows, groups)
    number = len(sums)
    with np.errstate(all="ignore"):
        total = sums.sum(axis=0)
        value = float(statistic(total))
        others = statistic(total - sums)
    if not np.isfinite(value):
        return Estimate(None, None, None, None, None, number, Why.FIGURE_NOT_COMPUTED.said())
    if number < 2:
        return Estimate(value, None, None, None, None, number, Why.ONE_GROUP.said())
    if not np.isfinite(others).all():
        return Estimate(value, None, None, None, None, number, Why.NOTHING_LEFT.said())
    error = float(np.sqrt((number - 1) / number * np.square(others - others.mean()).sum()))
    if error <= 1e-12 * max(1, abs(value)):
        return Estimate(value, None, None, None, None, number, Why.NO_SPREAD.said())
    freedom = max(1.0, effective_groups(sums[:, -1]) - 1)
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    p = float(2 * stdtr(freedom, -abs(value) / error))
    return Estimate(value, error, value - reach, value + reach, p, number, None)


def ratio_of_sums(sums: np.ndarray) -> np.ndarray:
    """Of the columns (numerator, weight): a mean of rows weighed by what the last column holds."""
    return sums[..., 0] / sums[..., 1]


def log_ratio_of_sums(sums: np.ndarray) -> np.ndarray:
    return np.log(sums[..., 0] / sums[..., 1])


def mean_difference(
    differences: np.ndarray, weights: np.ndarray, groups: Sequence[str] | np.ndarray, confidence: float
) -> Estimate:
    """Sum of differences over sum of weights, over groups: the log of a perplexity ratio, or a difference of shares."""
    return jackknife_t(np.column_stack([differences, weights]), groups, ratio_of_sums, confidence)


def within(estimate: Estimate, bound: float) -> Estimate:
    """Of a figure that lies between -bound and bound, the interval too: by Fisher's z, as for Somers' D (Newson 2002), of which
    the difference of two shares and twice an AUC less a half are cases. Far from the bounds it is the interval as it was.
    """
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    most = 1 - 1 / max(estimate.groups, 2)  # at the bound itself z is infinite
    inner = min(max(estimate.value / bound, -most), most)
    middle = float(np.arctanh(inner))
    below, above = ((end - estimate.value) / bound / (1 - inner**2) for end in (estimate.low, estimate.high))
    low, high = (bound * float(np.tanh(middle + reach)) for reach in (below, above))
    return estimate._replace(low=min(low, estimate.value), high=max(high, estimate.value))


def wilson(successes: float, number: float, confidence: float) -> tuple[float, float]:
    """Interval of a share (Wilson 1927); `number` may be an effective one."""
    z = float(ndtri((1 + confidence) / 2))
    share, spread = successes / number, z * z / number
    middle = share + spread / 2
    reach = z * np.sqrt(share * (1 - share) / number + spread / (4 * number))
    return float(max(0.0, (middle - reach) / (1 + spread))), float(min(1.0, (middle + reach) / (1 + spread)))


def clopper_pearson(successes: float, number: float, confidence: float) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934), never too narrow; both may be effective numbers.

    >>> [round(end, 4) for end in clopper_pearson(8, 10, 0.95)], clopper_pearson(0, 4, 0.5)[0]
    ([0.4439, 0.9748], 0.0)
    """
    tail, failures = (1 - confidence) / 2, number - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures > 0 else 1.0
    return low, high


def half_test(successes: float, number: float) -> float:
    """Exact two-sided p that the share is a half: below 1 - confidence where Clopper and Pearson's interval leaves it out.

    >>> round(half_test(8, 10), 4), half_test(5, 10), half_test(0, 2)
    (0.1094, 1.0, 0.5)
    """
    failures = number - successes
    above = float(betainc(successes, failures + 1, 0.5)) if successes > 0 else 1.0
    below = float(betainc(failures, successes + 1, 0.5)) if failures > 0 else 1.0
    return min(1.0, 2 * min(above, below))


def share_interval(hits: np.ndarray, groups: Sequence[str] | np.ndarray, confidence: float) -> tuple[float, float]:
    """Wilson's interval of the share of true rows, as if all rows of a group agreed: too wide rather than too narrow."""
    sizes = group_sums(np.ones((len(hits), 1)), groups)[:, 0]
    number = effective_groups(sizes)
    return wilson(float(hits.mean()) * number, number, confidence)


def sign_test(differences: np.ndarray, groups: Sequence[str] | np.ndarray) -> float:
    """Exact two-sided p that as many groups gain as lose. With groups of one row, McNemar's exact test of two models."""
    sums = group_sums(differences.reshape(-1, 1), groups)[:, 0]
    gained, lost = int((sums > 0).sum()), int((sums < 0).sum())
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5))) if gained + lost else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted so that all tests together err in at most the stated share (Holm 1979); None stays, and counts not.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, position) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[position] = highest
    return adjusted


def more_needed(estimate: Estimate, conversations: int) -> int | None:
    """How many more conversations, prompts or votes would show such an effect four times in five; None where none would."""
    if estimate.value is None or estimate.error is None or estimate.value == 0:
        return None
    factor = (DETECTABLE * estimate.error / abs(estimate.value)) ** 2
    needed = conversations * max(factor, FEWEST_GROUPS / estimate.groups)
    return max(0, int(np.ceil(needed)) - conversations) if needed < 1e9 else None


def auc(
    positive: np.ndarray, negative: np.ndarray, positive_groups: np.ndarray, negative_groups: np.ndarray, confidence: float
) -> Estimate:
    """The chance that a positive value exceeds a negative one, less a half; ties count half. Over groups (Obuchowski 1997).

    As (N,) and (M,) values that share no group: -0.5 to 0.5, 0 where the two cannot be told apart.
    """
    number = min(len(np.unique(positive_groups)), len(np.unique(negative_groups)))
    if number < 2 or not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        why = Why.NO_NUMBER if number >= 2 else Why.TOO_FEW_GROUPS
        return Estimate(None, None, None, None, None, number, why.said())
    placements = _shares_below(positive, negative), 1 - _shares_below(negative, positive)
    value = float(placements[0].mean())
    variance = 0.0
    for places, groups in zip(placements, (positive_groups, negative_groups), strict=True):
        sums = group_sums((places - value).reshape(-1, 1), groups)[:, 0]
        variance += len(sums) / (len(sums) - 1) * float(np.square(sums).sum()) / len(places) ** 2
    error = max(float(np.sqrt(variance)), 0.5 / number)  # where all stand on one side, no spread is seen
    reach = float(stdtrit(number - 1, (1 + confidence) / 2)) * error
    p = float(2 * stdtr(number - 1, -abs(value - 0.5) / error))
    return within(Estimate(value - 0.5, error, value - 0.5 - reach, value - 0.5 + reach, p, number, None), 0.5)


def _shares_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each value, the share of `others` below it, ties counted half: (N,)."""
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (below + not_above) / (2 * len(others))
