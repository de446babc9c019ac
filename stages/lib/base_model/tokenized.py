"""Training examples: data/tokenized/{train,validation}.parquet, which tokenize writes and train learns from."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.core.errors import writing

TokenizedSplit = Literal["train", "validation"]
TOKENIZED_SPLITS: tuple[TokenizedSplit, ...] = ("train", "validation")
SCHEMA = pa.schema({"id": pa.string(), "input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32())})
IGNORE_INDEX = -100
ROWS_READ_AT_ONCE = 1024


class Example(NamedTuple):
    """One training sequence. `labels[t]` is `input_ids[t]` where the token is the assistant's, else IGNORE_INDEX. (T,) each."""

    input_ids: list[int]
    labels: list[int]


class Examples(Sequence[tuple[str, Example]]):
    """(id of the conversation, example) pairs, in columns as in the file: 8 bytes a token. Lists are made on access."""

    def __init__(self, pairs: Iterable[tuple[str, Example]] = ()) -> None:
        self.ids: list[str] = []
        self.borders = array("q", [0])
        self.input_ids, self.labels = array("i"), array("i")
        for id, example in pairs:
            self.append(id, example)

    def append(self, id: str, example: Example) -> None:
        self.ids.append(id)
        self.input_ids.fromlist(example.input_ids)
        self.labels.fromlist(example.labels)
        self.borders.append(len(self.input_ids))

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> tuple[str, Example]: ...
    @overload
    def __getitem__(self, at: slice) -> list[tuple[str, Example]]: ...
    def __getitem__(self, at: int | slice) -> tuple[str, Example] | list[tuple[str, Example]]:
        if isinstance(at, slice):
            return [self[position] for position in range(*at.indices(len(self)))]
        position = range(len(self))[at]
        tokens = slice(self.borders[position], self.borders[position + 1])
        return self.ids[position], Example(self.input_ids[tokens].tolist(), self.labels[tokens].tolist())

    def __iter__(self) -> Iterator[tuple[str, Example]]:
        return (self[position] for position in range(len(self)))

    def lengths(self) -> np.ndarray:
        """Tokens of each, int64 (len,)."""
        return np.diff(np.frombuffer(self.borders, np.int64))

    def predicted(self) -> np.ndarray:
        """Labels of each, but for the first token, which no example predicts: int64 (len,)."""
        labels = np.frombuffer(self.labels, np.int32)
        numbers = [np.count_nonzero(labels[first + 1 : end] != IGNORE_INDEX) for first, end in pairwise(self.borders)]
        return np.array(numbers, np.int64)


def examples_of(split: TokenizedSplit) -> Path:
    return Path("data/tokenized") / f"{split}.parquet"


def write_examples(path: Path, pairs: Iterable[tuple[str, Example]]) -> None:
    """(id of the conversation, example) pairs, one a row, in the order given."""
    examples = pairs if isinstance(pairs, Examples) else Examples(pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    borders = pa.array(np.frombuffer(examples.borders, np.int64)).cast(pa.int32())
    tokens = (pa.array(np.frombuffer(column, np.int32)) for column in (examples.input_ids, examples.labels))
    arrays = [pa.array(examples.ids, pa.string()), *(pa.ListArray.from_arrays(borders, values) for values in tokens)]
    with writing(path):
        pq.write_table(pa.table(arrays, SCHEMA), path, compression="zstd")


def read_examples(path: Path) -> Examples:
    examples = Examples()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_READ_AT_ONCE, columns=SCHEMA.names):
            ids, input_ids, labels = batch.columns
            examples.ids += ids.to_pylist()
            borders = np.cumsum(input_ids.value_lengths().to_numpy(), dtype=np.int64) + len(examples.input_ids)
            examples.borders.frombytes(borders.tobytes())
            examples.input_ids.frombytes(input_ids.flatten().to_numpy().tobytes())
            examples.labels.frombytes(labels.flatten().to_numpy().tobytes())
    return examples
