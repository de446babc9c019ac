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
from stages.lib.core.errors import ReprotuneError, raise_first, run_stage
from stages.lib.core.files import write_jsonl, write_lines
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.collected import CollectedRow, check_names, conversations_of, ledger_of
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
            reason = f"id {key!r} stands already at {places[key]}; ids must be unique (or leave id out of the source's `columns`)"
            unreadable.append(UnreadableRow(row.place, reason, content_hash(row), row.further))
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
        collected.append(Collected(conversation["id"], row.place, row.further, conversation_line(conversation)))
    return collected, unreadable


def pick_ids(ids: Collection[str], limit: int | None) -> set[str]:
    """At most `limit` ids, picked by their hash: spread over the file, the same ones each time."""
    if limit is None or len(ids) <= limit:
        return set(ids)
    return set(sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())[:limit])


def ledger_rows(
    name: str, collected: list[Collected], picked: set[str], unreadable: list[UnreadableRow]
) -> Iterator[CollectedRow]:
    """Sorted by id. An unreadable row's id is a hash of what it holds."""
    rows = (
        CollectedRow(
            id=row.id,
            place=row.place,
            further=row.further,
            rows=1 + len(row.further),
            fate="collected" if row.id in picked else "over_limit",
            reason=None,
        )
        for row in sorted(collected)
    )
    damaged: list[CollectedRow] = []
    seen: Counter[str] = Counter()
    for row in sorted(unreadable, key=lambda row: (row.reason, row.digest, row.rows)):
        seen[row.digest] += 1
        number = f"-{seen[row.digest]}" if seen[row.digest] > 1 else ""
        damaged.append(
            CollectedRow(
                id=f"{name}/unreadable-{row.digest}{number}",
                place=row.place,
                further=row.further,
                rows=row.rows,
                fate="unreadable",
                reason=row.reason,
            )
        )
    damaged.sort(key=lambda row: row["id"])
    return heapq.merge(rows, damaged, key=lambda row: row["id"])


def name_of_source(arguments: list[str]) -> str:
    """The source to collect: as it is typed, else the one whose stage DVC runs.

    It is no part of dvc.yaml's command, which goes through a shell. DVC_STAGE is collect@<name>, or ../dvc.yaml:collect@<name>.
    """
    return arguments[0] if arguments else os.environ.get("DVC_STAGE", "").rpartition("@")[2]


def main(name: str) -> None:
    check_installed("requirements/core.txt")
    params = read_params("collect", CollectParams)
    if name not in params.sources:
        found = f"params.yaml: collect.sources has no {name!r}" if name else "no source is named"
        raise ReprotuneError(f"{found}; name one of {', '.join(params.sources)} behind `python -m stages.collect`")
    source = params.sources[name]
    collected, unreadable = assign_ids(name, read_source(source))
    if params.bad_rows == "stop" or not collected:
        raise_first([f"{row.place}: {row.reason}" for row in unreadable])
    if not collected:
        raise ReprotuneError(f"{source.path}: no conversation in it; source {name!r} must have at least one")
    limit = min((limit for limit in (params.limit, source.limit) if limit), default=None)
    picked = pick_ids([row.id for row in collected], limit)
    collected.sort()
    write_lines(conversations_of(name), (row.line for row in collected if row.id in picked))
    write_jsonl(ledger_of(name), ledger_rows(name, collected, picked, unreadable))
    dropped = f", {sum(row.rows for row in unreadable):,} rows unreadable" if unreadable else ""
    print(f"collect {name}: {len(collected):,} conversations read, {len(picked):,} kept{dropped}")


if __name__ == "__main__":
    name = name_of_source(sys.argv[1:])
    outs = [conversations_of(name), ledger_of(name)]
    run_stage(lambda: main(name), outs=outs, restore=f"dvc checkout collect@{name}" if name else "dvc checkout")
