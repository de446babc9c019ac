"""What sources and collect write, and clean reads: the names of the sources; their conversations, and a ledger of their rows."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

FOLDER = Path("data/collected")
LEDGERS = Path("data/ledger/collect")
NAMES = Path("data/sources.json")  # of all sources, in the order of the ids under them

NAME = re.compile("[A-Za-z][A-Za-z0-9_-]{0,99}")
NAME_RULE = "expected a letter, then letters, digits, _ or -, at most 100 in all"

Fate = Literal["collected", "over_limit", "unreadable", "left_out"]


class CollectedRow(TypedDict):
    """A row of the ledger: a conversation, or what could not be read.

    `place`: where its first row stands; `further`: the numbers of the other rows it was made of; `rows`: how many these are in
    all. `reason`: why it is unreadable or left out. `left_out_rows`: the numbers of its rows that the source's `leave_out` leaves
    out, counted in `rows`; `left_out_messages`: the same of the messages in its list, from 1.
    """

    id: str
    place: str
    further: Sequence[int]
    rows: int
    fate: Fate
    reason: str | None
    left_out_rows: NotRequired[Sequence[int]]
    left_out_messages: NotRequired[Sequence[int]]


def check_names(sources: object) -> object:
    """`collect.sources` as it came. A source's name stands in names of stages and files, and in ids.

    Raises:
        ValueError: one may not stand there, or two are the same file where case counts for nothing; or a path is a pattern.
    """
    seen: dict[str, str] = {}
    for name, source in sources.items() if isinstance(sources, dict) else ():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"a source named {name!r}; {NAME_RULE}")
        check_path_is_none_of_many(name, source)
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ValueError(f"sources named {other!r} and {name!r}; expected names that differ in more than case")
    return sources


def check_path_is_none_of_many(name: str, source: object) -> None:
    """DVC depends on a file or a folder, and takes a pattern for the name of a file that is missing.

    Raises:
        ValueError: the source's path is a pattern.
    """
    path = source.get("path") if isinstance(source, dict) else None
    if not isinstance(path, str) or not re.search(r"[*?]", path) or Path(path).exists():
        return
    parts = Path(path).parts
    first = next(number for number, part in enumerate(parts) if re.search(r"[*?]", part))
    folder, pattern = Path(*parts[:first]), Path(*parts[first:])
    raise ValueError(
        f"source {name!r} has the pattern {path!r} as its path; expected a file or a folder, `path: {folder}`, with the pattern "
        f"beside it, `files: {json.dumps(pattern.as_posix())}`"
    )


def in_order_of_ids(names: Iterable[str]) -> list[str]:
    """The sources' names in the order of the ids under them: all of `a-b/...` sorts before `a/...`.

    >>> in_order_of_ids(["a", "b", "a-b"])
    ['a-b', 'a', 'b']
    """
    return sorted(names, key=lambda name: f"{name}/")


def conversations_of(source: str) -> Path:
    return FOLDER / f"{source}.jsonl"


def ledger_of(source: str) -> Path:
    return LEDGERS / f"{source}.jsonl"
