"""Layers of a frozen model with a LoRA adapter, with the same results from fewer tensors: less is computed, and less is kept.

Autograd keeps what each operation read. Written as one function, a layer keeps its input alone and computes again what costs
little. The formulas are those of the LoRA paper (E. Hu et al., 2021, section 4.1), of RMSNorm (B. Zhang, R. Sennrich, 2019) and
of gated MLPs (N. Shazeer, 2020), differentiated by hand. A norm or an MLP that computes anything else keeps its own way.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]

if TYPE_CHECKING:  # what the questions below find modules to be

    class PlainLora(torch.nn.Module):
        base_layer: torch.nn.Linear
        active_adapters: list[str]
        lora_A: Mapping[str, torch.nn.Linear]  # noqa: N815
        lora_B: Mapping[str, torch.nn.Linear]  # noqa: N815
        scaling: dict[str, float]
        in_features: int
        out_features: int

    class Norm(torch.nn.Module):
        weight: Tensor

    class GatedMlp(torch.nn.Module):
        gate_proj: torch.nn.Linear
        up_proj: torch.nn.Linear
        down_proj: PlainLora
        act_fn: Activation


class Context(Protocol):
    """What torch hands to forward and backward; from `scale` on, what forward puts there for backward."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]
    scale: float
    shape: torch.Size
    dtype: torch.dtype
    activation: Activation

    def save_for_backward(self, *tensors: Tensor) -> None: ...


PROBED_SCALES = (1e-3, 1.0, 1e2, 1e4)  # of normal numbers: some functions begin to differ at large values


def quicken(model: torch.nn.Module) -> None:
    """Replace the forward functions of the layers for which this file has one; weights, names and hooks stay."""
    for module in model.modules():
        if is_plain_lora(module):
            module.forward = partial(adapted, module)
        elif looks_like_norm(module) and is_rms_norm(module):
            module.forward = partial(normalized, module)
        elif looks_gated(module) and is_gated(module):  # of one class, too, some layers may do more than others
            module.forward = partial(gated, module)


# --- Which layers -----------------------------------------------------------------------------------------------------


def is_plain_lora(module: object) -> "TypeGuard[PlainLora]":
    """A linear layer with one adapter beside it and nothing else: no dropout, DoRA, bias of its own or weights in 4 bits."""
    if type(module) is not LoraLinear or type(module.base_layer) is not torch.nn.Linear or len(module.active_adapters) != 1:
        return False
    [name] = module.active_adapters
    identity = isinstance(module.lora_dropout[name], torch.nn.Identity)
    return identity and not (module.lora_variant or module.lora_bias[name] or module.fan_in_fan_out or module.merged)


def looks_like_norm(module: torch.nn.Module) -> "TypeGuard[Norm]":
    """A frozen norm with a weight, of nothing but the features: some take a gate too."""
    if "Norm" not in type(module).__name__ or [name for name, _ in module.named_parameters()] != ["weight"]:
        return False
    takes = inspect.signature(type(module).forward).parameters
    of_features = module.get_parameter("weight").dim() == 1  # Cohere has norms with a row for each head
    return len(takes) == 2 and of_features and not module.weight.requires_grad and epsilon(module) is not None


def epsilon(norm: torch.nn.Module) -> float | None:
    return getattr(norm, "variance_epsilon", getattr(norm, "eps", None))


def looks_gated(module: torch.nn.Module) -> "TypeGuard[GatedMlp]":
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    return is_plain_lora(layers[2]) and all(layers) and callable(getattr(module, "act_fn", None))


@torch.no_grad()
def is_rms_norm(module: "Norm") -> bool:
    """Whether a copy with random weights gives what `normalized` gives, to the bit. Also for tensors without storage."""
    probe = copy.deepcopy(module).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    probe.weight.copy_(torch.randn(probe.weight.shape, generator=generator))
    rows = draw_rows(probe.weight, probe.weight.numel(), generator)
    try:
        return torch.equal(probe(rows), normalized(probe, rows))
    except (IndexError, RuntimeError, TypeError, ValueError):  # it takes other shapes
        return False


@torch.no_grad()
def is_gated(module: "GatedMlp") -> bool:
    """Whether the module gives in training what `gated` gives, to the bit: while the adapter is new, and so adds zeros."""
    weight = module.down_proj.base_layer.weight
    rows = draw_rows(weight, module.gate_proj.in_features, torch.Generator(weight.device).manual_seed(0))
    training = module.training
    module.train()  # so that a dropout of its own is seen
    try:
        return torch.equal(module(rows), gated(module, rows))
    except (IndexError, RuntimeError, TypeError, ValueError):  # it takes other shapes or further arguments
        return False
    finally:
        module.train(training)


def draw_rows(like: Tensor, features: int, generator: torch.Generator) -> Tensor:
    """(scales, features), in the precision and on the device of `like`."""
    scales = torch.tensor(PROBED_SCALES, device=like.device)[:, None]
    return (torch.randn(len(scales), features, generator=generator, device=like.device) * scales).to(like.dtype)


# --- What they compute ------------------------------------------------------------------------------------------------


def tensors_of(module: "PlainLora") -> tuple[Tensor, Tensor | None, Tensor, Tensor, float]:
    """Weight, bias, the adapter's two matrices and its scale."""
    [name] = module.active_adapters
    base = module.base_layer
    return base.weight, base.bias, module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]


def adapted(module: "PlainLora", features: Tensor) -> Tensor:
    rows = AdaptedLinear.apply(features, *tensors_of(module))
    # The shape is given here, since torch forbids to change a view in place that a function of one's own returns.
    return rows.view(*features.shape[:-1], module.out_features)


def normalized(module: "Norm", features: Tensor) -> Tensor:
    return RmsNorm.apply(features, module.weight, epsilon(module))


def gated(module: "GatedMlp", features: Tensor) -> Tensor:
    gate, up = module.gate_proj(features), module.up_proj(features)
    rows = AdaptedGatedLinear.apply(module.act_fn, gate, up, *tensors_of(module.down_proj))
    return rows.view(*features.shape[:-1], module.down_proj.out_features)


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """`rows` (N, in) -> rows @ (weight + scale * b @ a).T + bias (N, out), and rows @ a.T (N, rank), which backward needs."""
    with torch.autocast(rows.device.type, enabled=False):  # all are in the weight's precision, in which some models keep float32
        lowered = rows @ a.T
        return functional.linear(rows, weight, bias).addmm_(lowered, b.T, alpha=scale), lowered


def linear_backward(
    gradient: Tensor, rows: Tensor, lowered: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float, wanted: bool
) -> tuple[Any, Tensor, Tensor]:
    """Gradients to rows, if `wanted`, and to a and b, these in float32."""
    through = (gradient @ b).mul_(scale)
    to_rows = (gradient @ weight).addmm_(through, a) if wanted else None
    return to_rows, (through.T @ rows).float(), (gradient.T @ lowered).float().mul_(scale)


class AdaptedLinear(torch.autograd.Function):
    """A linear layer with its adapter, in the precision of the weight: (..., in) -> (N, out). Keeps its input, and rows @ a.T."""

    @staticmethod
    def forward(
        ctx: Context, features: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        rows = features.to(weight.dtype).reshape(-1, features.shape[-1])
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        out, lowered = linear(rows, weight, bias, a, b, scale)
        ctx.save_for_backward(rows, lowered, weight, a, b)
        ctx.scale, ctx.shape, ctx.dtype = scale, features.shape, features.dtype
        return out

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[0]  # not of the first layer, which reads frozen embeddings
        rows, lowered, weight, a, b = ctx.saved_tensors
        to_rows, to_a, to_b = linear_backward(gradients[0], rows, lowered, weight, a, b, ctx.scale, wanted)
        return to_rows.view(ctx.shape).to(ctx.dtype) if wanted else None, None, None, to_a, to_b, None


class AdaptedGatedLinear(torch.autograd.Function):
    """AdaptedLinear of activation(gate) * up. Keeps gate and up, and computes their product again."""

    @staticmethod
    def forward(
        ctx: Context,
        activation: Activation,
        gate: Tensor,
        up: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        product = (activation(gate) * up).to(weight.dtype)
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        out, lowered = linear(product.reshape(-1, product.shape[-1]), weight, bias, a, b, scale)
        ctx.save_for_backward(gate, up, lowered, weight, a, b)
        ctx.activation, ctx.scale = activation, scale
        return out

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, lowered, weight, a, b = ctx.saved_tensors
        gate, up = gate.detach().requires_grad_(), up.detach()
        with torch.enable_grad():
            activated = ctx.activation(gate)
        product = activated.detach() * up
        rows = product.to(weight.dtype).reshape(-1, product.shape[-1])
        to_rows, to_a, to_b = linear_backward(gradients[0], rows, lowered, weight, a, b, ctx.scale, True)
        to_product = to_rows.view(gate.shape).to(gate.dtype)
        to_up = activated.detach() * to_product
        [to_gate] = torch.autograd.grad(activated, gate, to_product.mul_(up))
        return None, to_gate, to_up, None, None, to_a, to_b, None


class RmsNorm(torch.autograd.Function):
    """weight * (x / sqrt(mean(x ** 2) + epsilon)) over the last axis, computed in float32. Keeps x as it came."""

    @staticmethod
    def forward(ctx: Context, features: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        exact = features.float()
        inverse = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(features, weight, inverse)
        return weight * (exact * inverse).to(features.dtype)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None, None]:
        features, weight, inverse = ctx.saved_tensors
        normal = features.float() * inverse
        to_normal = gradients[0].float() * weight
        along = (to_normal * normal).mean(-1, keepdim=True)
        return to_normal.addcmul_(normal, along, value=-1).mul_(inverse).to(features.dtype), None, None
