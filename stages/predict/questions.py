"""What is asked: which turns of a conversation are replied to, after which prompt, with how much room for the reply."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from stages.lib.chat_template import TemplateMisfit, tokenize_conversation, tokenize_prompt
from stages.lib.records.conversation import Conversation, Message, Tool, trained_positions

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

PROBE: Message = {"role": "assistant", "content": "a"}


class Question(NamedTuple):
    """What is replied to; `room`, the most tokens that the reply may take, its stop token included."""

    prompt: list[int]
    room: int


def choose_turns(conversation: Conversation, most: int, seed: int) -> list[int]:
    """So many of the messages to learn, in order; which ones does not depend on other conversations."""
    turns = trained_positions(conversation["messages"])
    chosen = random.Random(f"{seed} {conversation['id']}").sample(turns, min(most, len(turns)))
    return sorted(chosen)


def as_context(messages: Sequence[Message]) -> list[Message]:
    """With nothing to learn: what went before may hold what no model could have written."""
    return [{**message, "weight": 0} for message in messages]


def context_of(config: "PreTrainedConfig") -> int:
    """Tokens that prompt and reply may have together; of transformers' config."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or 10**9


def ask(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, longest: int, context: int
) -> Question | str:
    """The prompt and the room for its reply, or why there can be none."""
    try:
        tokenize_conversation(tokenizer, [*as_context(messages), PROBE], tools)  # it looks for special tokens in the texts
        prompt = tokenize_prompt(tokenizer, messages, tools)
    except TemplateMisfit as misfit:
        return str(misfit)
    room = min(longest, context - len(prompt))
    filled = f"its prompt of {len(prompt):,} tokens leaves a reply no room in the model's context of {context:,}"
    return Question(prompt, room) if room > 0 else filled
