"""Whether the conversations fit what training takes at once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stages.lib.chat_template import TemplateMisfit
from stages.lib.core.params import read_params
from stages.lib.records.conversation import Conversation
from stages.tokenize.__main__ import TokenizeParams, measure_all
from stages.tokenize.batches import BatchTokenizer
from stages.tokenize.lengths import tell_too_long
from tools.console import paragraph

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_TOKENISED = 500


def tell_lengths(conversations: Sequence[Conversation], tokenizer: "PreTrainedTokenizerBase") -> Iterator[str]:
    """Of those that cleaning keeps, how many are too long, if they are many."""
    max_length, batch = read_params("tokenize", TokenizeParams).max_length, BatchTokenizer(tokenizer)
    some = conversations[:MOST_TOKENISED]
    too_long = []
    outcomes = batch.tokenize((one["messages"] for one in some), (one.get("tools") for one in some))
    for conversation, outcome in zip(some, outcomes, strict=True):
        if not isinstance(outcome, TemplateMisfit) and outcome:
            tokens = max(len(example.input_ids) for example in outcome)
            too_long += [(conversation, tokens)] if tokens > max_length else []
    if said := tell_too_long(measure_all(batch, too_long).values(), len(some), max_length):
        yield ""
        yield from paragraph("too long", said)
