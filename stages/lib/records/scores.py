"""What evaluate writes and report shows: the scores, and a table of the test conversations."""

import math
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

SCORES = Path("data/evaluation/scores.json")
EXAMPLES = Path("data/evaluation/examples.parquet")

Scores = dict[str, float | None]  # metric -> value, each language's BLEU and ROUGE-L by itself: `bleu_en`


class Comparison(TypedDict):
    """Tuned against base on the same conversations. `perplexity_ratio`: tuned over base, with the ends of its interval."""

    conversations: int
    perplexity_ratio: float
    perplexity_ratio_low: float
    perplexity_ratio_high: float
    more_likely_when_tuned: float


class Evaluation(TypedDict):
    """The scores of each contender and of the references; `signatures`: of a metric, what made it."""

    base: Scores
    tuned: Scores
    reference: Scores
    comparison: Comparison
    signatures: dict[str, str]


def perplexity(nll: ArrayLike, labels: ArrayLike) -> float:
    """exp(sum of NLL / sum of labels): lower is better. Not a mean of each conversation's perplexity."""
    return math.exp(np.sum(nll) / np.sum(labels))
