"""Will training fit, and what does it meet here? `python -m tools.preflight [--gpu NAME|GIB] [--gpus N] [--time]`.

Says what the machine has, what the base model and the data are, how much memory training needs for what, and, if it is too much,
what to change, the cheapest first. Ends with 0 if it fits, with 1 if not. Nothing is downloaded but a small model's wheel or a
model's config, and no weight is read unless --time asks for it.
"""

import argparse
import sys

from stages.lib.core.errors import ReprotuneError
from tools.console import paragraph, print_all, run_tool
from tools.preflight.advice import tell_changes, tell_disk, tell_memory, tell_verdict
from tools.preflight.device import find_device, tell_machine
from tools.preflight.examination import examine, tell_data, tell_model
from tools.preflight.project import read_project, read_too_long
from tools.preflight.replies import tell_replies
from tools.preflight.timing import tell_time


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.preflight", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", metavar="NAME|GIB", help="compute for a GPU that is not here, such as H100, RTX 4090 or 24")
    parser.add_argument("--gpus", type=int, metavar="N", help="how many of them (default: those that are here, or 1)")
    parser.add_argument("--time", action="store_true", help="time a few training steps here")
    return parser.parse_args(arguments)


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
    if too_long := read_too_long():
        print_all(paragraph("too long", too_long))
    print_all(tell_replies(project.config))
    print_all(tell_memory(examined, device))
    print_all(tell_verdict(examined, device))
    if not fits:
        print_all(tell_changes(project, examined, device))
    elif options.time:
        print_all(tell_time(examined, device.number))
    return 0 if fits else 1


def main() -> int:
    return preflight(parse_arguments(sys.argv[1:]))


if __name__ == "__main__":
    run_tool(main)
