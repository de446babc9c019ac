"""Does a held-out conversation stand in train too, in nearly the same words?"""

import numpy as np

from stages.lib.similarity.join import Join, similar_pairs
from stages.lib.similarity.shingles import Shingles
from stages.split.traits import Traits, equal_pairs

NO_ROW = np.iinfo(np.int64).max
QUERIES_AT_ONCE = 1 << 14  # rows; a tenth of a million has some 10 million n-grams


def find_crossings(traits: Traits, join: Join, held_out: np.ndarray, train: np.ndarray) -> dict[str, np.ndarray]:
    """Pairs of rows, one held out and one in train, that share a group, a normalised text, or are near duplicates; (P, 2) each.

    Of many that share a group or a text the pairs connect all, on both sides.
    """
    found = {}
    for name in ("group", "text"):
        hashes = getattr(traits, name)
        crossing = np.isin(hashes, np.intersect1d(hashes[held_out], hashes[train]))
        considered = np.zeros_like(hashes)
        for rows in (held_out, train):
            considered[rows] = np.where(crossing[rows], hashes[rows], 0)
        found[name] = equal_pairs(considered)
    found["near"] = similar_pairs(join, held_out, train)[0]
    return found


def nearest_others(join: Join, queries: np.ndarray, others: np.ndarray) -> dict[int, tuple[int, float]]:
    """Row of `queries` -> (the row of `others` most like it, of several the first; their Jaccard index), where one is alike.

    Candidates are looked at in the order of what their index is at most, and no further than to the best that was found.
    """
    best = np.zeros(len(join.sizes))
    nearest = np.full(len(join.sizes), NO_ROW)
    for part in join.by_size(queries, others):
        for pairs in join.candidates(*part):
            _look_at(join, pairs, best, nearest)
    found = queries[nearest[queries] != NO_ROW]
    return {row: (int(nearest[row]), float(best[row])) for row in found.tolist()}


def _look_at(join: Join, pairs: np.ndarray, best: np.ndarray, nearest: np.ndarray) -> None:
    """Bring `best` and `nearest` up to date: the most promising candidate of each query first, then four times as many."""
    at_most = join.at_most(pairs)
    order = np.lexsort((pairs[:, 1], -at_most, pairs[:, 0]))
    pairs, at_most, each = pairs[order], at_most[order], 1
    while len(pairs):
        rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
        alike, index = join.verified(pairs[rank < each])
        order = np.lexsort((alike[:, 1], -index, alike[:, 0]))
        alike, index = alike[order], index[order]
        first = np.concatenate([np.ones(min(len(alike), 1), bool), alike[1:, 0] != alike[:-1, 0]])
        (rows, twins), index = alike[first].T, index[first]
        better = (index > best[rows]) | ((index == best[rows]) & (twins < nearest[rows]))
        best[rows[better]], nearest[rows[better]] = index[better], twins[better]
        rest, limit = pairs[rank >= each], at_most[rank >= each]
        rows, twins = rest.T
        open_ = (limit > best[rows]) | ((limit == best[rows]) & (twins < nearest[rows]))
        pairs, at_most, each = rest[open_], limit[open_], each * 4


def covered_share(grams: Shingles, queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the n-grams of each row of `queries` that stand somewhere in `others`; nan for a row without any. (Q,)"""
    chosen = np.zeros(len(grams.offsets) - 1, bool)
    chosen[others] = True
    known = grams.values[np.repeat(chosen, grams.sizes())]
    known.sort()  # in place: it may be half of what is in memory
    parts = np.split(queries, range(QUERIES_AT_ONCE, len(queries), QUERIES_AT_ONCE))
    return np.concatenate([_share_of(grams.take(rows), known) for rows in parts])


def _share_of(asked: Shingles, known: np.ndarray) -> np.ndarray:
    """`known`: ascending."""
    order = np.argsort(asked.values)  # what is asked for in its order lies near what was asked for before
    values = asked.values[order]
    places = np.minimum(np.searchsorted(known, values), max(len(known) - 1, 0))
    is_known = np.zeros(len(values), bool)
    is_known[order] = known[places] == values if len(known) else False
    hits = np.concatenate([[0], np.cumsum(is_known)])
    with np.errstate(invalid="ignore"):
        return (hits[asked.offsets[1:]] - hits[asked.offsets[:-1]]) / asked.sizes()
