"""What evaluate writes and report shows: the scores, and a table of the test conversations."""

import math
from pathlib import Path

import pandas as pd

SCORES = Path("data/evaluation/scores.json")
EXAMPLES = Path("data/evaluation/examples.parquet")


def perplexity(nll: pd.Series, labels: pd.Series) -> float:
    """exp(sum of NLL / sum of labels): lower is better. Not a mean of each conversation's perplexity."""
    return math.exp(nll.sum() / labels.sum())
