"""One source in params.yaml -> data/collected/<name>.jsonl: its conversations in one schema, nothing judged.

The ledger, data/ledger/collect/<name>.jsonl, has one row for every conversation and every unreadable row: id, place, the
numbers of the further source rows it stands for, how many these are in all, fate and reason.
"""

import hashlib
import heapq
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import BeforeValidator, Field

from stages.collect.conversations import read_source
from stages.collect.raw_conversation import RawConversation
from stages.collect.rows import UnreadableRow
from stages.collect.sources import Source
from stages.lib.collected import CollectedRow, Fate, check_names, conversations_of, ledger_of
from stages.lib.core.errors import ReprotuneError, raise_first, run_stage
from stages.lib.core.files import write_jsonl, write_lines
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.conversation import Conversation, conversation_line


class CollectParams(Section):
    limit: int | None = Field(ge=1)
    bad_rows: Literal["stop", "drop"]
    sources: Annotated[dict[str, Source], BeforeValidator(check_names)] = Field(min_length=1)


class Collected(NamedTuple):
    """`line`: the conversation as its line of the output; a dict would take several times the memory."""

    id: str
    place: str
    further: tuple[int, ...]
    left_out_rows: tuple[int, ...]
    left_out_messages: tuple[int, ...]
    line: bytes


def content_hash(row: RawConversation) -> str:
    """16 hex digits of a hash of what the row says: of nothing that depends on the format or the place.

    Ids are made of it, so that a change here would move rows between the splits that people have trained on.
    """
    said: list[object] = [row.label, row.language, row.group, row.messages]
    said += [part for part in (row.tools, row.rejected) if part]
    return hashlib.sha256(orjson.dumps(said)).hexdigest()[:16]


def assign_ids(name: str, rows: Iterable[RawConversation | UnreadableRow]) -> tuple[list[Collected], list[UnreadableRow]]:
    """The conversations under their ids, and the rows that can't be read.

    The id is `<source>/<key>`: the source's own key, else a hash of what the row holds, with the occurrence number after it
    from the second of identical rows on. Never a position: a line inserted above changes no other row's id.
    """
    collected: list[Collected] = []
    unreadable: list[UnreadableRow] = []
    places: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, UnreadableRow):
            unreadable.append(row)
            continue
        key = row.key
        if key is None:
            content = content_hash(row)
            seen[content] += 1
            key = content + (f"-{seen[content]}" if seen[content] > 1 else "")
        if key in places:
            unreadable.append(
                UnreadableRow(row.place, twice(row, places[key]), content_hash(row), row.further + row.left_out_rows)
            )
            continue
        places[key] = row.place
        conversation: Conversation = {
            "id": f"{name}/{key}",
            "label": row.label,
            "language": row.language or "und",
            "group": row.group and f"{name}/{row.group}",
            "messages": row.messages,
        }
        if row.tools:
            conversation["tools"] = row.tools
        if row.rejected:
            conversation["rejected"] = list(row.rejected)
        numbers = (row.further, row.left_out_rows, row.left_out_messages)
        collected.append(Collected(conversation["id"], row.place, *numbers, conversation_line(conversation)))
    return collected, unreadable


def twice(row: RawConversation, place: str) -> str:
    """Why a row can't be read whose id stands at another place already, and what there is to do."""
    if row.place.rpartition(":")[0] != place.rpartition(":")[0]:
        remedy = "make one file of the two if it is one conversation, or else each file a source of its own"
    else:
        remedy = "ids must be unique (or leave id out of the source's `columns`)"
    return f"id {row.key!r} stands already at {place}; {remedy}"


def pick_ids(ids: Collection[str], limit: int | None) -> set[str]:
    """At most `limit` ids, picked by their hash: spread over the file, the same ones each time."""
    if limit is None or len(ids) <= limit:
        return set(ids)
    return set(sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())[:limit])


def ledger_row(row: Collected, picked: bool) -> CollectedRow:
    further, rows = row.further, 1 + len(row.further) + len(row.left_out_rows)
    fate: Fate = "collected" if picked else "over_limit"
    written = CollectedRow(id=row.id, place=row.place, further=further, rows=rows, fate=fate, reason=None)
    if row.left_out_rows:
        written["left_out_rows"] = row.left_out_rows
    if row.left_out_messages:
        written["left_out_messages"] = row.left_out_messages
    return written


def ledger_rows(
    name: str, collected: list[Collected], picked: set[str], unreadable: list[UnreadableRow]
) -> Iterator[CollectedRow]:
    """Sorted by id. An unreadable row's id is a hash of what it holds."""
    rows = (ledger_row(row, row.id in picked) for row in sorted(collected))
    damaged: list[CollectedRow] = []
    seen: Counter[str] = Counter()
    for row in sorted(unreadable, key=lambda row: (row.reason, row.digest, row.rows, row.fate)):
        seen[row.digest] += 1
        number = f"-{seen[row.digest]}" if seen[row.digest] > 1 else ""
        damaged.append(
            CollectedRow(
                id=f"{name}/{row.fate}-{row.digest}{number}",
                place=row.place,
                further=row.further,
                rows=row.rows,
                fate=row.fate,
                reason=row.reason,
            )
        )
    damaged.sort(key=lambda row: row["id"])
    return heapq.merge(rows, damaged, key=lambda row: row["id"])


def tell_left_out(collected: list[Collected], others: list[UnreadableRow]) -> str:
    """How many rows, and messages in rows, the source's `leave_out` leaves out, for behind other counts."""
    rows = sum(row.rows for row in others if row.fate == "left_out") + sum(len(row.left_out_rows) for row in collected)
    messages = sum(len(row.left_out_messages) for row in collected)
    counts = [f"{number:,} {what}" for number, what in ((rows, "rows"), (messages, "messages")) if number]
    return f", {' and '.join(counts)} left out" if counts else ""


def name_of_source(arguments: list[str]) -> str:
    """The source to collect: as it is typed, else the one whose stage DVC runs.

    It is no part of dvc.yaml's command, which goes through a shell. DVC_STAGE is collect@<name>, or ../dvc.yaml:collect@<name>.
    """
    return arguments[0] if arguments else os.environ.get("DVC_STAGE", "").rpartition("@")[2]


def main(name: str) -> None:
    check_installed()
    params = read_params("collect", CollectParams)
    if name not in params.sources:
        found = f"params.yaml: collect.sources has no {name!r}" if name else "no source is named"
        raise ReprotuneError(f"{found}; name one of {', '.join(params.sources)} behind `python -m stages.collect`")
    source = params.sources[name]
    collected, unreadable = assign_ids(name, read_source(source))
    faults = [row for row in unreadable if row.fate == "unreadable"]
    if params.bad_rows == "stop" or not collected:
        raise_first([f"{row.place}: {row.reason}" for row in faults])
    if not collected and unreadable:
        raise ReprotuneError(f"{source.path}: its `leave_out` leaves out all {len(unreadable):,} of source {name!r}")
    if not collected:
        raise ReprotuneError(f"{source.path}: no conversation in it; source {name!r} must have at least one")
    limit = min((limit for limit in (params.limit, source.limit) if limit), default=None)
    picked = pick_ids([row.id for row in collected], limit)
    collected.sort()
    write_lines(conversations_of(name), (row.line for row in collected if row.id in picked))
    write_jsonl(ledger_of(name), ledger_rows(name, collected, picked, unreadable))
    dropped = f", {sum(row.rows for row in faults):,} rows unreadable" if faults else ""
    dropped += tell_left_out(collected, unreadable)
    print(f"collect {name}: {len(collected):,} conversations read, {len(picked):,} kept{dropped}")


if __name__ == "__main__":
    name = name_of_source(sys.argv[1:])
    outs = [conversations_of(name), ledger_of(name)]
    run_stage(lambda: main(name), outs=outs, restore=f"dvc checkout collect@{name}" if name else "dvc checkout")
