"""data/cleaned.jsonl -> data/split/{train,validation,test}.jsonl: exact to the row, stratified, nothing of test in train.

data/split/assignment.jsonl says for each id which split, stratum and group it is in, and for a test row how near train comes to
it; data/split/gate.json what the leakage gate found.
"""

import contextlib
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import orjson
from pydantic import Field, model_validator

from stages.lib.core.errors import ReprotuneError, raise_first, run_stage
from stages.lib.core.files import read_lines, write_json, write_jsonl
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.processes import collect_garbage_seldom
from stages.lib.records.assignment import ASSIGNMENT, GATE, AssignedRow, Gate, Nearness, Place
from stages.lib.records.cleaned import CLEANED
from stages.lib.records.conversation import SPLITS, conversations_of
from stages.lib.similarity.join import LOWEST_THRESHOLD, Joins
from stages.split.assignment import Group, HeldOut, assign_splits, group_rows, largest_group, pool_small_strata
from stages.split.families import connect_similar
from stages.split.leakage import covered_share, find_crossings, nearest_others
from stages.split.locked import read_locked
from stages.split.traits import Traits, describe_all, equal_pairs

MOST_REGROUPINGS = 10
NEAREST_FROM = 0.5  # Jaccard; what is less alike than this is not looked for


class SplitParams(Section):
    seed: int
    train: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)
    stratify_by: list[Literal["source", "label", "language", "turns", "length"]]
    keep_together: list[Literal["group", "prompt", "near_duplicates"]]
    near_duplicates: float = Field(ge=LOWEST_THRESHOLD, lt=1)
    leak: float = Field(ge=LOWEST_THRESHOLD, le=1)
    locked_test: str

    @model_validator(mode="after")
    def shares_add_up(self) -> "SplitParams":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {self.train + self.validation + self.test:g}; expected 1")
        return self


def ties(traits: Traits, joins: Joins, params: SplitParams) -> np.ndarray:
    """Pairs of rows that the params keep together, (P, 2)."""
    pairs = [equal_pairs(getattr(traits, name)) for name in ("group", "prompt") if name in params.keep_together]
    if "near_duplicates" in params.keep_together:
        pairs.append(connect_similar(joins.at(params.near_duplicates)))
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


class Outcome(NamedTuple):
    """Of all rows, the locked ones first: `splits`, `strata` and the first id of the row's group (N,). `gate`: what it found."""

    splits: list[Place]
    strata: list[str]
    groups: list[str]
    gate: Gate


def quotas_of(total: int, locked: int, params: SplitParams) -> dict[HeldOut, int]:
    """Rows that validation and test get of `total`; with a locked test the rest is shared by train and validation."""
    if locked:
        return {"validation": round(total * params.validation / (params.train + params.validation))}
    return {"validation": round(total * params.validation), "test": round(total * params.test)}


def split_once(groups: list[Group], locked: int, params: SplitParams) -> list[Place]:
    """Row -> split. Locked rows are test, and all of it; what is grouped with one is left out, since it must not train."""
    free = [group for group in groups if group.rows[0] >= locked]
    quotas = quotas_of(sum(len(group.rows) for group in free), locked, params)
    split_of: dict[int, Place] = dict(assign_splits(free, quotas).items())
    for group in groups:
        if group.rows[0] < locked:
            split_of.update((row, "test" if row < locked else "left_out") for row in group.rows)
    return [split_of[row] for row in range(len(split_of))]


def describe_gate(groups: list[Group], locked: int, params: SplitParams, found: dict[str, set[int]], leaked: int) -> Gate:
    free = [len(group.rows) for group in groups if group.rows[0] >= locked]
    limit = largest_group(quotas_of(sum(free), locked, params))
    return {
        "groups": len(groups),
        "groups_too_large": sum(size > limit for size in free),
        "largest_group": max((len(group.rows) for group in groups), default=0),
        "leaked": leaked,
        "regrouped_group": len(found["group"]),
        "regrouped_text": len(found["text"]),
        "regrouped_near": len(found["near"]),
    }


def split_rows(traits: Traits, joins: Joins, locked: int, params: SplitParams) -> Outcome:
    """Split, look for what crosses from train to a held-out split, tie that together and split again, until nothing crosses.

    Raises:
        ReprotuneError: something crosses still.
    """
    rows = np.arange(len(traits.ids))
    strata = pool_small_strata(traits.strata, smallest=round(1 / min(params.validation, params.test)))
    pairs = ties(traits, joins, params)
    gate_at = joins.at(params.leak)
    if locked:
        pairs = np.concatenate([pairs, *find_crossings(traits, gate_at, rows[:locked], rows[locked:]).values()])
    found: dict[str, set[int]] = defaultdict(set)
    for _ in range(MOST_REGROUPINGS + 1):
        groups = group_rows(traits.ids, strata, pairs, params.seed)
        splits = split_once(groups, locked, params)
        held_out, train = np.isin(splits, ["validation", "test"]), np.isin(splits, ["train"])
        crossings = find_crossings(traits, gate_at, rows[held_out], rows[train])
        crossing = np.concatenate(list(crossings.values()))
        if not len(crossing):
            break
        for name, alike in crossings.items():
            found[name] |= set(alike.ravel().tolist())
        pairs = np.concatenate([pairs, crossing])
    raise_first([
        f"{CLEANED}: {traits.ids[a]} ({splits[a]}) is like {traits.ids[b]} ({splits[b]})"
        for a, b in crossing.tolist()
        if (splits[a] == "train") != (splits[b] == "train")  # pairs of one side only connect the others
    ])  # fmt: skip
    gate = describe_gate(groups, locked, params, found, leaked=len(crossing))
    first_of = {row: traits.ids[group.rows[0]] for group in groups for row in group.rows}
    return Outcome(splits, strata, [first_of[row] for row in rows.tolist()], gate)


def test_and_train(splits: list[Place]) -> tuple[np.ndarray, np.ndarray]:
    test, train = (np.flatnonzero(np.isin(splits, [name])) for name in ("test", "train"))
    return test, train


def describe_test(traits: Traits, splits: list[Place], nearest: dict[int, tuple[int, float]]) -> dict[int, Nearness]:
    """Test row -> the train row most like it, if one is at all, and the share of its long n-grams that train holds.

    `nearest`: of test rows, as `nearest_others` finds it.
    """
    test, train = test_and_train(splits)
    shares = covered_share(traits.long_grams, test, train)
    described: dict[int, Nearness] = {}
    for row, share in zip(test.tolist(), shares.tolist(), strict=True):
        twin, similarity = nearest.get(row, (None, None))
        described[row] = {
            "nearest_train": None if twin is None else traits.ids[twin],
            "nearest_similarity": similarity and round(similarity, 4),
            "ngrams_in_train": None if math.isnan(share) else round(share, 4),
        }
    return described


def assigned_rows(traits: Traits, outcome: Outcome, near: dict[int, Nearness]) -> Iterator[AssignedRow]:
    """In the order of their ids."""
    for row in sorted(range(len(traits.ids)), key=traits.ids.__getitem__):
        assigned: AssignedRow = {
            "id": traits.ids[row],
            "split": outcome.splits[row],
            "stratum": outcome.strata[row],
            "group": outcome.groups[row],
        }
        if row in near:
            assigned = {**assigned, **near[row]}
        yield assigned


def read_rows(locked: dict[str, bytes]) -> Iterator[bytes]:
    """All rows, those of the locked test first and only once, each part sorted by id."""
    yield from (locked[id] for id in sorted(locked))
    yield from (line for line in read_lines(CLEANED) if not locked or orjson.loads(line)["id"] not in locked)


def order_by_id(ids: list[str], first: int) -> np.ndarray:
    """(N,): the rows up to `first` as they are, the others by their ids."""
    return np.array([*range(first), *sorted(range(first, len(ids)), key=ids.__getitem__)], dtype=np.int64)


def write_splits(locked: dict[str, bytes], traits: Traits, splits: list[Place], order: np.ndarray) -> None:
    """The conversations of each split, sorted by id; their lines are read again rather than held.

    `order`: where each of the rows stands among those read. Lines that are not sorted, as `clean` writes them, have to be held.
    """
    with contextlib.ExitStack() as files:
        opened = {}
        for split in SPLITS:
            conversations_of(split).parent.mkdir(parents=True, exist_ok=True)
            opened[split] = files.enter_context(conversations_of(split).open("wb"))
        number = len(locked)
        lines = iter(read_rows(locked))
        read_as = np.argsort(order)
        rows: Iterator[tuple[str, Place, bytes]]
        rows = ((traits.ids[row], splits[row], line) for row, line in zip(read_as.tolist(), lines, strict=True))
        first = list(islice(rows, number))
        if (order != np.arange(len(order))).any():
            rows = iter(sorted(rows))
        for _, place, line in heapq.merge(first, rows):
            if place != "left_out":
                opened[place].write(line)


def main() -> None:
    collect_garbage_seldom()
    check_installed()
    params = read_params("split", SplitParams)
    locked = read_locked(Path(params.locked_test))
    traits = describe_all(read_rows(locked), params.stratify_by)
    order = order_by_id(traits.ids, len(locked))
    if (order != np.arange(len(order))).any():
        traits = traits.take(order)
    joins = Joins(traits.shingles, lowest=min(NEAREST_FROM, params.near_duplicates, params.leak))
    outcome = split_rows(traits, joins, len(locked), params)
    sizes: Counter[str] = Counter(outcome.splits)
    if empty := [split for split in SPLITS if not sizes[split]]:
        raise ReprotuneError(
            f"{CLEANED}: {len(traits.ids):,} conversations in {outcome.gate['groups']:,} groups are too few to split: "
            f"{', '.join(empty)} would be empty; add data, or keep fewer conversations together (split.keep_together)"
        )
    write_splits(locked, traits, outcome.splits, order)
    nearest = nearest_others(joins.at(NEAREST_FROM), *test_and_train(outcome.splits))
    del joins  # a tenth of what is in memory, and not needed for the n-grams that follow
    write_jsonl(ASSIGNMENT, assigned_rows(traits, outcome, describe_test(traits, outcome.splits, nearest)))
    write_json(GATE, outcome.gate)
    gate = outcome.gate
    large = f", {gate['groups_too_large']} of them too large to be held out" if gate["groups_too_large"] else ""
    counts = ", ".join(f"{sizes[split]:,} {split.replace('_', ' ')}" for split in (*SPLITS, "left_out") if sizes[split])
    print(f"split: {counts}; {gate['groups']:,} groups{large}")


if __name__ == "__main__":
    outs = [ASSIGNMENT, GATE, *(conversations_of(split) for split in SPLITS)]
    run_stage(main, outs=outs, restore="dvc checkout split")
