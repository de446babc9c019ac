"""Prompts padded to one length.

What that changes, though a mask says what is padding: states of a model may run on, and distances may be counted over it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import GenerationConfig

from stages.predict.questions import context_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LENGTH = 2  # tokens of a prompt that are enough: behind more of them, states may have forgotten most of what they read before
PADDING = 6
GAP = 64
ROUNDING_OF_GAP = 0.05  # the order of sums is another
ROUNDING = 0.01  # of the scores' spread: experts chosen for other tokens change the order of sums


class Padded(NamedTuple):
    """Prompts of one batch, padded on the left: `attention_mask` is 1 at the prompts' own tokens. Both (B, T)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor


def pad_left(prompts: Sequence[list[int]], pad: int, device: torch.device) -> Padded:
    width = max(map(len, prompts))
    ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
    real = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return Padded(torch.tensor(ids, device=device), torch.tensor(real, device=device))


@torch.inference_mode()
def reads_padding(model: Any, prompt: list[int], pad: int) -> bool:
    """By the scores of two tokens behind the prompt's end, padded with `pad` or with another token."""
    other = next((token for token in prompt if token != pad), pad)
    rows = [[token] * PADDING + prompt[-LENGTH:] for token in (pad, other)]
    mask = [[0] * PADDING + [1] * len(prompt[-LENGTH:])] * 2
    model.generation_config = GenerationConfig(do_sample=False)
    scores = model.generate(
        input_ids=torch.tensor(rows, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=2,
        pad_token_id=pad,
        output_logits=True,
        return_dict_in_generate=True,
    ).logits
    return any(bool((one[0] - one[1]).abs().max() > ROUNDING * one.float().std()) for one in scores)


@torch.inference_mode()
def counts_padding(model: "PreTrainedModel", prefix: list[int], rest: list[int], pad: int) -> bool:
    """Whether padding between a prompt's beginning and its rest changes scores: where distances are those of columns (MPT).

    Also where the context has no room to find out.
    """
    room = min(GAP, context_of(model.config) - len(prefix + rest))
    if room <= 0:
        return True
    gap = [pad] * room
    mask = torch.tensor(
        [[1] * len(prefix) + [0] * room + [1] * len(rest), [0] * room + [1] * len(prefix + rest)], device=model.device
    )
    scores = model(
        input_ids=torch.tensor([prefix + gap + rest, gap + prefix + rest], device=model.device),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=1,
    ).logits[:, -1]
    return not bool((scores[0] - scores[1]).abs().max() <= ROUNDING_OF_GAP * scores[0].float().std())
