"""What became of the conversations otherwise: who entered, who left and why, who was cleaned differently, who changed splits."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypedDict

import orjson

from stages.lib.core.files import read_lines
from stages.lib.records import cleaned
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.cleaned import CleanedRow
from stages.report.names import shown_name
from tools.compare.run import Run

MOST_IDS = 5  # of each kind
SAME = ("fate", "reason", "repaired_by", "messages", "messages_joined", "messages_left_out", "tags")


class Moved(TypedDict):
    """Conversations of one kind. `what`: in words, such as `left: dropped, exact_duplicate`; `ids`: the first of them."""

    kind: str
    what: str
    conversations: int
    ids: list[str]


class DataChanges(TypedDict):
    """`same`: both runs hold the same conversations in the same splits. `unknown`: what could not be looked at, and why."""

    same: bool
    changes: list[Moved]
    unknown: list[str]


NO_CHANGES: DataChanges = {"same": False, "changes": [], "unknown": []}


class Fates:
    """Where each collected conversation is in a run: its row of clean's ledger, and its split."""

    def __init__(self, ledger: dict[str, CleanedRow], split_of: dict[str, str]) -> None:
        self.ledger, self.split_of = ledger, split_of

    def why_out(self, id: str) -> str:
        """Why a conversation is in no split."""
        row = self.ledger.get(id)
        if row is None:
            return "not collected"
        return f"dropped, {row['reason']}" if row["fate"] == "dropped" else "kept, and in no split"


def changed_data(a: Run, b: Run) -> DataChanges:
    outs = (cleaned.LEDGER, cleaned.CLEANED, ASSIGNMENT)
    hashes = [(a.hash_of(out), b.hash_of(out)) for out in outs]
    if all(ours is not None and ours == theirs for ours, theirs in hashes):
        return {"same": True, "changes": [], "unknown": []}
    fates = [read_fates(run) for run in (a, b)]
    texts = [digests(run) for run in (a, b)]
    paths = {out.as_posix() for out in outs}
    unknown = [
        f"{path} of {name}: {why}" for name, run in (("A", a), ("B", b)) for path, why in run.missing.items() if path in paths
    ]
    if fates[0] is None or fates[1] is None:
        return {"same": False, "changes": [], "unknown": unknown}
    found = list(changes_between(fates[0], fates[1]))
    if texts[0] is not None and texts[1] is not None:
        found += [("changed", "text", id) for id in sorted(texts[0].keys() & texts[1].keys()) if texts[0][id] != texts[1][id]]
    return {"same": False, "changes": count(found), "unknown": unknown}


def read_fates(run: Run) -> Fates | None:
    ledger, assignment = run.rows(cleaned.LEDGER), run.rows(ASSIGNMENT)
    if ledger is None or assignment is None:
        return None
    return Fates({row["id"]: row for row in ledger}, {row["id"]: row["split"] for row in assignment})


def digests(run: Run) -> dict[str, bytes] | None:
    """Of each conversation as it was cleaned."""
    path = run.find(cleaned.CLEANED)
    if path is None:
        return None
    return {orjson.loads(line)["id"]: hashlib.sha256(line).digest() for line in read_lines(path)}


def changes_between(a: Fates, b: Fates) -> Iterator[tuple[str, str, str]]:
    """(kind, what, id) of each, by id within a kind."""
    for id in sorted(b.split_of.keys() - a.split_of.keys()):
        yield "entered", f"{b.split_of[id]}, before {a.why_out(id)}", id
    for id in sorted(a.split_of.keys() - b.split_of.keys()):
        yield "left", f"{a.split_of[id]}, now {b.why_out(id)}", id
    for id in sorted(a.split_of.keys() & b.split_of.keys()):
        if a.split_of[id] != b.split_of[id]:
            yield "moved", f"{a.split_of[id]} to {b.split_of[id]}", id
    for id in sorted(a.ledger.keys() & b.ledger.keys() & a.split_of.keys() & b.split_of.keys()):
        before, after = a.ledger[id], b.ledger[id]
        if any(before.get(key) != after.get(key) for key in SAME):
            yield "cleaned differently", describe(before, after), id


def describe(before: CleanedRow, after: CleanedRow) -> str:
    gone, new = (sorted(set(one["repaired_by"]) - set(other["repaired_by"])) for one, other in ((before, after), (after, before)))
    said = [f"now {', '.join(new)}"] if new else []
    said += [f"no longer {', '.join(gone)}"] if gone else []
    if before["messages"] != after["messages"]:
        said.append("other messages left out or joined")
    if before["tags"] != after["tags"]:
        said.append("other tags")
    return "; ".join(said) or "in details"


def count(found: Iterable[tuple[str, str, str]]) -> list[Moved]:
    """The most frequent first within each kind, kinds in the order in which they come."""
    ids: dict[tuple[str, str], list[str]] = {}
    for kind, what, id in found:
        ids.setdefault((kind, what), []).append(id)
    order = list(dict.fromkeys(kind for kind, _ in ids))
    ranked = sorted(ids.items(), key=lambda item: (order.index(item[0][0]), -len(item[1]), item[0][1]))
    return [
        {"kind": kind, "what": what, "conversations": len(some), "ids": [shown_name(id) for id in some[:MOST_IDS]]}
        for (kind, what), some in ranked
    ]


def totals(changes: Iterable[Moved]) -> Counter[str]:
    """Conversations of each kind."""
    numbers: Counter[str] = Counter()
    for one in changes:
        numbers[one["kind"]] += one["conversations"]
    return numbers
