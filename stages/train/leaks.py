"""Which tokens a likelihood depends on, told by gradients: without a way from a token to a loss, they are zero to the bit.

A difference of likelihoods would need a bound, and states that run on from one document into the next can change one by less
than bfloat16 rounds, while a fifth of the gradient is then wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.model.hardware import Hardware
from stages.train.likelihood import packed_nll, separate_nll

if TYPE_CHECKING:
    from stages.train.methods import Model

LENGTH = 16  # tokens of a document here: some more than convolutions, and windows of tests, are wide
# The dependence on later tokens beside that on earlier ones: nothing in causal models, or what rounding leaves.
LARGEST_LOOK_AHEAD = 1e-3


def sees_others(model: "Model", ids: Sequence[int], hardware: Hardware) -> bool:
    """Whether in a pack, under its attention, the likelihood of one document depends on the one before it or after it.

    `ids`: 3 * LENGTH tokens. In the mode that the model is in: dropout leaves zeros zeros.
    """
    parts = [list(ids[at : at + LENGTH]) for at in range(0, 3 * LENGTH, LENGTH)]
    silent = [IGNORE_INDEX] * LENGTH
    documents = [Example(part, part if at == 1 else silent) for at, part in enumerate(parts)]
    [sizes] = token_gradients(model, lambda: packed_nll(model, documents).sum(), hardware)
    own = torch.zeros_like(sizes, dtype=torch.bool)
    own[LENGTH : 2 * LENGTH] = True
    return bool(sizes[~own].any()) or not sizes[own].any()


def looks_ahead(model: "Model", ids: Sequence[int], hardware: Hardware) -> bool:
    """Whether the likelihood of a token depends on later ones. `ids`: LENGTH tokens."""
    labels = [token if at <= LENGTH // 2 else IGNORE_INDEX for at, token in enumerate(ids)]
    example = Example(list(ids), labels)
    rows = token_gradients(model, lambda: separate_nll(model, [example]).sum(), hardware)
    return any(bool(row[LENGTH // 2 + 1 :].max() > LARGEST_LOOK_AHEAD * row[: LENGTH // 2].max()) for row in rows)


def token_gradients(model: "Model", compute: Callable[[], torch.Tensor], hardware: Hardware) -> list[torch.Tensor]:
    """The size of the gradient to each token's embedding, (T,), for each row that `compute` runs; none if nothing is embedded."""
    with embeddings_of(model) as embedded, torch.enable_grad(), hardware.autocast():
        loss = compute()
    if not embedded or not loss.requires_grad:
        return []
    gradients = torch.autograd.grad(loss, embedded, allow_unused=True)
    return [gradient[0].abs().sum(-1) for gradient in gradients if gradient is not None]


@contextmanager
def embeddings_of(model: Any) -> Iterator[list[torch.Tensor]]:
    """What the input embeddings give while this lasts, as the beginning of the graph."""
    found: list[torch.Tensor] = []

    def begin(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        found.append(output.detach().requires_grad_())
        return found[-1].clone()  # some models change it in place

    handle = model.get_input_embeddings().register_forward_hook(begin)
    try:
        yield found
    finally:
        handle.remove()
