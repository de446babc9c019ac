"""Which column likely holds what: a proposal from the columns' names and cells."""

from collections.abc import Sequence

from stages.collect.documents import SPLIT, is_column
from stages.collect.layouts import recognize_layout
from stages.collect.messages import as_text
from stages.collect.rows import plain_text
from stages.collect.sources import Columns
from stages.collect.transcripts import read_transcript
from tools.preview.alternatives import OPTIONS, are_alternatives, propose_alternatives
from tools.preview.contexts import with_context
from tools.preview.first_questions import HOW as FIRST
from tools.preview.first_questions import find_first
from tools.preview.message_lists import (
    Messages,
    find_message,
    keys_of,
    list_of_messages,
    list_of_pairs,
    list_of_texts,
    names_inside,
    texts_of,
)
from tools.preview.orders import may_be_order, runs_forwards
from tools.preview.proposal import Proposal, cells_fit, with_optional, without_repeated_ids
from tools.preview.replies import find_reply, lacks_replies, lead_to_text, mended_replies
from tools.preview.role_keys import find_role_key, find_switch, inside_objects
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, find_column, key_of

LONGEST_CLASS = 60  # characters


def propose_columns(sample: Sample) -> Proposal | None:
    """What the names and cells tell, with what talks rest on where it stands beside them; None if they tell nothing."""
    proposal = propose_layout(sample)
    return proposal and with_context(proposal, sample)


def propose_layout(sample: Sample) -> Proposal | None:
    """A list of messages if there is one, else a row a message, else a row a pair; None if the names tell nothing."""
    known = recognize_layout(sample.keys)
    if known and known.assistant and not known.rejected and mended_replies(sample.keys, known.assistant):
        return propose_pairs(sample)
    if known and known.messages is None:
        if (proposal := propose_thumbs(known, sample)) is not None:
            return proposal
        what = "a pair" if known.user else "a message that names the one before it"
        return without_repeated_ids(Proposal(None, known, f"a row {what}, in a standard format that needs no mapping"), sample)
    if known and holds_talks(sample, str(known.messages)):
        how = "a talk in each row, written down as one text, in a standard format that needs no mapping"
        return without_repeated_ids(Proposal(None, known, how), sample)
    preferences = known and known.rejected and known.messages  # talks, which hold what stands beside them
    pairs = None if preferences else propose_lists_of_pairs(sample) or propose_alternatives(sample)
    found = pairs or propose_messages(sample, known) or propose_talks(sample) or propose_texts(sample)
    found = found or propose_rows(sample) or propose_pairs(sample) or propose_classes(sample)
    return found or propose_inner_messages(sample)


def propose_lists_of_pairs(sample: Sample) -> Proposal | None:
    """Questions with their replies, a list of them in a row; under another name than a talk's only objects, where no pair is."""
    for name in sample.keys:
        cells = sample.cells(name)
        if 2 * sum(map(bool, map(list_of_pairs, cells))) <= len(sample.rows):
            continue
        usual = key_of(name) in USUAL_NAMES["messages"]
        if usual or (all(map(list_of_messages, filter(None, cells))) and propose_pairs(sample) is None):
            return with_optional({"messages": name}, sample, f"a list of questions with their replies in {name!r}", usual)
    return None


def may_be_one_talk(whole: Sample, mapping: Columns) -> bool:
    """Whether a document may be one talk: not where its lists hold rows, of questions with replies or of a part of a data set."""
    name = mapping.messages
    if name is None:
        return not any(is_column(cell) for side in (mapping.user, mapping.assistant) if side for cell in whole.cells(side))
    return key_of(name) in USUAL_NAMES["messages"] or not (SPLIT.match(name) or any(map(list_of_pairs, whole.cells(name))))


def propose_messages(sample: Sample, known: Columns | None) -> Proposal | None:
    """A list of messages in a row; `known`: a standard format's columns."""
    for name in sorted(sample.keys, key=lambda name: known is None or name != known.messages):  # not a rejected one before it
        lists = [messages for value in sample.cells(name) if (messages := list_of_messages(value))]
        if 2 * len(lists) <= len(sample.rows) or are_alternatives(name, lists) or key_of(name) in OPTIONS:
            continue
        inner = keys_of(lists)
        if content := find_column("content", inner):
            return propose_list(name, lists, inner, content, known, sample)
    return None


def propose_inner_messages(sample: Sample) -> Proposal | None:
    """A list of messages inside a column's objects, as Open WebUI exports chats, if it is the only one under a talk's name."""
    names = [name for name in names_inside(sample, sample.keys) if key_of(name.rpartition(".")[2]) in USUAL_NAMES["messages"]]
    [lists] = [[found for value in sample.cells(name) if (found := list_of_messages(value))] for name in names[:1]] or [[]]
    inner = keys_of(lists)
    content = find_column("content", inner)
    if len(names) != 1 or not content or not find_role_key(lists, inner, content[0]) or max(map(len, lists)) < 2:
        return None
    return propose_list(names[0], lists, inner, content, None, sample)


def propose_list(
    name: str, lists: Sequence[Messages], inner: Sequence[str], content: tuple[str, bool], known: Columns | None, sample: Sample
) -> Proposal | None:
    """`name`: of the column that holds the lists; `inner`: their messages' keys, `content` one of them."""
    role = find_role_key(lists, inner, content[0])
    order = order_of_lists(lists, [key for key in inner if key not in (content[0], role and role[0])])
    if not role:
        named = find_column("role", [key for key in inner if key != content[0]], only_exact=True)
        if named or key_of(name) not in (*USUAL_NAMES["messages"], *USUAL_NAMES["lists_of_replies"]):
            return None  # they name nobody where they should, or may be passages or examples: taking turns would be a guess
        columns = {"messages": name, "content": content[0]} | order
        return without_roles(columns | find_first(sample, lists, columns), sample)
    if lacks_replies(name, lists, role[0], sample):
        return propose_answered(name, sample)
    if (known is None or name != known.messages) and holds_other_talks(name, role[0], content[0], sample):
        return None
    columns = {"messages": name, "role": role[0], "content": content[0]} | order
    first = find_first(sample, lists, columns)
    if not order and not first and known and (known.messages, known.role, known.content) == (name, role[0], content[0]):
        how = "a list of messages in each row, a standard format that needs no mapping"
        return without_repeated_ids(Proposal(None, known, how), sample)
    how = f"a list of messages in {name!r}{', ' + FIRST if first else ''}"
    return with_optional(columns | first, sample, how, role[1] and content[1] and not first)


def propose_answered(name: str, sample: Sample) -> Proposal | None:
    """A list of messages up to the reply, and the column of the reply, if it can be told which that is."""
    found = find_reply(sample, name)
    if not found or not any(sample.cells(found[0])):
        return None
    layout = f"the question, or the talk up to the reply, in {name!r}, and the reply in {found[0]!r}"
    return with_optional({"user": name, "assistant": found[0]}, sample, layout, found[1])


def holds_other_talks(name: str, role: str, content: str, sample: Sample) -> bool:
    """Whether another column has talks of the same form too: which of them is to be learned, nobody but a person can tell."""
    for key in sample.keys:
        others = [found for value in sample.cells(key) if key != name and (found := list_of_messages(value))]
        if 2 * len(others) > len(sample.rows) and all(role in one[0] and content in one[0] for one in others):
            return True
    return False


def holds_talks(sample: Sample, name: str) -> bool:
    """Whether most cells of a column are whole talks, the last reply in them."""
    talks = [read_transcript(value) for value in sample.cells(name) if isinstance(value, str)]
    whole = [talk for talk in talks if talk and (talk[-1].get("content") or talk[-1].get("tool_calls"))]
    return 2 * len(whole) > len(sample.rows)


def propose_talks(sample: Sample) -> Proposal | None:
    """A column with a talk in each row that is written down as one text; not the earlier turns beside a pair."""
    usual = (*USUAL_NAMES["text"], *USUAL_NAMES["messages"])
    for name in sample.keys:
        if holds_talks(sample, name) and (key_of(name) in usual or propose_pairs(sample) is None):
            how = f"a talk in each row, written down as one text, in {name!r}"
            return with_optional({"messages": name}, sample, how, key_of(name) in usual)
    return None


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
    if "user" in columns:
        how = f"a list of messages without roles, {FIRST}; that sides alternate after it is a guess: judge by the first ones"
        return proposal._replace(how=how, begins="assistant")
    how = "a list of messages without roles; that sides alternate, and that the user begins, is a guess: judge by the first ones"
    return proposal._replace(how=how, begins="user")


def propose_rows(sample: Sample) -> Proposal | None:
    """A row a message, unless each row is a conversation of its own with a question in it."""
    fields = ("conversation", "role", "content")
    found = {field: column for field in fields if (column := find_column(field, sample.keys))} | find_message(sample)
    if switch := find_switch(found.get("role"), {key: sample.cells(key) for key in sample.keys}):
        found["role"] = switch
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
    assistant = find_reply(sample, user[0] if user else None)
    if not user or not assistant:
        return None
    columns = {"user": lead_to_text(sample, user[0]), "assistant": lead_to_text(sample, assistant[0])}
    return with_optional(columns, sample, "a row a pair", user[1] and assistant[1])


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
