"""Greedy replies. One that has ended leaves its batch, and the next prompts take its place: no row waits for the longest one."""

import copy
from collections import deque
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional
from transformers import DynamicCache, GenerationConfig

from stages.lib.chat_template import stop_token_ids
from stages.lib.model.packs import causal_lm, forget_longest_row, rows_change_each_other
from stages.predict.cache import can_grow, row_wise_cache
from stages.predict.padding import counts_padding, reads_padding
from stages.predict.questions import Question

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PADDING_READ = 128  # tokens that are read together with others in less time than by themselves
PADDED_SHARE = 0.1
REFILLED_AT = 0.75  # of the batch: prompts are read in several at once, which takes less time than one by one


class Reply(NamedTuple):
    """`tokens` with the stop token, if it came. `broken`: the model's scores were no numbers."""

    tokens: list[int]
    stopped: bool
    broken: bool = False

    @property
    def ids(self) -> list[int]:
        return self.tokens[:-1] if self.stopped else self.tokens


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


def alike_in_length(lengths: Sequence[int]) -> list[slice]:
    """Parts of what comes in the order of the prompts' lengths, so that little of what is read together is padding.

    >>> alike_in_length([10, 11, 400, 410, 420]), alike_in_length([7, 7])
    ([slice(0, 2, None), slice(2, 5, None)], [slice(0, 2, None)])
    """
    parts, begin, tokens = [], 0, 0
    for at, length in enumerate(lengths):
        tokens += length
        if length * (at + 1 - begin) - tokens > max(PADDING_READ, PADDED_SHARE * tokens):
            parts.append(slice(begin, at))
            begin, tokens = at, length
    return [*parts, slice(begin, len(lengths))]


class Rows:
    """The replies in work: row by row what `call_generate` gives. `mask` (B, T), `ids` (B, 1), the last token of each.

    `prefix`, with which all prompts begin: it is read once, and stands before the padding.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        cache: DynamicCache,
        prefix: list[int],
        stops: Set[int],
        pad: int,
        end: Callable[[int, Reply], None],
    ) -> None:
        self.model, self.stops, self.pad, self.end = model, stops, pad, end
        self.prefix, self.read_prefix = len(prefix), cache
        if prefix:
            ids = torch.tensor([prefix], device=model.device)
            model(input_ids=ids, past_key_values=self.read_prefix, use_cache=True, logits_to_keep=1)
        self.positions: list[int] = []  # of each row, its question's
        self.replies: list[list[int]] = []
        self.rooms: list[int] = []
        self.cache: Any = None
        self.mask = self.ids = torch.empty(0, dtype=torch.long)

    def run(self, questions: Sequence[tuple[int, Question]], batch_size: int) -> None:
        """`questions` with their positions."""
        waiting = deque(questions)
        while waiting or self.positions:
            if waiting and len(self.positions) <= REFILLED_AT * batch_size:
                some = [waiting.popleft() for _ in range(min(len(waiting), batch_size - len(self.positions)))]
                lengths = [len(question.prompt) - self.prefix for _, question in some]
                for part in alike_in_length(lengths) if can_grow(self.read_prefix) else [slice(None)]:
                    self.admit(some[part])
            if self.positions:
                self.step()

    def admit(self, questions: Sequence[tuple[int, Question]]) -> None:
        """Read the prompts, take their first tokens, and put them beside the rows in work."""
        before = copy.copy(self)
        self.cache = copy.deepcopy(self.read_prefix)
        if self.prefix:
            self.cache.batch_repeat_interleave(len(questions))
        self.positions = [position for position, _ in questions]
        self.replies, self.rooms = [[] for _ in questions], [question.room for _, question in questions]
        batch = pad_left([question.prompt[self.prefix :] for _, question in questions], self.pad, self.model.device)
        self.mask = functional.pad(batch.attention_mask, (self.prefix, 0), value=1)
        self.forward(batch.input_ids)
        if before.positions and self.positions:
            self.join(before)
        elif before.positions:
            vars(self).update(vars(before))

    def join(self, before: "Rows") -> None:
        """Put earlier rows before these; the columns that are padding in all of them go."""
        width = int(max(before.mask.sum(-1).max(), self.mask.sum(-1).max()))
        for layer, other in zip(self.cache.layers, before.cache.layers, strict=True):
            # A cache holds no last token yet: it comes with the next step.
            layer.keys = torch.cat([self.to_width(keys, width - 1) for keys in (other.keys, layer.keys)])
            layer.values = torch.cat([self.to_width(values, width - 1) for values in (other.values, layer.values)])
        self.mask = torch.cat([self.to_width(each, width, -1) for each in (before.mask, self.mask)])
        self.ids = torch.cat([before.ids, self.ids])
        self.positions, self.replies = before.positions + self.positions, before.replies + self.replies
        self.rooms = before.rooms + self.rooms

    def to_width(self, tensor: torch.Tensor, width: int, axis: int = -2) -> torch.Tensor:
        """With zeros behind the prefix, or without the first columns behind it, so that `axis` has `width`."""
        prefix = tensor.narrow(axis, 0, self.prefix)
        rest = tensor.narrow(axis, self.prefix, tensor.shape[axis] - self.prefix)
        missing = width - tensor.shape[axis]
        if missing <= 0:
            rest = rest.narrow(axis, -missing, width - self.prefix)
        else:
            rest = functional.pad(rest, (0, 0) * (-1 - axis) + (missing, 0))
        return torch.cat([prefix, rest], dim=axis)

    def step(self) -> None:
        self.forward(self.ids)

    def forward(self, ids: torch.Tensor) -> None:
        """Read `ids` (B, T), the last columns of the mask, add each row's next token, and let those go that end with it."""
        places = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=places,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        scores, self.ids = logits[:, -1:].float().max(-1)
        broken = (~scores[:, 0].isfinite()).tolist()
        stay = []
        for row, token in enumerate(self.ids[:, 0].tolist()):
            reply = self.replies[row]
            if broken[row]:
                self.end(self.positions[row], Reply(reply, stopped=False, broken=True))
                continue
            reply.append(token)
            if token in self.stops or len(reply) == self.rooms[row]:
                self.end(self.positions[row], Reply(reply, token in self.stops))
            else:
                stay.append(row)
        self.keep(stay)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=-1)

    def keep(self, stay: list[int]) -> None:
        if len(stay) < len(self.positions):
            kept = torch.tensor(stay, device=self.ids.device, dtype=torch.long)
            self.cache.batch_select_indices(kept)
            self.ids, self.mask = self.ids[kept], self.mask[kept]
            self.positions = [self.positions[row] for row in stay]
            self.replies, self.rooms = [self.replies[row] for row in stay], [self.rooms[row] for row in stay]


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
