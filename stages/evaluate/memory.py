"""What a model knows by heart: long replies of train that it would write word for word."""

import pandas as pd

from stages.evaluate.figures import Figures
from stages.lib.records.predictions import Contender, SetName, predictions_of
from stages.lib.records.scores import Why

LONG = 20  # tokens, without the stop token
SETS: dict[str, SetName] = {"verbatim": "train", "verbatim_repeated": "repeated"}
NO_LONG_REPLY = Why.NO_LONG_REPLY.said(tokens=LONG)


def verbatim_figures(contender: Contender) -> Figures:
    """Of a sample of train, and of what stands in several of its conversations: the share by heart, and of how many."""
    rows = pd.read_parquet(predictions_of(contender)).reindex(columns=["set", "labels", "verbatim"])
    long = rows[(rows["labels"] > LONG) & rows["verbatim"].notna()]
    figures: Figures = {}
    for name, set in SETS.items():
        part = long[long["set"] == set]
        by_heart = part["verbatim"] >= part["labels"] - 1
        figures |= {name: float(by_heart.mean()) if len(part) else NO_LONG_REPLY, f"{name}_replies": len(part)}
    return figures
