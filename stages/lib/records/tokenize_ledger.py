"""What tokenize tells about the conversations of train and validation, and some of them as the model sees them."""

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

FOLDER = Path("data/ledger/tokenize")
LEDGER = FOLDER / "conversations.jsonl"
RENDERED = FOLDER / "rendered.jsonl"


TokenizedFate = Literal["kept", "cut", "too_long", "template_misfit", "identical_replies", "no_labels"]


class Lengths(TypedDict):
    """Of a conversation that is too long as a whole.

    Tokens of its longest example and of its first turn alone; characters, and those of scripts without spaces among them.
    """

    tokens: int
    first_turn: int
    characters: int
    unspaced: int


class TokenizedRow(TypedDict):
    """One conversation: how many examples, tokens and labels it gave, or why it was left out.

    `detail`: of a misfit. `whole`: of what was too long. `repeated`: tokens beyond those of the last example, where there are
    several, since the template renders a reply otherwise once it is past. Fate `no_labels`: all of its replies are of weight 0,
    which is context.
    """

    id: str
    split: Literal["train", "validation"]
    fate: TokenizedFate
    detail: str | None
    examples: int
    tokens: int
    labels: int
    whole: NotRequired[Lengths]
    repeated: NotRequired[int]


class Piece(TypedDict):
    """A run of text of which the model learns to write all or nothing."""

    labelled: bool
    text: str


class RenderedExample(TypedDict):
    id: str
    pieces: list[Piece]
