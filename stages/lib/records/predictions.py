"""What predict writes of each contender: data/predictions/<contender>.parquet, a row a test conversation."""

from pathlib import Path
from typing import Literal, TypedDict

import pyarrow as pa

FOLDER = Path("data/predictions")
Contender = Literal["base", "tuned"]
CONTENDERS: tuple[Contender, ...] = ("base", "tuned")
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "nll": pa.float64(),
        "labels": pa.int64(),
        "reply": pa.string(),
        "reply_tokens": pa.int64(),
        "stopped": pa.bool_(),
        "unscored": pa.string(),
    }
)


class Prediction(TypedDict):
    """`nll` in nats over the labelled tokens of all assistant messages; `labels`, their number; `reply`, greedy, to the
    conversation without its last assistant message; `reply_tokens`; `stopped`, whether the reply ended by itself; `unscored`, why
    a conversation has neither (None for those that have).
    """

    id: str
    nll: float | None
    labels: int | None
    reply: str | None
    reply_tokens: int | None
    stopped: bool | None
    unscored: str | None


def predictions_of(contender: str) -> Path:
    return FOLDER / f"{contender}.parquet"
