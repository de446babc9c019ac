"""What split writes about each conversation, and what its leakage gate found."""

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

ASSIGNMENT = Path("data/split/assignment.jsonl")
GATE = Path("data/split/gate.json")


Place = Literal["train", "validation", "test", "left_out"]


class Nearness(TypedDict):
    """Of a test row: the train row most like it, if one is at all, and the Jaccard index of the two.

    `ngrams_in_train`: the share of its long n-grams that stand somewhere in train (None where it has none).
    """

    nearest_train: str | None
    nearest_similarity: float | None
    ngrams_in_train: float | None


class AssignedRow(TypedDict):
    """One conversation. `group`: the first id of those that stay together. The rest as in Nearness, of a test row."""

    id: str
    split: Place
    stratum: str
    group: str
    nearest_train: NotRequired[str | None]
    nearest_similarity: NotRequired[float | None]
    ngrams_in_train: NotRequired[float | None]


class Gate(TypedDict):
    """Counts of groups, and of rows. `groups_too_large`: for a held-out split; they are in train. `regrouped_...`: rows that were
    alike across the border, by what, and were tied together for it; `leaked`: those that are still."""

    groups: int
    groups_too_large: int
    largest_group: int
    leaked: int
    regrouped_group: int
    regrouped_text: int
    regrouped_near: int
