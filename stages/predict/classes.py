"""The likelihood of each label as the reply: one pass over the prompt, whose keys and values all labels share."""

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import TemplateMisfit, tokenize_conversation
from stages.lib.records.conversation import Message, Tool
from stages.predict.cache import row_wise_cache
from stages.predict.likelihood import score_continuation
from stages.predict.questions import as_context

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LABELS_AT_ONCE = 16


def tokenize_labels(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, labels: Sequence[str]
) -> dict[str, list[int]] | None:
    """Each label as the reply to the messages, with its stop token; None where the template cannot render one of them."""
    tokens = {}
    for label in labels:
        reply: Message = {"role": "assistant", "content": label}
        try:
            example = tokenize_conversation(tokenizer, [*as_context(messages), reply], tools)[-1]
        except TemplateMisfit:
            return None
        start = len(example.labels) - next(
            (at for at, token in enumerate(reversed(example.labels)) if token == IGNORE_INDEX), len(example.labels)
        )
        tokens[label] = example.labels[start:]
    return tokens


@torch.inference_mode()
def score_labels(model: "PreTrainedModel", prompt: list[int], labels: dict[str, list[int]]) -> dict[str, float] | None:
    """Nats of each label's tokens after the prompt, summed; None if one is no finite number."""
    cache = row_wise_cache(model)
    if cache is None:  # a model with states: the prompt is read again for each
        return finite({label: score_continuation(model, prompt, tokens).nll for label, tokens in labels.items()})
    ids = torch.tensor([prompt], device=model.device)
    first = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1:]
    names = list(labels)
    nll: dict[str, float | None] = {}
    for start in range(0, len(names), LABELS_AT_ONCE):
        some = names[start : start + LABELS_AT_ONCE]
        tokens = [torch.tensor(labels[name], device=model.device) for name in some]
        # What pads a shorter label comes after it, where it sees the label and the label does not see it.
        targets = pad_sequence(tokens, batch_first=True, padding_value=IGNORE_INDEX)
        logits = first.expand(len(some), -1, -1)
        if targets.shape[1] > 1:
            shared = copy.deepcopy(cache)
            shared.batch_repeat_interleave(len(some))
            following = model(input_ids=targets[:, :-1].clamp(min=0), past_key_values=shared, use_cache=True).logits
            logits = torch.cat([logits, following], dim=1)
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
        )
        sums = losses.view_as(targets).double().sum(-1).tolist()
        nll |= dict(zip(some, sums, strict=True))
    return finite(nll)


def finite(nll: dict[str, float | None]) -> dict[str, float] | None:
    numbers = {label: value for label, value in nll.items() if value is not None and math.isfinite(value)}
    return numbers if len(numbers) == len(nll) else None
