"""The replies in work. One that has ended leaves, and the next prompts take its place: no row waits for the longest one."""

import copy
from collections import deque
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import DynamicCache

from stages.predict.cache import RoomyLayer, can_grow, places_of
from stages.predict.padding import pad_left
from stages.predict.questions import Question
from stages.predict.reply import Reply

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PADDING_READ = 128  # tokens that are read together with others in less time than by themselves
PADDED_SHARE = 0.1
REFILLED_AT = 0.75  # of the batch: prompts are read in several at once, which takes less time than one by one


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
    """Row by row what `call_generate` gives. `mask` (B, T), `ids` (B, 1), the last token of each.

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
        if len(stay) == len(self.positions):
            return
        rows = places_of(stay)
        kept = torch.tensor(rows, device=self.ids.device, dtype=torch.long)
        moved = torch.tensor([place for place, row in enumerate(rows) if place != row], device=kept.device, dtype=torch.long)
        for layer in self.cache.layers:
            if isinstance(layer, RoomyLayer):
                layer.move_rows(moved, kept[moved], len(rows))
            else:
                layer.batch_select_indices(kept)
        self.ids, self.mask = self.ids[kept], self.mask[kept]
        self.positions = [self.positions[row] for row in rows]
        self.replies, self.rooms = [self.replies[row] for row in rows], [self.rooms[row] for row in rows]
