"""Which mode of a reasoning model the conversations train."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import FormMisfit, TemplateMisfit, form_of, render_prompt, tokenize_conversation
from stages.lib.chat_template.thoughts import find_thought
from stages.lib.records.conversation import Conversation, Message
from stages.tokenize.refusal import let_it_think
from stages.tokenize.thinking import what_lets_it_think
from tools.console import paragraph

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
EMPTY_THOUGHT = re.compile(r"\s*<think>\s*</think>")


def tell_thoughts(tokenizer: "PreTrainedTokenizerBase", conversations: Sequence[Conversation]) -> Iterator[str]:
    """Nothing where neither the conversations hold thoughts nor the template knows them."""
    has = [any("reasoning_content" in message for message in one["messages"]) for one in conversations]
    number = sum(has)
    if number:
        yield from paragraph("thoughts", f"in {number:,} of {len(has):,} conversations: {how_written(tokenizer)}")
    if number < len(has) and (mode := mode_without(tokenizer)):
        who = "the others train" if number else "none in them, so that they train"
        yield from paragraph("" if number else "thoughts", f"{who} the model's non-thinking mode: {mode}")


def how_written(tokenizer: "PreTrainedTokenizerBase") -> str:
    try:
        form = form_of(tokenizer, uses_tools=False, has_thoughts=True)
        tokenize_conversation(tokenizer, [PROBE[0], {**PROBE[1], "reasoning_content": "c"}])
    except FormMisfit as misfit:
        settings = what_lets_it_think(tokenizer, uses_tools=False)
        another = f"; or set {let_it_think(settings)}" if settings else ""
        return f"{misfit}, which stops `dvc repro` (clean.thoughts: drop{another})"
    except TemplateMisfit as misfit:
        return f"{misfit} (clean.thoughts: drop)"
    if form.thoughts_in_text:
        return "the template knows none, so the model learns to write them into its text, between <think> and </think>"
    return "the model learns to write them as its template has them (clean.thoughts: drop leaves them out)"


def mode_without(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """How a reply without thoughts is asked for and written; None where the template knows no thoughts."""
    template = str(tokenizer.get_chat_template())
    if "think" not in template.lower():
        return None
    try:
        prompt = render_prompt(tokenizer, PROBE[:1])
        labels = tokenize_conversation(tokenizer, PROBE)[-1].labels
    except TemplateMisfit:
        return None
    reply = str(tokenizer.decode([label for label in labels if label != IGNORE_INDEX]))
    if EMPTY_THOUGHT.match(reply):
        mode = "it learns to write an empty thought before each reply"
    elif thought := find_thought(prompt):
        if thought.is_closed:
            return "the prompt holds an empty thought already"
        mode = "the prompt opens a thought, which it learns to close at once"
    else:
        mode = "it learns to reply without a thought"
    off = "enable_thinking" in template and "set enable_thinking = false" not in template
    advice = " (`base_model.template_variables: {enable_thinking: false}` writes its prompts for that)"
    return mode + (advice if off else "")
