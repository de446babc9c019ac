"""The row of a source, whatever its format: a place and a dict, or the reason why it can't be read."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import orjson


class Row(NamedTuple):
    """`place`: file and line, for people."""

    place: str
    values: dict[str, object]


class UnreadableRow(NamedTuple):
    """`digest`: 16 hex digits that depend on what the row holds, not on where it stands.

    `further`: the numbers, in the file, of the other rows that it stands for.
    """

    place: str
    reason: str
    digest: str
    further: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return 1 + len(self.further)


Rows = Iterator[Row | UnreadableRow]


def digest_of(values: object) -> str:
    """The first 16 hex digits of a hash of what a row holds.

    >>> digest_of({"a": 1, "b": None}) == digest_of({"b": None, "a": 1}) != digest_of({"a": 2, "b": None})
    True
    """
    try:
        raw = orjson.dumps(values, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # nested deeper than orjson writes, which is less deep than it reads
        raw = repr(sorted(map(str, values)) if isinstance(values, dict) else type(values)).encode()
    return hashlib.sha256(raw).hexdigest()[:16]
