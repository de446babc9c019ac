"""Some examples as the model sees them."""

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example, Examples
from stages.lib.records.tokenize_ledger import Piece, RenderedExample
from stages.tokenize.order import spread

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OF_EACH_SOURCE = 3


def render_pieces(tokenizer: "PreTrainedTokenizerBase", example: Example) -> list[Piece]:
    """The text in pieces that are labelled or not: each is what its tokens add, since by itself it may lose its first space."""
    pieces: list[Piece] = []
    ids: list[int] = []
    text = ""
    tokens = zip(example.input_ids, example.labels, strict=True)
    for labelled, run in groupby(tokens, key=lambda pair: pair[1] != IGNORE_INDEX):
        ids += [id for id, _ in run]
        longer = str(tokenizer.decode(ids))
        pieces.append({"labelled": labelled, "text": longer[len(text) :]})
        text = longer
    return pieces


def render_some(tokenizer: "PreTrainedTokenizerBase", examples: Examples) -> list[RenderedExample]:
    """Of each source a fixed few: the text as the model sees it, in pieces that are labelled or not."""
    by_source: dict[str, dict[str, int]] = defaultdict(dict)
    for position, id in enumerate(examples.ids):
        by_source[id.partition("/")[0]].setdefault(id, position)
    rows: list[RenderedExample] = []
    for _, firsts in sorted(by_source.items()):
        for id in sorted(firsts, key=spread)[:OF_EACH_SOURCE]:
            _, example = examples[firsts[id]]
            rows.append({"id": id, "pieces": render_pieces(tokenizer, example)})
    return rows
