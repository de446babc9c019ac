"""What is said of a file: what it is, how it reads, what is wrong, and what to do."""

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stages.clean.conversation import CleanedChunk
from stages.collect.rows import UnreadableRow
from stages.lib.personal_data.kinds import MASKS
from stages.lib.records.cleaned import CleanedRow
from stages.lib.records.conversation import ROLES, Conversation, Message
from tools.console import WIDTH, paragraph, plural, visible
from tools.preview.file_kind import FileKind
from tools.preview.given import Given
from tools.preview.roles import RoleProposal
from tools.preview.sample import Sample
from tools.preview.source_entry import leads_out, yaml_entry
from tools.preview.wording import MOST_SHOWN, counted, shorten_cell

FORMATS = {"json": "JSON document", "jsonl": "JSONL", "parquet": "Parquet", "csv": "CSV", "tsv": "TSV"}
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
    if uncalled := [text for one in conversations for text in replies_without_call(one["messages"])]:
        what = (
            "1 tool's result follows a reply that calls"
            if len(uncalled) == 1
            else f"{len(uncalled):,} tools' results follow replies that call"
        )
        said = f"{what} none under tool_calls; such a reply is learned as it is written, as what the model is to say: "
        yield from paragraph("", said + shorten_cell(uncalled[0]))
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


def replies_without_call(messages: list[Message]) -> Iterator[str]:
    """What the assistant said before each result, or several in a row, of a tool that no call is there of: it wrote one as text.

    >>> list(replies_without_call([{"role": "assistant", "content": "[f(x=1)]"}, {"role": "tool", "content": "2"}]))
    ['[f(x=1)]']
    """
    before: list[Message] = []
    for message in messages:
        if message["role"] == "tool" and before and not any("tool_calls" in reply for reply in before):
            yield before[-1]["content"]
        before = [*before, message] if message["role"] == "assistant" else []


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
