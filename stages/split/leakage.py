"""Does a held-out conversation stand in train too, in nearly the same words?"""

import numpy as np

from stages.lib.similarity.join import similar_pairs
from stages.lib.similarity.shingles import Shingles
from stages.split.traits import Traits, equal_pairs


def find_crossings(traits: Traits, held_out: np.ndarray, train: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
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
    found["near"] = similar_pairs(traits.shingles, held_out, train, threshold)[0]
    return found


def nearest_others(shingles: Shingles, queries: np.ndarray, others: np.ndarray, threshold: float) -> dict[int, tuple[int, float]]:
    """Row of `queries` -> (the row of `others` most like it, their Jaccard index), where one reaches the threshold."""
    pairs, similarities = similar_pairs(shingles, queries, others, threshold)
    nearest: dict[int, tuple[int, float]] = {}
    for position in np.lexsort(
        (-pairs[:, 1], similarities)
    ).tolist():  # the last to come is the nearest, of several the first row
        nearest[int(pairs[position, 0])] = (int(pairs[position, 1]), float(similarities[position]))
    return nearest


def covered_share(grams: Shingles, queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the n-grams of each row of `queries` that stand somewhere in `others`; nan for a row without any. (Q,)"""
    known = np.sort(grams.take(others).values)
    asked = grams.take(queries)
    hits = np.zeros(len(asked.values) + 1)
    places = np.minimum(np.searchsorted(known, asked.values), max(len(known) - 1, 0))
    np.cumsum(known[places] == asked.values if len(known) else np.zeros(len(asked.values)), out=hits[1:])
    with np.errstate(invalid="ignore"):
        return (hits[asked.offsets[1:]] - hits[asked.offsets[:-1]]) / asked.sizes()
