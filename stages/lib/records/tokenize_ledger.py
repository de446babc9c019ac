"""What tokenize tells about the conversations of train and validation, and some of them as the model sees them."""

from pathlib import Path
from typing import Literal, TypedDict

LEDGER = Path("data/ledger/tokenize.jsonl")
RENDERED = Path("data/tokenized/rendered.jsonl")


TokenizedFate = Literal["kept", "cut", "too_long", "template_misfit", "identical_replies", "no_labels"]


class TokenizedRow(TypedDict):
    """One conversation: how many examples, tokens and labels it gave, or why it was left out. `detail`: of a misfit.

    `no_labels`: all of its replies are of weight 0, which is context.
    """

    id: str
    split: Literal["train", "validation"]
    fate: TokenizedFate
    detail: str | None
    examples: int
    tokens: int
    labels: int


class Piece(TypedDict):
    """A run of text of which the model learns to write all or nothing."""

    labelled: bool
    text: str


class RenderedExample(TypedDict):
    id: str
    pieces: list[Piece]
