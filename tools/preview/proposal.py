"""A proposal which column holds what, with the fields that a layout can do without."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from stages.collect.contexts import SYSTEM_OF_LISTS
from stages.collect.messages import as_text, field_text, show
from stages.collect.order import find_reading, is_order
from stages.collect.sources import Columns
from stages.collect.values import NOTHING
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Role
from tools.preview.orders import cells_of_conversations, names_an_order, orders
from tools.preview.sample import Sample
from tools.preview.usual_names import find_column, key_of

SURELY_TOKENS = 10_000
INPUT_BESIDE = {"instruction": "input", "指令": "输入"}


ID_OF_A_CONVERSATION = re.compile("_?(id|no|number|hash)$|id$|编号$|号$")


class Proposal(NamedTuple):
    """`columns`: as in params.yaml; None where the reader knows the layout. `how`: for people, how it was found.

    `begins`: who speaks first, where messages name no role.
    """

    columns: dict[str, str] | None
    mapping: Columns
    how: str
    begins: Role | None = None


def without_repeated_ids(proposal: Proposal, sample: Sample) -> Proposal:
    """The columns of a standard format; written out, without id, where ids repeat."""
    name = proposal.mapping.id
    if name is None or not (fault := repeats(sample, name)):
        return with_conversation_id(proposal, sample)
    columns = {field: column for field, column in proposal.mapping if column is not None and field != "id"}
    columns = {field: columns[field] for field in sorted(columns, key=lambda field: field != "messages")}
    proposal = Proposal(columns, Columns(**columns), f"{proposal.how}, but for this: {name} is left out, since {fault}")
    return with_conversation_id(proposal, sample)


def with_conversation_id(proposal: Proposal, sample: Sample) -> Proposal:
    """The columns of lists of messages, or of pairs, written out where a column names the conversation.

    Of lists it is the id where nothing else is.

    Several rows of one conversation are a group: none of them may be held out while another one is learned.
    """
    mapping = proposal.mapping
    taken = [name for _, name in mapping]
    keys = [key for key in sample.keys if key not in taken and ID_OF_A_CONVERSATION.search(key_of(key))]
    found = find_column("conversation", keys, only_exact=True)
    several = {as_text(cell) for cell in sample.cells(found[0])} - {None} if found else set()
    if not found or not several:
        return proposal
    are_pairs = mapping.user and not mapping.messages
    if are_pairs and len(several) > 1 and not mapping.parent and not mapping.group and repeats(sample, found[0]):
        columns = {one: name for one, name in mapping if name is not None} | {"group": found[0]}
        how = f"{proposal.how}. Rows with the same {found[0]} are one group, and each is read without the turns before it"
        return proposal._replace(columns=columns, mapping=Columns(**columns), how=how)
    if mapping.messages is None or mapping.id:
        return proposal
    field = "group" if repeats(sample, found[0]) else "id"
    if field == "group" and mapping.group:
        return proposal
    columns = {"messages": mapping.messages} | {one: name for one, name in mapping if name is not None} | {field: found[0]}
    how = proposal.how if proposal.columns else f"{proposal.how}, but for the {field} of the conversation"
    return proposal._replace(columns=columns, mapping=Columns(**columns), how=how)


def is_the_same_in_all(sample: Sample, name: str) -> bool:
    """Of several rows, and of those that are not looked at too."""
    return sample.complete and len(sample.rows) > 1 and len({as_text(cell) for cell in sample.cells(name)}) == 1


def repeats(sample: Sample, name: str) -> str | None:
    texts = Counter(field_text(row.values, name) for row in sample.rows)
    texts.pop(None, None)
    [(text, number)] = texts.most_common(1) or [(None, 0)]
    return f"{show(text)} stands there {number:,} times, and ids must be unique" if number > 1 else None


def with_optional(columns: dict[str, str], sample: Sample, layout: str, sure: bool) -> Proposal:
    """The mapping with the other fields that the names and the cells tell."""
    columns = dict(columns)
    fields = ["system", "label", "language", "group"]
    fields += ["order"] if "conversation" in columns else ["id"]
    fields += ["input", "history", "rejected"] if "user" in columns and "messages" not in columns else []
    how = "likely right, since the names are usual ones" if sure else "a guess from parts of the names"
    inner = ("role", "content", "order") if "messages" in columns else ()
    for field in fields:
        left = [key for key in sample.keys if key not in [name for one, name in columns.items() if one not in inner]]
        if field in columns:
            continue
        found = find_column(field, left, only_exact=True)
        if field == "system" and not found and "messages" in columns:
            found = next(((name, True) for name in left if key_of(name) in SYSTEM_OF_LISTS), None)
        if field == "input" and found and are_tokens(sample.cells(found[0])):
            found = None
        if field == "input" and not found:
            found = find_sibling(columns["user"], left)
        if field == "order" and not (found and cells_fit("order", sample.cells(found[0]))):
            found = next(((name, True) for name in left if orders(sample, columns, name)), None)
            times = (name for name in left if names_an_order(name) and cells_fit("order", sample.cells(name)))
            found = found or next(((name, True) for name in times), None)  # which can't be sorted by, as is said below
        if field == "id" and found and (fault := repeats(sample, found[0])):
            how += f". {found[0]} is not mapped to id: {fault}"
        elif field == "group" and found and is_the_same_in_all(sample, found[0]):
            how += f". {found[0]} is not mapped to group: it is the same in all rows, and one group can't be split"
        elif found and cells_fit(field, sample.cells(found[0])):
            if "conversation" in columns and (fault := find_fault(field, cells_of_conversations(sample, columns, found[0]))):
                how += f". {found[0]} is not mapped to {field}: {fault}"
            else:
                columns[field] = found[0]
    proposal = Proposal(columns, Columns(**columns), f"{layout}; this mapping is a proposal, {how}")
    return with_conversation_id(proposal, sample)


def are_tokens(cells: Sequence[object]) -> bool:
    """Whether all are lists of the numbers of tokens, as Ollama logs the context of a prompt; numbers in a task are small.

    >>> are_tokens([[128006, 882, 128007]]), are_tokens([[3, 1, 2]]), are_tokens([["a passage"]]), are_tokens([None])
    (True, False, False, False)
    """
    filled = [cell for cell in cells if cell not in NOTHING]
    numbers = [one for cell in filled if isinstance(cell, list) for one in cell if type(one) is int]
    only_these = all(isinstance(cell, list) and all(type(one) is int for one in cell) for cell in filled)
    return only_these and max(numbers, default=0) >= SURELY_TOKENS


def find_sibling(user: str, names: Sequence[str]) -> tuple[str, bool] | None:
    """The column of what belongs to an instruction, where both names have the same word besides.

    >>> find_sibling("instruction_zh", ["input_en", "input_zh"]), find_sibling("question", ["input"])
    (('input_zh', False), None)
    """
    key = key_of(user)
    wanted = {key.replace(word, other) for word, other in INPUT_BESIDE.items() if word in key}
    return next(((name, False) for name in names if key_of(name) in wanted), None)


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
    if field == "rejected":  # a reply; true and false say something of the row's
        return any(text.lower() not in ("true", "false", "0", "1") for text in texts)
    return bool(texts)
