"""Which models keep what they have read in a cache of which rows can be taken out, and put in; and a layer of such a cache."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from stages.lib.model.packs import causal_lm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOM = 32  # columns behind what is read


class RoomyLayer(DynamicLayer):
    """Keys and values (B, H, T, D) with room behind them: a step writes its token there, and rows go in place.

    A `DynamicLayer` copies all that was read before at each token, and again for each row that goes.
    """

    rooms: tuple[torch.Tensor, ...] = ()  # of the keys and of the values, which are their first rows and columns

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: object, **_options: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held, read = self.held(), self.get_seq_length()
        width = read + key_states.shape[-2]
        if not self.owns_room() or width > self.rooms[0].shape[-2]:
            shapes = [(*new.shape[:-2], width + ROOM, new.shape[-1]) for new in (key_states, value_states)]
            rooms = tuple(new.new_empty(shape) for new, shape in zip((key_states, value_states), shapes, strict=True))
            if read:
                for room, old in zip(rooms, held, strict=True):
                    room[..., :read, :] = old
            self.rooms = rooms
        rows = len(key_states)
        for room, new in zip(self.rooms, (key_states, value_states), strict=True):
            room[:rows, :, read:width] = new
        self.keys, self.values = (room[:rows, :, :width] for room in self.rooms)
        return self.keys, self.values

    def owns_room(self) -> bool:
        """Whether keys and values still lie there: what copies them elsewhere leaves the room behind."""
        pairs = zip(self.held(), self.rooms, strict=False)
        return bool(self.rooms) and all(held.data_ptr() == room.data_ptr() for held, room in pairs)

    def move_rows(self, places: torch.Tensor, rows: torch.Tensor, number: int) -> None:
        """The first `number` rows stay, but that at `places` the ones from `rows` stand, which lie behind them."""
        if self.get_seq_length() == 0:  # a layer that uses another one's
            return
        for held in self.held():
            held[places] = held[rows]
        self.keys, self.values = (held[:number] for held in self.held())

    def held(self) -> tuple[torch.Tensor, ...]:
        """Keys and values, of a layer that has some."""
        return tuple(held for held in (self.keys, self.values) if held is not None)


def row_wise_cache(model: "PreTrainedModel") -> DynamicCache | None:
    """An empty cache of which rows can be taken out; None for a model with states, inputs or a cache of its own kind."""
    causal = causal_lm(model)
    usual = type(causal).prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
    if not usual or not causal._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=causal.config.get_text_config(decoder=True))
    if not {type(layer) for layer in cache.layers} <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return None
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def can_grow(cache: DynamicCache) -> bool:
    """Whether rows can be put in: a layer with a window counts the tokens that it has seen for all rows alike."""
    return all(type(layer) is RoomyLayer for layer in cache.layers)


def places_of(stay: Sequence[int]) -> list[int]:
    """Which row comes to stand at each place when only these stay: the last ones take the places of those that go.

    >>> places_of([0, 1, 3, 5]), places_of([0, 1]), places_of([])
    ([0, 1, 5, 3], [0, 1], [])
    """
    left, last = set(stay), [row for row in stay if row >= len(stay)]
    return [place if place in left else last.pop() for place in range(len(stay))]
