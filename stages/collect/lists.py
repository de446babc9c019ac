"""A list of messages as it stands in a row -> one that can be read: in its order, who speaks named, unwanted ones left out."""

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import NamedTuple

from stages.collect.messages import is_number
from stages.collect.nested import parse_list
from stages.collect.order import Reading, sort_positions
from stages.collect.rows import plain_text
from stages.collect.sources import ANY_VALUE, Scalar
from stages.collect.values import objects_of_lists, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Role

Wanted = Mapping[str, Scalar | list[Scalar]]


class Leaving(NamedTuple):
    """The messages that stay, as dicts, and the numbers, from 1, of those that are left out."""

    messages: list[dict[str, object]]
    left_out: tuple[int, ...]


def reason_to_leave_out(values: Mapping[str, object], leave_out: Wanted) -> str | None:
    """Which key has a value for which the row or message is left out, if one has.

    >>> reason_to_leave_out({"public": False}, {"public": False}), reason_to_leave_out({"type": "text"}, {"type": ["event"]})
    ('public is false', None)
    >>> reason_to_leave_out({"deleted_at": "2024-03-01"}, {"deleted_at": "*"}), reason_to_leave_out({}, {"deleted_at": "*"})
    ('deleted_at is 2024-03-01', None)
    >>> reason_to_leave_out({"author": {"bot": True}}, {"author.bot": True})
    'author.bot is true'
    """
    for key, wanted in leave_out.items():
        value = values[key] if key in values else value_at(values, key)
        if key not in values and value is None:
            continue
        if any(_is(value, one) for one in (wanted if isinstance(wanted, list) else [wanted])):
            return f"{key} is {show(value) if isinstance(value, (list, dict)) else plain_text(value)}"
    return None


def _is(value: object, wanted: Scalar) -> bool:
    blank = value is None or (isinstance(value, str) and not value.strip())
    if wanted is None:
        return blank
    if wanted == ANY_VALUE:
        return not blank and plain_text(value).lower() != "false"
    text, other = plain_text(value).strip(), plain_text(wanted).strip()
    if isinstance(wanted, bool):  # in a CSV as pandas or a spreadsheet writes it
        return text.lower() == other
    return text == other


def read_list(value: object, name: str) -> list:
    """The list, also where a cell holds it as text.

    Raises:
        ReprotuneError: it is none.
    """
    if isinstance(value, str):
        try:
            return parse_list(value)
        except ValueError as error:
            raise ReprotuneError(f"{name} {error}") from None
    if isinstance(value, tuple):
        return list(value)
    if (objects := objects_of_lists(value)) is not None:
        return objects
    if not isinstance(value, list):
        raise ReprotuneError(f"{name} is {show(value)}; expected a list of messages")
    return value


def value_at(message: Mapping[str, object], key: str) -> object:
    """What stands under a key, or under one that leads into objects.

    >>> value_at({"author": {"name": "Ann"}}, "author.name"), value_at({"a.b": 1}, "a.b"), value_at({}, "a.b")
    ('Ann', 1, None)
    """
    if key in message or "." not in key:
        return message.get(key)
    first, _, rest = key.partition(".")
    inner = message.get(first)
    return value_at(inner, rest) if isinstance(inner, dict) else None


def order_texts(value: object, key: str) -> list[str]:
    """What the messages of a list have under the key that they are sorted by.

    Raises:
        ReprotuneError: one has nothing there.
    """
    found = [value_at(message, key) if isinstance(message, dict) else None for message in read_list(value, "messages")]
    for number, one in enumerate(found):
        if one is None or not plain_text(one).strip():
            raise ReprotuneError(f"messages[{number}] has nothing under {key!r}, by which messages are sorted")
    return [plain_text(one).strip() for one in found]


def sides_from(begins: Role) -> Iterator[Role]:
    """Who speaks, in turn, without an end."""
    return cycle(("user", "assistant") if begins == "user" else ("assistant", "user"))


def prepare_messages(value: list, role_key: str, content_key: str, begins: Role | None, leave_out: Wanted) -> Leaving:
    """Without those to be left out; bare texts as messages, numbers as texts, and, if no message names a role, sides in turn.

    What is no message stays as it is, for the reader to say so.
    """
    kept: list[dict[str, object]] = []
    left_out: list[int] = []
    sides = sides_from(begins or "user")
    for number, message in enumerate(value, start=1):
        if begins and isinstance(message, str):
            message = {content_key: message}  # noqa: PLW2901
        if not isinstance(message, dict):
            kept.append(message)
            continue
        if leave_out and reason_to_leave_out(message, leave_out):
            left_out.append(number)
            continue
        changed: dict[str, object] = {}
        for key in (role_key, content_key):
            found = value_at(message, key)
            if key not in message and found is not None:
                changed[key] = found
        content = changed.get(content_key, message.get(content_key))
        if is_number(content):
            changed[content_key] = plain_text(content)
        if begins and changed.get(role_key, message.get(role_key)) is None:
            changed[role_key] = next(sides)
        kept.append(message | changed if changed else message)
    return Leaving(kept, tuple(left_out))


def sort_list(value: list, texts: list[str], reading: Reading) -> list:
    return [value[position] for position in sort_positions(texts, reading)]
