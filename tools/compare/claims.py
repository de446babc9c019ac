"""Is B better than A? The claims of the evaluation with A in base's place and B in tuned's, and what they come to in a word."""

import math
from typing import Any, Literal, TypedDict

import numpy as np
from scipy.special import stdtrit

from stages.evaluate.claims import Paired, Question, make_claims
from stages.evaluate.comparison import Measured, ask_better, ask_broken, ask_forgot, ask_length, ask_memorised, means
from stages.evaluate.intervals import mean_difference
from stages.lib.records.scores import Claim, ClaimName, Measure
from tools.compare.fingerprints import CLAIMS, Comparability
from tools.compare.pairs import Both, Pairs
from tools.compare.run import Run

Verdict = Literal["better", "worse", "the same", "can't tell", "too few to tell", "not comparable", "not measured"]
BITS = math.log(2)  # nats
MEASURES: dict[ClaimName, Measure] = {
    "forgot": "retention_ratio", "broken": "broken_difference", "length": "length_ratio", "wording": "chrf_difference",
    "memorised": "memorised_auc",
}  # fmt: skip
UNMEASURED = "seed noise not measured: another `train.seed` moves these figures too"


class SeedNoise(TypedDict):
    """`log_perplexity`: standard deviation of tuned's over `seeds` runs that differ in their seed alone.

    `reach`: factor of perplexity beyond which two such runs differ in at most 1 - confidence of the cases; `beyond`: whether the
    change found is; None where it is not known.
    """

    seeds: int
    log_perplexity: float | None
    reach: float | None
    beyond: bool | None
    said: str


def confidence_of(run: Run) -> float:
    section = run.params.get("evaluate")
    value = section.get("confidence") if isinstance(section, dict) else None
    return float(value) if isinstance(value, float) and 0.5 < value < 1 else 0.95


def make(both: Both, comparability: Comparability, classification: bool, confidence: float) -> list[Claim]:
    """In the order of CLAIMS, each with the others in its p (Holm)."""
    measured = both.measured("classification" if classification else "dialogue")
    questions = []
    for name in CLAIMS:
        reason = comparability["withheld"].get(name) or why_missing(name, both, classification)
        question = ask(name, both, measured, confidence) if reason is None else None
        questions.append(question or Question(name, measure_of(name, both, classification), None, 0, reason=reason))
    return make_claims(questions, confidence)


def ask(name: ClaimName, both: Both, measured: Measured, confidence: float) -> Question:
    if name == "wording":
        pairs = measured.chrf
        estimate = mean_difference(pairs.tuned - pairs.base, pairs.weights, pairs.groups, confidence)
        return Question("wording", "chrf_difference", estimate, len(pairs.base), *means(pairs))
    if name == "better" and measured.right is None and isinstance(both.likelihoods, str) and isinstance(both.per_byte, Paired):
        return ask_per_byte(both.per_byte, confidence)
    known = {
        "better": ask_better, "forgot": ask_forgot, "broken": ask_broken, "length": ask_length, "memorised": ask_memorised,
    }  # fmt: skip
    return known[name](measured, confidence)


def ask_per_byte(pairs: Paired, confidence: float) -> Question:
    """Likelihoods of different tokens have the bytes of the text in common."""
    estimate = mean_difference((pairs.tuned - pairs.base) / BITS, pairs.weights, pairs.groups, confidence)
    with np.errstate(all="ignore"):
        values = [float(nll.sum() / BITS / pairs.weights.sum()) for nll in (pairs.base, pairs.tuned)]
    a, b = (value if math.isfinite(value) else None for value in values)
    return Question("better", "bits_per_byte_difference", estimate, len(pairs.base), a, b)


def measure_of(name: ClaimName, both: Both, classification: bool) -> Measure:
    if name != "better":
        return MEASURES[name]
    if classification:
        return "accuracy_difference"
    return (
        "bits_per_byte_difference"
        if isinstance(both.likelihoods, str) and isinstance(both.per_byte, Paired)
        else "perplexity_ratio"
    )


def why_missing(name: ClaimName, both: Both, classification: bool) -> str | None:
    """Why there is nothing to make a claim of."""
    likelihoods = both.per_byte if name == "better" and isinstance(both.likelihoods, str) else both.likelihoods
    needed: dict[ClaimName, tuple[Pairs, ...]] = {
        "better": (both.right,) if classification else (likelihoods,),
        "forgot": (both.retention,),
        "broken": (both.broken,),
        "length": (both.lengths,),
        "wording": (both.chrf,),
        "memorised": (both.likelihoods, both.train),
    }
    return next((pairs for pairs in needed[name] if isinstance(pairs, str)), None)


def verdict_of(claim: Claim, comparability: Comparability) -> Verdict:
    """What the first claim comes to, whatever its measure."""
    if claim["verdict"] == "not_measured":
        return "not comparable" if claim["name"] in comparability["withheld"] else "not measured"
    if claim["verdict"] == "too_few":
        return "too few to tell"
    if claim["verdict"] == "unclear":
        return "can't tell"
    return "better" if (claim["verdict"] == "more") == (claim["measure"] == "accuracy_difference") else "worse"


def find_seed_noise(seeds: Any, claim: Claim, confidence: float) -> SeedNoise:
    """`seeds`: metrics/seeds.json, whose `seeds` holds the scores of each seed; None where there is none."""
    runs = seeds.get("seeds") if isinstance(seeds, dict) else None
    logs = [
        found for one in (runs.values() if isinstance(runs, dict) else runs or ()) if (found := log_perplexity(one)) is not None
    ]
    if len(logs) < 2:
        return {"seeds": len(logs), "log_perplexity": None, "reach": None, "beyond": None, "said": UNMEASURED}
    deviation = float(np.std(logs, ddof=1))
    reach = math.exp(float(stdtrit(len(logs) - 1, (1 + confidence) / 2)) * math.sqrt(2) * deviation)
    beyond = None
    if claim["measure"] == "perplexity_ratio" and claim["estimate"]:
        beyond = max(claim["estimate"], 1 / claim["estimate"]) > reach
    said = f"two runs that differ in their seed alone differ by a factor of up to {reach:.3f} in perplexity ({len(logs)} seeds)"
    if beyond is not None:
        said += "; this change is larger" if beyond else "; this change is no larger than that"
    return {"seeds": len(logs), "log_perplexity": deviation, "reach": reach, "beyond": beyond, "said": said}


def log_perplexity(scores: object) -> float | None:
    """Tuned's, of one seed's scores, or of the ratio to base, which is the same for all seeds."""
    values = scores if isinstance(scores, dict) else {}
    nested = [values, *(values[name] for name in ("tuned", "comparison", "metrics") if isinstance(values.get(name), dict))]
    for name in ("perplexity", "perplexity_ratio", "tuned.perplexity", "comparison.perplexity_ratio"):
        for some in nested:
            if isinstance(value := some.get(name), int | float) and value > 0:
                return math.log(value)
    for some in nested:
        for name in ("log_perplexity", "log_perplexity_ratio"):
            if isinstance(value := some.get(name), int | float):
                return float(value)
    return None
