"""The base model's replies to the general prompts."""

import pyarrow.parquet as pq

from stages.lib.core.errors import ReprotuneError
from stages.lib.records.predictions import predictions_of, read_conditions


def read_base_replies(decoding: str) -> dict[str, list[int]]:
    """Of each general prompt, the tokens of the base model's reply.

    Raises:
        ReprotuneError: the base model's predictions are not there, or were decoded in another way, by another engine.
    """
    path = predictions_of("base")
    if not path.is_file():
        raise ReprotuneError(f"{path}: not found; `dvc repro predict@base` makes it, `dvc pull` fetches it")
    if (found := read_conditions(path)["decoding"]) != decoding:
        raise ReprotuneError(
            f"{path}: its decoding is {found}, and here it is {decoding}; base and tuned are compared by one engine: set "
            "REPROTUNE_ENGINE as it was, or run `dvc repro --force --single-item predict@base`"
        )
    rows = pq.read_table(path, columns=["set", "id", "reply_ids"]).to_pylist()
    return {row["id"]: row["reply_ids"] for row in rows if row["set"] == "retention" and row["reply_ids"]}
