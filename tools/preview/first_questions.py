"""A first question that stands beside the list of what was said after it: a ticket's description, a post above its comments."""

from collections.abc import Sequence

from stages.collect.lists import value_at
from stages.collect.messages import ROLE_NAMES, as_text
from stages.lib.records.conversation import normalize
from tools.preview.message_lists import Messages, texts_of
from tools.preview.orders import in_order, read_orders
from tools.preview.roles import propose_switch, usual_role
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, key_of

HOW = "the first question stands beside the list"


def find_first(sample: Sample, lists: Sequence[Messages], columns: dict[str, str]) -> dict[str, str]:
    """The fields of the question, and of what belongs to it, such as a post below its title; nothing where lists begin with one.

    `columns`: of the lists, one in each row that has one.
    """
    after = key_of(columns["messages"]) in USUAL_NAMES["lists_of_replies"]
    if not after and not begin_with_replies(lists, columns):
        return {}
    keys = [key for name in sample.keys if name != columns["messages"] for key in (name, *texts_inside(sample, name))]
    left = [key for key in keys if holds_what_is_missing(sample, key, lists, columns)]
    return question_beside(sample, left, after)


def question_beside(sample: Sample, keys: Sequence[str], is_post: bool = True) -> dict[str, str]:
    """The fields of a question among the keys; of a post its title too."""
    by_key = {
        key_of(key.partition(".")[0]): key for key in reversed(keys) if any(isinstance(cell, str) for cell in cells(sample, key))
    }
    names = [*USUAL_NAMES["first_questions"], *(USUAL_NAMES["first_of_replies"] if is_post else [])]
    titles = USUAL_NAMES["titles_of_posts"] if is_post else []
    found = [next((by_key[name] for name in usual if name in by_key), None) for usual in (titles, names)]
    return dict(zip(("user", "input"), filter(None, found), strict=False))


def begin_with_replies(lists: Sequence[Messages], columns: dict[str, str]) -> bool:
    """Whether most begin with the assistant, as far as their names of roles tell."""
    names, role = texts_of(lists, columns["role"]) if "role" in columns else [], columns.get("role", "")
    if order := columns.get("order"):
        orders = texts_of(lists, order)
        reading = read_orders(orders)
        names = [[one[at] for at in in_order(texts, reading)] for one, texts in zip(names, orders, strict=True)]
    switch = propose_switch({name for one in names for name in one}, role)
    told = [[switch.roles[name] if switch else ROLE_NAMES.get(name) or usual_role(name) for name in one] for one in names]
    firsts = [next((role for role in one if role != "system"), None) for one in told]
    return 2 * firsts.count("assistant") > len(lists)


def holds_what_is_missing(sample: Sample, name: str, lists: Sequence[Messages], columns: dict[str, str]) -> bool:
    """Whether most cells are texts that no list says too."""
    said = {normalize(text) for texts in texts_of(lists, columns["content"]) for text in texts}
    texts = [cell for cell in cells(sample, name) if isinstance(cell, str) and as_text(cell)]
    return 2 * sum(normalize(text) not in said for text in texts) > len(lists)


def cells(sample: Sample, name: str) -> list[object]:
    """As `Sample.cells`, also where the name leads into an object."""
    return [value_at(row.values, name) for row in sample.rows]


def texts_inside(sample: Sample, name: str) -> list[str]:
    """The name of a text in a column's objects, as in `{"body": "...", "author": ...}`."""
    inner = [
        key for key in USUAL_NAMES["columns"]["content"] if any(isinstance(cell, str) for cell in cells(sample, f"{name}.{key}"))
    ]
    return [f"{name}.{key}" for key in inner[:1]]
