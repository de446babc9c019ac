"""Rows that are alike, directly or by way of others, told by enough pairs to connect them: there may be millions of pairs."""

import numpy as np
from scipy import sparse

from stages.lib.similarity.join import Join

ALL_AT_ONCE = 1 << 10  # candidates


def connect_similar(join: Join) -> np.ndarray:
    """(row, first row of its family) of each row that has an earlier relative, (P, 2). Families are connected by pairs that
    are alike."""
    rows = np.arange(len(join.sizes))
    family = rows.copy()
    rank = np.argsort(np.argsort(join.sizes, kind="stable"))
    for others, block in join.by_size(rows, rows):
        for pairs in join.candidates(np.sort(block), others[rank[others] < rank[block].max()]):
            family = _join_families(join, pairs[rank[pairs[:, 0]] > rank[pairs[:, 1]]], family)
    return np.column_stack([rows, family])[family != rows]


def _join_families(join: Join, pairs: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Families after those of the pairs that are alike. Pairs within a family need no look: of a large one few are compared."""
    each = 1
    while len(pairs := pairs[family[pairs[:, 0]] != family[pairs[:, 1]]]):
        rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])  # pairs come by rows, ascending
        looked_at = rank < (len(pairs) if len(pairs) <= ALL_AT_ONCE else each)
        family = _merge(family, join.verified(pairs[looked_at])[0])
        pairs, each = pairs[~looked_at], each * 4
    return family


def _merge(family: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Families after the rows of each pair became relatives. Each bears the number of its first row."""
    names, ends = np.unique(family[pairs], return_inverse=True)
    ends = ends.reshape(-1, 2)
    edges = sparse.coo_array((np.ones(len(pairs), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    component = sparse.csgraph.connected_components(edges, directed=False)[1]
    renamed = np.arange(len(family))
    renamed[names] = names[np.unique(component, return_index=True)[1]][component]
    return renamed[family]
