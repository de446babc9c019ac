"""The likelihood of a pack's labels, quickly: attention document by document, the LM head and its loss in pieces.

Both are written for the usual decoder. A model may do more (soft caps, scaled logits, states that run through a whole row):
stages/train/comparison.py finds out whether the quick way is right for it. Where it isn't, each document runs by itself.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.model.packs import Batch, Tokens, causal_lm, collate_pack, label_nll

if TYPE_CHECKING:
    from stages.train.methods import Model

LOGITS_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 25}  # 16 MB in float32, within a CPU's cache; a GPU is faster with more
# On CPUs oneDNN prepares its products for each number of rows anew, and keeps what it prepared: so there are few such numbers.
TOKENS_IN_A_ROW = 64
LABELS_IN_A_ROW = 32

LabelNll = Callable[["Model", Sequence[Tokens]], torch.Tensor]


class FrozenHeadNll(torch.autograd.Function):
    """-log softmax(hidden @ weight.T)[target] with the gradient to `hidden` computed on the way: logits are never kept."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """`hidden` (N, D), `weight` (V, D), `targets` (N,) -> nats, float32 (N,)."""
        rows = rows_at_once(weight)
        wanted = ctx.needs_input_grad[0]
        pieces = zip(hidden.to(weight.dtype).split(rows), targets.split(rows), strict=True)
        losses, gradients = zip(*(FrozenHeadNll.piece(part, weight, target, wanted) for part, target in pieces), strict=True)
        ctx.dtype = hidden.dtype
        ctx.save_for_backward(*gradients if wanted else ())
        return torch.cat(losses)

    @staticmethod
    def piece(
        part: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, wanted: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Nats, and the gradient to `part` if it is wanted."""
        logs = torch.log_softmax(part @ weight.T, dim=-1, dtype=torch.float32)
        loss = -logs.gather(1, target[:, None])[:, 0]
        if not wanted:
            return loss, None
        gradient = logs.exp_()
        gradient[torch.arange(len(target), device=target.device), target] -= 1
        return loss, gradient.to(weight.dtype) @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return (torch.cat(ctx.saved_tensors) * gradients[0][:, None]).to(ctx.dtype), None, None


def rows_at_once(weight: torch.Tensor) -> int:
    """Of `weight` (V, D), an output layer's: how many rows have LOGITS_AT_ONCE."""
    rows = max(1, LOGITS_AT_ONCE[weight.device.type] // len(weight))
    return rows // LABELS_IN_A_ROW * LABELS_IN_A_ROW or 1 << (rows.bit_length() - 1)


def head_nll(hidden: torch.Tensor, head: Any, targets: torch.Tensor) -> torch.Tensor:
    """NLL in nats of each target, float32 (N,), in pieces of LOGITS_AT_ONCE; `head` is the model's output layer."""
    number = len(targets)
    missing = -number % LABELS_IN_A_ROW
    hidden, targets = functional.pad(hidden, (0, 0, 0, missing)), functional.pad(targets, (0, missing))
    own = dict(head.named_parameters())
    frozen = not any(parameter.requires_grad for parameter in own.values())
    if type(head) is torch.nn.Linear and own.keys() == {"weight"} and frozen:  # another class may do more: an adapter's, say
        return FrozenHeadNll.apply(hidden, head.weight, targets)[:number]
    rows = rows_at_once(head.weight)

    def nll(part: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(head(part).float(), target, reduction="none")

    pieces = zip(hidden.split(rows), targets.split(rows), strict=True)
    return torch.cat([checkpoint(nll, part, target, use_reentrant=False) for part, target in pieces])[:number]


def fill_up(examples: Sequence[Tokens]) -> list[Tokens]:
    """With one more, if need be, that has no label: a multiple of TOKENS_IN_A_ROW tokens."""
    missing = -sum(len(example.input_ids) for example in examples) % TOKENS_IN_A_ROW
    return [*examples, *[Example([0] * missing, [IGNORE_INDEX] * missing)] * (missing > 0)]


def packed_nll(model: Any, examples: Sequence[Tokens]) -> torch.Tensor:
    """NLL in nats of each label, in order, float32 (N,), with the examples in one row; under PACKED_ATTENTION."""
    examples = fill_up(examples)
    batch = move(collate_pack(examples), model.device)
    causal = causal_lm(model)
    following = batch["labels"][0, 1:]
    predicting = (following != IGNORE_INDEX).nonzero().squeeze(-1)
    starts = (batch["position_ids"][0] == 0).nonzero().squeeze(-1)
    borders = functional.pad(starts, (0, 1), value=batch["input_ids"].shape[1]).int()
    longest = max(len(example.input_ids) for example in examples)
    hidden = causal.base_model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        use_cache=False,
        cu_seq_lens_q=borders,
        cu_seq_lens_k=borders,
        max_length_q=longest,
        max_length_k=longest,
    ).last_hidden_state
    return head_nll(hidden[0, predicting], causal.get_output_embeddings(), following[predicting])


def separate_nll(model: "Model", examples: Sequence[Tokens]) -> torch.Tensor:
    """The same with each example in a row of its own, by the model's own attention and head: right for any causal LM."""
    return torch.cat([label_nll(model, move(collate_pack([example]), model.device)) for example in examples])


def move(batch: Batch, device: torch.device) -> Batch:
    return {key: value.to(device) for key, value in batch.items()}
