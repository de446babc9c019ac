"""Greedy replies. A reply that has ended leaves its batch, so that the others do not wait for the longest one with it."""

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tqdm import tqdm
from transformers import DynamicCache, GenerationConfig, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from stages.lib.chat_template import stop_token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Reply(NamedTuple):
    """`ids` without the stop token and what follows it."""

    ids: list[int]
    stopped: bool


class Padded(NamedTuple):
    """Prompts of one batch, padded on the left: `attention_mask` is 1 at the prompts' own tokens. Both (B, T)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor


def pad_left(prompts: Sequence[list[int]], pad: int, device: torch.device) -> Padded:
    width = max(map(len, prompts))
    ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
    real = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return Padded(torch.tensor(ids, device=device), torch.tensor(real, device=device))


def generate_replies(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[list[int]],
    batch_size: int,
    max_new_tokens: int,
    name: str,
) -> list[Reply]:
    """The most likely tokens after each prompt, in the order of the prompts; batches hold prompts of like length."""
    if not prompts:
        return []  # perhaps since the template fits nothing; then it has no stop token either
    stops = stop_token_ids(tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops)
    by_length = sorted(range(len(prompts)), key=lambda position: (len(prompts[position]), position))
    replies: dict[int, Reply] = {}
    for start in tqdm(range(0, len(prompts), batch_size), desc=f"predict {name}: replies", delay=2, disable=None):
        positions = by_length[start : start + batch_size]
        batch = pad_left([prompts[position] for position in positions], pad, model.device)
        tokens = generate(model, batch, stops, pad, max_new_tokens)
        for position, row in zip(positions, tokens, strict=True):
            end = next((at for at, token in enumerate(row) if token in stops), None)
            replies[position] = Reply(row[:end], stopped=end is not None)
    return [replies[position] for position in range(len(prompts))]


@torch.inference_mode()
def generate(model: "PreTrainedModel", batch: Padded, stops: Set[int], pad: int, max_new_tokens: int) -> list[list[int]]:
    """The tokens after each row, up to and with the first of `stops`; what follows that means nothing."""
    if (cache := row_wise_cache(model)) is not None:
        return continue_rows(model, batch, cache, stops, max_new_tokens)
    return call_generate(model, batch, stops, pad, max_new_tokens)


def row_wise_cache(model: "PreTrainedModel") -> DynamicCache | None:
    """An empty cache of which rows can be taken out; None for a model with states, inputs or a cache of its own kind."""
    causal: Any = getattr(model, "get_base_model", lambda: model)()  # of a model with an adapter, the model inside
    usual = type(causal).prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
    if not usual or not causal._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=causal.config.get_text_config(decoder=True))
    return cache if {type(layer) for layer in cache.layers} <= {DynamicLayer, DynamicSlidingWindowLayer} else None


def continue_rows(
    model: "PreTrainedModel", batch: Padded, cache: DynamicCache, stops: Set[int], max_new_tokens: int
) -> list[list[int]]:
    """Row by row the same as `call_generate`."""
    ids, mask = batch
    replies: list[list[int]] = [[] for _ in ids]
    going = list(range(len(ids)))  # rows of `replies` that those of the batch belong to
    for _ in range(max_new_tokens):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        ids = logits[:, -1:].float().argmax(-1)
        tokens = ids[:, 0].tolist()
        for row, token in zip(going, tokens, strict=True):
            replies[row].append(token)
        stay = [at for at, token in enumerate(tokens) if token not in stops]
        if not stay:
            break
        if len(stay) < len(going):
            kept = torch.tensor(stay, device=ids.device)
            cache.batch_select_indices(kept)
            ids, mask, going = ids[kept], mask[kept], [going[at] for at in stay]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
    return replies


def call_generate(model: Any, batch: Padded, stops: Set[int], pad: int, max_new_tokens: int) -> list[list[int]]:
    """transformers' own loop: right for any model, and each row waits for the longest reply."""
    model.generation_config = GenerationConfig(do_sample=False)  # a model's own may hold penalties, which also count padding
    generated = model.generate(**batch._asdict(), max_new_tokens=max_new_tokens, eos_token_id=sorted(stops), pad_token_id=pad)
    return generated[:, batch.input_ids.shape[1] :].tolist()
