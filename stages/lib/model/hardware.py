"""Which device and precision this machine gives: found here, once, the same way for training, prediction and chat."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from typing import Literal, NamedTuple

import torch

from stages.lib.core.errors import ReprotuneError

Precision = Literal["auto", "bfloat16", "float32"]
DESCRIBED_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "numpy")


class Hardware(NamedTuple):
    """`device`: "cuda" or "cpu". `precision`: "bfloat16" or "float32"."""

    device: str
    precision: str

    def autocast(self) -> AbstractContextManager:
        """Products in bfloat16 on what is stored in float32, where that is the precision."""
        return nullcontext() if self.precision == "float32" else torch.autocast(self.device, torch.bfloat16)


def find_hardware(precision: Precision) -> Hardware:
    """CUDA where there is some; for "auto", bfloat16 where the hardware multiplies it natively.

    Raises:
        ReprotuneError: bfloat16 is asked for on a GPU without it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    native = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _cpu_multiplies_bfloat16()
    if precision == "auto":
        return Hardware(device, "bfloat16" if native else "float32")
    if precision == "bfloat16" and device == "cuda" and not native:
        raise ReprotuneError(f"{torch.cuda.get_device_name()} has no bfloat16; set the section's precision to float32 or auto")
    return Hardware(device, precision)


def _cpu_multiplies_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def use_deterministic_algorithms(wanted: bool) -> None:
    """On CUDA some operations add up in another order each time; with this none does. To be called before CUDA is used.

    On a CPU all that is used here gives the same bytes anyway.
    """
    wanted = wanted and torch.cuda.is_available()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it would write each new tensor twice
    torch.use_deterministic_algorithms(wanted)


def describe_environment(hardware: Hardware) -> dict[str, object]:
    """What decides the bits of a result besides code, data and params. Nothing timed, nothing named after a host."""
    cuda = hardware.device == "cuda"
    return {
        "device": hardware.device,
        "device_name": torch.cuda.get_device_name() if cuda else platform.machine(),
        "device_count": torch.cuda.device_count() if cuda else 1,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "precision": hardware.precision,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in DESCRIBED_PACKAGES},
    }
