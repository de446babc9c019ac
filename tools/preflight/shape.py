"""A model in numbers, before any weight is read: parameters, and for each token the features that its layers read and write."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from stages.lib.base_model.source import choose_class
from stages.lib.core.errors import ReprotuneError
from stages.train.methods import add_adapter
from stages.train.params import Method, TrainParams
from stages.train.quick_layers import is_rms_norm, looks_gated, looks_like_norm
from stages.train.targets import tell_unadapted

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Linears = dict[str, torch.nn.Linear]


class NotDescribed(ReprotuneError):
    """A model that is built otherwise than what the estimate knows: decoder layers with attention."""


class Layer(NamedTuple):
    """A decoder layer in numbers of parameters, and of features: values for each token."""

    parameters: int
    in_linears: int  # of the parameters, those that 4 bits hold
    trained: int  # of the adapter
    norms: int  # features that norms read
    quick_norms: int  # of them, those of norms that stages.train.quick_layers has a function for
    norm_calls: int
    read: int  # features that trained linear layers read, what several of them read counted once
    read_by_each: int  # the same, counted for each of them
    written: int  # features that trained linear layers write
    ranks: int  # of the adapter's matrices, summed
    elementwise: int  # features between the MLP's linear layers
    products: int  # features that a quick gated MLP computes again, and its last layer does not keep
    fused_attention: bool  # query, key and value come from one linear layer: the value keeps all of its output
    last_of_attention: bool  # whether it is trained, and so keeps what attention gives
    widest: int  # features of the widest tensor
    largest: int  # parameters of the largest linear layer
    largest_square: int  # features that the widest trained linear layer reads


class Shape(NamedTuple):
    """A model with what is trained of it. `parameters` counts tied ones once, the adapter not."""

    parameters: int
    outside: int  # of the parameters, those outside the decoder's layers
    adapter: int
    hidden: int
    vocabulary: int
    heads: int
    queries: int  # features of all heads
    keys: int  # features of all key heads
    head_has_bias: bool
    layers: tuple[Layer, ...]
    unadapted: str  # what has no adapter though one might think so


def describe_model(config: "PreTrainedConfig", params: TrainParams, trust_remote_code: bool = False) -> Shape:
    """`config`: of transformers. Nothing is read or allocated: tensors without storage.

    Raises:
        NotDescribed: the model is no usual decoder.
        ReprotuneError: target_modules name no layer.
    """
    try:
        with torch.device("meta"):
            model = choose_class(config, trust_remote_code).from_config(config, trust_remote_code=trust_remote_code)
            linears = {id(module) for module in model.modules() if isinstance(module, torch.nn.Linear)}
            parameters, head = count(model), model.get_output_embeddings()
            if params.method != "full":
                model = add_adapter(model, params)
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        layers = next(module for module in causal.base_model.modules() if isinstance(module, torch.nn.ModuleList))
        text = config.get_text_config()
        heads = text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // heads
        queries, keys = heads * size, (getattr(text, "num_key_value_heads", None) or heads) * size
        described = tuple(describe_layer(layer, linears, params.method, queries, keys) for layer in layers)
        sizes = text.hidden_size, text.vocab_size
    except (AttributeError, NotImplementedError, RuntimeError, StopIteration, TypeError, ValueError, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NotDescribed(f"base_model: {config.model_type}: its memory can't be estimated: {reason}") from None
    return Shape(
        parameters=parameters,
        outside=parameters - sum(layer.parameters for layer in described),
        adapter=count(model) - parameters,
        hidden=sizes[0],
        vocabulary=sizes[1],
        heads=heads,
        queries=queries,
        keys=keys,
        head_has_bias=getattr(head, "bias", None) is not None,
        layers=described,
        unadapted=tell_unadapted(model, params.target_modules),
    )


def describe_layer(layer: torch.nn.Module, linears: set[int], method: Method, queries: int, keys: int) -> Layer:
    """`linears`: ids of the model's own linear layers; those in an adapter are none of them."""
    modules = dict(layer.named_modules())
    own = {name: module for name, module in modules.items() if isinstance(module, torch.nn.Linear) and id(module) in linears}
    trained = find_trained(own, modules, method)
    norms = find_norms(modules, queries, keys)
    # Attention's first layers read the same norm's output, as do the MLP's; what their last ones read is each one's own.
    read = {(parent_of(name), module.in_features) for name, module in trained.items()}
    attention = [name for name in own if "att" in name]
    products = count_products(modules.values(), method)
    adapter = {name: parameter for name, parameter in layer.named_parameters() if ".lora_" in name}
    adapted = sum(parameter.numel() for parameter in adapter.values())
    return Layer(
        parameters=count(layer) - adapted,
        in_linears=sum(module.weight.numel() for module in own.values()),
        trained=adapted,
        norms=sum(norms.values()),
        quick_norms=sum(width for name, width in norms.items() if is_quick(modules[name])),
        norm_calls=len(norms),
        read=sum(width for _, width in read),
        read_by_each=sum(module.in_features for module in trained.values()),
        written=sum(module.out_features for module in trained.values()),
        ranks=sum(parameter.shape[0] for name, parameter in adapter.items() if ".lora_A." in name),
        elementwise=count_elementwise([module for name, module in own.items() if name not in attention], products > 0),
        products=products,
        fused_attention=any(own[name].out_features == queries + 2 * keys for name in attention),
        last_of_attention=attention[-1:] != [] and attention[-1] in trained,
        widest=largest(max(module.in_features, module.out_features) for module in own.values()),
        largest=largest(module.weight.numel() for module in own.values()),
        largest_square=largest(module.in_features for module in trained.values()),
    )


def find_trained(own: Linears, modules: dict[str, torch.nn.Module], method: Method) -> Linears:
    """Of the model's own linear layers, those that train or have an adapter."""
    if method == "full":
        return own
    return {name: module for name, module in own.items() if hasattr(modules[name.removesuffix(".base_layer")], "lora_A")}


def find_norms(modules: dict[str, torch.nn.Module], queries: int, keys: int) -> dict[str, int]:
    """Each norm's features. One of each head reads all heads, though its weight has one head's features."""
    of_heads = {"q_norm": queries, "k_norm": keys}
    return {
        name: of_heads.get(name.rpartition(".")[2], weight.shape[-1])
        for name, module in modules.items()
        if "Norm" in type(module).__name__ and isinstance(weight := getattr(module, "weight", None), torch.Tensor)
    }


def is_quick(norm: torch.nn.Module) -> bool:
    return looks_like_norm(norm) and is_rms_norm(norm)


def count_products(modules: Iterable[torch.nn.Module], method: Method) -> int:
    """Features that quick gated MLPs compute again."""
    return sum(module.down_proj.in_features for module in modules if method == "lora" and looks_gated(module))


def count_elementwise(mlp: Sequence[torch.nn.Linear], quick: bool) -> int:
    """Features between an MLP's linear layers: gate, its activation and up; without a gate, what the activation reads."""
    inner = sum(module.out_features for module in mlp[:-1])
    return inner if quick or (len(mlp) == 2 and not is_fused(mlp)) else inner * 3 // 2


def largest(numbers: Iterable[int]) -> int:
    return max(numbers, default=0)


def parent_of(name: str) -> str:
    return name.removesuffix(".base_layer").rpartition(".")[0]


def is_fused(mlp: Sequence[torch.nn.Linear]) -> bool:
    """Whether gate and up are one layer, as in Phi: it writes twice what the last one reads."""
    return mlp[0].out_features == 2 * mlp[-1].in_features


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
