"""Which groups of rows go to train, validation and test: exact quotas, shared out over the strata, by a seeded hash."""

import hashlib
import math
from collections import Counter, defaultdict
from typing import Literal, NamedTuple

import numpy as np
from scipy import sparse

from stages.lib.records.conversation import Split

HeldOut = Literal["test", "validation"]
HELD_OUT: tuple[HeldOut, ...] = ("test", "validation")
SLACK = 0.3  # of the square root of a stratum's share, which is about what pure chance would be off


class Group(NamedTuple):
    """Rows that stay together. `rank`: the lowest seeded hash among their ids, which orders groups."""

    rank: bytes
    stratum: str
    rows: tuple[int, ...]


def pool_small_strata(strata: list[str], smallest: int) -> list[str]:
    """Put the rows of strata with fewer than `smallest` rows into one."""
    sizes = Counter(strata)
    return [stratum if sizes[stratum] >= smallest else "(small strata)" for stratum in strata]


def group_rows(ids: list[str], strata: list[str], pairs: np.ndarray, seed: int) -> list[Group]:
    """Connected components of the pairs, by rank."""
    number = len(ids)
    edges = sparse.coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(number, number))
    members: dict[int, list[int]] = defaultdict(list)
    for row, component in enumerate(sparse.csgraph.connected_components(edges, directed=False)[1].tolist()):
        members[component].append(row)
    ranks = [hashlib.sha256(f"{seed}\n{id}".encode()).digest() for id in ids]
    groups = []
    for rows in members.values():
        first = min(rows, key=ranks.__getitem__)
        groups.append(Group(ranks[first], strata[first], tuple(rows)))
    return sorted(groups)


def share_out(quota: int, groups: list[Group]) -> dict[str, int]:
    """Quotas of the strata that add up to `quota`, or to less by a part of a group.

    The groups that come first are in, up to one rank for all strata: so a group is in or out whatever else there is, and few
    change sides when data grows. But each stratum keeps to its share within SLACK.
    """
    sizes: Counter[str] = Counter()
    for group in groups:
        sizes[group.stratum] += len(group.rows)
    shares = {stratum: quota * size / sizes.total() for stratum, size in sizes.items()}
    quotas = {stratum: max(0, math.floor(share - SLACK * math.sqrt(share))) for stratum, share in shares.items()}
    highest = {stratum: math.ceil(share + SLACK * math.sqrt(share)) for stratum, share in shares.items()}
    left = quota - sum(quotas.values())
    seen: Counter[str] = Counter()
    for group in groups:
        seen[group.stratum] += len(group.rows)
        more = max(0, min(seen[group.stratum], highest[group.stratum]) - quotas[group.stratum])
        if more > left:
            break
        quotas[group.stratum] += more
        left -= more
    return quotas


def largest_group(quotas: dict[HeldOut, int]) -> int:
    """Rows of the largest group that may be held out: half the smallest quota, or it would be most of what is measured."""
    return max(1, min(quotas.values()) // 2)


def assign_splits(groups: list[Group], quotas: dict[HeldOut, int]) -> dict[int, Split]:
    """Row -> split. In each stratum test takes the groups of lowest rank and validation those of highest.

    So a boundary moves little when data grows. A group that is too large, or larger than what is left of a quota, goes to train;
    a second pass over all strata then fills what is still short.
    """
    split_of: dict[bytes, Split] = {}
    left = dict(quotas)
    largest = largest_group(quotas)

    def take(split: HeldOut, candidates: list[Group], rooms: dict[str, int]) -> None:
        for group in candidates:
            if not left[split]:
                break
            size = len(group.rows)
            if size <= min(rooms[group.stratum], left[split], largest) and group.rank not in split_of:
                split_of[group.rank] = split
                rooms[group.stratum] -= size
                left[split] -= size

    order = [(split, groups[::-1] if split == "validation" else groups) for split in HELD_OUT if split in quotas]
    for split, candidates in order:
        take(split, candidates, share_out(quotas[split], candidates))
    for split, candidates in order:
        take(split, candidates, {group.stratum: quotas[split] for group in groups})
    return {row: split_of.get(group.rank, "train") for group in groups for row in group.rows}
