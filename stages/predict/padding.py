"""Whether a model reads what pads the prompts of a batch, though a mask says what is padding: states of its own may run on."""

from typing import Any

import torch
from transformers import GenerationConfig

LENGTH = 2  # tokens of a prompt that are enough: behind more of them, states may have forgotten most of what they read before
PADDING = 6
ROUNDING = 0.01  # of the scores' spread: experts chosen for other tokens change the order of sums


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
