"""Parquet files and data sets of the Hugging Face Hub -> rows, a batch at a time."""

import hashlib
import importlib
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from stages.collect import files as raw_file
from stages.collect.files import mib
from stages.collect.paths import check_path
from stages.collect.rows import Row, Rows, UnreadableRow
from stages.collect.sources import HubSource, ParquetSource
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.requirements import check_pins

BATCH_ROWS = 256  # held at a time


class Batch(Protocol):
    """What is used of a `pyarrow.RecordBatch`."""

    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...
    def to_pylist(self) -> list[dict]: ...
    def serialize(self) -> bytes: ...
    def slice(self, offset: int, length: int, /) -> "Batch": ...


@contextmanager
def _open_parquet(source: ParquetSource) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    path = check_path(source.path, source.outside)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if double := sorted({name for name in names if names.count(name) > 1}):
                raise ReprotuneError(f"{path}: two columns are named {', '.join(map(repr, double))}; rename one of them")
            groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
            _check_expansion(path, sum(group.total_byte_size for group in groups))
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ReprotuneError(f"{path}: not readable as Parquet: {_first_line(error)}") from None


def _check_expansion(path: Path, size: int) -> None:
    if size > max(raw_file.FREE_EXPANSION, raw_file.MOST_EXPANSION * path.stat().st_size):
        raise ReprotuneError(
            f"{path}: holds over {raw_file.MOST_EXPANSION} times its size and over {mib(raw_file.FREE_EXPANSION)}; write it "
            "without compression if it is meant"
        )


def keys_of_parquet(source: ParquetSource) -> list[str]:
    with _open_parquet(source) as file:
        return file.schema_arrow.names


def read_parquet(source: ParquetSource, only: Collection[str] | None) -> Rows:
    with _open_parquet(source) as file:
        names = [name for name in file.schema_arrow.names if only is None or name in only]
        number, size = 1, 0
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            size += batch.nbytes
            _check_expansion(Path(source.path), size)
            yield from _rows_of_batch(batch, f"{source.path}: row ", number)
            number += len(batch)


def _rows_of_batch(batch: Batch, place: str, first: int) -> Rows:
    """The rows of a batch of Arrow; one by one where one of them can't be converted or is too large."""
    import pyarrow

    reason = f"a row of over {mib(raw_file.ROW_LIMIT)}" if batch.nbytes > raw_file.ROW_LIMIT else ""
    converted: list[dict] = []
    try:
        converted = [] if reason else batch.to_pylist()
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        reason = f"a value that can't be read: {_first_line(error)}"
    if not reason:
        yield from (Row(f"{place}{number}", values) for number, values in enumerate(converted, start=first))
    elif len(batch) == 1:
        yield UnreadableRow(f"{place}{first}", reason, hashlib.sha256(batch.serialize()).hexdigest()[:16])
    else:
        for offset in range(len(batch)):
            yield from _rows_of_batch(batch.slice(offset, 1), place, first + offset)


@cache
def _load_hub(pins: str, name: str, config: str | None, split: str, revision: str) -> Any:
    """The data set, from HF_ENDPOINT if that is set, or from the hub's own cache. `pins`: the requirements file."""
    if not re.search(r"^datasets==", check_path(pins, False).read_text(encoding="utf-8"), flags=re.MULTILINE):
        raise ReprotuneError(f"{pins}: does not pin datasets; name the requirements file that does (the source's `path`)")
    check_pins(Path(pins))
    if Path(name).exists():  # `datasets` would read the folder, and no revision would pin it
        raise ReprotuneError(
            f"{name}: stands in the project; expected a data set of the hub (name its file with another `format`)"
        )
    # By name, as corpora are found: each source's `path` says which version, so it is no requirement of all the others.
    datasets = importlib.import_module("datasets")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        data = datasets.load_dataset(name, config, split=split, revision=revision, keep_in_memory=False)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise ReprotuneError(
            f"{name}@{revision} could not be read from {endpoint}: {_first_line(error)} "
            "(check name, config, split and revision; HF_ENDPOINT names a mirror, HF_TOKEN opens gated data)"
        ) from None
    # Where a commit can't be had, `datasets` takes whichever it has in its cache, with a warning.
    if not all(revision in Path(file["filename"]).parts for file in data.cache_files or [{"filename": ""}]):
        raise ReprotuneError(
            f"{name}@{revision} could not be had from {endpoint}, only another version from the cache (check revision; "
            "HF_ENDPOINT names a mirror)"
        )
    return data


def keys_of_hub(source: HubSource) -> list[str]:
    return _load_hub(source.path, source.name, source.config, source.split, source.revision).column_names


def read_hub(source: HubSource, only: Collection[str] | None) -> Rows:
    data = _load_hub(source.path, source.name, source.config, source.split, source.revision)
    data = data.select_columns([name for name in data.column_names if only is None or name in only])
    number = 1
    for table in data.with_format("arrow").iter(BATCH_ROWS):
        for batch in table.to_batches():
            yield from _rows_of_batch(batch, f"{source.name}, {source.split}: row ", number)
            number += len(batch)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
