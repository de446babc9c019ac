"""What is said of a file: what it is, how it reads, what is wrong, and what to do."""

import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from stages.clean.conversation import CleanedChunk
from stages.clean.params import CleanParams
from stages.collect.layouts import with_standard_fields
from stages.collect.marks import is_mark, is_row_mark
from stages.collect.messages import REASONING_KEYS, REPLY_KEYS, as_text, long_text
from stages.collect.preferences import read_thumb
from stages.collect.rows import UnreadableRow
from stages.collect.sources import Columns
from stages.collect.tool_use import read_tools
from stages.lib.core.errors import ReprotuneError
from stages.lib.personal_data.kinds import MASKS
from stages.lib.records.cleaned import CleanedRow
from stages.lib.records.conversation import ROLES, Conversation
from tools.console import WIDTH, paragraph, plural, visible
from tools.preview.chat_exports import lacks_conversation
from tools.preview.columns import Proposal, has_word, tell_order
from tools.preview.file_kind import FileKind
from tools.preview.given import Given
from tools.preview.message_lists import lists_of_messages
from tools.preview.roles import RoleProposal
from tools.preview.sample import Sample
from tools.preview.source_entry import leads_out, yaml_entry
from tools.preview.usual_names import USUAL_NAMES, key_of
from tools.preview.wording import MOST_SHOWN, counted, shorten_cell, shown_name

FORMATS = {"json": "JSON document", "jsonl": "JSONL", "parquet": "Parquet", "csv": "CSV", "tsv": "TSV"}
MARK = re.compile("(?:`marks: {|`)([^`{}]+): (train|mask|ignore)}?`")  # as collect advises it
MEANINGS = {"train": "true or 1 is to be learned", "mask": "true or 1 is not", "ignore": "it means nothing: all is learned"}
OF_THE_ROWS = re.compile("only text can be read|earlier turns|tool call|nested too deeply")  # which no mapping mends
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def tell_file(given: Given, kind: FileKind, sample: Sample) -> Iterator[str]:
    yield visible(str(given.path / given.pattern if given.pattern else given.path))
    yield ""
    parts = [FORMATS[kind.format]]
    parts += [f"cells parted by {DELIMITERS[kind.delimiter]}"] if kind.delimiter else []
    parts += [kind.encoding.shown] if kind.encoding else []
    parts += [f"compressed with {kind.compression}"] if kind.compression else []
    if given.is_folder:
        names = [path.relative_to(given.path).as_posix() for path in given.files]
        shown = ", ".join(names[:MOST_SHOWN]) + (" ..." if len(names) > MOST_SHOWN else "")
        yield from paragraph("files", f"{plural(len(names), 'file')}: {shown}")
        if given.rest:
            yield from paragraph("", f"not read: {', '.join(path.name for path in given.rest[:MOST_SHOWN])}")
    yield from paragraph("each" if given.is_folder else "file", ", ".join(parts))
    for note in kind.encoding.notes if kind.encoding else []:
        yield from paragraph("", note)
    number = len(sample.rows) + len(sample.unreadable)
    first = "of each file the first, " if given.is_folder else "the first "
    yield from paragraph("rows", f"{number:,}" if sample.complete else f"{first}{number:,}; what follows is about these")


def tell_unmapped(path: Path, sample: Sample) -> Iterator[str]:
    yield ""
    yield "Which column holds what can't be told from the names. The columns, with cells of the first rows:"
    yield ""
    for key in sample.keys[:40]:
        yield visible(f"  {shown_name(key)}: {' | '.join(map(shorten_cell, sample.cells(key)[:3]))}")
    if found := lacks_conversation(sample):
        role, content = found
        yield ""
        yield from textwrap.wrap(
            visible(
                f"A row looks like one message, with its role in {role!r} and its text in {content!r}, but no column says which "
                "conversation it belongs to. Add such a column to each row, called conversation."
            ),
            WIDTH,
        )
    yield from ("", "Say it, and look again (FIELD=COLUMN; also label, id, language, group, system):", "")
    yield from mapping_commands(path)
    yield from (
        "",
        "A row is a question with its answer, one message, or a list of messages. If the first line is a row already,",
        "put a line of names above it.",
    )
    yield from tell_nothing_to_paste("the names do not tell which column holds the texts, and who wrote them")


def mapping_commands(path: Path) -> Iterator[str]:
    command = f"  python -m tools.preview {shlex.quote(str(path))} --columns"
    yield f"{command} user=COLUMN assistant=COLUMN"
    yield f"{command} conversation=COLUMN role=COLUMN content=COLUMN"
    yield f"{command} messages=COLUMN role=KEY content=KEY"
    yield f"{command} conversation=COLUMN content=COLUMN --begins user   # where no role is named and sides take turns"


def tell_nothing_read(path: Path, unknown: list[str], unreadable: list[UnreadableRow], role: str) -> Iterator[str]:
    """What to type next, where that can mend it. `unknown`: the names under the key `role` that nobody knows, the reason then."""
    [(reason, _)] = Counter(row.reason for row in unreadable).most_common(1) or [("no row is read", 0)]
    command = f"  python -m tools.preview {shlex.quote(str(path))}"
    meanings = MARK.findall(reason)
    yield ""
    yield "No conversation comes out of it, so there is nothing to train on yet."
    if unknown:
        pairs = " ".join(f"{shlex.quote(name)}=ROLE" for name in unknown[:MOST_SHOWN])
        yield from ("Say who is who, or which column holds what, and look again:", "", visible(f"{command} --roles {pairs}"))
        without = shlex.quote(f"{role}={unknown[0]}")
        yield visible(f"{command} --leave-out {without}   # where it is no one's, such as an event of the program")
        yield from mapping_commands(path)
    elif meanings:
        yield from ("Say what the key means, and look again:", "")
        for key, meaning in meanings:
            yield visible(f"{command} --marks {shlex.quote(f'{key}={meaning}')}   # {MEANINGS[meaning]}")
    elif OF_THE_ROWS.search(reason):
        yield "Mend these rows, and look again."
    else:
        yield from ("Mend these rows, or say which column holds what, and look again:", "", *mapping_commands(path))
    yield from tell_nothing_to_paste(f"nobody says who is {', '.join(unknown[:MOST_SHOWN])}" if unknown else reason)


def tell_all_dropped(ledger: list[CleanedRow]) -> Iterator[str]:
    """Why cleaning keeps nothing: a switch of its own, or what the rows were taken for."""
    reasons = Counter(row["reason"] for row in ledger if row["reason"])
    switches = [f"clean.{reason}" for reason in reasons if reason in CleanParams.model_fields]
    what = f"see {', '.join(switches)} in params.yaml" if switches else "are the columns and roles the right ones?"
    yield from tell_nothing_to_paste(f"cleaning drops all conversations, {counted(reasons)} ({what})")


def tell_nothing_to_paste(reason: str) -> Iterator[str]:
    """The one reason, at the end."""
    yield ""
    yield visible(f"Nothing to paste: {reason}.")


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
    marks = marks_of(sample, proposal.mapping)
    beside = REASONING_KEYS if proposal.mapping.user else () if proposal.mapping.messages else REPLY_KEYS
    used = [*outer, *leave_out, *marks, *stated_marks, *beside]
    yield from tell_unused("not used", [key for key in sample.keys if key not in used])
    if marks := [key for key in marks if key not in stated_marks]:
        yield from paragraph("", f"{', '.join(marks)}: which replies are to be learned, and which are not")
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
        return [key for key in names if is_mark(key)]
    return [key for key in names if is_row_mark(key, sample.cells(key))]


def tell_types(sample: Sample, columns: Columns) -> Iterator[str]:
    """Columns with cells that are no text: as what they are read."""
    rest = ("messages", "order", "conversation", "role", "content", "history", "rejected", "tools")  # as what they are
    read = {field: str(name) for field, name in columns if name in sample.keys and field not in rest}
    if (tools := with_standard_fields(columns, sample.keys).tools) in sample.keys:
        cells = [cell for cell in sample.cells(str(tools)) if cell not in (None, "", [], {})]
        if cells and not any(map(reads_as_tools, cells)):
            yield f"{tools} describes nothing that the assistant could call, so that it is not used: {shorten_cell(cells[0])!r}"
    for field, name in read.items():
        cells = sample.cells(name)
        if field == "label" and columns.label != columns.assistant:
            if any(read_thumb({name: cell}, name, None) is not None for cell in cells):
                yield f"{name} says whether people liked the reply: where it is false, the reply is context, and not learned"
                continue
            if {str(as_text(cell)) for cell in cells} == {"0", "1"}:
                yield f"{name} is read as a topic; if 0 says that people did not like the reply, map it to desirable instead"
        for kinds, what in (((list, dict), "lists or objects"), ((bool, int, float), "numbers or truth values")):
            found = next((cell for cell in cells if isinstance(cell, kinds)), None)
            if isinstance(found, kinds) and (field in ("user", "assistant")) == (kinds != (list, dict)):
                text = long_text({name: found}, name) if field in ("input", "system") else as_text(found)
                yield f"{name} holds {what}, read as text: {shorten_cell(text)!r}"
                break


def reads_as_tools(cell: object) -> bool:
    try:
        return bool(read_tools(cell))
    except ReprotuneError:  # some of it is
        return True


def tell_unused(title: str, names: list[str]) -> Iterator[str]:
    if names:
        yield from paragraph("", f"{title}: {', '.join(map(shown_name, names[:20]))}{' ...' if len(names) > 20 else ''}")


def unused_keys(sample: Sample, columns: Columns) -> list[str]:
    """The keys of messages that neither tell a role nor hold a text."""
    read = (columns.role or "role", columns.content or "content", columns.order)
    firsts = [name.partition(".")[0] for name in read if name]
    found = (key for messages in lists_of_messages(sample, columns) for message in messages for key in message)
    known = (*read, *firsts, *REPLY_KEYS)
    return [key for key in dict.fromkeys(found) if key not in known and not is_mark(key)]


def tell_roles(names: Counter[str], proposal: RoleProposal, stated: dict[str, str], notes: list[str]) -> Iterator[str]:
    """`notes`: on the stated ones."""
    if names:
        yield from paragraph("roles", counted(names))
    if proposal.roles and not stated:
        pairs = ", ".join(f"{name} -> {role}" for name, role in proposal.roles.items())
        yield from paragraph("", f"{pairs}: {proposal.how}")
    if left := [name for name in proposal.left if name not in stated]:
        who = ", ".join(left[:MOST_SHOWN])
        yield from paragraph("", f"who is {who}? Say it: --roles NAME=ROLE, of {', '.join(ROLES)}")
    for note in notes:
        yield from paragraph("", note)


def tell_conversations(conversations: list[Conversation], chunk: CleanedChunk, ledger: list[CleanedRow]) -> Iterator[str]:
    """`chunk`, `ledger`: what cleaning makes of them."""
    if not conversations:
        yield from paragraph("reads as", "no conversation")
        return
    turns = [sum(message["role"] == "assistant" for message in one["messages"]) for one in conversations]
    spread = plural(min(turns), "reply") if min(turns) == max(turns) else f"{min(turns)} to {max(turns)} replies"
    messages = plural(sum(len(one["messages"]) for one in conversations), "message")
    yield from paragraph("reads as", f"{plural(len(turns), 'conversation')} of {messages}, {spread} in each")
    if special := list(tell_special(conversations)):
        yield from paragraph("with", ", ".join(special))
    languages = Counter(verdict.language for verdict in chunk.verdicts)
    shares = [f"{code.replace('und', 'not told')} {number / len(turns):.0%}" for code, number in languages.most_common(5)]
    yield from paragraph("language", ", ".join(shares))
    dropped = Counter(row["reason"] for row in ledger if row["reason"])
    changed = Counter(step for row in ledger for step in row["repaired_by"] if not row["reason"])
    masked = Counter({step: number for step, number in changed.items() if step in MASKS})
    repaired = changed - masked
    went = [f"repairs {counted(repaired)}"] if repaired else []
    went += [f"masks {counted(masked)}"] if masked else []
    went += [f"drops {counted(dropped)}"] if dropped else []
    left_out = sum(row["messages_left_out"] for row in ledger if not row["reason"])
    went += [f"leaves out {plural(left_out, 'message')} of the others"] if left_out else []
    yield from paragraph("cleaning", "; ".join(went or ["finds nothing to do"]))


def tell_special(conversations: list[Conversation]) -> Iterator[str]:
    """What they hold besides texts of roles, counted."""
    messages = [message for one in conversations for message in one["messages"]]
    for number, one, several in (
        (sum(message.get("weight") == 0 for message in messages), "reply not to learn", "replies not to learn"),
        (sum(len(message.get("tool_calls", [])) for message in messages), "call of a tool", "calls of tools"),
        (sum("reasoning_content" in message for message in messages), "reply with thoughts", "replies with thoughts"),
        (sum(len(each.get("rejected", [])) for each in conversations), "rejected reply", "rejected replies"),
    ):
        if number:
            yield f"{number:,} {one if number == 1 else several}"


def tell_problems(unreadable: list[UnreadableRow], stopped: str | None, any_read: bool) -> Iterator[str]:
    """`any_read`: whether there is a conversation; without one, dropping the rows is no remedy."""
    if unreadable:
        rows = plural(sum(row.rows for row in unreadable), "row")
        yield ""
        yield f"{rows} can't be read{':' if len(unreadable) <= MOST_SHOWN else f', the first {MOST_SHOWN}:'}"
        yield from (visible(f"  {row.place}: {row.reason}") for row in unreadable[:MOST_SHOWN])
        if any_read:
            yield "They stop `dvc repro`: mend them, or set `collect.bad_rows: drop`."
    if stopped:
        yield ""
        yield visible(f"After these rows the file can't be read, which stops `dvc repro`:\n  {stopped}")


def tell_what_to_do(
    path: Path, target: Path, name: str, entry: dict[str, object], known: bool, settings: str | None
) -> Iterator[str]:
    """`settings`: what else must be set, or `dvc repro` stops."""
    yield ""
    if known:
        yield "params.yaml reads this file already. To read it as it was read here, let this stand under `collect.sources`:"
    else:
        yield "To train on it, paste this under `collect.sources` in params.yaml:"
    yield ""
    yield from yaml_entry(name, entry)
    yield ""
    if entry.get("outside"):
        yield visible(f"(`outside: true`, since {target} is a link that leads out of the project)")
        yield ""
    if settings:
        yield from textwrap.wrap(f"There too, or `dvc repro` stops, since {settings}.", WIDTH)
        yield ""
    yield "and type:"
    yield ""
    if not target.exists():
        yield f"    cp {'-r ' if path.is_dir() else ''}{shlex.quote(str(path))} {shlex.quote(str(target))}"
    if not leads_out(target.parent):  # where DVC adds nothing
        yield f"    dvc add {shlex.quote(str(target))}   # optional: DVC keeps the file, git its hash"
    yield "    dvc repro"
