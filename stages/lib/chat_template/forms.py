"""Messages in the form that a chat template reads them in: templates differ, and lose what they don't know.

Some want a call's arguments as an object, some as text; some want ids of nine letters, some write no name of a call but its id;
GLM-4's wants a call as a reply with the function's name in its metadata, and has another name for the role of results;
some know thoughts as a part of the content, some none but those written into the text; some, of models that see, want each
text as a part. (Some look for a call only where there is no content: transformers hands them an empty one, so these are refused.)
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from stages.lib.records.conversation import Message, Role, Tool, ToolCall

ForTemplate = dict[str, Any]  # a message, or a part of one, as a template reads it

OPENED, CLOSED = "<think>", "</think>"
THOUGHT = "Probe thought"
THE_THOUGHTS = "the thoughts"
BESIDE_A_CALL = "the reply beside a call"
# A part as Python writes it, or as JSON does, which is fine for a tool's result alone.
PRINTED = re.compile(r"""'(?:text|thinking)': ['"]Probe |"(?:text|thinking)"\s*:\s*"Probe (?:question|reply|thought)""")
CALLED: dict[Role, str] = {
    "system": "the system message", "user": "the user's words", "assistant": "the reply", "tool": "a tool's result",
}  # fmt: skip


class Form(NamedTuple):
    """How messages are handed to a template."""

    arguments_as_text: bool = False
    nine_letter_ids: bool = False
    ids_with_names: bool = False
    thoughts_as_part: bool = False
    thoughts_in_text: bool = False
    contents_as_parts: bool = False
    calls_in_metadata: bool = False


def is_plain(messages: Sequence[Message], tools: list[Tool] | None) -> bool:
    """Whether roles and contents are all there is."""
    return not tools and not any(
        message["role"] == "tool" or "tool_calls" in message or "reasoning_content" in message for message in messages
    )


def possible_forms(uses_tools: bool, has_thoughts: bool) -> list[Form]:
    """The likeliest first."""
    either, no = (False, True), (False,)
    of_calls = ({}, {"nine_letter_ids": True}, {"ids_with_names": True}, {"calls_in_metadata": True}) if uses_tools else ({},)
    thoughts = ({}, {"thoughts_as_part": True}, {"thoughts_in_text": True}) if has_thoughts else ({},)
    return [
        Form(arguments_as_text=text, contents_as_parts=parts, **of_thoughts, **of_call)
        for parts, of_thoughts, of_call, text in product(either, thoughts, of_calls, either if uses_tools else no)
    ]


def probe_of(uses_tools: bool, has_thoughts: bool) -> tuple[list[Message], list[Tool] | None]:
    """A conversation whose every text shows in the rendered one, if the template knows what it holds."""
    messages: list[Message] = [{"role": "user", "content": "Probe question"}]
    tools: list[Tool] = []
    if uses_tools:
        properties = {"probe_key": {"type": "string", "description": "probe"}}
        parameters = {"type": "object", "properties": properties, "required": ["probe_key"]}
        function = {"name": "probe_schema", "description": "probe", "parameters": parameters}
        tools = [{"type": "function", "function": function}]
        arguments = json.dumps({"probe_key": "probe_value", "probe_number": 17})
        call: ToolCall = {"id": "call_1", "type": "function", "function": {"name": "probe_call", "arguments": arguments}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "content": "Probe result", "name": "probe_call", "tool_call_id": "call_1"})
    reply: Message = {"role": "assistant", "content": "Probe reply"}
    if has_thoughts:
        reply["reasoning_content"] = THOUGHT
    return [*messages, reply], tools or None


def to_form(messages: Sequence[Message], form: Form) -> list[ForTemplate]:
    given: list[ForTemplate] = []
    open_calls: list[str] = []
    ids: dict[str, str] = {}
    number = 0
    for message in messages:
        made: ForTemplate = {key: value for key, value in message.items() if key != "weight"}
        if calls := message.get("tool_calls"):
            made["tool_calls"] = [_call_in_form(call, at, number + at, form) for at, call in enumerate(calls)]
            open_calls = [call["id"] for call in made["tool_calls"] if "id" in call]
            ids |= {call["id"]: now["id"] for call, now in zip(calls, made["tool_calls"], strict=True) if "id" in call}
            number += len(calls)
        if message["role"] == "tool" and (form.nine_letter_ids or form.ids_with_names):
            stated = message.get("tool_call_id", "")
            unknown = _nine_letters(stated or "0") if form.nine_letter_ids else stated
            made["tool_call_id"] = ids.get(stated, unknown) if stated else next(iter(open_calls), unknown)
            open_calls = [id for id in open_calls if id != made["tool_call_id"]]
        if form.contents_as_parts:
            made["content"] = [{"type": "text", "text": made["content"]}]
        made = _with_thoughts(made, form) if message.get("reasoning_content") else made
        given += _in_metadata(made, message) if form.calls_in_metadata else [made]
    return given


def _in_metadata(made: ForTemplate, message: Message) -> list[ForTemplate]:
    """A message for each call, its arguments the content and its name beside it, as GLM-4's template reads them."""
    calls = message.get("tool_calls", [])
    made = {key: value for key, value in made.items() if key != "tool_calls"}
    if message["role"] == "tool":
        made["role"] = "observation"
    says_more = message["content"] or message.get("reasoning_content")
    return [*([made] if says_more or not calls else []), *map(_call_by_metadata, calls)]


def _call_by_metadata(call: ToolCall) -> ForTemplate:
    return {"role": "assistant", "metadata": call["function"]["name"], "content": call["function"]["arguments"]}


def _with_thoughts(made: ForTemplate, form: Form) -> ForTemplate:
    content, thoughts = made["content"], made["reasoning_content"]
    if not form.thoughts_as_part and not form.thoughts_in_text:
        return made | {"thinking": thoughts}  # under this name in some templates
    del made["reasoning_content"]
    parts = content if form.contents_as_parts else [{"type": "text", "text": content}]
    if form.thoughts_as_part:
        return made | {"content": [{"type": "thinking", "thinking": thoughts}, *parts]}
    text = f"<think>\n{thoughts}\n</think>\n\n{parts[0]['text']}"
    return made | {"content": [{"type": "text", "text": text}] if form.contents_as_parts else text}


def _call_in_form(call: ToolCall, position: int, number: int, form: Form) -> ForTemplate:
    """`position`: among the calls of its message. `number`: among all of the conversation."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    function = {"name": name, "arguments": arguments if form.arguments_as_text else _as_object(arguments)}
    made: ForTemplate = {**call, "function": function}
    if form.nine_letter_ids:
        made["id"] = _nine_letters(call.get("id") or str(position))
    elif form.ids_with_names and name not in call.get("id", ""):
        made["id"] = f"functions.{name}:{number}"
    return made


def _as_object(arguments: str) -> object:
    """As text where they are no object, or hold half of a surrogate pair, which no text can: it stays an escape."""
    try:
        value = json.loads(arguments)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def _nine_letters(id: str) -> str:
    return id if len(id) == 9 and id.isalnum() and id.isascii() else hashlib.sha256(id.encode()).hexdigest()[:9]


def special_texts(message: Message) -> Iterator[str]:
    """All of a message that a template may write out."""
    yield message["content"]
    yield message.get("reasoning_content", "")
    yield message.get("name", "")
    for call in message.get("tool_calls", []):
        yield from (call["function"]["name"], call["function"]["arguments"])


def find_lost(text: str, messages: Sequence[Message], tools: list[Tool] | None, last_thoughts: bool | None = None) -> str | None:
    """What of the messages, schemas and the last message's thoughts is not in the rendered text, in words; None if all is.

    Thoughts of earlier turns are left out by many templates, on purpose.
    """
    for tool in tools or []:
        if not _is_shown(tool["function"]["name"], text):
            return f"the schema of {tool['function']['name']}"
    for message in messages:
        for call in message.get("tool_calls", []):
            if not _shows_call(call, text):
                return f"the call of {call['function']['name']}"
        if not shows_content(message, text):
            return BESIDE_A_CALL if "tool_calls" in message else CALLED[message["role"]]
    thoughts = messages[-1].get("reasoning_content", "") if messages else ""
    if last_thoughts is not False and not _is_shown(thoughts, text):
        return THE_THOUGHTS
    return None


def shows_content(message: Message, text: str) -> bool:
    """Whether the rendered text holds the message's; of a reply that begins with thoughts, what it says after them.

    One that speaks of the tags in a sentence loses its beginning in templates that part texts at them (Qwen 3, R1).
    """
    content = message["content"]
    if content in text:
        return True
    thoughts, closed, said = content.partition(CLOSED)
    thinks = closed and message["role"] == "assistant" and thoughts.lstrip().startswith(OPENED)
    return _is_shown(said if thinks else content, text)


def _shows_call(call: ToolCall, text: str) -> bool:
    """Name and arguments; not as Python prints a dict, which no model was trained to write."""
    arguments = _as_object(call["function"]["arguments"])
    if not _is_shown(call["function"]["name"], text):
        return False
    if not isinstance(arguments, dict):
        return _is_shown(str(arguments), text)
    as_json = any(json.dumps(arguments, ensure_ascii=False, separators=marks) in text for marks in ((", ", ": "), (",", ":")))
    as_json = as_json or call["function"]["arguments"] in text
    return as_json or (repr(arguments) not in text and all(_is_shown(leaf, text) for leaf in _leaves(arguments)))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value


def _is_shown(value: str, text: str) -> bool:
    return any(way in text for way in ways_to_write(value.strip()))


def ways_to_write(value: str) -> Iterator[str]:
    """As it stands, or as JSON writes it."""
    yield value
    yield from (json.dumps(value, ensure_ascii=ascii)[1:-1] for ascii in (False, True))
