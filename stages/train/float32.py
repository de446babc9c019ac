"""A model that computes in float32 for a while, whatever its weights are stored in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from stages.lib.model.packs import causal_lm


@contextmanager
def computing_in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Each part of the model has its weights in float32 while it runs, and only then; the output layer all the time.

    A bfloat16 number is a float32 number, so nothing is rounded, and what is put back are the tensors that were there.
    """
    with ExitStack() as stack:
        inside: set[int] = set()
        head = causal_lm(model).get_output_embeddings()  # its weight is read by others
        for part in parts_of(model):
            if part is head:
                continue
            inside |= {id(parameter) for parameter in part.parameters()}
            widened = _Widened(list(part.parameters()))
            stack.callback(part.register_forward_pre_hook(widened.widen, prepend=True).remove)
            stack.callback(part.register_forward_hook(widened.put_back, prepend=True, always_call=True).remove)
        inside -= {id(parameter) for parameter in head.parameters()} if head is not None else set()  # tied ones
        outside = _Widened([parameter for parameter in model.parameters() if id(parameter) not in inside])
        outside.widen()
        stack.callback(outside.put_back)
        for module in model.modules():
            dtype = getattr(module, "compute_dtype", None)  # of bitsandbytes: in which it multiplies by weights in 4 bits
            if isinstance(dtype, torch.dtype):
                stack.callback(setattr, module, "compute_dtype", dtype)
                setattr(module, "compute_dtype", torch.float32)  # noqa: B010  # torch's types know no such attribute
        yield


def parts_of(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """A decoder's layers, its embeddings, its last norm, its head, wherever in the module they are."""
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList):
            yield from child
        elif any(isinstance(each, torch.nn.ModuleList) for each in child.modules()):
            yield from parts_of(child)
        else:
            yield child


class _Widened:
    """Parameters, and the data of each that is not in float32 for now."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self.parameters = [each for each in parameters if each.is_floating_point() and each.dtype != torch.float32]
        self.stored: list[torch.Tensor] = []

    def widen(self, *_: Any) -> None:
        if not self.stored:
            self.stored = [parameter.data for parameter in self.parameters]
            for parameter in self.parameters:
                parameter.data = parameter.data.float()

    def put_back(self, *_: Any) -> None:
        for parameter, data in zip(self.parameters, self.stored, strict=False):
            parameter.data = data
        self.stored = []
