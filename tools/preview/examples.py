"""The first conversations as the model will see them, what it learns to write in brackets or green."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from stages.lib.chat_template import FormMisfit, TemplateMisfit, tokenize_conversation
from stages.lib.records.conversation import Conversation, is_trained, reply_text
from stages.lib.records.tokenized import IGNORE_INDEX
from stages.tokenize.refusal import ask_for_choice
from tools.console import visible
from tools.preview.thoughts import tell_thoughts
from tools.preview.wording import shorten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_SHOWN = 3


def tell_first(kept: list[tuple[str, Conversation]], tokenizer: "PreTrainedTokenizerBase | None", colour: bool) -> Iterator[str]:
    """Those that cleaning keeps, with their places; `tokenizer`: None before `dvc repro base_model`."""
    yield ""
    yield f"The first, as the model will see them; it learns to write what is {'green' if colour else 'in brackets'}."
    if tokenizer is None:
        yield "(The chat template comes with `dvc repro base_model`.)"
    else:
        yield from tell_thoughts(tokenizer, [conversation for _, conversation in kept])
    for place, conversation in kept[:MOST_SHOWN]:
        yield ""
        yield visible(place)
        pieces = None
        try:
            pieces = list(rendered(conversation, tokenizer)) if tokenizer else None
        except FormMisfit as misfit:
            yield f"  (stops `dvc repro`: {misfit}{ask_for_choice(misfit, [conversation])})"
        except TemplateMisfit as misfit:
            yield f"  (left out of training: {misfit})"
        text = "".join(marked(piece, labelled, colour) for piece, labelled in pieces or plain(conversation))
        yield from (f"  {line}" for line in text.rstrip("\n").split("\n"))


def rendered(conversation: Conversation, tokenizer: "PreTrainedTokenizerBase") -> Iterator[tuple[str, bool]]:
    """(piece of the first example's text, whether it is labelled)."""
    for input_ids, labels in tokenize_conversation(tokenizer, conversation["messages"], conversation.get("tools"))[:1]:
        for labelled, run in groupby(zip(input_ids, labels, strict=True), key=lambda pair: pair[1] != IGNORE_INDEX):
            yield str(tokenizer.decode([id for id, _ in run])), labelled


def plain(conversation: Conversation) -> Iterator[tuple[str, bool]]:
    """The same without a chat template.

    >>> list(plain({"messages": [{"role": "assistant", "content": "Hi"}]}))
    [('assistant: ', False), ('Hi', True), ('\\n', False)]
    """
    for message in conversation["messages"]:
        yield f"{message['role']}: ", False
        yield reply_text(message), is_trained(message)
        yield "\n", False


def marked(text: str, labelled: bool, colour: bool) -> str:
    begin, end = ("\x1b[32m", "\x1b[0m") if colour else ("[", "]")
    shown = visible(shorten(text))
    return f"{begin}{shown}{end}" if labelled else shown
