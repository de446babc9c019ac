"""What is said of a file's columns: how each is read, and which are not."""

import re
from collections.abc import Collection, Iterator, Mapping

from stages.collect.cut_short import REASONS
from stages.collect.history import ROLE_AND_CONTENT
from stages.collect.layouts import with_standard_fields
from stages.collect.lists import value_at
from stages.collect.marks import is_mark, is_row_mark
from stages.collect.messages import REASONING_KEYS, REFUSAL, REPLY_KEYS, ROLE_NAMES, MessageKeys, as_text, long_text
from stages.collect.nested import parse_literal
from stages.collect.preferences import read_thumb
from stages.collect.sources import Columns
from stages.collect.spoken_calls import CALLED, OF_BOTH, TOOL_KEYS, call_with_result, spoken_calls, tools_of_first
from stages.collect.tool_use import read_tools
from stages.collect.transcripts import read_prompt
from stages.collect.turn_marks import Asked, asked_of_turns, turn_marks_in
from stages.collect.values import NOTHING, from_json
from stages.collect.vercel import PARTS, parts_beside
from stages.lib.core.errors import ReprotuneError
from tools.console import paragraph
from tools.preview.first_questions import may_be_first
from tools.preview.message_lists import Messages, lists_of_messages
from tools.preview.orders import tell_order
from tools.preview.proposal import Proposal
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, has_word, key_of
from tools.preview.wording import shorten_cell, shown_name

PRINTED_BY_NUMPY = re.compile(r"\{'.*\barray\(\[", re.DOTALL)


def tell_columns(sample: Sample, proposal: Proposal, leave_out: Collection[str], stated_marks: Collection[str]) -> Iterator[str]:
    """`leave_out`: the keys by which rows or messages are left out; `stated_marks`: of --marks."""
    mapped = [(field, name) for field, name in with_standard_fields(proposal.mapping, sample.keys) if name is not None]
    mapped.sort(key=lambda pair: pair[0] != "messages")
    inner = ("role", "content", "order") if proposal.mapping.messages else ()
    shown = [
        (name if name == field else f"{name} -> {field}") + (" (in each message)" if field in inner else "")
        for field, name in mapped
    ]
    yield from paragraph("columns", ", ".join(shown))
    outer = [part for field, name in mapped if field not in inner for part in (name, name.partition(".")[0])]
    marks, turns = marks_of(sample, proposal.mapping), turns_asked(sample, outer)
    beside = [*REASONING_KEYS] if proposal.mapping.user else [] if proposal.mapping.messages else [*REPLY_KEYS]
    mapping = proposal.mapping
    if not (mapping.messages or mapping.user or any(loses_refusal(row.values, mapping) for row in sample.rows)):
        beside.append(REFUSAL)
    used = [*outer, *leave_out, *marks, *turns, *stated_marks, *beside, *REASONS]
    yield from tell_unused("not used", [key for key in sample.keys if key not in used])
    if key := may_be_first(sample, proposal.mapping):
        yield from paragraph("", f"{key} may hold the first question, which these lists lack; if it does, map it to user too")
    if marks := [key for key in marks if key not in stated_marks]:
        yield from paragraph("", f"{', '.join(marks)}: which replies are to be learned, and which are not")
    yield from tell_turns(turns, stated_marks)
    unused = [key for key in unused_keys(sample, proposal.mapping) if key not in (*leave_out, *stated_marks)]
    yield from tell_unused("not used in the messages", unused)
    for key in [
        key for key in (*sample.keys, *unused) if key not in used and has_word(key_of(key), USUAL_NAMES["thought_words"])
    ]:
        yield from paragraph("", f"{key} may hold thoughts: under the name reasoning_content they would stand before the reply")
    for types in tell_types(sample, proposal.mapping):
        yield from paragraph("", types)
    yield from paragraph("layout", proposal.how)
    if note := tell_order(sample, proposal.mapping):
        yield from paragraph("order", note)


def marks_of(sample: Sample, columns: Columns) -> list[str]:
    """The keys of rows, without those of messages in a list, that say which replies are to be learned."""
    outer = [name for field, name in columns if name and not (columns.messages and field in ("role", "content", "order"))]
    names = [key for key in sample.keys if key not in outer]
    if columns.content and not columns.messages:  # a row is a message
        turns = turns_asked(sample, outer)
        return [key for key in names if is_mark(key) and key not in turns]
    return [key for key in names if is_row_mark(key, sample.cells(key))]


def turns_asked(sample: Sample, taken: Collection[str]) -> dict[str, dict[str, set[Asked]]]:
    """Column -> key, itself or in its objects, that says which turns are learned -> what it asks for.

    `taken`: columns with a field.
    """
    found: dict[str, dict[str, set[Asked]]] = {}
    for row in sample.rows:
        for column, cell in row.values.items():
            for key, value in turn_marks_in({column: cell}).items() if column not in taken else ():
                if asked := asked_of_turns(key, from_json(value)):
                    found.setdefault(column, {}).setdefault(key, set()).add(asked)
    return found


def tell_turns(turns: dict[str, dict[str, set[Asked]]], stated_marks: Collection[str]) -> Iterator[str]:
    for key, asked in [pair for keys in turns.values() for pair in keys.items() if pair[0] not in stated_marks]:
        if "last" in asked:
            yield from paragraph("", f"{key}: where it asks for that, only the last reply of a conversation is learned")
        if "questions" in asked:
            yield from paragraph("", f"{key}: asks that questions be learned too, which is not done")
        if "unclear" in asked:
            yield from paragraph("", f"{key}: says which turns are to be learned, in a way that can't be read")
        if asked == {"nothing"}:
            yield from paragraph("", f"{key}: asks for nothing but what is done anyway")


def tell_types(sample: Sample, columns: Columns) -> Iterator[str]:
    """Columns with cells that are no text: as what they are read."""
    rest = ("messages", "order", "conversation", "role", "content", "history", "rejected", "tools")  # as what they are
    read = {field: str(name) for field, name in columns if name in sample.keys and field not in rest}
    if (tools := with_standard_fields(columns, sample.keys).tools) in sample.keys:
        cells = [cell for cell in sample.cells(str(tools)) if cell not in (None, "", [], {})]
        if cells and not any(map(reads_as_tools, cells)):
            yield f"{tools} describes nothing that the assistant could call, so that it is not used: {shorten_cell(cells[0])!r}"
    asked = sample.cells(columns.user) if columns.user else []
    if 2 * sum(bool(read_prompt(cell)) for cell in asked if isinstance(cell, str)) > len(sample.rows):
        yield f"{columns.user} holds talks up to the reply, written down as one text each: read as their messages"
    for field, name in read.items():
        cells = sample.cells(name)
        if field == "label" and columns.label != columns.assistant:
            if any(read_thumb({name: cell}, name, None) is not None for cell in cells):
                yield f"{name} says whether people liked the reply: where it is false, the reply is context, and not learned"
                continue
            if {str(as_text(cell)) for cell in cells} == {"0", "1"}:
                yield f"{name} is read as a topic; if 0 says that people did not like the reply, map it to desirable instead"
        printed = [cell for cell in cells if isinstance(cell, str) and is_printed(cell)]
        if field in ("user", "assistant") and 2 * len(printed) > len(cells):
            yield (
                f"{name} holds objects as Python prints them, which are read as that text, {shorten_cell(printed[0])!r}: write "
                "the texts in them into the column, where they are meant"
            )
        for kinds, what in (((list, dict), "lists or objects"), ((bool, int, float), "numbers or truth values")):
            found = next((cell for cell in cells if isinstance(cell, kinds)), None)
            if isinstance(found, kinds) and (field in ("user", "assistant")) == (kinds != (list, dict)):
                text = long_text({name: found}, name) if field in ("input", "system") else as_text(found)
                yield f"{name} holds {what}, read as text: {shorten_cell(text)!r}"
                break


def is_printed(text: str) -> bool:
    """Whether it is an object or a list as Python prints it, not as JSON, which a reply may be.

    >>> is_printed("{'text': array(['old'], dtype=object)}"), is_printed("['a']"), is_printed('["a"]'), is_printed("{x}")
    (True, True, False, False)
    """
    return from_json(text) is text and (parse_literal(text) is not None or bool(PRINTED_BY_NUMPY.match(text)))


def reads_as_tools(cell: object) -> bool:
    try:
        return bool(read_tools(cell))
    except ReprotuneError:  # some of it is
        return True


def is_read_there(key: str, message: Mapping[str, object], columns: Columns) -> bool:
    """Whether it is read in some messages only, and is in this one: a refusal, or the name of the tool whose result it is."""
    if key == "name":
        return ROLE_NAMES.get(str(value_at(message, columns.role or "role"))) == "tool"
    return key == REFUSAL and not loses_refusal(message, columns)


def loses_refusal(message: Mapping[str, object], columns: Columns) -> bool:
    """Whether what stands there is not read: it is no text, or the content is there too."""
    refusal = message.get(REFUSAL)
    return refusal not in NOTHING and not (
        isinstance(refusal, str) and value_at(message, columns.content or "content") in NOTHING
    )


def tell_unused(title: str, names: list[str]) -> Iterator[str]:
    if names:
        yield from paragraph("", f"{title}: {', '.join(map(shown_name, names[:20]))}{' ...' if len(names) > 20 else ''}")


def unused_keys(sample: Sample, columns: Columns) -> list[str]:
    """The keys of messages that neither tell a role nor hold a text."""
    read = (columns.role or "role", columns.content or "content", columns.order)
    firsts = [name.partition(".")[0] for name in read if name]
    lists = lists_of_messages(sample, columns)
    found = [key for messages in lists for message in messages for key in message if not is_read_there(key, message, columns)]
    calling = [key for messages in lists for key in keys_of_calls(messages, columns)]
    of_sides = [key for pair in ROLE_AND_CONTENT for key in pair] if columns.user else []
    known = (*read, *firsts, *of_sides, *REPLY_KEYS, *REASONS, *calling)
    return [key for key in dict.fromkeys(found) if key not in known and not is_mark(key)]


def keys_of_calls(messages: Messages, columns: Columns) -> Iterator[str]:
    """The keys of messages that describe tools or tell of calls, where they do."""
    keys, known = (
        MessageKeys(columns.role or "role", columns.content or "content", ROLE_NAMES, {}),
        tools_of_first(messages) or [],
    )
    if known:
        yield from TOOL_KEYS
    names = [tool["function"]["name"] for tool in known]
    for message, following in zip(messages, [*messages[1:], {}], strict=True):
        if spoken_calls(message, str(message.get(keys.content)), keys.is_result(following), names):
            yield from CALLED
        if call_with_result(message):
            yield from OF_BOTH
        if parts_beside(message, message.get(keys.content)):
            yield from PARTS
