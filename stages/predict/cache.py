"""Which models keep what they have read in a cache of which rows can be taken out, and put in."""

from typing import TYPE_CHECKING

from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from stages.lib.model.packs import causal_lm

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def row_wise_cache(model: "PreTrainedModel") -> DynamicCache | None:
    """An empty cache of which rows can be taken out; None for a model with states, inputs or a cache of its own kind."""
    causal = causal_lm(model)
    usual = type(causal).prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
    if not usual or not causal._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=causal.config.get_text_config(decoder=True))
    return cache if {type(layer) for layer in cache.layers} <= {DynamicLayer, DynamicSlidingWindowLayer} else None


def can_grow(cache: DynamicCache) -> bool:
    """Whether rows can be put in: a layer with a window counts the tokens that it has seen for all rows alike."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)
