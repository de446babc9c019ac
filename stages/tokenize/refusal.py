"""What to do where the chat template does not know what conversations hold besides questions and replies."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stages.lib.base_model.tokenized import TokenizedSplit
from stages.lib.chat_template import FormMisfit, StopMisfit, SystemMisfit, form_of
from stages.lib.chat_template.forms import is_plain
from stages.lib.records.conversation import Conversation, conversations_of, uses_tool
from stages.tokenize.thinking import what_lets_it_think

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOOLS = "clean.tool_messages to drop (what depends on a tool's result goes, counted) or as_user (results as the user's words)"
WITHOUT = {"tool_calls": TOOLS, "reasoning_content": "clean.thoughts to drop"}


def refuse_form(
    misfit: FormMisfit,
    id: str,
    conversations: Iterable[Conversation],
    split: TokenizedSplit,
    tokenizer: "PreTrainedTokenizerBase",
) -> str:
    """What to do where the template knows no tools, no thoughts or no system message, which no conversation that has them gets
    round; or ends a generation inside a reply that has them.
    """
    if isinstance(misfit, StopMisfit):
        return f"{conversations_of(split)}: {id}: {misfit}{ask_for_choice(misfit, conversations, tokenizer)}"
    if isinstance(misfit, SystemMisfit):
        number, what = sum(row["messages"][0]["role"] == "system" for row in conversations), "a system message"
    else:
        number, what = sum(not is_plain(row["messages"], row.get("tools")) for row in conversations), "tools or thoughts"
    first = f"{id} is the first of {number:,} conversations with {what}, and " if number else ""
    return f"{conversations_of(split)}: {first}{misfit}{ask_for_choice(misfit, conversations, tokenizer)}"


def ask_for_choice(misfit: FormMisfit, conversations: Iterable[Conversation], tokenizer: "PreTrainedTokenizerBase") -> str:
    """What to set, where the misfit does not say so itself."""
    if isinstance(misfit, SystemMisfit):
        return ""
    if isinstance(misfit, StopMisfit):
        choices = " and ".join(WITHOUT[key] for key in misfit.keys)
        return f"; set {choices}, or base_model.chat_template to {misfit.wanted}"
    return f"; {choices_for(conversations, tokenizer)}"


def choices_for(conversations: Iterable[Conversation], tokenizer: "PreTrainedTokenizerBase") -> str:
    """What to set where the template does not know what they hold besides texts."""
    uses_tools = any(row.get("tools") or any(map(uses_tool, row["messages"])) for row in conversations)
    has_thoughts = any("reasoning_content" in message for row in conversations for message in row["messages"])
    choices = []
    if uses_tools and not (has_thoughts and fits(tokenizer, uses_tools=True, has_thoughts=False)):
        choices.append(TOOLS)
    if has_thoughts and not (uses_tools and fits(tokenizer, uses_tools=False, has_thoughts=True)):
        settings = what_lets_it_think(tokenizer, uses_tools and not choices)
        choices.append(f"{WITHOUT['reasoning_content']}{f' (or {let_it_think(settings)})' if settings else ''}")
    if not choices:
        return "set base_model.chat_template to one that writes them out"
    return f"set {' and '.join(choices)}, or base_model.chat_template to one that knows them"


def fits(tokenizer: "PreTrainedTokenizerBase", uses_tools: bool, has_thoughts: bool) -> bool:
    try:
        form_of(tokenizer, uses_tools, has_thoughts)
    except FormMisfit:
        return False
    return True


def let_it_think(settings: dict[str, bool]) -> str:
    """
    >>> let_it_think({"thinking": True})
    'base_model.template_variables to {thinking: true}, with which the template writes them'
    """
    lines = ", ".join(f"{name}: {str(value).lower()}" for name, value in settings.items())
    return f"base_model.template_variables to {{{lines}}}, with which the template writes them"
