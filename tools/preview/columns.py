"""Which column likely holds what: a proposal from the columns' names and cells."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from stages.collect.layouts import recognize_layout
from stages.collect.messages import as_text, field_text, show
from stages.collect.order import find_reading, is_order
from stages.collect.rows import plain_text
from stages.collect.sources import Columns
from stages.collect.transcripts import read_transcript
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Role
from tools.preview.message_lists import Messages, keys_of, list_of_messages, list_of_texts, lists_of_messages, texts_of
from tools.preview.orders import may_be_order, names_an_order, runs_backwards, runs_forwards
from tools.preview.sample import Sample, file_of
from tools.preview.usual_names import USUAL_NAMES, key_of

LONGEST_CLASS = 60  # characters
MOST_SIDES = 6  # values of a key that may say who writes


class Proposal(NamedTuple):
    """`columns`: as in params.yaml; None where the reader knows the layout. `how`: for people, how it was found.

    `begins`: who speaks first, where messages name no role.
    """

    columns: dict[str, str] | None
    mapping: Columns
    how: str
    begins: Role | None = None


def propose_columns(sample: Sample) -> Proposal | None:
    """A list of messages if there is one, else a row a message, else a row a pair; None if the names tell nothing."""
    known = recognize_layout(sample.keys)
    if known and known.messages is None:
        if (proposal := propose_thumbs(known, sample)) is not None:
            return proposal
        what = "a pair" if known.user else "a message that names the one before it"
        return without_repeated_ids(Proposal(None, known, f"a row {what}, in a standard format that needs no mapping"), sample)
    if known and holds_talks(sample, known):
        how = "a talk in each row, written down as one text, in a standard format that needs no mapping"
        return without_repeated_ids(Proposal(None, known, how), sample)
    found = propose_messages(sample, known) or propose_texts(sample)
    return found or propose_rows(sample) or propose_pairs(sample) or propose_classes(sample)


def propose_messages(sample: Sample, known: Columns | None) -> Proposal | None:
    """A list of messages in a row; `known`: a standard format's columns."""
    for name in sorted(sample.keys, key=lambda name: known is None or name != known.messages):  # not a rejected one before it
        lists = [messages for value in sample.cells(name) if (messages := list_of_messages(value))]
        if 2 * len(lists) <= len(sample.rows):
            continue
        inner = keys_of(lists)
        content = find_column("content", inner)
        if not content:
            continue
        role = find_role_key(lists, inner, content[0])
        order = order_of_lists(lists, [key for key in inner if key not in (content[0], role and role[0])])
        if not role:
            return without_roles({"messages": name, "content": content[0]} | order, sample)
        if not order and known and (known.messages, known.role, known.content) == (name, role[0], content[0]):
            how = "a list of messages in each row, a standard format that needs no mapping"
            return without_repeated_ids(Proposal(None, known, how), sample)
        columns = {"messages": name, "role": role[0], "content": content[0]} | order
        return with_optional(columns, sample, f"a list of messages in {name!r}", role[1] and content[1])
    return None


def holds_talks(sample: Sample, known: Columns) -> bool:
    texts = [value for value in sample.cells(str(known.messages)) if isinstance(value, str)]
    return 2 * sum(map(bool, map(read_transcript, texts))) > len(sample.rows)


def find_role_key(lists: Sequence[Messages], inner: Sequence[str], content: str) -> tuple[str, bool] | None:
    """Where messages say who writes; in an object the key of the name in it."""
    found = find_column("role", [key for key in inner if key != content])
    if not found:
        return next(((key, False) for key in inner if key != content and names_sides(lists, key)), None)
    return inside_objects(found, [message.get(found[0]) for messages in lists for message in messages])


def inside_objects(role: tuple[str, bool], cells: Sequence[object]) -> tuple[str, bool] | None:
    """The key of who writes; where objects stand under it, one in them; None if they have none."""
    values = [cell for cell in cells if cell is not None]
    if not values or not all(isinstance(value, dict) for value in values):
        return role
    keys = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
    name = next((key for key in USUAL_NAMES["names_in_author"] if key in map(key_of, keys)), None)
    return (f"{role[0]}.{next(key for key in keys if key_of(key) == name)}", False) if name else None


def names_sides(lists: Sequence[Messages], key: str) -> bool:
    """Whether a key has few values that come back, several of them in one list: it may say who writes."""
    texts = texts_of(lists, key)
    values = Counter(text for one in texts for text in one)
    few = 2 <= len(values) <= MOST_SIDES and "" not in values and values.total() > len(values)
    return few and any(len(set(one)) > 1 for one in texts) and not names_an_order(key)


def order_of_lists(lists: Sequence[Messages], keys: Sequence[str]) -> dict[str, str]:
    """The key by which the messages of lists must be sorted, if they do not stand in their order."""
    for key in keys:
        texts = texts_of(lists, key)
        if may_be_order(key, texts) and not runs_forwards(texts):
            return {"order": key}
    return {}


def propose_texts(sample: Sample) -> Proposal | None:
    """A list of bare texts in a row, which alternate between two sides."""
    for name in sample.keys:
        lists = [texts for value in sample.cells(name) if (texts := list_of_texts(value))]
        if 2 * len(lists) > len(sample.rows) and key_of(name) in USUAL_NAMES["messages"]:
            return without_roles({"messages": name}, sample)
    return None


def without_roles(columns: dict[str, str], sample: Sample) -> Proposal:
    proposal = with_optional(columns, sample, f"a list of messages in {columns['messages']!r}", sure=False)
    how = "a list of messages without roles; that sides alternate, and that the user begins, is a guess: judge by the first ones"
    return proposal._replace(how=how, begins="user")


def propose_rows(sample: Sample) -> Proposal | None:
    """A row a message, unless each row is a conversation of its own with a question in it."""
    fields = ("conversation", "role", "content")
    found = {field: column for field in fields if (column := find_column(field, sample.keys))}
    if len(set(found.values())) < len(fields):
        return None
    role = inside_objects(found["role"], sample.cells(found["role"][0]))
    if role is None:
        return None
    found["role"] = role
    columns = {field: name for field, (name, _) in found.items()}
    several = len(set(map(plain_text, sample.cells(columns["conversation"])))) < len(sample.rows)
    if not several and find_column("user", sample.keys, only_exact=True):
        return None
    return with_optional(columns, sample, "a row a message", all(usual for _, usual in found.values()))


def propose_pairs(sample: Sample) -> Proposal | None:
    user = find_column("user", sample.keys)
    assistant = find_column("assistant", [key for key in sample.keys if not user or key != user[0]])
    if not user or not assistant:
        return None
    return with_optional({"user": user[0], "assistant": assistant[0]}, sample, "a row a pair", user[1] and assistant[1])


def propose_classes(sample: Sample) -> Proposal | None:
    """A text and its class, which is both the answer and the label."""
    by_key = {key_of(name): name for name in reversed(sample.keys)}
    text = next((by_key[name] for name in USUAL_NAMES["text"] if name in by_key), None)
    label = find_column("label", [key for key in sample.keys if key != text], only_exact=True)
    if not text or not label:
        return None
    classes = [plain_text(cell).strip() for cell in sample.cells(label[0])]
    if any(len(one) > LONGEST_CLASS for one in classes) or not cells_fit("label", sample.cells(label[0])):
        return None
    proposal = with_optional({"user": text, "assistant": label[0], "label": label[0]}, sample, "", True)
    how = f"a row a text and its class: {label[0]!r} is both the answer and the label, a stratum of the split; a proposal"
    if all(one.isdigit() for one in classes if one):
        how += f". The model learns to write these numbers ({classes[0]}, say): names of classes would mean more to it"
    return proposal._replace(how=how)


def propose_thumbs(known: Columns, sample: Sample) -> Proposal | None:
    """0 and 1 in the label of a prompt and its completion: whether people liked it, as KTO's files have it."""
    is_kto = (known.user, known.assistant, known.label) == ("prompt", "completion", "label") and known.desirable is None
    if not is_kto or {as_text(cell) for cell in sample.cells("label")} != {"0", "1"}:
        return None
    columns = {field: name for field, name in known if name is not None and field != "label"} | {"desirable": "label"}
    how = "a row a pair; label holds 0 and 1: where it is 0, the reply is context, and not learned; a proposal"
    return without_repeated_ids(Proposal(columns, Columns(**columns), how), sample)


def without_repeated_ids(proposal: Proposal, sample: Sample) -> Proposal:
    """The columns of a standard format; written out, without id, where ids repeat."""
    name = proposal.mapping.id
    if name is None or not (fault := repeats(sample, name)):
        return proposal
    columns = {field: column for field, column in proposal.mapping if column is not None and field != "id"}
    columns = {field: columns[field] for field in sorted(columns, key=lambda field: field != "messages")}
    return Proposal(columns, Columns(**columns), f"{proposal.how}, but for this: {name} is left out, since {fault}")


def repeats(sample: Sample, name: str) -> str | None:
    texts = Counter(field_text(row.values, name) for row in sample.rows)
    texts.pop(None, None)
    [(text, number)] = texts.most_common(1) or [(None, 0)]
    return f"{show(text)} stands there {number:,} times, and ids must be unique" if number > 1 else None


def find_column(field: str, keys: Sequence[str], only_exact: bool = False) -> tuple[str, bool] | None:
    """(the column that a field is likely in, whether its name is a usual one), or None.

    >>> find_column("user", ["id", "Question"]), find_column("user", ["user_id", "customer_message"]), find_column("user", ["x"])
    (('Question', True), ('customer_message', False), None)
    """
    by_key = {key_of(name): name for name in reversed(keys)}
    usual_names = USUAL_NAMES["columns"][field]
    for usual in usual_names:
        if usual in by_key:
            return by_key[usual], True
    if only_exact:
        return None
    no_text = {"user", "assistant", "content"} & {field} and {*USUAL_NAMES["no_text"], *USUAL_NAMES["not_preferred"]}
    for usual in usual_names:
        found = [key for key in by_key if len(usual) > 1 and has_word(key, [usual]) and not (no_text and has_word(key, no_text))]
        if field == "assistant" and len(found) > 1:  # which of them is the reply, the order of columns must not decide
            found = [key for key in found if has_word(key, USUAL_NAMES["preferred"])]
            if len(found) != 1:
                return None
        if found:
            return by_key[found[0]], False
    return None


def has_word(key: str, words: Collection[str]) -> bool:
    """Whether one of the words is in a name; of those that are written without spaces, a part of it.

    >>> has_word("bad_answer", ["bad"]), has_word("badge", ["bad"]), has_word("拒绝的回答", ["拒绝"])
    (True, False, True)
    """
    return not {*key.split("_")}.isdisjoint(words) or any(word in key for word in words if not word.isascii())


def with_optional(columns: dict[str, str], sample: Sample, layout: str, sure: bool) -> Proposal:
    """The mapping with the other fields that the names and the cells tell."""
    columns = dict(columns)
    fields = ["system", "label", "language", "group"]
    fields += ["order"] if "conversation" in columns else ["id", "input", "history", "rejected"] if "user" in columns else ["id"]
    how = "likely right, since the names are usual ones" if sure else "a guess from parts of the names"
    inner = ("role", "content", "order") if "messages" in columns else ()
    for field in fields:
        left = [key for key in sample.keys if key not in [name for one, name in columns.items() if one not in inner]]
        if field in columns:
            continue
        found = find_column(field, left, only_exact=True)
        if field == "order" and not (found and cells_fit("order", sample.cells(found[0]))):
            found = next(((name, True) for name in left if orders(sample, columns, name)), None)
        if field == "id" and found and (fault := repeats(sample, found[0])):
            how += f". {found[0]} is not mapped to id: {fault}"
        elif found and cells_fit(field, sample.cells(found[0])):
            if "conversation" in columns and (fault := find_fault(field, cells_of_conversations(sample, columns, found[0]))):
                how += f". {found[0]} is not mapped to {field}: {fault}"
            else:
                columns[field] = found[0]
    return Proposal(columns, Columns(**columns), f"{layout}; this mapping is a proposal, {how}")


def cells_of_conversations(sample: Sample, columns: dict[str, str], name: str) -> list[list[str]]:
    """A column's cells that hold something, conversation by conversation."""
    conversations: dict[str, list[str]] = {}
    for row in sample.rows:
        key, text = field_text(row.values, columns["conversation"]), field_text(row.values, name)
        if key is not None and text is not None:
            conversations.setdefault(f"{file_of(row)} {key}", []).append(text)
    return list(conversations.values())


def orders(sample: Sample, columns: dict[str, str], name: str) -> bool:
    """Whether a column may order the rows: each has something there, by which they can be sorted."""
    cells = cells_of_conversations(sample, columns, name)
    return sum(map(len, cells)) == len(sample.rows) and may_be_order(name, cells)


def tell_order(sample: Sample, mapping: Columns) -> str | None:
    """What there is to say where the newest message stands first: that they are sorted, or by what they could be."""
    inner: dict[str, list[list[str]]] = {}
    if mapping.conversation:
        columns = {"conversation": mapping.conversation}
        names = [mapping.order] if mapping.order else [key for key in sample.keys if orders(sample, columns, key)]
        inner = {name: cells_of_conversations(sample, columns, name) for name in names}
    elif mapping.messages:
        lists = lists_of_messages(sample, mapping)
        inner = {name: texts_of(lists, name) for name in ([mapping.order] if mapping.order else keys_of(lists))}
        inner = {name: texts for name, texts in inner.items() if mapping.order or may_be_order(name, texts)}
    name = next((name for name, texts in inner.items() if runs_backwards(texts)), None)
    if name is None:
        return None
    if mapping.order:
        return f"by {name!r} the newest message stands first; they are turned around"
    return f"by {name!r} the newest message stands first, so that replies come before their questions: map it too, order={name}"


def find_fault(field: str, conversations: list[list[str]]) -> str | None:
    """Why a column can't be the group, or the order, of rows that are messages.

    >>> find_fault("group", [["C1", "C1"], ["C2"]]), find_fault("order", [["1", "2"]])
    (None, None)
    >>> find_fault("group", [["C1", "agent 7"]])
    'it has several values in one conversation, and so may name who writes'
    """
    if field == "group" and any(len(set(values)) > 1 for values in conversations):
        return "it has several values in one conversation, and so may name who writes"
    if field == "order":
        try:
            find_reading(conversations)
        except ReprotuneError as error:
            return str(error)
    return None


def cells_fit(field: str, values: list[object]) -> bool:
    """Whether a column's cells are what its name says: labels that repeat, ids that do not, language codes, an order.

    >>> cells_fit("id", [1, 2]), cells_fit("id", [1, 1]), cells_fit("order", ["3/12/2024"]), cells_fit("order", ["soon"])
    (True, False, True, False)
    """
    texts = [text for value in values if (text := as_text(value))]
    if field == "label":
        return bool(texts) and (len(texts) <= 20 or 2 * len(set(texts)) <= len(texts))
    if field == "id":
        return len(set(texts)) == len(values)
    if field == "language":
        return bool(texts) and all(re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]+)?", text) for text in texts)
    if field == "order":
        return len(texts) == len(values) and is_order(texts)
    return bool(texts)
