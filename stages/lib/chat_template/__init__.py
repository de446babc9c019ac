"""The chat template: messages to text and token ids, which of them are a reply, where it ends, and what a model's reply says."""

from stages.lib.chat_template.labels import tokenize_conversation
from stages.lib.chat_template.rendering import (
    FormMisfit,
    StopMisfit,
    SystemMisfit,
    TemplateMisfit,
    form_of,
    render_prompt,
    special_tokens,
    tokenize_prompt,
)
from stages.lib.chat_template.replies import Said, what_is_said
from stages.lib.chat_template.stops import check_template, note_stops, stop_token_id, stop_token_ids

__all__ = [
    "FormMisfit",
    "Said",
    "StopMisfit",
    "SystemMisfit",
    "TemplateMisfit",
    "check_template",
    "form_of",
    "note_stops",
    "render_prompt",
    "special_tokens",
    "stop_token_id",
    "stop_token_ids",
    "tokenize_conversation",
    "tokenize_prompt",
    "what_is_said",
]
