"""The machine, or a GPU that is not here, as what training may use of it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Precision, find_hardware
from tools.console import paragraph, plural
from tools.preflight.memory import CUDA_CONTEXT
from tools.preflight.units import GIB, to_gib

RECOMMENDED = 16  # GiB
# What the driver gives of the memory in GiB, a little less than is printed on the box where ECC takes some of it.
GPUS = {
    "T4": 15, "P100": 16, "V100": 16, "V100 32": 32, "L4": 22.5, "A10": 22.5, "A40": 45, "A100": 40, "A100 80": 80,
    "L40S": 45, "H100": 79.6, "H200": 140, "B200": 179, "RTX 2080 Ti": 11, "RTX 3060": 12, "RTX 3090": 24, "RTX 4080": 16,
    "RTX 4090": 24, "RTX 5090": 31.8, "RTX A6000": 48,
}  # fmt: skip
WITHOUT_BFLOAT16 = ("T4", "P100", "V100", "V100 32", "RTX 2080 Ti")


class Device(NamedTuple):
    """`memory`: bytes that training may use on each of `number`. `here`: not one asked for by --gpu."""

    kind: Literal["cpu", "cuda"]
    name: str
    memory: int
    number: int = 1
    bfloat16: bool = True
    here: bool = True


def normalize_name(name: str) -> str:
    """
    >>> normalize_name("NVIDIA GeForce RTX 4090"), normalize_name("A100-80GB")
    ('rtx4090', 'a10080')
    """
    name = re.sub(r"nvidia|geforce|tesla|gi?b\b|pcie|sxm\d?|hbm\w*|[^a-z0-9.]", "", name.lower())
    return f"rtx{name}" if re.fullmatch(r"\d{4}(ti)?", name) else name


def find_named(name: str, number: int) -> Device:
    """
    >>> find_named("24", 1).memory // GIB, find_named("h100", 8).number, find_named("t4", 1).bfloat16
    (24, 8, False)

    Raises:
        ReprotuneError: no such GPU is known.
    """
    known = {normalize_name(each): each for each in GPUS}
    # "A100 40GB" is the A100, "H100 80GB" the H100: a size on the box that is the only one, or the smaller one
    wanted = normalize_name(name)
    boxed = {
        "a10040": "A100",
        "v10016": "V100",
        "h10080": "H100",
        "h200141": "H200",
        "t416": "T4",
        "l424": "L4",
        "l40s48": "L40S",
    }
    if found := known.get(wanted) or boxed.get(wanted):
        return Device("cuda", found, int(GPUS[found] * GIB), number, found not in WITHOUT_BFLOAT16, here=False)
    if amount := re.fullmatch(r"(\d{1,3}(?:\.\d+)?) ?(?:gi?b)?", name.strip().lower()):
        if (size := float(amount[1])) < 1:
            raise ReprotuneError(f"--gpu {name}: expected at least 1 GiB")
        return Device("cuda", f"a GPU with {size:g} GiB", int(size * GIB), number, here=False)
    raise ReprotuneError(f"--gpu {name}: not known; expected its memory in GiB, such as --gpu 24, or one of {', '.join(GPUS)}")


def find_device(gpu: str | None, number: int | None) -> Device:
    """The device of the options, else this machine's.

    Raises:
        ReprotuneError: a GPU is not known, or there is none.
    """
    if number is not None and number < 1:
        raise ReprotuneError(f"--gpus {number}: expected 1 or more")
    if gpu is not None:
        return find_named(gpu, number or 1)
    if not torch.cuda.is_available():
        if number:
            raise ReprotuneError(f"--gpus {number}: this machine has no GPU; name one, such as --gpu 24 or --gpu H100")
        return Device("cpu", f"CPU, {plural(os.cpu_count() or 1, 'core')}", read_available_memory())
    # What others use is not to be had; the context that asking made is in the estimate already.
    free = min(sum((torch.cuda.mem_get_info(each)[0], CUDA_CONTEXT)) for each in range(torch.cuda.device_count()))
    total = min(torch.cuda.mem_get_info(each)[1] for each in range(torch.cuda.device_count()))
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Device("cuda", torch.cuda.get_device_name(), min(free, total), number or torch.cuda.device_count(), native)


def read_available_memory() -> int:
    """Bytes that a new process can have: of the machine, or of what its container may use."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (line := re.search(r"^MemAvailable: +(\d+) kB", meminfo.read_text(), re.MULTILINE)):
        found.append(int(line[1]) * 1024)
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdecimal():
        found.append(int(text) - int(used.read_text()))
    return min(found)


def read_drivers() -> list[list[str]]:
    """Driver, name and memory of each GPU, from nvidia-smi where there is one."""
    if not (command := shutil.which("nvidia-smi")):
        return []
    query = [command, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, check=False, capture_output=True, text=True)
    return [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 2] if done.returncode == 0 else []


def find_precision(wanted: Precision, device: Device) -> str:
    """As stages.lib.model.hardware.find_hardware decides it, also for a device that is not here."""
    if device.here and device.kind == "cpu":
        return find_hardware(wanted).precision
    if wanted == "bfloat16" and not device.bfloat16:
        raise ReprotuneError(f"{device.name} has no bfloat16; set train.precision to float32 or auto")
    return ("bfloat16" if device.bfloat16 else "float32") if wanted == "auto" else wanted


def tell_machine(device: Device) -> Iterator[str]:
    driver = read_drivers()
    if torch.cuda.is_available():
        cuda, cudnn = torch.version.cuda, torch.backends.cudnn.version()
        yield from paragraph("driver", f"{driver[0][0] if driver else 'unknown'}; CUDA {cuda}, cuDNN {cudnn}")
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            yield from paragraph(f"GPU {number}", f"{name}, {total / GIB:.1f} GiB, {free / GIB:.1f} of them free")
    elif driver:
        yield from paragraph(
            "GPU",
            f"{driver[0][1]}, {driver[0][2]}, driver {driver[0][0]}; but torch {torch.__version__} can't use it: `make env` "
            "without TORCH=cpu installs one that can, if the driver is new enough",
        )
    else:
        yield from paragraph("GPU", "none; training runs on the CPU")
    if device.kind == "cuda":
        times = f"{device.number} x " if device.number > 1 else ""
        least = "" if device.memory >= RECOMMENDED * GIB else f"; guides recommend {RECOMMENDED} GB and more"
        yield from paragraph(
            "asked for" if not device.here else "used", f"{times}{device.name}, {to_gib(device.memory)} each{least}"
        )
    else:
        yield from paragraph("CPU", f"{device.name}; {to_gib(device.memory)} of memory available")
