"""Which key says who writes: one of a usual name, a switch, one inside an object, or one whose few values come back."""

from collections import Counter
from collections.abc import Mapping, Sequence

from stages.collect.messages import ROLE_NAMES
from stages.collect.rows import plain_text
from tools.preview.message_lists import Messages, texts_of
from tools.preview.orders import names_an_order
from tools.preview.roles import propose_switch, usual_role
from tools.preview.usual_names import USUAL_NAMES, find_column, key_of

MOST_SIDES = 6  # values of a key that may say who writes


def find_role_key(lists: Sequence[Messages], inner: Sequence[str], content: str) -> tuple[str, bool] | None:
    """Where messages say who writes; in an object the key of the name in it."""
    found = find_column("role", [key for key in inner if key != content])
    cells = {key: [message.get(key) for messages in lists for message in messages] for key in inner if key != content}
    if switch := find_switch(found, cells):
        return switch
    if not found:
        return next(((key, False) for key in inner if key != content and names_sides(lists, key)), None)
    return inside_objects(found, [message.get(found[0]) for messages in lists for message in messages])


def find_switch(role: tuple[str, bool] | None, cells: Mapping[str, Sequence[object]]) -> tuple[str, bool] | None:
    """A key that is true or false and says by its name whose words those are, where `role`, the key so far, has no usual names.

    >>> find_switch(("sender", True), {"sender": ["Ann", "Bo"], "incoming": [True, False]})
    ('incoming', False)
    >>> find_switch(("sender", True), {"sender": ["agent", "customer"], "incoming": [False, True]})
    """
    names = {key: Counter(plain_text(cell).strip() for cell in found if cell is not None) for key, found in cells.items()}
    if role and names.get(role[0]) and all(name in ROLE_NAMES or usual_role(name) for name in names[role[0]]):
        return None
    return next(((key, False) for key, found in names.items() if len(found) > 1 and propose_switch(found, key)), None)


def inside_objects(role: tuple[str, bool], cells: Sequence[object]) -> tuple[str, bool] | None:
    """The key of who writes; where objects stand under it, one in them; None if they have none."""
    values = [cell for cell in cells if cell is not None]
    if not values or not all(isinstance(value, dict) for value in values):
        return role
    keys = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
    usual = [key for name in USUAL_NAMES["names_in_author"] for key in keys if key_of(key) == name]
    telling = [key for key in usual if len({str(value.get(key)) for value in values if isinstance(value, dict)}) > 1]
    if usual:  # of which one that is the same in all objects names no side
        return f"{role[0]}.{(telling or usual)[0]}", False
    for key in keys:  # one object deeper, as Teams has it
        inner = [value[key] for value in values if isinstance(value, dict) and isinstance(value.get(key), dict)]
        if len(inner) == len(values) and (found := inside_objects((f"{role[0]}.{key}", False), inner)):
            return found
    return None


def names_sides(lists: Sequence[Messages], key: str) -> bool:
    """Whether a key has few values that come back, several of them in one list: it may say who writes. Of a switch only its
    name could tell.
    """
    texts = texts_of(lists, key)
    values = Counter(text for one in texts for text in one)
    few = 2 <= len(values) <= MOST_SIDES and "" not in values and values.total() > len(values)
    is_switch = values.keys() <= {"true", "false", "True", "False"}
    told = is_switch or names_an_order(key) or key_of(key) in USUAL_NAMES["columns"]["label"]  # what else it is
    return few and not told and any(len(set(one)) > 1 for one in texts)
