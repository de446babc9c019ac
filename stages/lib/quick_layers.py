"""Layers of a frozen model with a LoRA adapter, with the same results from fewer tensors: less is computed, and less is kept.

Autograd keeps what each operation read. Written as one function, a layer keeps its input alone and computes again what costs
little. The formulas are those of the LoRA paper (E. Hu et al., 2021, section 4.1), of RMSNorm (B. Zhang, R. Sennrich, 2019) and
of gated MLPs (N. Shazeer, 2020), differentiated by hand. A norm or an MLP that computes anything else keeps its own way.
"""

import copy
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch.nn import functional

PROBED_ROWS = 4


def quicken(model: Any) -> None:
    """Replace the forward functions of the layers for which this file has one; weights, names and hooks stay."""
    known: dict[type, bool] = {}
    for module in model.modules():
        if type(module) not in known and (looks_like_norm(module) or looks_gated(module)):
            known[type(module)] = is_rms_norm(module) if looks_like_norm(module) else is_gated(module)
        if is_plain_lora(module):
            module.forward = partial(adapted, module)
        elif looks_like_norm(module) and known[type(module)]:
            module.forward = partial(normalized, module)
        elif looks_gated(module) and known[type(module)]:
            module.forward = partial(gated, module)


# --- Which layers -----------------------------------------------------------------------------------------------------


def is_plain_lora(module: Any) -> bool:
    """A linear layer with one adapter beside it and nothing else: no dropout, DoRA, bias of its own or weights in 4 bits."""
    if type(module) is not LoraLinear or type(module.base_layer) is not torch.nn.Linear or len(module.active_adapters) != 1:
        return False
    [name] = module.active_adapters
    identity = isinstance(module.lora_dropout[name], torch.nn.Identity)
    return identity and not (module.lora_variant or module.lora_bias[name] or module.fan_in_fan_out or module.merged)


def looks_like_norm(module: Any) -> bool:
    frozen = "Norm" in type(module).__name__ and not any(parameter.requires_grad for parameter in module.parameters())
    return frozen and [name for name, _ in module.named_parameters()] == ["weight"] and epsilon(module) is not None


def epsilon(norm: Any) -> float | None:
    return getattr(norm, "variance_epsilon", getattr(norm, "eps", None))


def looks_gated(module: Any) -> bool:
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    return is_plain_lora(layers[2]) and all(layers) and callable(getattr(module, "act_fn", None))


@torch.no_grad()
def is_rms_norm(module: Any) -> bool:
    """Whether a copy with random weights gives what `normalized` gives, to the bit. Also for tensors without storage."""
    probe = copy.deepcopy(module).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    probe.weight.copy_(torch.randn(probe.weight.shape, generator=generator))
    rows = torch.randn(PROBED_ROWS, *probe.weight.shape, generator=generator).to(probe.weight.dtype)
    return torch.equal(probe(rows), normalized(probe, rows))


@torch.no_grad()
def is_gated(module: Any) -> bool:
    """Whether the module gives what `gated` gives; both call the same layers, so that rounding can't differ."""
    weight = module.down_proj.base_layer.weight
    generator = torch.Generator(weight.device).manual_seed(0)
    features = module.gate_proj.in_features
    rows = torch.randn(PROBED_ROWS, features, generator=generator, device=weight.device).to(weight.dtype)
    return torch.equal(module(rows), gated(module, rows))


# --- What they compute ------------------------------------------------------------------------------------------------


def tensors_of(module: Any) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor, float]:
    """Weight, bias, the adapter's two matrices and its scale."""
    [name] = module.active_adapters
    base = module.base_layer
    return base.weight, base.bias, module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]


def adapted(module: Any, features: torch.Tensor) -> torch.Tensor:
    return AdaptedLinear.apply(features, *tensors_of(module))


def normalized(module: Any, features: torch.Tensor) -> torch.Tensor:
    return RmsNorm.apply(features, module.weight, epsilon(module))


def gated(module: Any, features: torch.Tensor) -> torch.Tensor:
    gate, up = module.gate_proj(features), module.up_proj(features)
    return AdaptedGatedLinear.apply(module.act_fn, gate, up, *tensors_of(module.down_proj))


def linear(rows: torch.Tensor, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """`rows` (N, in) -> rows @ (weight + scale * b @ a).T + bias (N, out), and rows @ a.T (N, rank), which backward needs."""
    lowered = rows @ a.T
    return functional.linear(rows, weight, bias).addmm_(lowered, b.T, alpha=scale), lowered


def linear_backward(
    gradient: torch.Tensor, rows: torch.Tensor, lowered: torch.Tensor, weight: Any, a: Any, b: Any, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients to rows, a and b; those to the adapter in float32."""
    through = (gradient @ b).mul_(scale)
    to_rows = (gradient @ weight).addmm_(through, a)
    return to_rows, (through.T @ rows).float(), (gradient.T @ lowered).float().mul_(scale)


class AdaptedLinear(torch.autograd.Function):
    """A linear layer with its adapter, in the precision of the weight. Keeps its input, once in the adapter's rank too."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> torch.Tensor:
        rows = features.to(weight.dtype).reshape(-1, features.shape[-1])
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        out, lowered = linear(rows, weight, bias, a, b, scale)
        ctx.save_for_backward(rows, lowered, weight, a, b)
        ctx.scale, ctx.shape, ctx.dtype = scale, features.shape, features.dtype
        return out.view(*features.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        to_rows, to_a, to_b = linear_backward(gradient, *ctx.saved_tensors, ctx.scale)
        return to_rows.view(ctx.shape).to(ctx.dtype), None, None, to_a, to_b, None


class AdaptedGatedLinear(torch.autograd.Function):
    """AdaptedLinear of activation(gate) * up. Keeps gate and up, and computes their product again."""

    @staticmethod
    def forward(
        ctx: Any, activation: Any, gate: torch.Tensor, up: torch.Tensor, weight: Any, bias: Any, a: Any, b: Any, scale: float
    ) -> torch.Tensor:
        product = (activation(gate) * up).to(weight.dtype)
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        out, lowered = linear(product.reshape(-1, product.shape[-1]), weight, bias, a, b, scale)
        ctx.save_for_backward(gate, up, lowered, weight, a, b)
        ctx.activation, ctx.scale = activation, scale
        return out.view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        gate, up, lowered, weight, a, b = ctx.saved_tensors
        gate, up = gate.detach().requires_grad_(), up.detach()
        with torch.enable_grad():
            activated = ctx.activation(gate)
        product = activated.detach() * up
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        rows = product.to(weight.dtype).reshape(-1, product.shape[-1])
        to_rows, to_a, to_b = linear_backward(gradient, rows, lowered, weight, a, b, ctx.scale)
        to_product = to_rows.view(gate.shape).to(gate.dtype)
        to_up = activated.detach() * to_product
        [to_gate] = torch.autograd.grad(activated, gate, to_product.mul_(up))
        return None, to_gate, to_up, None, None, to_a, to_b, None


class RmsNorm(torch.autograd.Function):
    """weight * (x / sqrt(mean(x ** 2) + epsilon)) over the last axis, computed in float32. Keeps x as it came."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        exact = features.float()
        inverse = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(features, weight, inverse)
        return weight * (exact * inverse).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        features, weight, inverse = ctx.saved_tensors
        normal = features.float() * inverse
        to_normal = gradients[0].float() * weight
        along = (to_normal * normal).mean(-1, keepdim=True)
        return to_normal.addcmul_(normal, along, value=-1).mul_(inverse).to(features.dtype), None, None
