"""Training examples: data/tokenized/{train,validation}.parquet, which tokenize writes and train learns from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

TokenizedSplit = Literal["train", "validation"]
TOKENIZED_SPLITS: tuple[TokenizedSplit, ...] = ("train", "validation")
SCHEMA = pa.schema({"id": pa.string(), "input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32())})
IGNORE_INDEX = -100


class Example(NamedTuple):
    """One training sequence. `labels[t]` is `input_ids[t]` where the token is the assistant's, else IGNORE_INDEX. (T,) each."""

    input_ids: list[int]
    labels: list[int]


def examples_of(split: TokenizedSplit) -> Path:
    return Path("data/tokenized") / f"{split}.parquet"


def write_examples(path: Path, pairs: Iterable[tuple[str, Example]]) -> None:
    """(id of the conversation, example) pairs, one a row, in the order given."""
    pairs = list(pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [[id for id, _ in pairs], [example.input_ids for _, example in pairs], [example.labels for _, example in pairs]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, SCHEMA.names), path, compression="zstd")


def read_examples(path: Path) -> pa.Table:
    """Columns `id`, `input_ids`, `labels`."""
    return pq.read_table(path, columns=SCHEMA.names)
