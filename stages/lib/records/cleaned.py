"""What clean writes: the conversations that stay, and a ledger of all that were collected."""

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

CLEANED = Path("data/cleaned.jsonl")
FOLDER = Path("data/ledger/clean")
LEDGER = FOLDER / "conversations.jsonl"
SOURCES = FOLDER / "sources.json"  # source -> fate in collect -> source rows


class CleanedRow(TypedDict):
    """A row of the ledger: one collected conversation.

    `duplicate_of` and `similarity` (Jaccard index): of what stays in its place. `messages`: after cleaning, besides those that
    were joined to others and those that were left out. `rejected_left_out`: of the rejected conversations beside what is kept,
    those that lack a side after cleaning.
    """

    id: str
    fate: Literal["kept", "repaired", "dropped"]
    reason: str | None
    duplicate_of: str | None
    similarity: float | None
    repaired_by: list[str]
    tags: list[str]
    messages: int
    messages_joined: int
    messages_left_out: int
    rejected_left_out: NotRequired[int]
