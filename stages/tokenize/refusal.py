"""What to do where the chat template does not know what conversations hold besides texts."""

from collections.abc import Iterable

from stages.lib.chat_template import FormMisfit
from stages.lib.records.conversation import Conversation, conversations_of, uses_tool
from stages.lib.records.tokenized import TokenizedSplit
from stages.lib.template_forms import is_plain


def refuse_form(misfit: FormMisfit, id: str, conversations: Iterable[Conversation], split: TokenizedSplit) -> str:
    """What to do where the template knows no tools or no thoughts, which no conversation that has them gets round."""
    number = sum(not is_plain(row["messages"], row.get("tools")) for row in conversations)
    first = f"{id} is the first of {number:,} conversations with tools or thoughts"
    return f"{conversations_of(split)}: {first}, and {misfit}; {choices_for(conversations)}"


def choices_for(conversations: Iterable[Conversation]) -> str:
    """What to set where the template does not know what they hold besides texts."""
    choices = []
    if any(row.get("tools") or any(map(uses_tool, row["messages"])) for row in conversations):
        choices.append(
            "clean.tool_messages to drop (what depends on a tool's result goes, counted) or as_user (results as the user's words)"
        )
    if any("reasoning_content" in message for row in conversations for message in row["messages"]):
        choices.append("clean.thoughts to drop")
    return f"set {' and '.join(choices)}, or base_model.chat_template to one that knows them"
