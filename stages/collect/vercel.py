"""The AI SDK of Vercel keeps a call of a tool and what came of it in one part of the assistant's message."""

from collections.abc import Mapping
from typing import NamedTuple

DYNAMIC, OLDER = "dynamic-tool", "tool-invocation"
RETURNED = ("output-available", "output-error", "result")  # states
PARTS = ("parts", "toolInvocations")  # of a message, beside its text
OUTCOMES = ("output", "result", "errorText")


class Invocation(NamedTuple):
    """`returned`: whether there is a result, which may be nothing."""

    name: object
    arguments: object
    id: object
    returned: bool
    result: object


def find_invocation(part: Mapping[str, object]) -> Invocation | None:
    """
    >>> find_invocation({"type": "tool-look", "toolCallId": "1", "state": "output-available", "input": {"at": 3}, "output": 7})
    Invocation(name='look', arguments={'at': 3}, id='1', returned=True, result=7)
    >>> find_invocation({"type": "tool-call", "toolCallId": "1", "toolName": "look"})
    """
    kind, inner = part.get("type"), part.get("toolInvocation")
    if kind == OLDER and isinstance(inner, dict):
        part, name = inner, inner.get("toolName")
    elif kind == DYNAMIC:
        name = part.get("toolName")
    elif isinstance(kind, str) and kind.startswith("tool-") and "toolCallId" in part and "toolName" not in part:
        name = kind.removeprefix("tool-")
    else:
        return None
    arguments = next((part[key] for key in ("input", "args") if key in part), None)
    result = next((part[key] for key in OUTCOMES if part.get(key) is not None), None)
    return Invocation(name, arguments, part.get("toolCallId"), part.get("state") in RETURNED, result)


def parts_beside(message: Mapping[str, object], text: object) -> list[object] | None:
    """The parts of a message whose calls its text lacks; None where there are none.

    >>> parts_beside({"toolInvocations": [{"toolName": "look"}]}, "Let me see.")
    ['Let me see.', {'type': 'tool-invocation', 'toolInvocation': {'toolName': 'look'}}]
    """
    parts, invocations = map(message.get, PARTS)
    if not isinstance(text, str):
        return None
    if isinstance(parts, list) and any(isinstance(part, dict) and find_invocation(part) for part in parts):
        return parts
    if isinstance(invocations, list) and invocations:
        return [*filter(None, [text]), *({"type": OLDER, "toolInvocation": one} for one in invocations)]
    return None
