"""The first rows of a file, and the conversations in them, read as `collect` reads them."""

import json
from pathlib import Path
from typing import NamedTuple

import orjson

from stages.collect.__main__ import Collected, assign_ids
from stages.collect.conversations import to_conversations
from stages.collect.lists import value_at
from stages.collect.mapping import mapping_of
from stages.collect.readers import one_a_file, read_object_document, read_rows
from stages.collect.rows import Row, UnreadableRow, digest_of
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError

MOST_ROWS = 2000
MOST_BYTES = 32 * 2**20  # of rows that are held


class Sample(NamedTuple):
    """The first rows. `stopped`: why the file can't be read to its end, or the sample's."""

    rows: list[Row]
    unreadable: list[UnreadableRow]
    complete: bool
    stopped: str | None

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows for key in row.values))

    def cells(self, name: str) -> list[object]:
        return [value_at(row.values, name) for row in self.rows]


def read_sample(source: Source) -> Sample:
    """Of several files the first rows of each."""
    files = one_a_file(source)
    most_rows, most_bytes = max(MOST_ROWS // len(files), 2), MOST_BYTES // len(files)
    sample = Sample([], [], True, None)
    for one in files[:MOST_ROWS]:
        found = _read_sample_of_file(one, most_rows, most_bytes)
        stopped = sample.stopped or found.stopped
        sample = Sample(
            sample.rows + found.rows, sample.unreadable + found.unreadable, sample.complete and found.complete, stopped
        )
    if not sample.rows:
        first = [f"{row.place}: {row.reason}" for row in sample.unreadable[:1]]
        raise ReprotuneError(sample.stopped or "".join(first) or f"{source.path}: holds no row")
    return sample._replace(complete=sample.complete and len(files) <= MOST_ROWS)


def _read_sample_of_file(source: Source, most_rows: int, most_bytes: int) -> Sample:
    rows: list[Row] = []
    unreadable: list[UnreadableRow] = []
    size, stopped = 0, None
    try:
        for row in read_rows(source):
            if len(rows) + len(unreadable) == most_rows or size > most_bytes:
                return Sample(rows, unreadable, False, None)
            if isinstance(row, UnreadableRow):
                unreadable.append(row)
                continue
            try:
                size += size_of(row.values)
            except (RecursionError, TypeError, ValueError) as error:  # nested too deeply
                unreadable.append(UnreadableRow(row.place, str(error), digest_of(row.values)))
            else:
                rows.append(row)
    except ReprotuneError as error:
        stopped = str(error)
    return Sample(rows, unreadable, True, stopped)


def read_whole(source: Source) -> Sample | None:
    """The document of a file of JSON as one row, if it is an object."""
    if source.format != "json" or not Path(source.path).is_file():
        return None
    try:
        document = read_object_document(source)
    except ReprotuneError:
        return None
    return Sample([Row(f"{source.path}: row 1", document)], [], True, None) if document else None


def size_of(values: dict[str, object]) -> int:
    """About so many bytes as JSON."""
    try:
        return len(orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:  # an integer beyond 64 bits, say
        return len(json.dumps(values, default=str))


def without_last_conversation(sample: Sample, name: str) -> Sample:
    """Where a row is a message and the file goes on, the last conversation does too; `name`: of the conversation's column."""
    last = {file_of(row): row.values.get(name) for row in sample.rows}
    kept = [row for row in sample.rows if row.values.get(name) != last[file_of(row)]]
    return sample if sample.complete or not kept else sample._replace(rows=kept)


def file_of(row: Row) -> str:
    return row.place.rpartition(":")[0]


def convert(sample: Sample, source: Source, name: str) -> tuple[list[Collected], list[UnreadableRow]]:
    """The conversations of those in the sample, and the rows that can't be read; `name`: the source's."""
    collected, unreadable = assign_ids(name, to_conversations(sample.rows, mapping_of(source)))
    return collected, [*sample.unreadable, *unreadable]
