"""Which layers no adapter can stand beside, and why.

peft adapts neither a router, whose result is no tensor of features, nor a layer whose weight Mamba's kernels read past it; some
names of layers it reads as those of a mixture's experts, and some it renames while it loads an adapter, which then is not there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
from peft.utils.transformers_weight_conversion import (
    convert_peft_adapter_state_dict_for_transformers,
    convert_peft_config_for_transformers,
)
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Modules = dict[str, torch.nn.Module]
# Of a model that can't be run so, or has no storage and must look at values: it tells what it did until then.
NO_RUN = (AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
SAVED_UNDER = "base_model.model."  # the beginning of an adapter's names in its file


def find_unfit(names: Sequence[str], named: Modules, model: "PreTrainedModel") -> dict[str, str]:
    """Of the layers `names`, those that no adapter can stand beside, with the reason as a predicate."""
    linear = [name for name in names if is_linear(named[name])]
    numbers = Counter(id(module.weight) for module in named.values() if is_linear(module))
    past, lost = find_read_past(linear, named, model), find_lost_in_loading(linear, model)
    reasons: dict[str, str] = {}
    for name in names:
        if why := _why_unfit(name, named[name], model):
            reasons[name] = why
        elif name in past:
            reasons[name] = "is read past the layer by the model's own code, where peft's adapter does nothing"
        elif name in lost:
            reasons[name] = "has a name that is changed while peft loads an adapter, which then lacks it"
        elif name in linear and numbers[id(named[name].weight)] > 1:
            reasons[name] = "shares its weight with another layer, and peft can't merge an adapter of one"
    return reasons


def is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear | Conv1D)


def is_rewritten(modules: str | list[str], model: "PreTrainedModel") -> bool:
    """Whether peft takes the names for ones that transformers 4 had, and adapts something else."""
    config = LoraConfig(target_modules=modules)
    before = config.target_modules
    try:
        convert_peft_config_for_transformers(config, model=model, conversions=None)
    except ValueError:  # two of three names that are one tensor now
        return True
    return bool(config.target_modules != before or config.target_parameters)


def find_read_past(names: Sequence[str], named: Modules, model: "PreTrainedModel") -> set[str]:
    """Those of the linear layers whose weight the model multiplies itself, found by a run on a few tokens."""
    parents = {name: type(named[name.rpartition(".")[0]]) for name in names}
    seen = {(parents[name], _last(name)) for name in _watch({name: named[name] for name in names}, model)}
    return {name for name in names if (parents[name], _last(name)) in seen}


class _Watch(TorchFunctionMode):
    """Notes which of the weights, by their ids, stand in a computation while their layer is not running."""

    def __init__(self, weights: dict[int, str]) -> None:
        super().__init__()
        self.weights, self.running, self.found = weights, set[int](), set[str]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") != "__get__":  # its type or its device may be asked for
            ids = {id(each) for each in (*args, *given.values())} & self.weights.keys() - self.running
            self.found |= {self.weights[each] for each in ids}
        return func(*args, **given)


def _watch(layers: Modules, model: "PreTrainedModel") -> set[str]:
    watch = _Watch({id(layer.weight): name for name, layer in layers.items()})
    handles = []
    for layer in layers.values():
        own = id(layer.weight)
        handles.append(layer.register_forward_pre_hook(lambda *_, own=own: watch.running.add(own)))
        handles.append(layer.register_forward_hook(lambda *_, own=own: watch.running.discard(own)))
    ids = torch.arange(1, 5, device=model.device)[None]
    try:
        # A model that can't be run so, or has no storage and must look at values, tells what it did until then.
        with (
            torch.no_grad(),
            suppress(AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError),
            watch,
        ):
            model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return watch.found


def find_lost_in_loading(names: Sequence[str], model: "PreTrainedModel") -> set[str]:
    """Those whose adapter would not be read back under the name that it is saved with."""
    keys = {f"{SAVED_UNDER}{name}.lora_{side}.weight": torch.empty(1, 1) for name in names for side in "AB"}
    try:
        read = convert_peft_adapter_state_dict_for_transformers(model, LoraConfig(), keys)
    except ValueError:
        return set()  # names of experts, which is_rewritten tells
    return {name for name in names if any(f"{SAVED_UNDER}{name}.lora_{side}.weight" not in read for side in "AB")}


def _why_unfit(name: str, module: torch.nn.Module, model: "PreTrainedModel") -> str | None:
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if module in (embeddings, head) and head is not None and head.weight is embeddings.weight:
        return "shares its weight with the other end of the model, and an adapter of one can't be merged"
    if not is_linear(module):
        return None if isinstance(module, torch.nn.Embedding | torch.nn.Conv1d) else "is no layer that peft adapts"
    if not _gives_features(module):
        return "gives no features (a router), so that peft can't adapt it"
    if not _peft_allows(_last(name), model):
        return "is read past the layer by Mamba's kernels, so that peft does not adapt it"
    if is_rewritten([_last(name)], model):
        return "has a name that peft reads as the experts' (as a parameter, its weight may stand in train.target_parameters)"
    return None


def _gives_features(module: torch.nn.Module) -> bool:
    """Of a subclass with a way of its own: whether features come out, as many as its weight says."""
    if type(module).forward in (torch.nn.Linear.forward, Conv1D.forward) or type(module).__module__.startswith("bitsandbytes"):
        return True
    weight = module.get_parameter("weight")
    try:
        with torch.no_grad():
            result = module(weight.new_zeros(1, 1, weight.shape[1]))
    except (IndexError, RuntimeError, TypeError, ValueError):  # it takes other shapes or further arguments
        return False
    return isinstance(result, torch.Tensor) and result.shape == (1, 1, weight.shape[0])


def _peft_allows(last_name: str, model: "PreTrainedModel") -> bool:
    try:
        _check_lora_target_modules_mamba(LoraConfig(), model, last_name)
    except ValueError:
        return False
    return True


def _last(name: str) -> str:
    return name.rpartition(".")[2]
