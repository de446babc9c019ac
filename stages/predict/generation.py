"""Greedy replies: row by row where the model's cache allows it, else by transformers' own loop."""

import copy
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from stages.lib.chat_template import stop_token_ids
from stages.lib.model.packs import causal_lm, forget_longest_row, rows_change_each_other
from stages.predict.cache import can_grow, row_wise_cache
from stages.predict.padding import counts_padding, pad_left, reads_padding
from stages.predict.questions import Question
from stages.predict.reply import Reply
from stages.predict.rows import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def generate_replies(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[Question],
    batch_size: int,
    note: Callable[[int, Reply], None] = lambda _position, _reply: None,
) -> list[Reply]:
    """The most likely tokens after each prompt, in the order of the questions; `note` gets each as it ends."""
    if not questions:
        return []  # perhaps since the template fits nothing; then it has no stop token either
    stops = stop_token_ids(tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops)
    by_length = sorted(range(len(questions)), key=lambda position: (len(questions[position].prompt), position))
    replies: dict[int, Reply] = {}

    def end(position: int, reply: Reply) -> None:
        replies[by_length[position]] = reply
        note(by_length[position], reply)

    generate(model, [questions[position] for position in by_length], stops, pad, batch_size, end)
    return [replies[position] for position in range(len(questions))]


@torch.inference_mode()
def generate(
    model: "PreTrainedModel",
    questions: Sequence[Question],
    stops: Set[int],
    pad: int,
    batch_size: int,
    end: Callable[[int, Reply], None],
) -> None:
    """Reply to the questions in order, `batch_size` at once."""
    cache, causal = row_wise_cache(model), causal_lm(model)
    padded = cache is None and min(batch_size, len(questions)) > 1
    alone = rows_change_each_other(causal) or (padded and reads_padding(model, questions[0].prompt, pad))
    at_once = 1 if alone else len(questions) if cache is not None and can_grow(cache) else batch_size
    for start in range(0, len(questions), at_once):
        some = questions[start : start + at_once]
        forget_longest_row(causal)
        if cache is None:
            for position, reply in enumerate(call_generate(model, some, stops, pad)):
                end(start + position, reply)
        else:
            prefix = common_prefix([question.prompt for question in some]) if can_grow(cache) else []
            if prefix and counts_padding(model, prefix, questions[start].prompt[len(prefix) :], pad):
                prefix = []
            Rows(model, copy.deepcopy(cache), prefix, stops, pad, end).run(list(enumerate(some, start)), batch_size)


def common_prefix(prompts: Sequence[list[int]]) -> list[int]:
    """What all of them begin with, often a system prompt; each keeps a token of its own to read.

    >>> common_prefix([[1, 2, 3], [1, 2, 4, 5]]), common_prefix([[1, 2], [1, 2, 4]]), common_prefix([[1, 2]])
    ([1, 2], [1], [])
    """
    if len(prompts) == 1:
        return []
    first, last = min(prompts), max(prompts)  # in their order all others are between these
    same = next(
        (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last))
    )
    return first[: min(same, *(len(prompt) - 1 for prompt in prompts))]


def call_generate(model: Any, questions: Sequence[Question], stops: Set[int], pad: int) -> list[Reply]:
    """transformers' own loop: right for any model, and each row waits for the longest reply."""
    model.generation_config = GenerationConfig(do_sample=False)  # a model's own may hold penalties, which also count padding
    batch = pad_left([question.prompt for question in questions], pad, model.device)
    room = max(question.room for question in questions)
    broken_at = torch.full([len(questions)], room, device=model.device)

    def watch(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = ids.shape[1] - batch.input_ids.shape[1]
        broken = ~scores.max(-1).values.isfinite()
        broken_at[broken] = broken_at[broken].clamp(max=step)
        return scores

    options: dict[str, Any] = {"eos_token_id": sorted(stops), "pad_token_id": pad, "logits_processor": [watch]}
    generated = model.generate(**batch._asdict(), max_new_tokens=room, **options)[:, batch.input_ids.shape[1] :]
    replies = []
    for question, row, broken in zip(questions, generated.tolist(), broken_at.tolist(), strict=True):
        tokens = row[: question.room]
        end = next((at + 1 for at, token in enumerate(tokens) if token in stops), None)
        if broken < (end or len(tokens)):
            replies.append(Reply(tokens[:broken], stopped=False, broken=True))
        else:
            replies.append(Reply(tokens[:end], stopped=end is not None))
    return replies
