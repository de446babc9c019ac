"""Which documents each optimiser step sees, on which process, in which micro-batches. Decided beforehand, by the seed alone."""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from stages.lib.core.errors import ReprotuneError
from stages.lib.model.packs import Tokens
from stages.lib.records.tokenized import IGNORE_INDEX, TokenizedSplit, examples_of, read_examples
from stages.train.packing import pack_shuffled
from stages.train.params import TrainParams


class Document(NamedTuple):
    """One conversation's tokens; see Example. `id`: its row's."""

    id: str
    input_ids: list[int]
    labels: list[int]


Pack = list[Document]


def count_labels(examples: Sequence[Tokens]) -> int:
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


def read_packs(split: TokenizedSplit, capacity: int, seed: int) -> list[Pack]:
    """The split's examples, shuffled and packed. One without a label trains nothing and is left out.

    Raises:
        ReprotuneError: none has a label.
    """
    table = read_examples(examples_of(split))
    documents = [Document(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    labelled = [document for document in documents if count_labels([document])]
    if not labelled:
        raise ReprotuneError(
            f"{examples_of(split)}: none of {len(documents):,} examples has a label to learn from; "
            "see metrics/examples.md, and data/ledger/tokenize.jsonl for what was dropped"
        )
    groups = pack_shuffled([len(document.input_ids) for document in labelled], capacity, seed)
    return [[labelled[position] for position in group] for group in groups]


def count_steps(packs: int, params: TrainParams) -> int:
    """Optimiser steps of a run over so many packs."""
    steps = math.ceil(math.ceil(packs / params.packs_per_step) * params.num_train_epochs)
    return min(params.max_steps or steps, steps)


def make_plan(params: TrainParams, packs: list[Pack]) -> Plan:
    return Plan(packs, params.packs_per_step, count_steps(len(packs), params), params.seed)


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
