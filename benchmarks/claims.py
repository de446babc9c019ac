"""Are the evaluation's intervals and claims as sure as they say? Simulated test sets: python -m benchmarks.claims [DRAWS]

Groups of 1 to 10 conversations that resemble each other, lengths with a heavy tail (log-normal, sigma 1.2), likelihoods with
heavy-tailed noise. Coverage of the 95% intervals; all claims together on pairs of models that do not differ; the share of planted
effects of the size `detectable` that a claim finds, alone and beside two others.
"""

import sys
import time

import numpy as np

from stages.evaluate.claims import Paired, Question, compare_lengths, compare_likelihoods, compare_shares, make_claims
from stages.evaluate.intervals import DETECTABLE

CONFIDENCE = 0.95


def draw_pairs(number: int, effect: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(groups, log likelihood differences, labels), each (N,): `effect` nats a token, with a part of each group's own."""
    sizes: list[int] = []
    while sum(sizes) < number:
        sizes.append(int(random.integers(1, 11)))
    groups = np.repeat(np.arange(len(sizes)), sizes)[:number]
    labels = np.maximum(1, np.exp(random.normal(2.5, 1.2, number)).round())
    own = random.normal(0, 0.2, len(sizes))[groups] + random.normal(0, 0.4, number)
    noise = np.sqrt(labels) * random.standard_t(3, number) / 2
    return groups.astype(str), labels * (effect + own) + noise, labels


def draw_likelihoods(number: int, effect: float, random: np.random.Generator) -> Paired:
    groups, differences, labels = draw_pairs(number, effect, random)
    base = 3 * labels
    return Paired(base, base + differences, labels, groups)


def draw_equal_claims(number: int, random: np.random.Generator) -> list[Question]:
    """Three questions about two models that do not differ: each reply's loop and length is drawn anew for both."""
    likelihoods = draw_likelihoods(number, 0.0, random)
    groups, ones = likelihoods.groups, np.ones(number)
    chance = random.beta(1, 8, number)  # of a loop, the same for both models
    loops = [(random.random(number) < chance).astype(float) for _ in range(2)]
    broken = Paired(loops[0], loops[1], ones, groups)
    usual = random.normal(4, 1, number)  # log characters
    said = [np.exp(usual + random.normal(0, 0.5, number)).round() for _ in range(2)]
    lengths = Paired(said[0], said[1], ones, groups)
    return [
        Question("better", "perplexity_ratio", compare_likelihoods(likelihoods, CONFIDENCE), number),
        Question("broken", "broken_difference", compare_shares(broken, CONFIDENCE), number),
        Question("length", "length_ratio", compare_lengths(lengths, CONFIDENCE), number),
    ]


def simulate_coverage(number: int, draws: int, seed: int) -> float:
    """The share of intervals of the log perplexity ratio that hold the true one."""
    random, truth, held = np.random.default_rng(seed), -0.3, 0
    for _ in range(draws):
        found = compare_likelihoods(draw_likelihoods(number, truth, random), CONFIDENCE)
        held += found.low is not None and found.high is not None and found.low <= truth <= found.high
    return held / draws


def simulate_share_coverage(number: int, draws: int, seed: int) -> float:
    """The same of a difference of shares near its bound: 95% of the base model's replies are right, 5% of the tuned one's."""
    random, held, known = np.random.default_rng(seed), 0, 0
    for _ in range(draws):
        groups, _, labels = draw_pairs(number, 0.0, random)
        at = groups.astype(int)
        chances = [random.beta(8 * share, 8 * (1 - share), at.max() + 1)[at] for share in (0.95, 0.05)]
        right = [(random.random(number) < chance).astype(float) for chance in chances]
        found = compare_shares(Paired(right[0], right[1], np.ones_like(labels), groups), CONFIDENCE)
        if found.low is not None and found.high is not None:
            known, held = known + 1, held + (found.low <= -0.9 <= found.high)
    return held / known


def simulate_false_alarms(number: int, draws: int, seed: int) -> float:
    """The share of test sets on which any claim finds a difference where there is none."""
    random, alarms = np.random.default_rng(seed), 0
    for _ in range(draws):
        claims = make_claims(draw_equal_claims(number, random), CONFIDENCE)
        alarms += any(claim["verdict"] in ("less", "more") for claim in claims)
    return alarms / draws


def simulate_power(number: int, draws: int, seed: int, beside: bool = False) -> float:
    """How often a planted effect of the detectable size is found, the claim alone or beside two others that have none."""
    random, found = np.random.default_rng(seed), 0
    errors = [compare_likelihoods(draw_likelihoods(number, 0.0, random), CONFIDENCE).error or 0.0 for _ in range(200)]
    effect = -DETECTABLE * float(np.sqrt(np.mean(np.square(errors))))
    for _ in range(draws):
        estimate = compare_likelihoods(draw_likelihoods(number, effect, random), CONFIDENCE)
        others = draw_equal_claims(number, random)[1:] if beside else []
        claim = make_claims([Question("better", "perplexity_ratio", estimate, number), *others], CONFIDENCE)[0]
        found += claim["verdict"] == "less"
    return found / draws


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    start = time.perf_counter()
    for number in (90, 200, 500):
        coverage, alarms = simulate_coverage(number, draws, 1), simulate_false_alarms(number, draws, 2)
        shares = simulate_share_coverage(number, draws, 4)
        print(
            f"{number} conversations: the 95% interval covers {coverage:.1%}, of a difference of shares {shares:.1%}; a false "
            f"alarm in {alarms:.1%} of {draws:,} pairs"
        )
    for number in (150, 500):
        alone, beside = (simulate_power(number, draws, 3, beside) for beside in (False, True))
        print(
            f"{number} conversations: an effect of the detectable size is found in {alone:.1%}, beside two claims in {beside:.1%}"
        )
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
