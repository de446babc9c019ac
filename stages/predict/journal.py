"""What a killed run had done, so that the next one goes on from there: a line a conversation or reply, in the scratch folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from stages.lib.core.errors import writing


class Journal:
    """Values by key, each written as it is put."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Any] = {}
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):  # the kill came in the middle of it, or the disk was full
                    break
                key, value = orjson.loads(line)
                self.done[key] = value
                whole += len(line)
        self.file = path.open("ab", buffering=0)  # what had no room is not tried again when the file is closed
        os.truncate(path, whole)

    def put(self, key: str, value: object) -> None:
        line = orjson.dumps([key, value], default=list, option=orjson.OPT_APPEND_NEWLINE)
        with writing(self.path):
            while line:
                line = line[self.file.write(line) :]
        self.done[key] = value


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    journal = Journal(folder / "done.jsonl")
    try:
        yield journal
    finally:
        journal.file.close()
