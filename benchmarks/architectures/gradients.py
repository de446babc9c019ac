"""Losses and gradients of some documents, each by itself, and how far those of one way are from those of another."""

import random
import statistics
from typing import Any, NamedTuple

import torch
from torch.autograd.graph import GradientEdge

from benchmarks.architectures.shapes import VOCABULARY
from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.model.hardware import Hardware
from stages.train.likelihood import LabelNll

LENGTHS = (7, 21, 6, 12, 5, 30, 2, 9)
FLOOR = 1e-3  # of the whole: below that an error is as good as none


def make_document(length: int, seed: int) -> Example:
    choose = random.Random(seed)
    ids = [choose.randrange(3, VOCABULARY) for _ in range(length)]
    return Example(ids, [token if at and at % 3 else IGNORE_INDEX for at, token in enumerate(ids)])


DOCUMENTS = [make_document(length, seed) for seed, length in enumerate(LENGTHS)]


class Comparison(NamedTuple):
    """See Result in trial.py."""

    loss: float
    gradients: float
    summed: float


class Found(NamedTuple):
    """`losses`: of each label; `gradients`: of each document's sum, in one row of what trains, (documents, parameters)."""

    losses: torch.Tensor
    gradients: torch.Tensor


def differentiate(model: Any, nll: LabelNll, hardware: Hardware) -> Found:
    trained = [parameter for parameter in model.train().parameters() if parameter.requires_grad]
    with hardware.autocast():
        losses = nll(model, DOCUMENTS)
    rows = []
    for part, weights in parts_of(losses):
        gradients = torch.autograd.grad(part, trained, weights, retain_graph=True, allow_unused=True)
        pairs = zip(trained, gradients, strict=True)
        rows.append(torch.cat([(torch.zeros_like(each) if one is None else one).flatten() for each, one in pairs]))
    return Found(losses.detach(), torch.stack(rows))


def parts_of(losses: torch.Tensor) -> list[tuple[torch.Tensor | GradientEdge, torch.Tensor]]:
    """Each document's losses, and ones. Where documents ran one by one, it is the edge to its own graph: from their sum autograd
    would go through the graphs of all.
    """
    numbers = [sum(label != IGNORE_INDEX for label in document.labels[1:]) for document in DOCUMENTS]
    ones = torch.ones_like(losses).split(numbers)
    graphs = losses.grad_fn.next_functions if losses.grad_fn else ()
    edges = [GradientEdge(node, number) for node, number in graphs if node]
    return list(zip(edges if len(edges) == len(numbers) else losses.split(numbers), ones, strict=True))


def compare(found: Found, expected: Found) -> Comparison:
    """Relative differences of the sums of losses and of gradients."""
    loss = (found.losses.sum() - expected.losses.sum()).abs() / expected.losses.sum()
    [*_, off], [*_, size] = sizes(found.gradients - expected.gradients), sizes(expected.gradients)
    return Comparison(loss.item(), off / size, off / size)


def compare_errors(found: Found, plain: Found, exact: Found) -> Comparison:
    """How many times as far from `exact` as `plain` is: labels' losses in the mean, documents' gradients in the median.

    Where documents see each other, or a part of the attention lacks, most documents are off, and so the median is.
    """
    ours, usual = ((each.losses - exact.losses).abs().mean().item() for each in (found, plain))
    loss = ours / max(usual, FLOOR * exact.losses.mean().item())
    own, others = (sizes(each.gradients - exact.gradients) for each in (found, plain))
    floors = [FLOOR * size for size in sizes(exact.gradients)]
    *single, summed = [max(one, floor) / max(other, floor) for one, other, floor in zip(own, others, floors, strict=True)]
    return Comparison(loss, statistics.median(single), summed)


def sizes(gradients: torch.Tensor) -> list[float]:
    """Norms of each document's, and of their sum."""
    return [*gradients.norm(dim=1).tolist(), gradients.sum(0).norm().item()]
