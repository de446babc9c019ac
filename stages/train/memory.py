"""Whether a run is hopeless for want of memory: a lower bound, told before weights are read. The estimate: tools/preflight."""

import os

import torch

from stages.lib.base_model.pin import pinned_folder, read_base_pin
from stages.lib.base_model.source import choose_class, load_config
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.train.params import Method

GIB = 1 << 30
# Bytes a parameter. All weights in training have a gradient and AdamW's two moments, all in float32; NF4 holds half a byte and
# scales, and only the linear layers are in it.
WHOLE_MODEL, FOUR_BIT = 16, 0.5


def read_total_memory(device: str) -> int:
    """Bytes of the current GPU, or of this machine."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(method: Method, hardware: Hardware, processes: int) -> None:
    """
    Raises:
        ReprotuneError: the run can't fit, whatever its micro-batches; told before weights are read.
    """
    parameters, memory = count_parameters(), read_total_memory(hardware.device)
    if parameters and (reason := find_hopeless(parameters, method, hardware, processes, memory)):
        raise ReprotuneError(reason)


def count_parameters() -> int | None:
    """Of the base model, tied ones once; None for a model that can't be built without storage."""
    trusted = read_base_pin().trust_remote_code
    config = load_config(pinned_folder(), trusted, local_files_only=True)
    try:
        with torch.device("meta"):
            model = choose_class(config, trusted).from_config(config, trust_remote_code=trusted)
    except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    return sum(parameter.numel() for parameter in model.parameters())


def find_hopeless(parameters: int, method: Method, hardware: Hardware, parts: int, memory: int) -> str | None:
    """Why a run can't fit into so many bytes, in a sentence, or None. `parts`: processes that may share the weights."""
    bytes_each = {"full": WHOLE_MODEL, "qlora": FOUR_BIT}.get(method, 2 if hardware.precision == "bfloat16" else 4)
    least = parameters * bytes_each / parts
    if least <= memory:
        return None
    place = "the GPU has" if hardware.device == "cuda" else "this machine has"
    return (
        f"train: {place} {memory / GIB:.1f} GiB of memory; training needs at least {least / GIB:.1f} GiB "
        "(`python -m tools.preflight` says for what, and what would make it fit)"
    )
