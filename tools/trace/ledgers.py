"""Rows of what the stages wrote, a line at a time: a million of them take no memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict, TypeVar

import orjson

from stages.lib import collected
from stages.lib.core.errors import ReprotuneError
from stages.lib.records import cleaned
from stages.lib.records.assignment import ASSIGNMENT

RowType = TypeVar("RowType")


class AnyRow(TypedDict):
    """What the rows of all ledgers have."""

    id: str


def read_rows(path: Path, word: str, _type: type[RowType]) -> Iterator[RowType]:
    """The rows in whose line the word stands, anywhere; none where there is no file."""
    needle = orjson.dumps(word)[1:-1]
    if path.exists():
        with path.open("rb") as file:
            try:
                yield from (orjson.loads(line) for line in file if needle in line)
            except orjson.JSONDecodeError:
                raise ReprotuneError(f"{path}: damaged; `dvc checkout` brings it back") from None


def find_row(path: Path, id: str, type: type[RowType]) -> RowType | None:
    return next((row for row in read_rows(path, id, type) if isinstance(row, dict) and row.get("id") == id), None)


def collect_ledgers() -> list[Path]:
    return sorted(collected.LEDGERS.glob("*.jsonl"))


def all_ledgers() -> list[Path]:
    """Those that name ids. Rows of a locked test may stand in later ones alone."""
    return [path for path in (*collect_ledgers(), cleaned.LEDGER, ASSIGNMENT) if path.exists()]


def source_of(id: str) -> str:
    return id.partition("/")[0]
