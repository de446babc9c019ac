"""Which of a model's layers and parameters get an adapter: those that params.yaml names, but for what no adapter can stand beside
and for layers that look at pictures, which a text does not train."""

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, cast

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from transformers.pytorch_utils import Conv1D

from stages.lib.core.errors import ReprotuneError
from stages.train.unfit_layers import Modules, find_unfit, is_linear, is_rewritten

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
PARAM, PARAMETERS = "params.yaml: train.target_modules", "params.yaml: train.target_parameters"


class Targets(NamedTuple):
    """As LoraConfig takes them."""

    modules: str | list[str]
    parameters: list[str]
    are_transposed: bool  # GPT-2's layers, (in, out)


def find_targets(model: "PreTrainedModel", modules: str | list[str], parameters: list[str]) -> Targets:
    """
    Raises:
        ReprotuneError: the model has no such layer or parameter, or none that an adapter can stand beside.
    """
    named: Modules = dict(model.named_modules())
    check_targets(model, modules, parameters)
    found = [name for name in named if _is_target(name, modules, named)]
    if modules == ALL_LINEAR:
        found = [name for name in found if named[name] is not model.get_output_embeddings()]
    kept = [name for name in found if _reads_text(name, model)]
    unfit = find_unfit(kept, named, model)
    if unfit and modules != ALL_LINEAR:
        name, why = next(iter(unfit.items()))
        way_out = "take it out of the list" if isinstance(modules, list) else f"match others, or take {ALL_LINEAR}"
        raise ReprotuneError(f"{PARAM}: {name or 'the model as a whole'} {why}; {way_out}")
    kept = [name for name in kept if name not in unfit]
    if found and not kept:
        raise ReprotuneError(f"{PARAM}: no adapter can stand beside {found[0]}, nor any other of the layers that it names")
    as_given = kept == found and not is_rewritten(modules, model)
    transposed = any(isinstance(named[name], Conv1D) for name in kept)
    return Targets(modules if as_given else kept, sorted(parameters), transposed)


def check_targets(model: "PreTrainedModel", modules: str | list[str], parameters: list[str]) -> None:
    """peft minds only if none of a list is found.

    Raises:
        ReprotuneError: one of them is not in the model.
    """
    named: Modules = dict(model.named_modules())
    expressions = [modules] if isinstance(modules, str) else []
    for target in [] if modules == ALL_LINEAR else expressions or modules:
        if not any(_is_target(name, target if expressions else [target], named) for name in named):
            linear = sorted({_end(name) for name, module in named.items() if is_linear(module)})
            what = (
                f"no layer's whole name matches the regular expression {target!r} "
                f"(for layers by their last name: [{target}]; for all of them: {ALL_LINEAR})"
                if expressions
                else f"the base model has no layer {target!r}"
            )
            raise ReprotuneError(f"{PARAM}: {what}; its linear layers: {', '.join(linear)}{_and_experts(model)}")
    shapes = {name: parameter.dim() for name, parameter in model.named_parameters()}
    everywhere = list(model.named_parameters(remove_duplicate=False))
    places = Counter(id(parameter) for _, parameter in everywhere)
    shared = [name for name, parameter in everywhere if places[id(parameter)] > 1]
    for target in parameters:
        if name := next((name for name in shared if _ends(name, target)), None):
            raise ReprotuneError(
                f"{PARAMETERS}: {name} is another layer's too, and an adapter of one can't be merged; take it out of the list"
            )
        dimensions = {size for name, size in shapes.items() if _ends(name, target)}
        if not dimensions:
            raise ReprotuneError(f"{PARAMETERS}: the base model has no parameter {target!r}{_and_experts(model) or '; []: none'}")
        if not dimensions <= {2, 3}:
            raise ReprotuneError(f"{PARAMETERS}: {target!r} has {min(dimensions)} dimensions; an adapter needs 2 or 3")


def find_experts(model: "PreTrainedModel") -> list[str]:
    """Parameters that hold all experts of a layer, as target_parameters names them: behind the number of the layer."""
    return sorted(
        {
            re.sub(r".*\.\d+\.", "", f"{name}.{own}")
            for name, module in model.named_modules()
            if "Expert" in type(module).__name__ and not is_linear(module)
            for own, parameter in module.named_parameters(recurse=False)
            if parameter.dim() > 1 and not own.endswith("bias")
        }
    )


def tell_unadapted(model: "PreTrainedModel | PeftModel", modules: str | list[str]) -> str:
    """What of a model with an adapter has none though one might think so; empty, or a sentence's part that begins with "; "."""
    if not isinstance(model, PeftModel):
        return ""
    base = cast("PreTrainedModel", model.get_base_model())
    wrapped = {name for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    named: Modules = {name: module for name, module in base.named_modules() if ".lora_" not in name}
    parts = []
    if modules == ALL_LINEAR:
        head = base.get_output_embeddings()
        left = [
            name
            for name, module in named.items()
            if is_linear(module) and module is not head and not any(_is_in(name, each) for each in wrapped)
        ]
        adapted_places = {_place(name) for name in wrapped}
        places = {_place(name) if _place(name) not in adapted_places else name for name in left if _reads_text(name, base)}
        said = [*sorted(places), *["those for pictures or sound"] * any(not _reads_text(name, base) for name in left)]
        parts += [f"linear layers without an adapter: {', '.join(said)}"] if said else []
    adapted = {name for name, module in named.items() if isinstance(module, ParamWrapper)}
    if (experts := find_experts(base)) and not any("expert" in name.lower() for name in adapted):
        parts.append(f"the experts are not adapted (train.target_parameters: [{', '.join(experts)}] adapts them)")
    return "".join(f"; {part}" for part in parts)


def _is_target(name: str, modules: str | list[str], named: Modules) -> bool:
    if modules == ALL_LINEAR:
        return is_linear(named[name])
    if isinstance(modules, str):
        return re.fullmatch(modules, name) is not None
    return any(_ends(name, target) for target in modules)


def _reads_text(name: str, model: "PreTrainedModel") -> bool:
    """Whether the layer is the decoder's or the head: others make tokens of pictures or sound."""
    if model.config.get_text_config() is model.config:
        return True
    module, inside = model.get_submodule(name), model.get_decoder().modules()
    return module is model.get_output_embeddings() or any(module is each for each in inside)


def _and_experts(model: "PreTrainedModel") -> str:
    experts = find_experts(model)
    return f"; its experts are in train.target_parameters: [{', '.join(experts)}]" if experts else ""


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _is_in(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def _end(name: str) -> str:
    """The shortest end that a list of targets finds the layer by: numbers alone would name layers of other kinds too.

    >>> _end("model.layers.0.mlp.up_proj"), _end("model.layers.0.feed_forward.adapters.1.0")
    ('up_proj', 'adapters.1.0')
    """
    found = re.search(r"[^.]*(\.\d+)*$", name)
    return found[0] if found else name


def _place(name: str) -> str:
    """The whole name, for all layers at once.

    >>> _place("model.layers.12.mlp.up_proj")
    'model.layers.*.mlp.up_proj'
    """
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)
