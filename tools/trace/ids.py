"""Which row is meant: by its id, a part of it, or the place of the row in its file."""

import heapq
import os
import re
from pathlib import Path

from stages.lib import collected
from stages.lib.collected import CollectedRow
from stages.lib.core.errors import ReprotuneError
from tools.trace.ledgers import AnyRow, all_ledgers, collect_ledgers, find_row, read_rows

MOST_SHOWN = 5
MOST_COUNTED = 1000
PLACE = re.compile(r"(?P<file>.+?):\s*(?:row |conversation )?(?P<number>\d+)")


def find_id(wanted: str) -> str:
    """The id that is meant: as it stands, by its place, or by a part of it.

    Raises:
        ReprotuneError: there is none, or there are several.
    """
    ledgers = all_ledgers()
    if not ledgers:
        raise ReprotuneError(f"{collected.LEDGERS}: not there; `dvc repro` makes it")
    if any(find_row(path, wanted, AnyRow) for path in ledgers):
        return wanted
    found = find_at_place(wanted) or find_part(wanted, ledgers)
    if len(found) == 1:
        return next(iter(found))
    if found:
        some = "\n".join(f"  {id}" for id in list(found)[:MOST_SHOWN])
        number = f"over {MOST_COUNTED:,}" if len(found) > MOST_COUNTED else len(found)
        raise ReprotuneError(f"{wanted}: {number} rows have this; name one of them, such as\n{some}")
    nearest = find_nearest(wanted, ledgers)
    hint = "\nthe nearest:\n" + "\n".join(f"  {id}" for id in nearest) if nearest else ""
    raise ReprotuneError(f"{wanted}: no such id or place in {', '.join(sorted({str(path.parent) for path in ledgers}))}{hint}")


def find_part(wanted: str, ledgers: list[Path]) -> dict[str, None]:
    found: dict[str, None] = {}
    for path in ledgers:
        for row in read_rows(path, wanted, AnyRow):
            if wanted in row["id"]:
                found[row["id"]] = None
            if len(found) > MOST_COUNTED:
                return found
    return found


def find_at_place(wanted: str) -> dict[str, None]:
    """Ids of the rows that begin at FILE:LINE.

    Raises:
        ReprotuneError: the file was collected, but no row of a conversation begins at this line.
    """
    if not (asked := PLACE.fullmatch(wanted)):
        return {}
    file, number = os.path.normpath(asked["file"]), int(asked["number"])
    at: dict[str, None] = {}
    before: tuple[int, str] | None = None
    for path in collect_ledgers():
        for row in read_rows(path, Path(file).name, CollectedRow):
            place = PLACE.fullmatch(row["place"])
            if not place or not same_file(place["file"], file):
                continue
            # A ledger of an earlier version names the first alone.
            starts = [int(place["number"]), *(row.get("further") or ()), *row.get("left_out_rows", ())]
            if number in starts:
                at[row["id"]] = None
            nearest = max((start for start in starts if start < number), default=None)
            if nearest is not None and (before is None or nearest > before[0]):
                before = (nearest, row["id"])
    if not at and before:
        raise ReprotuneError(f"{wanted}: no row begins there; the nearest before it is at {before[0]}, of {before[1]}")
    return at


def same_file(one: str, other: str) -> bool:
    """Whether one path is the end of the other.

    >>> same_file("data/raw/a.csv", "a.csv"), same_file("raw/a.csv", "/home/me/raw/a.csv"), same_file("aa.csv", "a.csv")
    (True, True, False)
    """
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def find_nearest(wanted: str, ledgers: list[Path]) -> list[str]:
    """Up to five ids that share the most runs of three characters with what was asked for, the nearest first."""
    runs = {wanted[start : start + 3] for start in range(max(1, len(wanted) - 2))}

    def likeness(id: str) -> tuple[int, int, str]:
        return sum(run in id for run in runs), -abs(len(id) - len(wanted)), id

    first = collect_ledgers() or ledgers  # the later ones hold the same ids again
    ids = (row["id"] for path in first for row in read_rows(path, "", AnyRow))
    nearest = heapq.nlargest(len(first) * MOST_SHOWN, ids, key=likeness)
    return [id for id in dict.fromkeys(nearest) if likeness(id)[0]][:MOST_SHOWN]
