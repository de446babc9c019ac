"""A row's values -> texts, roles and messages; what is something else is an error without a place."""

import json
import math
from decimal import Decimal

from stages.collect.rows import plain_text
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import ROLES, Message, Role

ROLE_NAMES: dict[str, Role] = {
    **{role: role for role in ROLES},
    "human": "user",
    "gpt": "assistant",
    "developer": "system",
    "function": "tool",
}
ANYBODY = "*"  # in a source's `roles`: each name that is not mapped
TEXT_PARTS = (None, "text", "input_text", "output_text")  # OpenAI's types of a part that is text


def shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "…"


def show(value: object) -> str:
    """The beginning of a value as JSON, for a message.

    >>> show({"role": "user", "content": None})
    '{"role": "user", "content": null}'
    """
    try:
        return shorten(json.dumps(value, ensure_ascii=False, default=repr))
    except (RecursionError, TypeError, ValueError):
        return f"a {type(value).__name__}"


def field_text(values: dict[str, object], name: str | None) -> str | None:
    """What a field holds, as text; None where the field is not mapped, absent or blank.

    >>> field_text({"label": 3}, "label"), field_text({"label": " "}, "label"), field_text({}, "label"), field_text({}, None)
    ('3', None, None, None)
    """
    return as_text(values.get(name)) if name else None


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


def is_number(value: object) -> bool:
    """Whether it is a number or a truth value; NaN is none."""
    return isinstance(value, (bool, int, float, Decimal)) and not math.isnan(value)


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
        raise ReprotuneError(f"role {found}; expected {', '.join(ROLES)} (map it in the source's `roles`)")
    return roles[known]


def read_messages(value: list, name: str, role_key: str, content_key: str, roles: dict[str, Role]) -> list[Message]:
    """The messages of a list."""
    messages: list[Message] = []
    for position, message in enumerate(value):
        content = message_text(message, content_key) if isinstance(message, dict) else None
        if content is None:
            raise ReprotuneError(f'{name}[{position}] is {show(message)}; expected "{role_key}" and a text "{content_key}"')
        role = find_role(message.get(role_key), roles)
        if role == "assistant" and message.get("weight") == 0:  # OpenAI's sign
            raise ReprotuneError(f"{name}[{position}] has weight 0, a reply not to learn from; here all are, so take it out")
        messages.append({"role": role, "content": content})
    return messages


def message_text(message: dict[str, object], key: str) -> str | None:
    """The text under a message's key, of several parts one a line; None if it is no text.

    What only calls tools has an empty text.

    >>> message_text({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "content")
    'a\\nb'
    >>> message_text({"content": None, "tool_calls": [{"id": "1"}]}, "content")
    ''
    """
    content = message.get(key)
    if isinstance(content, str):
        return content
    if content is None:
        return "" if message.get("tool_calls") or message.get("function_call") else None
    return "\n".join(map(_part_text, content)) if isinstance(content, list) else None


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") in TEXT_PARTS and isinstance(part.get("text"), str):
        return part["text"]
    kind = part["type"] if isinstance(part, dict) and isinstance(part.get("type"), str) else show(part)
    raise ReprotuneError(f"a part of type {shorten(kind)}; only text can be read")
