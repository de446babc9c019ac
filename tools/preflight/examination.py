"""What training would be on a device: packs, how much runs at once, and the memory for it."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from stages.train.params import TrainParams
from stages.train.plan import count_steps
from stages.train.preparation import count_tokens_at_once
from tools.console import paragraph, plural
from tools.preflight import memory
from tools.preflight.device import Device, find_precision
from tools.preflight.memory import Estimate, Load
from tools.preflight.project import Data, Project, make_packs
from tools.preflight.shape import Shape, describe_model


class Examined(NamedTuple):
    """What training would be. `packs`: (tokens, labels) of each, none without data."""

    params: TrainParams
    precision: str
    shape: Shape
    packs: list[tuple[int, int]]
    load: Load
    sharded: bool
    needed: Estimate


def examine(project: Project, device: Device, **changes: object) -> Examined:
    """Training as params.yaml has it, or with changed params.

    On a GPU with so many fewer tokens at once as it takes, since training halves them by itself.
    """
    params, data = project.params.model_copy(update=changes), project.data
    precision = find_precision(params.precision, device)
    shape = describe_model(project.config, params, project.pin.trust_remote_code)
    packs = make_packs(data, params)
    at_once = count_tokens_at_once(params, device.kind)
    number = memory.count_packs_at_once(params.packs_per_step, device.number, params.pack_length, at_once)
    full = [(params.pack_length, params.pack_length)] * number
    tokens, labels = zip(*(packs or full), strict=True)
    load = memory.find_load(tokens, labels, max(data.tokens) if data else params.pack_length, number)
    sharded = device.kind == "cuda" and memory.is_sharded(shape, params, precision, device.number, device.memory)
    while True:
        needed = memory.estimate(shape, params, precision, device.kind, load, device.number, sharded)
        if needed.total <= device.memory or device.kind == "cpu" or sharded or not (less := memory.halve(load)):
            return Examined(params, precision, shape, packs, load, sharded, needed)
        load = less


def tell_model(examined: Examined, name: str) -> Iterator[str]:
    params, shape = examined.params, examined.shape
    trained = shape.parameters if params.method == "full" else shape.adapter
    yield from paragraph(
        "base model",
        f"{name}, {shape.parameters:,} parameters in {len(shape.layers)} layers; {params.method} trains {trained:,}, "
        f"in {examined.precision}{shape.unadapted}",
    )


def tell_data(examined: Examined, data: Data | None) -> Iterator[str]:
    params = examined.params
    if data is None:
        yield from paragraph(
            "data",
            "data/tokenized/train.parquet is not there yet (`dvc repro tokenize` makes it); the estimate takes full packs that "
            "are all labels",
        )
        return
    tokens, ordered = sum(data.tokens), sorted(data.tokens)
    left_out = f", {data.rows - len(ordered):,} more without a label" if data.rows > len(ordered) else ""
    middle, high = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    yield from paragraph(
        "data",
        f"{plural(len(ordered), 'example')}{left_out}; tokens: half have up to {middle:,}, 95% up to {high:,}, the longest "
        f"{ordered[-1]:,}; {sum(data.labels) / tokens:.0%} are labels",
    )
    number = len(examined.packs)
    steps = count_steps(len(examined.packs), params)
    yield from paragraph(
        "packs",
        f"{number:,} of {params.pack_length:,} tokens, {tokens / (number * params.pack_length):.0%} full; "
        f"{plural(steps, 'step')} of {plural(params.packs_per_step, 'pack')}",
    )
