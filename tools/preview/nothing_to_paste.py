"""What is said of a file of which nothing is read or kept: the one reason, and what to type next."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator

from stages.clean.params import CleanParams
from stages.collect.rows import UnreadableRow
from stages.lib.records.cleaned import CleanedRow
from tools.console import WIDTH, visible
from tools.preview.again import Again
from tools.preview.chat_exports import ONE_LINE, find_transcripts, lacks_conversation
from tools.preview.sample import Sample
from tools.preview.wording import MOST_SHOWN, counted, shorten_cell, shown_name

MARK = re.compile("(?:`marks: {|`)([^`{}]+): (train|mask|ignore)}?`")  # as collect advises it
MEANINGS = {"train": "true or 1 is to be learned", "mask": "true or 1 is not", "ignore": "it means nothing: all is learned"}
OF_THE_ROWS = re.compile("only text can be read|earlier turns|tool call|nested too deeply")  # which no mapping mends


def tell_unmapped(again: Again, sample: Sample) -> Iterator[str]:
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
    if name := find_transcripts(sample):
        yield ""
        yield from textwrap.wrap(
            visible(
                f"{name!r} looks like talks that are written down, which are read where the speakers are Human and Assistant. "
                "With other names, write JSONL, a line for each talk:"
            ),
            WIDTH,
        )
        yield from ("", f"  {ONE_LINE}")
    yield from ("", "Say it, and look again (FIELD=COLUMN; also label, id, language, group, system):", "")
    yield from mapping_commands(again)
    objects = ((key, cell) for key in sample.keys for cell in sample.cells(key) if cell and isinstance(cell, dict))
    if within := next((f"{key}.{next(iter(cell))}" for key, cell in objects), None):
        yield from ("", visible(f"COLUMN may lead into objects: {within}, say."))
    yield from (
        "",
        "A row is a question with its answer, one message, or a list of messages. If the first line is a row already,",
        "put a line of names above it.",
    )
    yield from tell_nothing_to_paste("the names do not tell which column holds the texts, and who wrote them")


def mapping_commands(again: Again) -> Iterator[str]:
    for columns in (
        "user=COLUMN assistant=COLUMN",
        "conversation=COLUMN role=COLUMN content=COLUMN",
        "messages=COLUMN role=KEY content=KEY",
    ):
        yield visible(f"  {again.command(columns=columns.split())}")
    after = again.command(columns=["role=COLUMN", "content=COLUMN", "id=COLUMN", "parent=COLUMN"])
    yield visible(f"  {after}   # where a message names the one before it")
    for columns in ("conversation=COLUMN content=COLUMN", "messages=COLUMN content=KEY"):
        in_turn = again.command(columns=columns.split(), begins=["user"])
        yield visible(f"  {in_turn}   # where no role is named and sides take turns")


def tell_nothing_read(again: Again, unknown: list[str], unreadable: list[UnreadableRow], role: str) -> Iterator[str]:
    """What to type next, where that can mend it. `unknown`: the names under the key `role` that nobody knows, the reason then."""
    [(reason, _)] = Counter(row.reason for row in unreadable).most_common(1) or [("no row is read", 0)]
    meanings = MARK.findall(reason)
    yield ""
    yield "No conversation comes out of it, so there is nothing to train on yet."
    if unknown:
        yield from ("Say who is who, or which column holds what, and look again:", "")
        yield visible(f"  {again.command(roles=again.with_more('roles', *(f'{name}=ROLE' for name in unknown[:MOST_SHOWN])))}")
        without = again.command(leave_out=again.with_more("leave_out", f"{role}={unknown[0]}"))
        yield visible(f"  {without}   # where it is no one's, such as an event of the program")
        yield from mapping_commands(again)
    elif meanings:
        yield from ("Say what the key means, and look again:", "")
        for key, meaning in meanings:
            yield visible(f"  {again.command(marks=again.with_more('marks', f'{key}={meaning}'))}   # {MEANINGS[meaning]}")
    elif OF_THE_ROWS.search(reason) and not reason.startswith("a part of type {"):  # of which a key may hold the text
        yield "Mend these rows, and look again."
    else:
        yield from ("Mend these rows, or say which column holds what, and look again:", "", *mapping_commands(again))
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
