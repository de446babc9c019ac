"""Which examples share a pack."""

import bisect
import random
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best fit: each length goes, in the order given, where it leaves the least room; groups of positions.

    A length above the capacity gets a group of its own. The order is the caller's, who shuffles: sorted by length it would
    pack a little tighter, but each group would hold rows of one kind.

    >>> pack([3, 8, 2, 5], capacity=8)
    [[0, 2], [1], [3]]
    """
    groups: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, group), sorted
    for position, length in enumerate(lengths):
        fitting = bisect.bisect_left(rooms, (length, -1))
        if fitting < len(rooms):
            room, group = rooms.pop(fitting)
        else:
            room, group = capacity, len(groups)
            groups.append([])
        groups[group].append(position)
        bisect.insort(rooms, (room - length, group))
    return groups


def pack_shuffled(lengths: Sequence[int], capacity: int, seed: int) -> list[list[int]]:
    """`pack` in an order that the seed decides; groups of positions in `lengths`."""
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    return [[order[at] for at in group] for group in pack([lengths[position] for position in order], capacity)]
