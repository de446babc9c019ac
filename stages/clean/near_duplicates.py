"""Which conversations go since one that stays is nearly the same: the first one of those that are alike stays.

A row is compared with the rows that stay, never with one that went, and never chained: of templated dialogues that are each a
little unlike the next, only those go that are alike enough to one that stays.
"""

import numpy as np

from stages.lib.similarity.join import Join, Joins
from stages.lib.similarity.shingles import Shingles

ROWS_AT_ONCE = 1 << 10  # compared each with each, where half a million pairs at most are alike

Originals = dict[int, tuple[int, float]]


def find_originals(shingles: Shingles, threshold: float) -> Originals:
    """Row to drop -> (the first row that stays and is like it, their Jaccard index). Rows in the order in which they may stay."""
    originals: Originals = {}
    _stay(Joins(shingles, lowest=threshold).at(threshold), np.arange(len(shingles.offsets) - 1), originals)
    return originals


def _stay(join: Join, rows: np.ndarray, originals: Originals) -> np.ndarray:
    """Of ascending rows those that stay; the others go into `originals`.

    The first half is settled before the second one is compared with what stays of it: so ten thousand rows that are all alike
    are compared with one, not with each other.
    """
    if len(rows) <= ROWS_AT_ONCE:
        _drop(join, rows, rows, originals)
        return _left(rows, originals)
    first, second = np.array_split(rows, 2)
    staying = _stay(join, first, originals)
    _drop(join, second, staying, originals)
    return np.concatenate([staying, _stay(join, _left(second, originals), originals)])


def _drop(join: Join, rows: np.ndarray, staying: np.ndarray, originals: Originals) -> None:
    """Drop of `rows` those that are like an earlier one of `staying` that stays."""
    for batch in join.candidates(rows, staying):
        pairs, similarities = join.verified(batch[batch[:, 0] > batch[:, 1]])
        for place in np.lexsort((pairs[:, 1], pairs[:, 0])).tolist():
            row, earlier = pairs[place].tolist()
            if row not in originals and earlier not in originals:
                originals[row] = (earlier, float(similarities[place]))


def _left(rows: np.ndarray, originals: Originals) -> np.ndarray:
    return np.array([row for row in rows.tolist() if row not in originals], np.int64)
