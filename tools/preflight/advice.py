"""Whether it fits, for what the memory goes, and what would make it fit."""

import shutil
from collections.abc import Iterator

from stages.lib.core.files import project_root
from tools.console import paragraph, plural
from tools.preflight.device import Device
from tools.preflight.examination import Examined, examine
from tools.preflight.project import Project
from tools.preflight.units import MIB, to_gib


def tell_memory(examined: Examined, device: Device) -> Iterator[str]:
    needed, load = examined.needed, examined.load
    yield ""
    divided = ", divided over the GPUs" if examined.sharded else ""
    rows = [
        (f"weights{divided}", needed.weights),
        ("adapter", needed.adapter),
        ("gradients", needed.gradients),
        ("optimiser: AdamW's moments", needed.optimizer),
        (f"activations of {load.tokens:,} tokens at once", needed.activations),
        ("a layer at work", needed.layer_at_work),
        (f"logits and gradients of {load.labels:,} labels", needed.logits),
        ("the best state so far", needed.best_state),
        ("Python and libraries" if device.kind == "cpu" else "CUDA's context", needed.fixed),
    ]
    rows = [(title, number) for title, number in rows if number]
    never = sum(number for _, number in rows) - needed.total
    rows += [("never at the same time", -never)] if never else []
    rows += [("together", needed.total), ("there is", device.memory)]
    for title, number in rows:
        yield f"{title:<46} {number / MIB:>10,.0f} MiB"


def tell_verdict(examined: Examined, device: Device) -> Iterator[str]:
    needed = examined.needed.total
    each = " on each GPU" if device.number > 1 else ""
    yield ""
    if needed <= device.memory:
        yield f"fits: about {to_gib(needed)} of {to_gib(device.memory)}{each}"
    else:
        yield f"does not fit: about {to_gib(needed)}, there is {to_gib(device.memory)}{each}"


def tell_changes(project: Project, examined: Examined, device: Device) -> Iterator[str]:
    """What can be changed, the cheapest first, each with the total that it gives by itself; last, all of it together."""
    yield "What would change that, the cheapest first:"
    yield ""
    together: dict[str, object] = {}
    length = None
    if not project.params.gradient_checkpointing:
        together["gradient_checkpointing"] = True
        yield tell_change("train.gradient_checkpointing: true", examine(project, device, gradient_checkpointing=True), device)
    # A GPU takes packs in parts by itself: only one long conversation can be too much for it.
    longest = examined.load.longest if device.kind == "cuda" else examined.load.tokens
    if longest >= 128:
        length = longest // 2
        together["pack_length"] = length
        shorter = project.without_longer(length)
        lost = len(project.data.tokens) - len(shorter.data.tokens) if project.data and shorter.data else 0
        more = f" ({plural(lost, 'conversation')} too long)" if lost else ""
        yield tell_change(
            f"tokenize.max_length and train.pack_length: {length}{more}", examine(shorter, device, pack_length=length), device
        )
    if project.params.method == "full":
        together["method"] = "lora"
        yield tell_change("train.method: lora", examine(project, device, method="lora"), device)
    if project.params.method != "qlora" and device.kind == "cuda":
        together["method"] = "qlora"
        yield tell_change("train.method: qlora", examine(project, device, method="qlora"), device)
    if len(together) > 1:
        values = ", ".join(str(value).lower() for value in together.values())
        yield tell_change(f"these together: {values}", examine(project.without_longer(length), device, **together), device)
    if device.kind == "cuda":
        for number in (2, 4, 8):
            more_gpus = examine(project, device._replace(number=number)) if number > device.number else examined
            if more_gpus.needed.total <= device.memory or (number == 8 and more_gpus.needed.total < examined.needed.total):
                yield tell_change(f"{number} such GPUs", more_gpus, device)
                break


def tell_change(change: str, examined: Examined, device: Device) -> str:
    total = examined.needed.total
    return f"  {change:<76} {to_gib(total):>9}{'  fits' if total <= device.memory else ''}"


def tell_disk(examined: Examined) -> Iterator[str]:
    """A checkpoint holds what is trained, two moments of it and the best state, and while one is written there are two.

    The result is there twice as well, in models/adapter/ and in DVC's cache.
    """
    shape, root = examined.shape, project_root()
    trained = shape.parameters if examined.params.method == "full" else shape.adapter
    needed = 2 * (16 + 4) * trained
    free = shutil.disk_usage(root).free
    short = "; that is too little" if free < needed else ""
    yield from paragraph("disk", f"{to_gib(free)} free at {root}; checkpoints and result take up to {to_gib(needed)}{short}")
