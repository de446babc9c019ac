"""Whether a run is hopeless for want of memory: a lower bound, told before weights are read. The estimate: tools/preflight."""

import os

import torch

GIB = 1 << 30
# Bytes a parameter. All weights in training have a gradient and AdamW's two moments, all in float32; NF4 holds half a byte and
# scales, and only the linear layers are in it.
WHOLE_MODEL, FOUR_BIT = 16, 0.5


def read_total_memory(device: str) -> int:
    """Bytes of the current GPU, or of this machine."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def find_hopeless(parameters: int, method: str, precision: str, device: str, parts: int, memory: int) -> str | None:
    """Why a run can't fit into so many bytes, in a sentence, or None. `parts`: devices that may share the weights."""
    bytes_each = {"full": WHOLE_MODEL, "qlora": FOUR_BIT}.get(method, 2 if precision == "bfloat16" else 4)
    least = parameters * bytes_each / parts
    if least <= memory:
        return None
    place = "the GPU has" if device == "cuda" else "this machine has"
    return (
        f"train: {place} {memory / GIB:.1f} GiB of memory; training needs at least {least / GIB:.1f} GiB "
        "(`python -m tools.preflight` says for what, and what would make it fit)"
    )
