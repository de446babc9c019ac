"""Which documents each optimiser step sees, on which process, in which micro-batches. Decided beforehand, by the seed alone."""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from stages.lib.records.tokenized import IGNORE_INDEX, Example


class Document(NamedTuple):
    """One conversation's tokens; see Example. `id`: its row's."""

    id: str
    input_ids: list[int]
    labels: list[int]


Pack = list[Document]


def count_labels(examples: Sequence[Document | Example]) -> int:
    """Tokens that are predicted: no document predicts its first one."""
    return sum(label != IGNORE_INDEX for example in examples for label in example.labels[1:])


@lru_cache(maxsize=2)
def _order_of_epoch(seed: int, epoch: int, packs: int) -> list[int]:
    return random.Random(f"{seed} {epoch}").sample(range(packs), packs)


class Plan(NamedTuple):
    """`steps` optimiser steps over the packs, `packs_per_step` in each; each epoch has its own order."""

    packs: list[Pack]
    packs_per_step: int
    steps: int
    seed: int

    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.packs) / self.packs_per_step)

    def global_batch(self, step: int) -> list[Pack]:
        """The packs of a step, counted from 0; the last step of an epoch may have fewer."""
        epoch, position = divmod(step, self.steps_per_epoch())
        order = _order_of_epoch(self.seed, epoch, len(self.packs))
        first = position * self.packs_per_step
        return [self.packs[number] for number in order[first : first + self.packs_per_step]]


def micro_batches(packs: Sequence[Pack], tokens: int) -> list[list[Document]]:
    """Documents that run at once: packs together up to so many tokens, a pack above it in parts, a longer document alone.

    >>> a, b, c = (Document(name, [0] * 4, [0] * 4) for name in "abc")
    >>> [[document.id for document in batch] for batch in micro_batches([[a, b], [c]], tokens=8)]
    [['a', 'b'], ['c']]
    """
    batches: list[list[Document]] = []
    sizes: list[int] = []

    def add(documents: list[Document]) -> None:
        size = sum(len(document.input_ids) for document in documents)
        if batches and sizes[-1] + size <= tokens:
            batches[-1] += documents
            sizes[-1] += size
        elif size > tokens and len(documents) > 1:
            for document in documents:
                add([document])
        else:
            batches.append(list(documents))
            sizes.append(size)

    for pack in packs:
        add(pack)
    return batches
