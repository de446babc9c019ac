"""What an assistant may call, its calls, and their results, from every format that has them -> OpenAI's."""

import json
import re
from collections.abc import Mapping

import orjson

from stages.collect.nested import parse_json
from stages.collect.values import from_json, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Function, Message, Tool, ToolCall

ARGUMENTS = ("arguments", "parameters", "input", "args")
SCHEMAS = ("parameters", "input_schema", "inputSchema")
# Glaive writes the arguments of a call as a text in single quotes, inside what is JSON otherwise.
QUOTED_ARGUMENTS = re.compile(r"""\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"arguments"\s*:\s*'(.*)'\s*\}\s*""", re.DOTALL)


def read_tool_calls(value: object) -> list[ToolCall]:
    """The calls of a message: a list, one, or JSON text of either.

    Raises:
        ReprotuneError: one has no function's name.
    """
    value = from_json(value)
    calls = value if isinstance(value, list) else [value] if value not in (None, "", {}) else []
    return [_read_call(call) for call in calls]


def calls_in_text(text: str) -> list[ToolCall] | None:
    """A text that is nothing but calls as JSON, as ShareGPT's function_call has it; None for any other text.

    >>> calls_in_text('{"name": "f", "arguments": {"a": 1}}')
    [{'type': 'function', 'function': {'name': 'f', 'arguments': '{"a": 1}'}}]
    >>> calls_in_text("Let me see.")
    """
    if quoted := QUOTED_ARGUMENTS.fullmatch(text.strip()):
        return [make_call(quoted[1], quoted[2], None)]
    try:
        return read_tool_calls(parse_json(text)) or None
    except (ValueError, ReprotuneError):
        return None


def make_call(name: str, arguments: object, id: object) -> ToolCall:
    call: ToolCall = {"type": "function", "function": Function(name=name, arguments=_as_text(arguments))}
    return call if id in (None, "") else {"id": str(id), **call}


def _read_call(call: object) -> ToolCall:
    inner = call.get("function", call) if isinstance(call, dict) else call
    if isinstance(call, dict) and isinstance(inner, str):  # {"function": "name", "arguments": ...}
        inner = {**call, "name": inner}
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(call, dict) or not isinstance(inner, dict) or not isinstance(name, str) or not name.strip():
        raise ReprotuneError(f"a tool call is {show(call)}; expected a function's name and its arguments")
    arguments = next((inner[key] for key in ARGUMENTS if inner.get(key) is not None), None)
    return make_call(name.strip(), arguments, call.get("id"))


def _as_text(arguments: object) -> str:
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return "{}"  # a template that goes through them refuses a text
    return arguments if isinstance(arguments, str) else json_text(arguments)


def json_text(value: object) -> str:
    """
    Raises:
        ReprotuneError: it is nested too deeply for JSON to be written.
    """
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, TypeError, ValueError):
        raise ReprotuneError(f"{show(value)} can't be written as JSON; is it nested too deeply?") from None


def make_result(content: str, name: object, id: object) -> Message:
    message: Message = {"role": "tool", "content": content}
    if isinstance(name, str) and name.strip():
        message["name"] = name.strip()
    if id not in (None, ""):
        message["tool_call_id"] = str(id)
    return message


def read_tools(value: object) -> list[Tool] | None:
    """What could be called, or JSON text of it; None where it is none of that.

    Raises:
        ReprotuneError: some of it is, and some is not.

    >>> read_tools('[{"name": "f", "parameters": {}}]')
    [{'type': 'function', 'function': {'name': 'f', 'parameters': {}}}]
    >>> read_tools("a hammer")
    """
    value = from_json(value)
    if isinstance(value, dict):
        value = value.get("tools") or value.get("functions") or [value]
    if isinstance(value, list):  # Gemini's are lists of declarations
        value = [one for tool in value for one in _declarations(tool)]
    tools = [_read_tool(tool) for tool in value] if isinstance(value, list) else [None]
    read = [tool for tool in tools if tool]
    if read and len(read) < len(tools):
        strange = value[tools.index(None)] if isinstance(value, list) else value
        raise ReprotuneError(f"a tool is {show(strange)}; expected a function's name and its parameters")
    try:
        orjson.dumps(read)
    except TypeError:
        raise ReprotuneError("what the assistant could call can't be written as JSON; is it nested too deeply?") from None
    return read if read or not tools else None


def refuse_lost_tools(values: Mapping[str, object], name: str, messages: list[Message]) -> None:
    """
    Raises:
        ReprotuneError: tools are called, and what stands where they should be described describes none.
    """
    value = values.get(name)
    if value and value == value and any("tool_calls" in message for message in messages):  # noqa: PLR0124  NaN
        raise ReprotuneError(f"{name} is {show(value)}, and tools are called; expected functions with their names and parameters")


def refuse_early_results(messages: list[Message]) -> None:
    """
    Raises:
        ReprotuneError: a tool's result stands before the first call.
    """
    early = None
    for message in messages:
        if "tool_calls" in message and early:
            shown = show(early["content"])
            raise ReprotuneError(f"a tool's result, {shown}, stands before the first call of a tool; put it behind its call")
        if "tool_calls" in message:
            return
        if message["role"] == "tool":
            early = early or message


def _declarations(tool: object) -> list[object]:
    found = (tool.get("functionDeclarations") or tool.get("function_declarations")) if isinstance(tool, dict) else None
    return found if isinstance(found, list) else [tool]


def _read_tool(tool: object) -> Tool | None:
    tool = from_json(tool)
    if not isinstance(tool, dict):
        return None
    inner = tool.get("function") or tool.get("toolSpec") or tool
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return None
    if isinstance(tool.get("function"), dict):
        return tool if tool.get("type") == "function" else {"type": "function", **tool}
    function = {key: value for key, value in inner.items() if key not in (*SCHEMAS, "type")}
    schema = next((inner[key] for key in SCHEMAS if inner.get(key) is not None), None)
    schema = schema["json"] if isinstance(schema, dict) and set(schema) == {"json"} else schema  # Bedrock's
    return {"type": "function", "function": function if schema is None else {**function, "parameters": schema}}
