"""LangChain writes a message as an object around it, in two ways -> the message, with its role."""

from stages.collect.values import NOTHING

TYPES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}
CLASSES = {
    f"{name}Message{ending}": role
    for name, role in (("Human", "user"), ("AI", "assistant"), ("System", "system"), ("Tool", "tool"), ("Function", "tool"))
    for ending in ("", "Chunk")
}
BESIDE = "additional_kwargs"  # what a provider's message holds besides: thoughts, or calls as it writes them


def plain_messages(value: object) -> object:
    """A list of such messages as a list of messages, also inside an object; anything else as it is.

    >>> plain_messages([{"type": "human", "data": {"content": "hi", "name": None}}])
    [{'role': 'user', 'content': 'hi'}]
    >>> kwargs = {"content": "", "tool_calls": [{"name": "look", "args": {}}]}
    >>> plain_messages({"talk": [{"lc": 1, "type": "constructor", "id": ["langchain", "AIMessage"], "kwargs": kwargs}]})
    {'talk': [{'role': 'assistant', 'content': '', 'tool_calls': [{'name': 'look', 'args': {}}]}]}
    """
    if isinstance(value, dict):
        found = {key: plain for key, one in value.items() if isinstance(one, list) and (plain := _plain_list(one))}
        return value | found if found else value
    return (_plain_list(value) or value) if isinstance(value, list) else value


def _plain_list(values: list[object]) -> list[dict[str, object]] | None:
    if not values or not isinstance(values[0], dict) or not ("data" in values[0] or "kwargs" in values[0]):
        return None
    plain = [message for one in values if isinstance(one, dict) and (message := _plain(one))]
    return plain if len(plain) == len(values) else None


def _plain(message: dict[str, object]) -> dict[str, object] | None:
    inner, kind, role = message.get("kwargs"), message.get("type"), None
    if message.get("lc") == 1 and isinstance(path := message.get("id"), list) and path:
        role = CLASSES.get(str(path[-1]))
    elif message.keys() == {"type", "data"} and isinstance(kind, str):
        inner, role = message["data"], TYPES.get(kind) or CLASSES.get(kind)
    if role is None or not isinstance(inner, dict) or "content" not in inner:
        return None
    beside = inner[BESIDE] if isinstance(inner.get(BESIDE), dict) else {}
    stated = {key: value for key, value in inner.items() if key not in (BESIDE, "type", "content") and value not in NOTHING}
    return {"role": role, "content": inner["content"], **beside, **stated}
