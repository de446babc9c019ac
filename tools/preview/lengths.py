"""Whether the conversations fit what training takes at once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stages.lib.chat_template import TemplateMisfit
from stages.lib.core.params import read_params
from stages.lib.records.conversation import Conversation
from stages.tokenize.__main__ import TokenizeParams
from stages.tokenize.batches import BatchTokenizer
from stages.tokenize.lengths import TooLong, tell_too_long
from tools.console import paragraph

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_TOKENISED = 500


def tell_lengths(conversations: Sequence[Conversation], tokenizer: "PreTrainedTokenizerBase") -> Iterator[str]:
    """Of those that cleaning keeps, how many are too long, if they are many."""
    max_length, batch = read_params("tokenize", TokenizeParams).max_length, BatchTokenizer(tokenizer)
    some = conversations[:MOST_TOKENISED]
    too_long = TooLong(batch)
    outcomes = batch.tokenize((one["messages"] for one in some), (one.get("tools") for one in some))
    for conversation, outcome in zip(some, outcomes, strict=True):
        if not isinstance(outcome, TemplateMisfit) and outcome:
            tokens = max(len(example.input_ids) for example in outcome)
            if tokens > max_length:
                too_long.add(conversation, tokens)
    if said := tell_too_long(too_long.lengths().values(), len(some), max_length):
        yield ""
        yield from paragraph("too long", said)
