"""OpenAI's Responses API keeps calls of tools, their results and thoughts as items beside the messages -> messages."""

from collections.abc import Sequence

CALLS = ("function_call", "custom_tool_call")
RESULTS = ("function_call_output", "custom_tool_call_output")
KINDS = frozenset((*CALLS, *RESULTS, "reasoning"))


def holds_items(values: Sequence[object]) -> bool:
    """Whether some are such items, and all others messages or items of other kinds, which can't be read.

    >>> holds_items([{"role": "user", "content": "hi"}, {"type": "function_call", "name": "f"}]), holds_items([{"role": "user"}])
    (True, False)
    """
    items = [value for value in values if isinstance(value, dict) and "role" not in value and isinstance(value.get("type"), str)]
    messages = [value for value in values if isinstance(value, dict) and "role" in value]
    return bool(items) and len(items) + len(messages) == len(values) and bool(messages or any(map(_kind_of, items)))


def messages_of_items(values: list[dict[str, object]]) -> list[dict[str, object]]:
    """Calls in a row become one message; thoughts go to the reply or the call behind them.

    >>> messages_of_items([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}])
    [{'role': 'assistant', 'content': '', 'tool_calls': [{'id': 'c', 'name': 'f', 'arguments': '{}'}]}]
    """
    messages: list[dict[str, object]] = []
    calls: list[object] | None = None
    thoughts = ""
    for item in values:
        kind = _kind_of(item)
        if kind == "reasoning":
            thoughts = "\n".join(filter(None, (thoughts, _thoughts_of(item))))
        elif kind in CALLS:
            call = {"id": item.get("call_id") or item.get("id"), "name": item.get("name")}
            call["arguments"] = item.get("arguments", item.get("input"))
            if calls is None:
                calls = []
                messages.append(_with_thoughts({"role": "assistant", "content": "", "tool_calls": calls}, thoughts))
                thoughts = ""
            calls.append(call)
        elif kind in RESULTS:
            messages.append({"role": "tool", "content": item.get("output"), "tool_call_id": item.get("call_id")})
        else:
            is_reply = item.get("role") == "assistant"
            messages.append(_with_thoughts(item, thoughts if is_reply else ""))
            thoughts = "" if is_reply else thoughts
        calls = calls if kind in (*CALLS, "reasoning") else None
    return messages


def _kind_of(value: object) -> str | None:
    kind = value.get("type") if isinstance(value, dict) and "role" not in value else None
    return kind if isinstance(kind, str) and kind in KINDS else None


def _thoughts_of(item: dict[str, object]) -> str:
    """Those that are written out; mostly there is a summary, or what only OpenAI can read."""
    for key in ("content", "summary"):
        parts = item.get(key)
        texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if found := [text for text in texts if isinstance(text, str) and text.strip()]:
            return "\n".join(found)
    return ""


def _with_thoughts(message: dict[str, object], thoughts: str) -> dict[str, object]:
    return {**message, "reasoning_content": thoughts} if thoughts else message
