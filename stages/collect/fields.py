"""What a row says about its conversation, besides the messages: label, language, group, system message and tools."""

from typing import NamedTuple

from stages.collect.mapping import SourceMapping
from stages.collect.messages import field_text, long_text
from stages.collect.sources import Columns
from stages.collect.spoken_calls import tools_of_first
from stages.collect.tool_use import read_tools
from stages.collect.transcripts import part_system
from stages.collect.values import NOTHING
from stages.lib.records.conversation import Message, Tool


class Fields(NamedTuple):
    label: str | None
    language: str | None
    group: str | None
    system: str | None
    tools: list[Tool] | None


def read_fields(values: dict[str, object], columns: Columns, thumb: bool | None = None) -> Fields:
    """`thumb`: what the label says, if it says that: it is no topic then."""
    is_topic = columns.label and (thumb is None or columns.desirable is not None)
    label = field_text(values, columns.label) if is_topic else None
    system = long_text(values, columns.system) if columns.system else None
    tools = _read_tools(values, columns)
    if system and tools is None and columns.messages == "chat":
        system, tools = part_system(system)
    language = field_text(values, columns.language) if columns.language else None
    return Fields(label, language, field_text(values, columns.group) if columns.group else None, system, tools)


def _read_tools(values: dict[str, object], columns: Columns) -> list[Tool] | None:
    prompt = values.get(str(columns.user))
    inner = prompt.get("tools") if isinstance(prompt, dict) else None  # OpenAI's preferences
    value = values.get(columns.tools) if columns.tools else inner
    if value not in NOTHING:
        return read_tools(value) or None
    return tools_of_first(values.get(columns.messages)) if columns.messages else None


def with_defaults(fields: Fields, mapping: SourceMapping) -> tuple[str | None, str | None, str | None, list[Message]]:
    """Label, language, group, and the system message, if there is one."""
    system: list[Message] = [{"role": "system", "content": fields.system}] if fields.system else []
    language = fields.language or mapping.language
    if language and language.isalpha():  # EN and en are one language; zh-Hant has its case
        language = language.lower()
    return fields.label or mapping.label, language, fields.group, system
