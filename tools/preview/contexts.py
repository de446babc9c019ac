"""What a talk rests on, in a column beside it, such as a context or a document: its system message, or part of a question."""

import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from stages.collect.contexts import NAMES, SYSTEM, TEXTS_OF_LISTS, key_of, prose_in
from stages.collect.layouts import names_in, recognize_layout
from stages.collect.lists import value_at
from stages.collect.messages import ROLE_NAMES, as_text, long_text, text_parts
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import normalize
from tools.preview.again import Again
from tools.preview.message_lists import lists_of_messages
from tools.preview.orders import cells_of_conversations
from tools.preview.proposal import Proposal
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES

QUESTIONS = USUAL_NAMES["columns"]["user"]  # beside a pair whose question has another one of these names


def with_context(proposal: Proposal, sample: Sample) -> Proposal:
    """The proposal, written out with such a column where there is one."""
    mapping = proposal.mapping
    found = contexts_beside(mapping, sample)
    if len(found) != 1 or input_is_one(mapping, sample) or not reads_as_texts(sample, found[0]):
        return proposal
    [name] = found
    field = field_for(name, mapping, sample)
    if (field == "system" and fills(sample, mapping.system)) or (field == "system" and any(says_system(mapping, sample, name))):
        return proposal
    columns = {**written_out(mapping), field: name}
    what = "a system message" if field == "system" else "a part of the question"
    return Proposal(columns, Columns(**columns), f"{proposal.how}, but for {name}, which is {what}; a proposal", proposal.begins)


def refuse_contexts(path: Path, sample: Sample, mapping: Columns, again: Again) -> None:
    """Raise where such a column is left over, since something else is the system message already, or since it holds objects."""
    found = contexts_beside(mapping, sample)
    if not found:
        return
    others = [*found[1:], *([mapping.system] if mapping.system and fills(sample, mapping.system) else [])]
    has_objects, has_input = not reads_as_texts(sample, found[0]), input_is_one(mapping, sample)
    field = field_for(found[0], mapping, sample) if has_objects and not others else "system"
    columns = {one: name for one, name in written_out(mapping).items() if one != field} | {field: found[0]}
    command = again.command(columns=[f"{one}={name}" for one, name in columns.items()])
    without = f"or without {shlex.quote(f'{field}={found[0]}')}, by which it is not used"
    if others:
        reason = f"as {' and '.join(map(repr, others))} may too, and one column is the system message"
        choice = (
            f"or with {' or '.join(shlex.quote(f'system={name}') for name in others)} in its place, or make one column of them"
        )
    elif has_objects:
        reason = "but in lists or objects, which are no plain text"
        choice = f"by which they are read as they are written, as JSON, {without}, or make one text of each"
    elif has_input:
        reason = f"as {mapping.input!r} may too, which is a part of the question"
        choice = f"by which both are used, {without}"
    else:
        reason = "and these talks have system messages already"
        choice = f"by which it is joined to them, {without}"
    raise ReprotuneError(f"{path}: {found[0]!r} may hold what the talks rest on, {reason}. Look again with `{command}`, {choice}")


def contexts_beside(mapping: Columns, sample: Sample) -> list[str]:
    """The columns without a field that hold such texts, which the talks do not say; none where a row lacks what is mapped."""
    if mapping.parent or not all_rows_have(mapping, sample):
        return []
    taken = [part for name, _ in names_in(mapping) for part in (name, name.partition(".")[0])]
    others = [] if mapping.user is None or mapping.messages or is_standard_pair(mapping, sample) else QUESTIONS
    found = [key for key in sample.keys if key not in taken and key_of(key) in NAMES and key_of(key) not in others]
    found += [name for name in system_in_objects(sample) if name.partition(".")[0] not in (*taken, *found)]
    said = said_by(mapping, sample) if found else set()
    found = [name for name in found if holds_prose(sample, name, said)]
    if mapping.conversation:  # of rows that are messages, what all rows of a talk have
        columns = {"conversation": mapping.conversation}
        found = [name for name in found if all(len(set(cells)) == 1 for cells in cells_of_conversations(sample, columns, name))]
    return found


def system_in_objects(sample: Sample) -> list[str]:
    """Keys of objects in the rows' cells that are names of a system message, as SmolTalk 2 has them in chat_template_kwargs."""
    inner = {
        f"{name}.{key}": None
        for row in sample.rows
        for name, cell in row.values.items()
        if isinstance(cell, dict)
        for key, value in cell.items()
        if key_of(str(key)) in SYSTEM and isinstance(value, str)
    }
    return list(inner)


def is_standard_pair(mapping: Columns, sample: Sample) -> bool:
    known = recognize_layout(sample.keys)
    return known is not None and known.user is not None and (known.user, known.assistant) == (mapping.user, mapping.assistant)


def input_is_one(mapping: Columns, sample: Sample) -> bool:
    """Whether the names told already that a column belongs to the question since that rests on it."""
    return mapping.input is not None and key_of(mapping.input) in NAMES and fills(sample, mapping.input)


def holds_prose(sample: Sample, name: str, said: set[str]) -> bool:
    """Whether most cells that hold something have a text of several words, and half of them at least one that is not `said`."""
    filled = [cell for cell in sample.cells(name) if as_text(cell)]
    found = [texts for cell in filled if (texts := prose_in(cell))]
    return 2 * len(found) > len(filled) <= 2 * sum(any(normalize(text) not in said for text in texts) for texts in found)


def reads_as_texts(sample: Sample, name: str) -> bool:
    """Whether `collect` reads each cell with such texts as these texts, not as JSON."""
    return all(is_text(cell) for cell in sample.cells(name) if prose_in(cell))


def fills(sample: Sample, name: str | None) -> bool:
    """Whether a column holds anything."""
    return name is not None and any(map(as_text, sample.cells(name)))


def is_text(cell: object) -> bool:
    is_list = isinstance(cell, (list, tuple)) and all(isinstance(part, str) for part in cell)
    return isinstance(cell, str) or is_list or text_parts(cell) is not None


def said_by(mapping: Columns, sample: Sample) -> set[str]:
    return set(map(normalize, texts_said(mapping, sample)))


def texts_said(mapping: Columns, sample: Sample) -> Iterator[str]:
    """What the talks say, but for their system messages: those may stand in a column too."""
    for messages in lists_of_messages(sample, mapping):
        for message in messages:
            found = (value_at(message, key) for key in (mapping.content or "content", "content", "value", "parts"))
            yield from (text for cell in found if (text := long_text({"cell": cell}, "cell")))
    for name in (mapping.user, mapping.assistant, None if mapping.messages else mapping.content):
        yield from (cell for cell in (sample.cells(name) if name else []) if isinstance(cell, str))


def says_system(mapping: Columns, sample: Sample, name: str) -> Iterator[bool]:
    """Of each row with something under a name, whether it has a system message that says something else."""
    keys = [key for key in (mapping.role, "role", "from") if key]
    for row in sample.rows:
        lists = [[row.values]] if mapping.conversation else lists_of_messages(sample._replace(rows=[row]), mapping)
        if context := as_text(row.values.get(name)):
            systems = [one for one in chain(*lists) if any(ROLE_NAMES.get(str(value_at(one, key))) == "system" for key in keys)]
            yield any(long_text(one, mapping.content or "content") != context for one in systems)


def field_for(name: str, mapping: Columns, sample: Sample) -> str:
    """Beside lists the system message; a text beside a question belongs to it."""
    usual = {*USUAL_NAMES["columns"]["input"], *TEXTS_OF_LISTS}
    asked = sample.cells(mapping.user) if mapping.user and not mapping.messages else []
    plain = bool(asked) and all(isinstance(cell, str) for cell in asked)
    return "input" if plain and mapping.input is None and key_of(name) in usual else "system"


def all_rows_have(mapping: Columns, sample: Sample) -> bool:
    """Whether a mapping that is written out, which each row must have, reads all rows."""
    required = [name for name, required in names_in(mapping) if required]
    return bool(required) and all(
        name in row.values or value_at(row.values, name) is not None for row in sample.rows for name in required
    )


def written_out(mapping: Columns) -> dict[str, str]:
    columns = {field: name for field, name in mapping if name is not None}
    return {field: columns[field] for field in sorted(columns, key=lambda field: field != "messages")}
