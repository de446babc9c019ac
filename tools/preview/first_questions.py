"""A first question that stands beside the list of what was said after it: a ticket's description, a post above its comments."""

from collections.abc import Sequence

from stages.collect.lists import value_at
from stages.collect.messages import ROLE_NAMES, as_text
from stages.collect.sources import Columns
from stages.lib.records.conversation import normalize
from tools.preview.message_lists import Messages, lists_of_messages, texts_of
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


def may_be_first(sample: Sample, mapping: Columns) -> str | None:
    """A column that is not mapped, and may hold the question that lists lack, or say in short what they are about."""
    if not mapping.messages or mapping.user:
        return None
    columns = {"messages": mapping.messages, "role": mapping.role or "role", "content": mapping.content or "content"}
    lists, taken = lists_of_messages(sample, mapping), [name for _, name in mapping]
    keys = [key for key in sample.keys if key not in taken and key_of(key) in USUAL_NAMES["first_of_replies"]]
    missing = (key for key in keys if holds_what_is_missing(sample, key, lists, columns))
    return next(missing, None) if begin_with_replies(lists, columns) else None


def question_beside(sample: Sample, keys: Sequence[str], is_post: bool = True) -> dict[str, str]:
    """The fields of a question among the keys; of a post its title too."""
    texts = [key for key in reversed(keys) if holds_texts(sample, key)]
    plain = {key_of(key): key for key in texts if "." not in key}
    inner = {key_of(key.partition(".")[0]): key for key in texts if "." in key}
    title = find_usual(plain, "titles_of_posts") if is_post else None
    found = find_usual(inner | plain, "first_questions")
    if is_post:
        found = found or find_usual(plain, "first_of_replies") or find_usual(inner, "objects_of_first")
    return dict(zip(("user", "input"), filter(None, (title, found)), strict=False))


def find_usual(by_key: dict[str, str], names: str) -> str | None:
    """The first of the usual names, of a list in usual_names.yaml, that there is."""
    return next((by_key[name] for name in USUAL_NAMES[names] if name in by_key), None)


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
    names = (f"{name}.{key}" for key in USUAL_NAMES["columns"]["content"])
    return [inner for inner in names if holds_texts(sample, inner)][:1]


def holds_texts(sample: Sample, name: str) -> bool:
    return any(isinstance(cell, str) for cell in cells(sample, name))
