"""Calls of tools that stand where a reply's text does, and tools that a first message describes."""

import re
from collections.abc import Collection, Mapping

from stages.collect.contents import result_text
from stages.collect.nested import parse_json
from stages.collect.tool_use import calls_in_text, make_call, make_result, read_tools
from stages.collect.values import from_json
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Tool, ToolCall

CALLED = ("metadata", "recipient")  # of a reply: the function whose arguments its text is
TOOL_KEYS = ("tools", "functions")  # of a first message
OF_BOTH = ("parameters", "observation")  # of a tool's message that is the call too
HARMONY = "functions."  # before the name, in gpt-oss's format
FUNCTION_NAME = re.compile(r"(?!all$)[A-Za-z_][\w.-]*")
OF_A_CALL = frozenset(["name", "arguments", "parameters", "id", "type"])  # what else an object says would be lost


def spoken_calls(message: Mapping[str, object], text: str, before_result: bool, tools: Collection[str]) -> list[ToolCall]:
    """The calls that the whole text of a reply is, if it is that: JSON with the functions' names, or beside one in CALLED.

    JSON alone is no sign of a call: `before_result` says that a tool's result follows, `tools` has the known functions' names.

    >>> [call["function"]["name"] for call in spoken_calls({"metadata": "weather"}, '{"city": "Rome"}', True, [])]
    ['weather']
    >>> spoken_calls({"metadata": "draft"}, '{"city": "Rome"}', False, ["weather"])
    []
    """
    if text.lstrip()[:1] not in ("{", "["):
        return []
    named, beside = _named_calls(text), _call_beside(message, text)
    for calls in (beside, named):
        if calls and all(call["function"]["name"] in tools for call in calls):
            return calls
    if not before_result:
        return []
    return named or beside


def _named_calls(text: str) -> list[ToolCall]:
    """
    >>> [call["function"]["name"] for call in _named_calls('{"name": "weather", "arguments": {}}')]
    ['weather']
    >>> _named_calls('{"name": "weather", "description": "It tells the weather."}')
    []
    """
    try:
        value = parse_json(text)
    except ValueError:  # Glaive's are no JSON
        return calls_in_text(text) or []
    calls = value if isinstance(value, list) else [value]
    return calls_in_text(text) or [] if all(map(_is_call, calls)) else []


def _is_call(value: object) -> bool:
    if isinstance(value, dict) and isinstance(inner := value.get("function"), dict):
        return value.keys() <= {"id", "type", "function"} and _is_call(inner)
    return isinstance(value, dict) and value.keys() <= OF_A_CALL and not value.keys().isdisjoint(("arguments", "parameters"))


def _call_beside(message: Mapping[str, object], text: str) -> list[ToolCall]:
    names = (value for key in CALLED if isinstance(value := message.get(key), str) and FUNCTION_NAME.fullmatch(value))
    name = next(names, None)
    try:
        is_call = name is not None and isinstance(parse_json(text), dict)
        return [make_call(str(name).removeprefix(HARMONY), text.strip(), None)] if is_call else []
    except ValueError:
        return []


def call_with_result(message: Mapping[str, object]) -> list[Message] | None:
    """A call and what came of it, where one message of the tool holds both, as ChatGLM3's do; None where it does not."""
    name, arguments, result = (message.get(key) for key in ("name", *OF_BOTH))
    if not isinstance(name, str) or not name.strip() or arguments is None or result is None:
        return None
    call = make_call(name.strip(), arguments, None)
    return [{"role": "assistant", "content": "", "tool_calls": [call]}, make_result(result_text(result), name, None)]


def tools_of_first(messages: object) -> list[Tool] | None:
    """What could be called, where the first message says that, as GLM-4's system message does; None for anything else there."""
    if isinstance(messages, str) and any(f'"{key}"' in messages for key in TOOL_KEYS):  # a cell of a table
        messages = from_json(messages)
    first = messages[0] if isinstance(messages, list) and messages else None
    try:
        found = [read_tools(first.get(key)) for key in TOOL_KEYS if first.get(key)] if isinstance(first, dict) else []
    except ReprotuneError:  # some of it is no tool: the text says what it means
        return None
    return next(filter(None, found), None)
