"""Attention within each document of a pack, by the documents' borders instead of a mask over the whole pack."""

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

PACKED_ATTENTION = "packed_documents"
# On CPUs the kernel for bfloat16 takes three times as long for short documents, and rounds more; seen up to 1,024 tokens.
LONGEST_IN_FLOAT32 = 1024
# What transformers hands on besides, and what says nothing of the scores: for kernels, or for the layer around.
WITHOUT_EFFECT = {
    "cache_position", "cu_seq_lens_k", "max_length_k", "max_length_q", "num_items_in_batch", "output_attentions",
    "output_hidden_states", "output_router_logits", "position_ids", "return_dict", "use_cache",
}  # fmt: skip


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    is_causal: bool | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """transformers' interface: query (1, heads, T, D), key and value (1, key heads, T, D) -> (1, T, heads, D).

    `cu_seq_lens_q`: where the documents begin, and T, int32 (documents + 1,).

    Raises:
        TypeError: the model asks for what is not computed here (sinks, soft caps, masks, chosen keys), or the borders lack.
    """
    asked = sorted(name for name, value in others.items() if value is not None and name not in WITHOUT_EFFECT)
    if asked or attention_mask is not None:
        raise TypeError(f"its attention takes {', '.join(asked) or 'a mask of its own'}")
    if cu_seq_lens_q is None:
        raise TypeError("its attention is not told where documents begin")
    if not (is_causal if is_causal is not None else getattr(module, "is_causal", True)):
        raise TypeError("its attention looks ahead")
    of_one_size = query.shape[-1] == value.shape[-1]
    in_half = query.dtype in (torch.bfloat16, torch.float16)
    if query.is_cuda and dropout == 0 and of_one_size and in_half and _varlen_takes("window_size"):
        return _varlen(query, key, value, cu_seq_lens_q, scaling, sliding_window), None
    lengths = cu_seq_lens_q.diff().tolist()
    dtype, longest = query.dtype, max(lengths)
    in_float32 = query.device.type == "cpu" and longest <= LONGEST_IN_FLOAT32
    windowed = sliding_window and longest > sliding_window
    if in_float32 and not windowed and dropout == 0 and of_one_size:
        return ShortDocuments.apply(query, key, value, lengths, scaling), None
    if in_float32:
        query, key, value = query.float(), key.float(), value.float()
    with torch.autocast("cpu", enabled=False) if in_float32 else nullcontext():  # it would cast back to bfloat16
        documents = [
            functional.scaled_dot_product_attention(
                of_query,
                of_key,
                of_value,
                attn_mask=_band(length, sliding_window, query.device) if sliding_window and length > sliding_window else None,
                dropout_p=dropout,
                is_causal=not (sliding_window and length > sliding_window),
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
            # split, not slices: the gradient of a slice is a tensor of the whole length
            for of_query, of_key, of_value, length in zip(
                query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), lengths, strict=True
            )
        ]
    return torch.cat(documents, dim=2).transpose(1, 2).to(dtype).contiguous(), None


class ShortDocuments(torch.autograd.Function):
    """Causal attention on a CPU in float32, by torch's own kernels. Keeps query, key, value and result as they came.

    scaled_dot_product_attention would keep all of them in float32, once for the whole row.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int], scaling: float | None
    ) -> torch.Tensor:
        """query (1, heads, T, D), key and value (1, key heads, T, D) -> (1, T, heads, D)."""
        result = query.new_empty(query.transpose(1, 2).shape)
        sums = []
        for place, *parts in _documents(lengths, result.transpose(1, 2), query, key, value):
            out, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                *(part.float() for part in parts), is_causal=True, scale=scaling
            )
            place.copy_(out)
            sums.append(logsumexp)
        ctx.lengths, ctx.scaling = lengths, scaling
        ctx.save_for_backward(query, key, value, result, *sums)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, result, *sums = ctx.saved_tensors
        found = [torch.empty_like(each) for each in (query, key, value)]
        rows = _documents(ctx.lengths, *found, gradients[0].transpose(1, 2), query, key, value, result.transpose(1, 2))
        for logsumexp, (to_query, to_key, to_value, *parts) in zip(sums, rows, strict=True):
            of_document = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                *(part.float() for part in parts), logsumexp, 0.0, True, scale=ctx.scaling
            )
            for place, gradient in zip((to_query, to_key, to_value), of_document, strict=True):
                place.copy_(gradient)
        return *found, None, None


def _documents(lengths: list[int], *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Each document's parts of the tensors, which have the tokens on axis 2."""
    return zip(*(tensor.split(lengths, 2) for tensor in tensors), strict=True)


def _varlen_takes(parameter: str) -> bool:
    """torch's own attention for packed documents came with 2.10, causal windows of it later."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return parameter in inspect.signature(varlen_attn).parameters


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, scaling: float | None, window: int | None
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if query.shape[1] != key.shape[1]:
        key, value = (part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in (key, value))
    query, key, value = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    longest = int(borders.diff().max())
    # A window of w tokens sees itself and w - 1 before it.
    left = -1 if not window else window - 1
    rows = varlen_attn(query, key, value, borders, borders, longest, longest, scale=scaling, window_size=(left, 0))
    return torch.as_tensor(rows)[None]


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """True where a token is seen: itself and the `window` - 1 tokens before it; bool (length, length)."""
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None, :]
    return (distance >= 0) & (distance < window)


ALL_ATTENTION_FUNCTIONS.register(PACKED_ATTENTION, packed_attention)
