"""The first conversations as the model will see them, what it learns to write in brackets or green."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import FormMisfit, StopMisfit, TemplateMisfit, form_of, tokenize_conversation
from stages.lib.chat_template.tokenizer import TOKENIZER, load_tokenizer
from stages.lib.records.conversation import Conversation, Message, is_trained, reply_text, uses_tool
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
        if tokenizer:
            try:
                pieces = list(rendered(conversation, tokenizer))
            except FormMisfit as misfit:
                yield f"  (stops `dvc repro`: {misfit}{ask_for_choice(misfit, [conversation], tokenizer)})"
            except TemplateMisfit as misfit:
                yield f"  (left out of training: {misfit})"
        text = "".join(marked(piece, labelled, colour) for piece, labelled in pieces or plain(conversation))
        yield from (f"  {line}" for line in text.rstrip("\n").split("\n"))


def settings_needed(conversations: Sequence[Conversation]) -> str | None:
    """What must be set in params.yaml, since the chat template does not know all that they hold; None before it is there."""
    kinds = {(holds_tools(one), any("reasoning_content" in message for message in one["messages"])) for one in conversations}
    if kinds == {(False, False)} or not TOKENIZER.exists():
        return None
    tokenizer = load_tokenizer()
    for uses_tools, has_thoughts in sorted(kinds - {(False, False)}):
        try:
            form_of(tokenizer, uses_tools=uses_tools, has_thoughts=has_thoughts)
        except FormMisfit as misfit:
            return f"{misfit}{ask_for_choice(misfit, conversations, tokenizer)}"
    return next(
        (f"{misfit}{ask_for_choice(misfit, conversations, tokenizer)}" for misfit in stop_misfits(conversations, tokenizer)), None
    )


def stop_misfits(conversations: Sequence[Conversation], tokenizer: "PreTrainedTokenizerBase") -> Iterator[StopMisfit]:
    """Of the kinds of replies with calls or thoughts, each tried once, those inside which a generation would end."""
    tried = set()
    for conversation in conversations:
        for at, message in enumerate(conversation["messages"]):
            calls = len(message.get("tool_calls", []))
            kind = (bool(message["content"].strip()), min(calls, 2), "reasoning_content" in message)
            if not any(kind[1:]) or kind in tried or not is_trained(message):
                continue
            tried.add(kind)
            before: list[Message] = [{**earlier, "weight": 0} for earlier in conversation["messages"][:at]]
            try:
                tokenize_conversation(tokenizer, [*before, message], conversation.get("tools"))
            except StopMisfit as misfit:
                yield misfit
            except TemplateMisfit:
                continue


def holds_tools(conversation: Conversation) -> bool:
    return bool(conversation.get("tools")) or any(map(uses_tool, conversation["messages"]))


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
