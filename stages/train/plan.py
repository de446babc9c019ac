"""Which documents each optimiser step sees, on which process, in which micro-batches. Decided beforehand, by the seed alone."""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, overload

import numpy as np

from stages.lib.base_model.tokenized import IGNORE_INDEX, Examples, TokenizedSplit, examples_of, read_examples
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.packs import Tokens
from stages.train.packing import pack_shuffled
from stages.train.params import TrainParams


class Document(NamedTuple):
    """One conversation's tokens; see Example. `id`: its row's."""

    id: str
    input_ids: list[int]
    labels: list[int]


Pack = list[Document]


def count_tokens(examples: Sequence[Tokens]) -> int:
    return sum(len(example.input_ids) for example in examples)


def count_labels(examples: Sequence[Tokens]) -> int:
    """Tokens that are predicted: no document predicts its first one."""
    return sum(label != IGNORE_INDEX for example in examples for label in example.labels[1:])


@lru_cache(maxsize=2)
def _order_of_epoch(seed: int, epoch: int, packs: int) -> list[int]:
    return random.Random(f"{seed} {epoch}").sample(range(packs), packs)


class Plan(NamedTuple):
    """`steps` optimiser steps over the packs, `packs_per_step` in each; each epoch has its own order."""

    packs: Sequence[Pack]
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


class Packs(Sequence[Pack]):
    """Documents are made of the file's columns when a pack is asked for. `groups`: positions of each pack's examples."""

    def __init__(self, examples: Examples, groups: list[list[int]]) -> None:
        self.examples, self.groups = examples, groups

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, at: int) -> Pack: ...
    @overload
    def __getitem__(self, at: slice) -> "Packs": ...
    def __getitem__(self, at: int | slice) -> "Pack | Packs":
        if isinstance(at, slice):
            return Packs(self.examples, self.groups[at])
        return [self.document(position) for position in self.groups[at]]

    def document(self, position: int) -> Document:
        id, example = self.examples[position]
        return Document(id, *example)

    def longest(self) -> Document:
        """Of several the one that comes first in the packs."""
        lengths = self.examples.lengths()
        return self.document(max(chain.from_iterable(self.groups), key=lengths.__getitem__))


def read_packs(split: TokenizedSplit, capacity: int, seed: int) -> Packs:
    """The split's examples, shuffled and packed. One without a label trains nothing and is left out.

    Raises:
        ReprotuneError: none has a label.
    """
    examples = read_examples(examples_of(split))
    labelled = np.flatnonzero(examples.predicted())
    if not len(labelled):
        raise ReprotuneError(
            f"{examples_of(split)}: none of {len(examples):,} examples has a label to learn from; "
            "see metrics/examples.md, and data/ledger/tokenize/ for what was dropped"
        )
    groups = pack_shuffled(examples.lengths()[labelled].tolist(), capacity, seed)
    return Packs(examples, [labelled[group].tolist() for group in groups])


def count_steps(packs: int, params: TrainParams) -> int:
    """Optimiser steps of a run over so many packs."""
    steps = math.ceil(math.ceil(packs / params.packs_per_step) * params.num_train_epochs)
    return min(params.max_steps or steps, steps)


def make_plan(params: TrainParams, packs: Sequence[Pack]) -> Plan:
    return Plan(packs, params.packs_per_step, count_steps(len(packs), params), params.seed)


def micro_batches(packs: Iterable[Pack], tokens: int) -> Iterator[list[Document]]:
    """Documents that run at once: packs together up to so many tokens, a pack above it in parts, a longer document alone.

    >>> a, b, c = (Document(name, [0] * 4, [0] * 4) for name in "abc")
    >>> [[document.id for document in batch] for batch in micro_batches([[a, b], [c]], tokens=8)]
    [['a', 'b'], ['c']]
    """
    batch: list[Document] = []
    held = 0
    for pack in packs:
        for part in [pack] if count_tokens(pack) <= tokens else [[document] for document in pack]:
            size = count_tokens(part)
            if batch and held + size > tokens:
                yield batch
                batch, held = [], 0
            batch = batch + part
            held += size
    if batch:
        yield batch
