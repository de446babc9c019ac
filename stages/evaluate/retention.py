"""What both models reply to the general prompts, and how much less likely tuned finds base's own replies: for people to read."""

from pathlib import Path

import pandas as pd
from pydantic import ConfigDict

from stages.lib.core.params import Section
from stages.lib.general_prompts import read_prompts
from stages.lib.records.predictions import CONTENDERS, Contender, predictions_of

COLUMNS = ["id", "language", "prompt", "base_reply", "tuned_reply", "change"]


class RetentionFile(Section):
    """Of `predict`, only where the general prompts are."""

    model_config = ConfigDict(extra="ignore")
    retention: str


def read_replies(contender: Contender) -> pd.DataFrame:
    rows = pd.read_parquet(predictions_of(contender)).reindex(columns=["set", "id", "nll", "labels", "reply"])
    rows = rows[rows["set"] == "retention"].drop(columns="set").add_prefix(f"{contender}_")
    return rows.rename(columns={f"{contender}_id": "id"})


def describe_retention(path: Path) -> pd.DataFrame:
    """A row a general prompt that predict was given, the least retained first. `change`: what tuning adds to the loss on base's
    reply, in nats a token; NaN where one of the models has no likelihood.
    """
    prompts = [prompt.model_dump() for prompt in read_prompts(path)]
    table = pd.DataFrame(prompts, columns=["id", "language", "prompt"])
    for contender in CONTENDERS:
        table = table.merge(read_replies(contender), on="id")
    nll, labels = (table["tuned_nll"] - table["base_nll"]).astype(float), table["base_labels"].astype(float)
    table["change"] = nll / labels.where(labels > 0)
    return table.sort_values(["change", "id"], ascending=[False, True], ignore_index=True)[COLUMNS]
