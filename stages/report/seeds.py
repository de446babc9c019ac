"""metrics/seeds.json, which `python -m tools.seeds` writes: how much another train.seed moves what is claimed of a run."""

import hashlib
from typing import TypedDict

import orjson

from stages.lib.core.files import read_json
from stages.lib.records.scores import Claim, Measure
from stages.report.files import METRICS
from stages.report.sentences import Language

SEEDS = METRICS / "seeds.json"
NOT_MEASURED: dict[Language, str] = {
    "en": "Seed noise is not measured: another `train.seed` moves these figures too.",
    "zh": "没有测量随机种子带来的波动：换一个 `train.seed`，这些数字也会变。",
}
OTHER_RUN: dict[Language, str] = {
    "en": "Seed noise was measured on another run than this one; `python -m tools.seeds` measures it anew.",
    "zh": "随机种子带来的波动是在另一次运行上测的；`python -m tools.seeds` 可以重新测量。",
}
MEASURED: dict[Language, str] = {
    "en": "Seed noise: with {number} seeds the {name} lay between {least:.3g} and {most:.3g}, standard deviation {spread:.2g} "
    "(`metrics/seeds.json`).",
    "zh": "随机种子带来的波动：用 {number} 个种子，{name} 在 {least:.3g} 到 {most:.3g} 之间，标准差 {spread:.2g}"
    "（`metrics/seeds.json`）。",
}
NAMES: dict[Language, dict[Measure, str]] = {  # of the first claim's measure
    "en": {"perplexity_ratio": "log perplexity ratio", "accuracy_difference": "accuracy difference"},
    "zh": {"perplexity_ratio": "困惑度比值的对数", "accuracy_difference": "正确率之差"},
}
LOGARITHMS: tuple[Measure, ...] = ("perplexity_ratio", "length_ratio", "retention_ratio")


class Spread(TypedDict):
    """Of a measure, or of its logarithm if its name begins with log: a value for each seed, None where a run had none."""

    values: list[float | None]
    mean: float | None
    standard_deviation: float | None


class SeedNoise(TypedDict):
    """`adapters`: of each seed's run, a hash of what was trained. `comparability`: what all of them were measured with."""

    seeds: list[int]
    adapters: list[str]
    comparability: dict[str, str | None]
    measures: dict[str, Spread]


def read_seed_noise() -> SeedNoise | None:
    """None as long as nothing is measured: the file is then an empty object."""
    noise: SeedNoise | None = read_json(SEEDS) or None
    return noise


def adapter_hash(pin: object) -> str:
    """Of metrics/details/adapter.json: the same for the same bytes."""
    return hashlib.sha256(orjson.dumps(pin, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def name_of(claim: Claim) -> str:
    return f"log_{claim['measure']}" if claim["measure"] in LOGARITHMS else claim["measure"]


def describe_seed_noise(
    noise: SeedNoise | None,
    adapter: str,
    comparability: dict[str, str | None],
    claims: list[Claim],
    language: Language = "en",
) -> str:
    """In a sentence, for the run with this adapter; it must be one of those that were measured, measured alike."""
    if noise is None:
        return NOT_MEASURED[language]
    if adapter not in noise["adapters"] or comparability != noise["comparability"]:
        return OTHER_RUN[language]
    measure = claims[0]["measure"]
    spread = noise["measures"].get(name_of(claims[0]))
    if spread is None or spread["standard_deviation"] is None:
        return NOT_MEASURED[language]
    numbers = [value for value in spread["values"] if value is not None]
    return MEASURED[language].format(
        number=len(noise["seeds"]), name=NAMES[language][measure], least=min(numbers), most=max(numbers),
        spread=spread["standard_deviation"],
    )  # fmt: skip
