"""Which groups of rows go to train, validation and test: exact quotas, shared out over the strata, by seeded rank."""

import hashlib
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
from scipy import sparse


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


def share_out(quota: int, sizes: dict[str, int]) -> dict[str, int]:
    """Integer quotas that add up to `quota`, in proportion to the sizes (largest remainder)."""
    total = sum(sizes.values())
    shares = {name: quota * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(quota * sizes[name] % total), name))
    for name in by_remainder[: quota - sum(shares.values())]:
        shares[name] += 1
    return shares


def largest_group(quotas: dict[str, int]) -> int:
    """Rows of the largest group that may be held out: half the smallest quota, or it would be most of what is measured."""
    return max(1, min(quotas.values()) // 2)


def assign_splits(groups: list[Group], quotas: dict[str, int]) -> dict[int, str]:
    """Row -> split. In each stratum test takes the groups of lowest rank and validation those of highest.

    So a boundary moves little when data grows. A group that is too large, or larger than what is left of a quota, goes to
    train; a second pass over all strata then fills what is still short.
    """
    by_stratum: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_stratum[group.stratum].append(group)
    sizes = {stratum: sum(len(group.rows) for group in members) for stratum, members in by_stratum.items()}
    split_of: dict[bytes, str] = {}
    left = dict(quotas)
    largest = largest_group(quotas)

    def take(split: str, candidates: list[Group], room: int) -> None:
        for group in candidates:
            if not room or not left[split]:
                break
            fits = len(group.rows) <= min(room, left[split], largest)
            if fits and group.rank not in split_of:
                split_of[group.rank] = split
                room -= len(group.rows)
                left[split] -= len(group.rows)

    order = [(split, split == "validation") for split in ("test", "validation") if split in quotas]
    for split, backwards in order:
        for stratum, room in sorted(share_out(quotas[split], sizes).items()):
            take(split, by_stratum[stratum][::-1] if backwards else by_stratum[stratum], room)
    for split, backwards in order:
        take(split, groups[::-1] if backwards else groups, left[split])
    return {row: split_of.get(group.rank, "train") for group in groups for row in group.rows}
