"""A row's values -> texts, roles and messages; what is something else is an error without a place."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from stages.collect.attached import refuse_attached
from stages.collect.contents import Content, holds_results, part_thoughts, read_content, result_text, steps_of
from stages.collect.cut_short import is_cut
from stages.collect.marks import Meaning, is_marked_off
from stages.collect.rows import plain_text
from stages.collect.spoken_calls import call_with_result, spoken_calls
from stages.collect.stated_thoughts import stated_thoughts
from stages.collect.tool_use import calls_in_text, json_text, make_result, read_tool_calls
from stages.collect.values import NOTHING, shorten, show
from stages.collect.vercel import parts_beside
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import ROLES, Message, Role, Tool, ToolCall

# The roles of a message that is nothing but a call of a tool: the assistant's words.
CALL_ROLES = ("function_call", "function_calls", "tool_call", "tool_calls")
ROLE_NAMES: dict[str, Role] = {
    **{role: role for role in ROLES},
    "human": "user",
    "gpt": "assistant",
    "developer": "system",
    "prompter": "user",  # OpenAssistant's
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "function_response": "tool",
    "ipython": "tool",  # Llama's
    **dict.fromkeys(("tool_responses", "tool_results", "tool_output", "tool_outputs"), "tool"),
    **dict.fromkeys(("function_responses", "function_result", "function_results", "function_output", "observations"), "tool"),
    **dict.fromkeys(CALL_ROLES, "assistant"),
}
ANYBODY = "*"  # in a source's `roles`: each name that is not mapped
REASONING_KEYS = (
    "reasoning_content", "reasoning", "thinking", "thoughts", "thought", "chain_of_thought", "cot", "Complex_CoT", "think",
    "thinking_content", "reasoning_text", "reasoning_trace", "thought_process", "thinking_trajectory", "scratchpad", "思维链",
    "思考过程", "推理过程",
)  # fmt: skip
REFUSAL = "refusal"  # where OpenAI's models decline, in place of the content
REPLY_KEYS = ("tool_calls", "function_call", "tool_call_id", *REASONING_KEYS)  # of a message, besides its role and content
OF_A_TEXT = frozenset(["type", "role", "text", "content", "cache_control", "annotations"])  # keys of a part that is a text
OPENED_THOUGHT = re.compile(r"\s*<think(?:ing)?>")


def field_text(values: dict[str, object], name: str | None) -> str | None:
    """What a field holds, as text; None where the field is not mapped, absent or blank.

    >>> field_text({"label": 3}, "label"), field_text({"label": " "}, "label"), field_text({}, "label"), field_text({}, None)
    ('3', None, None, None)
    """
    return as_text(values.get(name)) if name else None


def long_text(values: Mapping[str, object], name: str | None) -> str | None:
    """As `field_text`, of what the model reads: a list of texts, passages say, is one below the other."""
    value = values.get(name) if name else None
    if (parts := text_parts(value)) and (content := read_content(parts)):
        return content.text.strip() or None
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return "\n\n".join(stripped for part in value if (stripped := part.strip())) or None
    return as_text(value)


def text_parts(value: object) -> list[object] | None:
    """Parts with a text each and nothing else that says something, as Bedrock, Anthropic and Gemini write a system message."""
    if isinstance(value, dict) and isinstance(value.get("parts"), list):
        value = value["parts"]
    parts = value if isinstance(value, list) else [value]
    fits = [
        isinstance(part, dict) and part.keys() <= OF_A_TEXT and isinstance(part.get("text", part.get("content")), str)
        for part in parts
    ]
    return parts if parts and all(fits) else None


def as_text(value: object) -> str | None:
    """A value of any type as text: an optional field keeps no row from being read. A list is its parts, an object JSON.

    >>> as_text(["a", True]), as_text({"$oid": "5f"}), as_text({"a": 1}), as_text(float("nan")), as_text([])
    ('a, true', '5f', '{"a": 1}', None, None)
    """
    if isinstance(value, str):
        return value.strip() or None
    if value is None or (isinstance(value, float) and math.isnan(value)):  # pandas writes NaN for nothing
        return None
    if isinstance(value, dict):
        if len(value) == 1 and (key := str(next(iter(value)))).startswith("$"):  # as MongoDB exports ids and numbers
            return as_text(value[key])
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=repr) if value else None
    if isinstance(value, (list, tuple)):
        return ", ".join(part for part in map(as_text, value) if part) or None
    return plain_text(value)


def is_number(value: object) -> bool:  # truth values too; NaN is none
    return isinstance(value, (bool, int, float, Decimal)) and value == value  # noqa: PLR0124


def read_text(values: dict[str, object], name: str) -> str:
    value = values[name]
    if is_number(value):
        return plain_text(value)
    if not isinstance(value, str):
        raise ReprotuneError(f"{name} is {show(value)}; expected text")
    return value


def find_role(name: object, roles: dict[str, Role]) -> Role:
    """The role behind a name, which may be a number or a truth value."""
    if isinstance(name, str) and name in roles:
        return roles[name]
    known = plain_text(name).strip() if isinstance(name, str) or is_number(name) else None
    if known and ANYBODY in roles and known not in roles:
        return roles[ANYBODY]
    if known is None or known not in roles:
        found = shorten(repr(name)) if isinstance(name, str) else show(name)
        remedy = "say by the source's `begins` who speaks first" if name is None else "map it in the source's `roles`"
        raise ReprotuneError(f"role {found}; expected {', '.join(ROLES)} ({remedy})")
    return roles[known]


class MessageKeys(NamedTuple):
    """How a source's messages are read: the keys of role and content, its names of roles, its marks of what to learn from."""

    role: str
    content: str
    roles: dict[str, Role]
    marks: Mapping[str, Meaning]

    def is_result(self, message: object) -> bool:
        name = message.get(self.role) if isinstance(message, dict) else None
        return isinstance(name, str) and self.roles.get(name.strip()) == "tool"


def read_messages(value: list, name: str, keys: MessageKeys, tools: list[Tool] | None = None) -> list[Message]:
    """The messages of a list. `tools`: what could be called, by which a reply that is nothing but a call as JSON is known."""
    messages: list[Message] = []
    known = {str(tool["function"]["name"]) for tool in tools or []}
    for position, message in enumerate(value):
        read = read_message(message, keys) if isinstance(message, dict) else None
        if read is None:
            raise ReprotuneError(f'{name}[{position}] is {show(message)}; expected "{keys.role}" and a text "{keys.content}"')
        if len(read) == 1 and read[0]["role"] == "assistant" and "tool_calls" not in read[0]:
            before_result = any(map(keys.is_result, value[position + 1 : position + 2]))
            if calls := spoken_calls(message, read[0]["content"], before_result, known):
                read[0] |= {"content": "", "tool_calls": calls}
        messages += read
    return messages


def read_plain_messages(value: list, keys: MessageKeys) -> list[Message] | None:
    """What `read_messages` gives, sooner, where each message is a role and a text and nothing else, as most are; else None."""
    messages: list[Message] = []
    of_role, of_content, roles, _ = keys
    for message in value:
        if not isinstance(message, dict) or len(message) != 2:
            return None
        text, name = message.get(of_content), message.get(of_role)
        role = roles.get(name) if isinstance(name, str) and name not in CALL_ROLES else None
        if role is None or role == "tool" or not isinstance(text, str) or "<think" in text or "</think" in text:
            return None
        messages.append({"role": role, "content": text})
    return messages


def read_message(message: dict[str, object], keys: MessageKeys) -> list[Message] | None:
    """What one message says: of a user who hands over results of tools in parts, those first. None if it has no content.

    A message that only calls tools has an empty text. A reply whose parts hold results goes on behind them.
    """
    value, name = message.get(keys.content), message.get(keys.role)
    if value in NOTHING and isinstance(refusal := message.get(REFUSAL), str):
        value = refusal
    value = parts_beside(message, value) or value
    if isinstance(value, (dict, list)) and name in CALL_ROLES:
        value = json_text(value)
    calls = read_tool_calls(message.get("tool_calls")) or read_tool_calls(message.get("function_call"))
    if value is None and keys.is_result(message) and (both := call_with_result(message)):
        return both
    is_result = isinstance(value, (dict, list)) and keys.is_result(message) and not holds_results(value)
    content = Content(result_text(value)) if is_result else read_content(value)
    if content is None and not calls:
        return None
    content = content or Content()
    calls = [call for call in calls if "id" not in call or call["id"] not in {known.get("id") for known in content.calls}]
    refuse_attached(message, keys.marks, "a message")
    role = find_role(name, keys.roles)
    if role != "assistant" and (content.calls or (calls and role != "tool")):
        raise ReprotuneError(f"a call of a tool by the {role}; expected the assistant's (map its name in the source's `roles`)")
    if role == "tool" and content.results:
        return list(content.results)
    if role == "tool":
        return [make_result(content.text, message.get("name"), message.get("tool_call_id"))]
    if role == "assistant":
        steps = map(read_content, steps_of(value)) if content.results else [content]
        return _read_steps(message, filter(None, steps), calls, keys)
    rest: list[Message] = [{"role": role, "content": content.text}] if content.text or not content.results else []
    return [*content.results, *rest]


def _read_steps(message: dict[str, object], steps: Iterable[Content], calls: list[ToolCall], keys: MessageKeys) -> list[Message]:
    """What the assistant says before and behind the results that stand among the parts of its message.

    What stands beside the parts, `calls` and thoughts, belongs to the first step.
    """
    read: list[Message] = []
    for content in steps:
        read += [_read_reply(message, content, [*content.calls, *calls], keys), *content.results]
        message, calls = {key: value for key, value in message.items() if key not in REASONING_KEYS}, []
    return read


def _read_reply(message: dict[str, object], content: Content, calls: list[ToolCall], keys: MessageKeys) -> Message:
    thoughts, text = part_thoughts(content.text)
    if OPENED_THOUGHT.match(text) and "</think" not in text:
        raise ReprotuneError(f"a reply, {show(text)}, opens its thoughts and never closes them; it was cut short, so take it out")
    name = message.get(keys.role)
    if not calls and isinstance(name, str) and name.strip() in CALL_ROLES and (inner := calls_in_text(text)):
        calls, text = inner, ""
    stated = [stated_thoughts(message.get(key)) or "" for key in REASONING_KEYS if key != keys.content]
    thoughts = join_thoughts(*stated, content.thoughts, thoughts)
    reply: Message = {"role": "assistant", "content": text}
    if calls:
        reply["tool_calls"] = calls
    if thoughts:
        reply["reasoning_content"] = thoughts
    if is_marked_off(message, keys.marks) or is_cut(message, keys.marks):
        reply["weight"] = 0
    return reply


def join_thoughts(*thoughts: str) -> str:
    """Those that there are, each once."""
    return "\n".join(dict.fromkeys(stripped for thought in thoughts if (stripped := thought.strip())))
