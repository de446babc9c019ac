"""What most likely is no part of a conversation: private notes, deleted messages, events of the program."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from stages.collect.attached import ATTACHED
from stages.collect.lists import reason_to_leave_out, value_at
from stages.collect.marks import is_mark
from stages.collect.rows import plain_text
from stages.collect.sources import ANY_VALUE, Columns, Scalar
from stages.collect.switches import read_switch
from tools.console import paragraph
from tools.preview.message_lists import list_of_messages, lists_of_messages
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, key_of
from tools.preview.wording import counted

LeaveOut = dict[str, Scalar | list[Scalar]]


def propose_all(sample: Sample, mapping: Columns) -> LeaveOut:
    """Of messages, and of rows where messages stand in lists in them."""
    lists, rows = messages_in_lists(sample, mapping), [row.values for row in sample.rows]
    if mapping.content and not mapping.messages:
        return propose_unwanted(rows, mapping.role, are_messages=True) | propose_no_messages(rows, mapping)
    fields = (mapping.assistant, mapping.label, mapping.rejected)  # what rows are for: a class may be called spam
    of_rows = [{key: value for key, value in row.items() if key not in fields} for row in rows]
    return propose_unwanted(of_rows, None, are_messages=False) | propose_unwanted(lists, mapping.role, are_messages=True)


def propose_no_messages(rows: Sequence[Mapping[str, object]], mapping: Columns) -> LeaveOut:
    """The kinds of rows that have neither a role nor a text, where no row of those kinds has: what a program logs beside a talk.

    >>> said, log = {"type": "user", "role": "user", "text": "hi"}, {"type": "snapshot", "at": 3}
    >>> propose_no_messages([said, log, said, log], Columns(conversation="c", role="role", content="text"))
    {'type': ['snapshot']}
    """
    if not mapping.role or not mapping.content:
        return {}
    says = [any(value_at(row, name) is not None for name in (mapping.role, mapping.content)) for row in rows]
    for key in dict.fromkeys(key for row in rows for key in row if key_of(key) in USUAL_NAMES["leave_out"]["kind"]):
        kinds = [{row.get(key) for row, one in zip(rows, says, strict=True) if one is said} for said in (True, False)]
        if all(kinds) and kinds[0].isdisjoint(kinds[1]) and all(isinstance(kind, str) for kind in kinds[1]):
            found: list[Scalar] = [*sorted(map(str, kinds[1]))]
            return {key: found}
    return {}


def propose_unwanted(values: Iterable[Mapping[str, object]], role: str | None, are_messages: bool) -> LeaveOut:
    """By keys whose names say it: true or false, a time of deletion, or a kind of message. `role`: the key of who writes.

    `are_messages`: of which a key may be a mark of what to learn, and is read as that; which may be no texts by their kind; and
    of which none with a key for a picture can go, since the reply to it would seem to be one to what stands before.
    """
    rows = list(values)
    leave_out: LeaveOut = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        if are_messages and is_mark(key):
            continue
        cells = [row.get(key) for row in rows]
        if key == role:
            if events := event_roles(cells):
                leave_out[key] = events
            continue
        if are_messages and (kinds := no_texts(key_of(key), cells)):
            leave_out[key] = kinds
        elif (wanted := unwanted_in(key_of(key), cells)) is not None:
            leave_out[key] = wanted
        elif not are_messages and key in ATTACHED and 0 < 3 * sum(map(bool, cells)) <= len(cells):  # a few pictures among texts
            leave_out[key] = ANY_VALUE
    return leave_out


def event_roles(cells: list[object]) -> Scalar | list[Scalar] | None:
    """Names under the key of who writes that are no one's, where others are.

    >>> event_roles(["event", "customer", "event"]), event_roles(["event", "event"])
    (['event'], None)
    """
    names = list(dict.fromkeys(cell for cell in cells if isinstance(cell, str)))
    events: list[Scalar] = [name for name in names if key_of(name) in USUAL_NAMES["event_roles"]]
    return events if events and len(events) < len(names) else None


def unwanted_in(name: str, cells: list[object]) -> Scalar | list[Scalar] | None:
    """The value for which to leave out, if there is one among the cells; not where all would go.

    >>> unwanted_in("public", [True, False]), unwanted_in("deleted_at", [None, "2024-03-01"]), unwanted_in("type", ["note", "x"])
    (False, '*', ['note'])
    >>> unwanted_in("public", [False, False]), unwanted_in("type", ["message"]), unwanted_in("split", ["train", "test"])
    (None, None, ['test'])
    """
    names = USUAL_NAMES["leave_out"]
    texts = {str(cell).strip().lower() for cell in cells if cell is not None and str(cell).strip()}
    if name == "answer" and names["verdicts"][0] in texts < {*names["verdicts"]} | {""} and len(texts) > 1:
        return [cell for cell in dict.fromkeys(map(_scalar, filter(None, cells))) if cell != names["verdicts"][0]]
    for truth in (True, False):
        if name in names[truth] and (wanted := _switched(cells, truth)) is not None:
            return wanted
    if name in names["any"] and texts - {"false"} and len([cell for cell in cells if not cell]) > 0:
        return ANY_VALUE
    kinds = names["kinds"] if name in names["kind"] else names["splits"] if name in names["split"] else []
    kinds = [*kinds, *names["beside_verbose"]] if kinds and "verbose" in texts else kinds
    found = [cell for cell in dict.fromkeys(cell for cell in cells if isinstance(cell, str)) if key_of(cell) in kinds]
    if found and len(texts) > len({cell.lower() for cell in found}):
        return list(found)
    return None


def no_texts(name: str, cells: list[object]) -> list[Scalar]:
    """The kinds that are pictures, notices and the like, where other messages are texts by their kind.

    >>> no_texts("msg_type", ["text", "图片", "note"]), no_texts("type", [1, 3, 10000]), no_texts("type", [1, 3])
    (['图片', 'note'], [3, 10000], [])
    """
    names = USUAL_NAMES["leave_out"]
    by_text = {plain_text(cell).strip().lower(): _scalar(cell) for cell in cells if cell is not None}
    kinds = {*names["no_text_kinds"], *names["kinds"]}
    if name not in names["kind"] or by_text.keys().isdisjoint(names["text_kinds"]):
        return []
    if "1" in by_text and not (by_text.keys() <= {"1", *kinds} and any(int(text) > 30 for text in by_text if text.isdigit())):
        return []
    return [cell for text, cell in by_text.items() if key_of(text) in kinds]


def _switched(cells: list[object], truth: bool) -> Scalar | list[Scalar] | None:
    """The value of cells that are all true or false, or something that says it, or nothing, where only some say `truth`.

    >>> _switched([True, False], True), _switched(["是", "否"], False), _switched([1, 0, None], True), _switched([1, 1], True)
    (True, ['否'], [1], None)
    """
    said = [cell for cell in cells if cell is not None and str(cell).strip()]
    switches = {read_switch(cell) for cell in said}
    if None in switches or truth not in switches or (len(switches) == 1 and None not in cells):
        return None
    wanted: list[Scalar] = [cell for cell in dict.fromkeys(map(_scalar, said)) if read_switch(cell) is truth]
    return truth if {str(cell).strip().lower() for cell in wanted} == {str(truth).lower()} else wanted


def _scalar(cell: object) -> Scalar:
    return cell if isinstance(cell, (bool, int, float, str)) else str(cell)


def count_unwanted(values: Iterable[Mapping[str, object]], leave_out: LeaveOut) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in values:
        for key, wanted in leave_out.items():
            if reason := reason_to_leave_out(one, {key: wanted}):
                counts[f"{key} is something" if wanted == ANY_VALUE else reason] += 1
                break
    return counts


def messages_in_lists(sample: Sample, mapping: Columns) -> list[dict[str, object]]:
    lists = [] if mapping.conversation else lists_of_messages(sample, mapping)
    return [message for messages in lists for message in messages]


def messages_and_rows(sample: Sample, mapping: Columns, leave_out: LeaveOut) -> list[Mapping[str, object]]:
    """What can be left out: the rows, and the messages in lists of those that stay."""
    stay = sample._replace(rows=[row for row in sample.rows if not reason_to_leave_out(row.values, leave_out)])
    return [*(row.values for row in sample.rows), *messages_in_lists(stay, mapping)]


def without_unwanted(sample: Sample, mapping: Columns, leave_out: LeaveOut) -> Sample:
    """The sample without what is left out, whose roles need not be known."""
    if not leave_out:
        return sample
    rows = [row for row in sample.rows if not reason_to_leave_out(row.values, leave_out)]
    if name := mapping.messages:
        rows = [row._replace(values=row.values | {name: _wanted(row.values.get(name), leave_out)}) for row in rows]
    return sample._replace(rows=rows)


def _wanted(value: object, leave_out: LeaveOut) -> object:
    messages = list_of_messages(value)
    return [one for one in messages if not reason_to_leave_out(one, leave_out)] if messages else value


def tell_unwanted(counts: Counter[str], stated: bool) -> Iterator[str]:
    if counts:
        how = "as stated by --leave-out" if stated else "a proposal: take `leave_out` away to keep them"
        yield from paragraph("left out", f"{counted(counts)}; {how}")
