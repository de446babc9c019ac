"""Intervals over groups, exact tests and Holm: against closed forms, scikit-learn, scipy, and simulated data."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu, t
from sklearn.metrics import roc_auc_score

from benchmarks.claims import draw_pairs, simulate_coverage, simulate_false_alarms, simulate_power, simulate_share_coverage
from stages.evaluate.claims import Paired, Question, compare_scores, compare_shares, make_claims
from stages.evaluate.intervals import (
    Estimate,
    auc,
    effective_groups,
    holm,
    jackknife_t,
    log_ratio_of_sums,
    mean_difference,
    more_needed,
    share_interval,
    sign_test,
    wilson,
)

RANDOM = np.random.default_rng(0)


def ids(number: int) -> np.ndarray:
    return np.array([f"id{at}" for at in range(number)])


def test_of_rows_of_equal_weight_the_jackknife_is_students_t() -> None:
    values = RANDOM.normal(0.3, 1, 40)
    found = mean_difference(values, np.ones(40), ids(40), 0.95)
    low, high = t.interval(0.95, 39, values.mean(), values.std(ddof=1) / math.sqrt(40))
    assert found[:4] == pytest.approx((values.mean(), values.std(ddof=1) / math.sqrt(40), low, high))
    assert found.p == pytest.approx(2 * t.sf(abs(values.mean()) / found.error, 39))


def test_rows_of_a_group_count_as_one_voice() -> None:
    values, groups = RANDOM.normal(0, 1, 30), ids(30)
    once = mean_difference(values, np.ones(30), groups, 0.95)
    copied = mean_difference(np.repeat(values, 7), np.ones(210), np.repeat(groups, 7), 0.95)
    assert copied == pytest.approx(once)
    alone = mean_difference(np.repeat(values, 7), np.ones(210), ids(210), 0.95)
    assert alone.high - alone.low < (once.high - once.low) / 2


def test_a_few_heavy_groups_widen_the_interval() -> None:
    assert effective_groups(np.ones(10)) == pytest.approx(10)
    assert effective_groups(np.array([1000.0] + [1.0] * 9)) == pytest.approx(1, abs=0.1)
    weights = np.array([10.0] * 5 + [1.0] * 35)
    found = mean_difference(weights * RANDOM.normal(0, 1, 40), weights, ids(40), 0.95)
    freedom = weights.sum() ** 2 / (weights**2).sum() - 1
    assert freedom < 13
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.975, freedom) * found.error)


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        ([1.0], ["a"], "one group"),
        ([1.0, 2.0, 3.0], ["a", "a", "a"], "one group"),
        ([0.5] * 30, [str(at) for at in range(30)], "all groups give the same"),
        ([0.0] * 30, [str(at) for at in range(30)], "all groups give the same"),
        ([1.0, math.nan], ["a", "b"], "cannot be computed"),
        ([1.0, math.inf], ["a", "b"], "cannot be computed"),
        ([], [], "cannot be computed"),
    ],
)
def test_an_interval_is_never_of_width_zero_but_none_with_its_reason(values: list, groups: list, reason: str) -> None:
    found = mean_difference(np.array(values), np.ones(len(values)), np.array(groups, str), 0.95)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.reason is not None
    assert reason in found.reason


def shares(base: list[float], tuned: list[float]) -> Paired:
    return Paired(np.array(base), np.array(tuned), np.ones(len(base)), ids(len(base)))


@pytest.mark.parametrize("gained", range(1, 30))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_interval_of_a_difference_of_shares_holds_it_and_only_what_is_possible(gained: int, sign: int) -> None:
    right = [1.0] * gained + [0.0] * (30 - gained)
    sides = ([0.0] * 30, right)[::sign]
    found = compare_shares(shares(*sides), 0.95)
    assert -1 <= found.low < found.value < found.high <= 1
    assert found.value == pytest.approx(sign * gained / 30)
    mirrored = compare_shares(shares(*sides[::-1]), 0.95)
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))


def test_far_from_its_bounds_an_interval_is_students_t_and_near_them_longer_where_there_is_room() -> None:
    scores = Paired(RANDOM.uniform(10, 20, 60), RANDOM.uniform(12, 22, 60), np.ones(60), ids(60))
    plain = mean_difference(scores.tuned - scores.base, scores.weights, scores.groups, 0.95)
    assert compare_scores(scores, 0.95)[2:4] == pytest.approx(plain[2:4], rel=0.01)
    most = compare_shares(shares([0.0] * 30, [1.0] * 29 + [0.0]), 0.95)
    assert most.value - most.low > 3 * (most.high - most.value)


@pytest.mark.parametrize("number", [2, 5, 30])
def test_the_interval_of_an_auc_stays_between_none_and_all(number: int) -> None:
    values = np.arange(number, dtype=float)
    for one, other, value in ((values + 100, values, 0.5), (values, values + 100, -0.5)):
        found = auc(one, other, ids(number), np.array([f"other{at}" for at in range(number)]), 0.95)
        assert found.value == value
        assert -0.5 <= found.low < found.high <= 0.5


def test_no_change_larger_than_possible_is_called_detectable() -> None:
    few = compare_shares(shares([0.0, 0.0, 1.0], [1.0, 1.0, 0.0]), 0.95)
    [claim] = make_claims([Question("broken", "broken_difference", few, 3)], 0.95)
    assert claim["detectable"] == 1


@pytest.mark.parametrize(
    ("measure", "says"), [("retention_ratio", "12 general prompts"), ("win_rate", "12 groups of conversations")]
)
def test_too_few_are_named_as_what_they_are(measure: str, says: str) -> None:
    estimate = Estimate(0.5, 0.1, 0.3, 0.7, 0.01, 12, None)
    [claim] = make_claims([Question("forgot", measure, estimate, 12)], 0.95)
    assert claim["reason"].startswith(says)


def test_a_ratio_of_lengths_without_anything_to_compare_with_has_a_reason() -> None:
    rows = np.array([[5.0, 0.0], [3.0, 0.0]])
    assert jackknife_t(rows, ids(2), log_ratio_of_sums, 0.95).value is None


def test_wilson_is_the_score_interval_and_a_groups_rows_never_narrow_it() -> None:
    assert wilson(0, 10, 0.95) == pytest.approx(binomtest(0, 10).proportion_ci(method="wilson"))
    assert wilson(7, 10, 0.9) == pytest.approx(binomtest(7, 10).proportion_ci(0.9, method="wilson"))
    hits = np.array([True] * 7 + [False] * 3)
    assert share_interval(hits, ids(10), 0.95) == pytest.approx(wilson(7, 10, 0.95))
    assert share_interval(np.repeat(hits, 5), np.repeat(ids(10), 5), 0.95) == pytest.approx(wilson(7, 10, 0.95))


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 0), (10, 2), (5, 5), (1, 40)])
def test_the_sign_test_of_single_rows_is_mcnemars_exact_one(gained: int, lost: int) -> None:
    differences = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 7)
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1
    assert sign_test(differences, ids(len(differences))) == pytest.approx(expected)


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.02, 0.01, None, 0.5]) == pytest.approx([0.04, 0.03, None, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_auc_is_scikit_learns_and_its_error_mann_whitneys() -> None:
    one, other = RANDOM.normal(0.6, 1, 80).round(1), RANDOM.normal(0, 1, 60).round(1)
    groups = ids(80), np.array([f"other{at}" for at in range(60)])
    found = auc(one, other, *groups, 0.95)
    expected = roc_auc_score([1] * 80 + [0] * 60, [*one, *other])
    assert found.value + 0.5 == pytest.approx(expected)
    assert found.p == pytest.approx(mannwhitneyu(one, other).pvalue, rel=1)
    assert auc(one[:1], other, groups[0][:1], groups[1], 0.95).reason == "too few groups of conversations"


def test_how_many_more_conversations_would_decide() -> None:
    estimate = Estimate(-0.1, 0.1, -0.3, 0.1, 0.3, 100, None)
    assert more_needed(estimate, 100) == 684  # (2.8 * 0.1 / 0.1) ** 2 = 7.84 times as many
    assert more_needed(estimate._replace(value=0.0), 100) is None
    assert more_needed(estimate._replace(value=-1e-9), 100) is None
    assert more_needed(estimate._replace(value=-9.0, groups=10), 50) == 50  # twice as many give the twenty groups


def test_under_twenty_groups_nothing_is_claimed_however_clear_it_looks() -> None:
    for number, verdict in ((19, "too_few"), (20, "less")):
        estimate = mean_difference(RANDOM.normal(-5, 0.1, number), np.ones(number), ids(number), 0.95)
        [claim] = make_claims([Question("better", "perplexity_ratio", estimate, number)], 0.95)
        assert claim["verdict"] == verdict
        assert (claim["p_holm"] is None) == (verdict == "too_few")


def test_a_small_question_takes_no_weight_from_the_others() -> None:
    sure = Estimate(-1.0, 0.45, -2.0, -0.1, 0.03, 50, None)
    small = sure._replace(groups=5)
    asked = [Question("better", "perplexity_ratio", sure, 50), Question("forgot", "retention_ratio", small, 5)]
    assert [claim["verdict"] for claim in make_claims(asked, 0.95)] == ["less", "too_few"]
    asked[1] = Question("forgot", "retention_ratio", sure._replace(p=0.9), 50)
    assert [claim["verdict"] for claim in make_claims(asked, 0.95)] == ["unclear", "unclear"]


@pytest.mark.slow
def test_intervals_cover_and_claims_raise_few_false_alarms_and_find_what_they_say() -> None:
    """With a fixed seed and fewer draws than the benchmark, which has the figures; groups of 1 to 10, heavy-tailed lengths."""
    assert simulate_coverage(90, draws=600, seed=0) >= 0.92
    assert simulate_share_coverage(90, draws=200, seed=0) >= 0.92
    assert simulate_false_alarms(90, draws=300, seed=0) <= 0.06
    assert 0.7 <= simulate_power(150, draws=300, seed=0) <= 0.92


def test_the_simulated_data_have_groups_and_heavy_tails() -> None:
    groups, _, weights = draw_pairs(90, 0.0, np.random.default_rng(0))
    sizes = np.unique(groups, return_counts=True)[1]
    assert len(groups) == 90
    assert sizes.min() >= 1
    assert sizes.max() <= 10
    assert weights.max() > 8 * np.median(weights)
