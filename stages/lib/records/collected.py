"""What collect writes of each source, and clean reads: its conversations, and a ledger of its rows."""

from pathlib import Path
from typing import Literal, TypedDict

FOLDER = Path("data/collected")
LEDGERS = Path("data/ledger/collect")

Fate = Literal["collected", "over_limit", "unreadable"]


class CollectedRow(TypedDict):
    """A row of the ledger: a conversation, or what could not be read.

    `place`: where its first row stands; `further`: the numbers of the other rows it was made of; `rows`: how many these are in
    all. `reason`: why it is unreadable.
    """

    id: str
    place: str
    further: list[int]
    rows: int
    fate: Fate
    reason: str | None


def conversations_of(source: str) -> Path:
    return FOLDER / f"{source}.jsonl"


def ledger_of(source: str) -> Path:
    return LEDGERS / f"{source}.jsonl"
