"""The first rows of a file, and the conversations in them, read as `collect` reads them."""

from typing import NamedTuple

import orjson

from stages.collect.__main__ import Collected, assign_ids
from stages.collect.conversations import mapping_of, to_conversations
from stages.collect.readers import read_rows
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
        return [row.values.get(name) for row in self.rows]


def read_sample(source: Source) -> Sample:
    rows: list[Row] = []
    unreadable: list[UnreadableRow] = []
    size, stopped = 0, None
    try:
        for row in read_rows(source):
            if len(rows) + len(unreadable) == MOST_ROWS or size > MOST_BYTES:
                return Sample(rows, unreadable, False, None)
            if isinstance(row, UnreadableRow):
                unreadable.append(row)
                continue
            try:
                size += len(orjson.dumps(row.values, default=str, option=orjson.OPT_NON_STR_KEYS))
            except TypeError as error:  # nested too deeply
                unreadable.append(UnreadableRow(row.place, str(error), digest_of(row.values)))
            else:
                rows.append(row)
    except ReprotuneError as error:
        stopped = str(error)
    if not rows:
        first = [f"{row.place}: {row.reason}" for row in unreadable[:1]]
        raise ReprotuneError(stopped or "".join(first) or f"{source.path}: holds no row")
    return Sample(rows, unreadable, True, stopped)


def without_last_conversation(sample: Sample, name: str) -> Sample:
    """Where a row is a message and the file goes on, the last conversation does too; `name`: of the conversation's column."""
    last = sample.rows[-1].values.get(name)
    kept = [row for row in sample.rows if row.values.get(name) != last]
    return sample if sample.complete or not kept else sample._replace(rows=kept)


def convert(sample: Sample, source: Source, name: str) -> tuple[list[Collected], list[UnreadableRow]]:
    """The conversations of those in the sample, and the rows that can't be read; `name`: the source's."""
    collected, unreadable = assign_ids(name, to_conversations(sample.rows, mapping_of(source)))
    return collected, [*sample.unreadable, *unreadable]
