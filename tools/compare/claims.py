"""Is B better than A? The claims of the evaluation with A in base's place and B in tuned's, and what they come to in a word."""

import math
from collections.abc import Sequence
from typing import Literal, TypedDict

import numpy as np
from scipy.special import stdtrit

from stages.evaluate.claims import Paired, Question, compare_scores, make_claims
from stages.evaluate.comparison import Measured, ask_better, ask_broken, ask_forgot, ask_length, ask_memorised, means
from stages.evaluate.intervals import mean_difference
from stages.lib.records.scores import Claim, ClaimName, Measure
from stages.report.files import ADAPTER
from stages.report.seeds import SEEDS, adapter_hash
from stages.report.sentences import RATIOS
from tools.compare.fingerprints import CLAIMS, Comparability
from tools.compare.pairs import Both, Pairs
from tools.compare.run import Run

Verdict = Literal[
    "better", "worse", "the same", "can't tell", "too few to tell", "not comparable", "not measured", "first run"
]  # fmt: skip
BITS = math.log(2)  # nats
MEASURES: dict[ClaimName, Measure] = {
    "forgot": "retention_ratio", "broken": "broken_difference", "length": "length_ratio", "wording": "chrf_difference",
    "memorised": "memorised_auc",
}  # fmt: skip
OTHER_RUN = "seed noise was measured on neither of these runs; `python -m tools.seeds` measures it"
UNMEASURED = "seed noise not measured: another `train.seed` moves these figures too"


class SeedNoise(TypedDict):
    """`deviation`: standard deviation of the first claim's measure, of its logarithm if it is a ratio, over `seeds` runs that
    differ in their seed alone.

    `reach`: change beyond which two such runs differ in at most 1 - confidence of the cases, as a factor or a difference;
    `beyond`: whether the change found is. None where it is not known.
    """

    seeds: int
    deviation: float | None
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
        return Question("wording", "chrf_difference", compare_scores(pairs, confidence), len(pairs.base), *means(pairs))
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


def seed_noise_of(a: Run, b: Run, claim: Claim, confidence: float) -> SeedNoise:
    """By metrics/seeds.json of either run."""
    seeds = b.revision.read_json(SEEDS) or a.revision.read_json(SEEDS)
    adapters = [run.revision.read_json(ADAPTER) for run in (a, b)]
    return find_seed_noise(seeds, adapters, claim, confidence)


def find_seed_noise(seeds: object, adapters: Sequence[object], claim: Claim, confidence: float) -> SeedNoise:
    """`seeds`: metrics/seeds.json, None where there is none; `adapters`: metrics/details/adapter.json of A and of B."""
    values = values_of(seeds, claim["measure"])
    unknown: SeedNoise = {"seeds": len(values), "deviation": None, "reach": None, "beyond": None, "said": UNMEASURED}
    if not isinstance(seeds, dict) or len(values) < 2:
        return unknown
    if not {adapter_hash(one) for one in adapters} & set(seeds.get("adapters") or ()):
        return {**unknown, "said": OTHER_RUN}
    deviation = float(np.std(values, ddof=1))
    reach = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * math.sqrt(2) * deviation
    is_ratio = claim["measure"] in RATIOS
    size = None if not claim["estimate"] else abs(math.log(claim["estimate"])) if is_ratio else abs(claim["estimate"])
    beyond = None if size is None else size > reach
    far = f"a factor of {math.exp(reach):.3f}" if is_ratio else f"{reach:.3g}"
    said = f"by another seed alone, two runs differ by up to {far} ({len(values)} seeds)"
    if beyond is not None:
        said += "; this change is larger" if beyond else "; this change is no larger than that"
    reached = math.exp(reach) if is_ratio else reach
    return {"seeds": len(values), "deviation": deviation, "reach": reached, "beyond": beyond, "said": said}


def values_of(seeds: object, measure: Measure) -> list[float]:
    """Of a measure, for each seed; none where the file does not have it."""
    measures = seeds.get("measures") if isinstance(seeds, dict) else None
    spread = measures.get(f"log_{measure}" if measure in RATIOS else measure) if isinstance(measures, dict) else None
    values = spread.get("values") if isinstance(spread, dict) else None
    return [float(value) for value in values if isinstance(value, int | float)] if isinstance(values, list) else []
