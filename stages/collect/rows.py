"""The row of a source, whatever its format: a place and a dict, or the reason why it can't be read."""

import hashlib
import json
from collections.abc import Iterator
from types import NoneType
from typing import Literal, NamedTuple

import orjson


class Row(NamedTuple):
    """`place`: file and line, for people."""

    place: str
    values: dict[str, object]


class UnreadableRow(NamedTuple):
    """`digest`: 16 hex digits that depend on what the row holds, not on where it stands.

    `further`: the numbers, in the file, of the other rows that it stands for. `fate`: left_out by the source's `leave_out`, which
    is no fault.
    """

    place: str
    reason: str
    digest: str
    further: tuple[int, ...] = ()
    fate: Literal["unreadable", "left_out"] = "unreadable"

    @property
    def rows(self) -> int:
        return 1 + len(self.further)


def plain_text(value: object) -> str:
    """A number, a truth value or null as JSON writes it; a text as it is.

    >>> plain_text(True), plain_text(4.5), plain_text(10**20), plain_text(None), plain_text("True")
    ('true', '4.5', '100000000000000000000', 'null', 'True')
    """
    if isinstance(value, (bool, NoneType)):
        return str(value).lower() if isinstance(value, bool) else "null"
    return str(value)


Rows = Iterator[Row | UnreadableRow]


def digest_of(values: object) -> str:
    """The first 16 hex digits of a hash of what a row holds.

    >>> digest_of({"a": 1, "b": None}) == digest_of({"b": None, "a": 1}) != digest_of({"a": 2, "b": None})
    True
    """
    try:
        raw = orjson.dumps(values, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer beyond 64 bits, or nested deeper than orjson writes, which is less deep than it reads
        try:
            raw = json.dumps(values, default=repr, sort_keys=True).encode()
        except (RecursionError, TypeError, ValueError):
            raw = repr(sorted(map(str, values)) if isinstance(values, dict) else type(values)).encode()
    return hashlib.sha256(raw).hexdigest()[:16]
