"""The files of a run: JSON that people read and diff, and JSONL with a record a line. The same values are the same bytes."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stages.lib.core.errors import ReprotuneError, writing


def project_root() -> Path:
    """The main checkout: DVC names it in DVC_ROOT, also when an experiment runs in a copy elsewhere."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with writing(path):
        path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReprotuneError(f"{path}: not found; `dvc repro` makes it, `dvc pull` fetches it") from None


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write rows that are serialised already, each with its line feed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path), path.open("wb") as file:
        file.writelines(lines)


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write one JSON object a line, keys sorted; rows in the order given."""
    write_lines(path, map(to_line, rows))


def to_line(row: object) -> bytes:
    """The row as one line of JSON, keys sorted. A copy: what orjson returns holds on to a buffer of 4 KiB."""
    return bytes(memoryview(orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)))


def read_lines(path: Path) -> Iterator[bytes]:
    """The rows as they are serialised, one after the other.

    Raises:
        ReprotuneError: the file is missing.
    """
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        raise ReprotuneError(f"{path}: not found; `dvc repro` makes it, `dvc pull` fetches it") from None


def read_jsonl(path: Path) -> list[Any]:
    """Read what `write_jsonl` wrote: rows of the caller's type.

    Raises:
        ReprotuneError: the file is missing.
    """
    return [orjson.loads(line) for line in read_lines(path)]
