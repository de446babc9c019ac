"""One source in params.yaml -> data/collected/<name>.jsonl: its conversations in one schema, nothing judged.

The ledger, data/ledger/collect/<name>.jsonl, says from which file and line each id came.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from stages.lib.conversations import Conversation, write_conversations, write_jsonl
from stages.lib.errors import ReprotuneError, raise_first, run_stage
from stages.lib.params import Section, read_params
from stages.lib.requirements import check_installed
from stages.lib.sources import RawConversation, Source, read_source

COLLECTED = Path("data/collected")
LEDGER = Path("data/ledger/collect")


class CollectParams(Section):
    limit: int | None = Field(ge=1)
    sources: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Source] = Field(min_length=1)


def assign_ids(name: str, rows: Iterable[RawConversation]) -> list[tuple[str, Conversation]]:
    """(place, conversation) for each row.

    The id is `<source>/<key>`: the source's own key, else a hash of what the row holds, with the occurrence number after it
    from the second of identical rows on. Never a position: a line inserted above changes no other row's id.
    """
    placed: list[tuple[str, Conversation]] = []
    places: dict[str, str] = {}
    seen: Counter[str] = Counter()
    problems = []
    for row in rows:
        key = row.key
        if key is None:
            content = hashlib.sha256(orjson.dumps(row[2:])).hexdigest()[:16]  # all but place and key
            seen[content] += 1
            key = content + (f"-{seen[content]}" if seen[content] > 1 else "")
        if key in places:
            problems.append(f"{row.place}: id {key!r} stands already at {places[key]}; ids must be unique")
        places[key] = row.place
        conversation: Conversation = {
            "id": f"{name}/{key}",
            "label": row.label,
            "language": row.language or "und",
            "group": row.group and f"{name}/{row.group}",
            "messages": row.messages,
        }
        placed.append((row.place, conversation))
    raise_first(problems)
    return placed


def limit_rows(placed: list[tuple[str, Conversation]], limit: int | None) -> list[tuple[str, Conversation]]:
    """At most `limit` conversations, picked by the hash of their id: spread over the file, the same ones each time."""
    if limit is None:
        return placed
    return sorted(placed, key=lambda pair: hashlib.sha256(pair[1]["id"].encode()).digest())[:limit]


def main(name: str) -> None:
    check_installed("requirements/core.txt")
    params = read_params("collect", CollectParams)
    if name not in params.sources:
        raise ReprotuneError(f"params.yaml: collect.sources has no {name!r}; name one of {', '.join(params.sources)}")
    placed = assign_ids(name, read_source(params.sources[name]))
    if not placed:
        raise ReprotuneError(f"{params.sources[name].path}: no conversation in it; source {name!r} must have at least one")
    picked = limit_rows(placed, params.limit)
    write_conversations(COLLECTED / f"{name}.jsonl", [conversation for _, conversation in picked])
    picked.sort(key=lambda pair: pair[1]["id"])
    write_jsonl(LEDGER / f"{name}.jsonl", ({"id": conversation["id"], "place": place} for place, conversation in picked))
    print(f"collect {name}: {len(placed):,} conversations read, {len(picked):,} kept")


if __name__ == "__main__":
    name = "".join(sys.argv[1:2])
    outs = [COLLECTED / f"{name}.jsonl", LEDGER / f"{name}.jsonl"]
    run_stage(lambda: main(name), outs=outs, restore=f"dvc checkout collect@{name}" if name else "dvc checkout")
