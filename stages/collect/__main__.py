"""One source in params.yaml -> data/collected/<name>.jsonl: its conversations in one schema, nothing judged.

The ledger, data/ledger/collect/<name>.jsonl, has one row for every conversation and every unreadable row: id, place, the
numbers of the further source rows it stands for, how many these are in all, fate and reason.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import Field

from stages.collect.conversations import RawConversation, read_source
from stages.collect.rows import UnreadableRow
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError, raise_first, run_stage
from stages.lib.core.files import to_line, write_jsonl, write_lines
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.collected import conversations_of, ledger_of
from stages.lib.records.conversation import Conversation


class CollectParams(Section):
    limit: int | None = Field(ge=1)
    bad_rows: Literal["stop", "drop"]
    sources: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Source] = Field(min_length=1)


class Collected(NamedTuple):
    """`line`: the conversation as its line of the output; a dict would take several times the memory."""

    id: str
    place: str
    further: tuple[int, ...]
    line: bytes


def content_hash(row: RawConversation) -> str:
    """16 hex digits of a hash of label, language, group and messages: of nothing that depends on the format or the place."""
    return hashlib.sha256(orjson.dumps(row[2:6])).hexdigest()[:16]


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
        collected.append(Collected(conversation["id"], row.place, row.further, to_line(conversation)))
    return collected, unreadable


def pick_ids(ids: Collection[str], limit: int | None) -> set[str]:
    """At most `limit` ids, picked by their hash: spread over the file, the same ones each time."""
    if limit is None or len(ids) <= limit:
        return set(ids)
    return set(sorted(ids, key=lambda id: hashlib.sha256(id.encode()).digest())[:limit])


def ledger_rows(name: str, collected: list[Collected], picked: set[str], unreadable: list[UnreadableRow]) -> list[tuple]:
    """(id, place, further, rows, fate, reason), sorted by id. An unreadable row's id is a hash of what it holds."""
    rows: list[tuple] = [
        (row.id, row.place, row.further, 1 + len(row.further), "collected" if row.id in picked else "over_limit", None)
        for row in collected
    ]
    seen: Counter[str] = Counter()
    for row in sorted(unreadable, key=lambda row: (row.reason, row.digest, row.rows)):
        seen[row.digest] += 1
        number = f"-{seen[row.digest]}" if seen[row.digest] > 1 else ""
        id = f"{name}/unreadable-{row.digest}{number}"
        rows.append((id, row.place, row.further, row.rows, "unreadable", row.reason))
    return sorted(rows, key=lambda row: row[0])


def main(name: str) -> None:
    check_installed("requirements/core.txt")
    params = read_params("collect", CollectParams)
    if name not in params.sources:
        raise ReprotuneError(f"params.yaml: collect.sources has no {name!r}; name one of {', '.join(params.sources)}")
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
    keys = ("id", "place", "further", "rows", "fate", "reason")
    ledger = ledger_rows(name, collected, picked, unreadable)
    write_jsonl(ledger_of(name), (dict(zip(keys, row, strict=True)) for row in ledger))
    dropped = f", {sum(row.rows for row in unreadable):,} rows unreadable" if unreadable else ""
    print(f"collect {name}: {len(collected):,} conversations read, {len(picked):,} kept{dropped}")


if __name__ == "__main__":
    name = "".join(sys.argv[1:2])
    outs = [conversations_of(name), ledger_of(name)]
    run_stage(lambda: main(name), outs=outs, restore=f"dvc checkout collect@{name}" if name else "dvc checkout")
