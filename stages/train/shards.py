"""Tensors that are divided over the processes, next to those that each process holds whole."""

import math
from collections.abc import Sequence

import torch
from torch.distributed.tensor import DTensor

from stages.train.ranks import Ranks, add_up

Tensors = dict[str, torch.Tensor]


def is_divided(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(parameter: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """A tensor that is divided as the parameter is, from this process's part of it."""
    if not isinstance(parameter, DTensor):
        return part
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(part, mesh, placements, shape=parameter.shape, stride=parameter.stride())


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Gathered from all processes, which have to call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sum_gradients(parameters: Sequence[torch.Tensor], averaged: bool, ranks: Ranks) -> None:
    """Over the processes, of parameters that each one holds whole. `averaged`: torch has averaged those of divided ones."""
    kept_whole = [parameter for parameter in parameters if not is_divided(parameter)]
    if ranks.world == 1 or not kept_whole:
        return
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in kept_whole]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(joined)
    if averaged:
        joined /= ranks.world
    for parameter, gradient, part in zip(kept_whole, gradients, joined.split([each.numel() for each in kept_whole]), strict=True):
        parameter.grad = gradient.copy_(part.view_as(parameter))


def clip_gradients(parameters: Sequence[torch.Tensor], max_grad_norm: float, ranks: Ranks) -> float:
    """Scale all gradients so that their norm, over all shards, is at most `max_grad_norm`; the norm before."""
    pairs = [(is_divided(parameter), local(parameter.grad)) for parameter in parameters if parameter.grad is not None]
    gradients = [gradient for _, gradient in pairs]
    squares = torch.stack(torch._foreach_norm(gradients)).double() ** 2
    divided = torch.tensor([each for each, _ in pairs], device=squares.device)
    [shards] = add_up(ranks, [squares[divided].sum().item()], squares.device)
    norm = math.sqrt(shards + squares[~divided].sum().item())
    if norm > max_grad_norm:
        torch._foreach_mul_(gradients, max_grad_norm / (norm + 1e-6))
    return norm


def optimizer_state(optimizer: torch.optim.Optimizer) -> list[Tensors]:
    """This process's part of each parameter's state, in memory of the CPU."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [{key: local(value).cpu() for key, value in optimizer.state[parameter].items()} for parameter in parameters]


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Sequence[Tensors], rates: Sequence[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, saved in zip(parameters, state, strict=True):
        placed = {key: value.to(parameter.device) for key, value in saved.items()}
        optimizer.state[parameter] = {key: like(parameter, value) if value.dim() else value for key, value in placed.items()}
