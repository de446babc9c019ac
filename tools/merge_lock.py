"""Let git merge dvc.lock and metrics/ by itself: `python -m tools.merge_lock --install`, once a clone (`make env` does it).

Branches that changed different stages merge without a conflict, each stage as the branch has it that changed it. What both
changed, be it a stage or a file in metrics/, stays as it is on the branch that one merges into. Whether the results of the merge
are up to date is not decided here: `dvc repro` looks at that, and takes from the run cache what either branch computed.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from stages.lib.core.cache import LOCK
from stages.lib.core.errors import ReprotuneError
from tools.console import run_tool

KEEP = "true"  # the command that does nothing and succeeds: the file stays as it is on our branch
AGAIN = f"`dvc repro`, then `git add {LOCK} metrics` and `git commit`"
Stages = dict[str, object]


def merge_stages(base: Stages, ours: Stages, theirs: Stages) -> Stages:
    """In our order; what only they have comes last.

    >>> merge_stages({"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 2}, {"a": 1, "b": 3, "c": 3, "d": 1})
    {'a': 2, 'b': 3, 'c': 2, 'd': 1}
    >>> merge_stages({"a": 1, "b": 1}, {"a": 1}, {"b": 1})  # each branch took one out
    {}
    """
    merged = {}
    for name in dict.fromkeys([*ours, *theirs]):
        changed_here = ours.get(name) != base.get(name)
        entry = ours.get(name) if changed_here else theirs.get(name)
        if entry is not None:
            merged[name] = entry
    return merged


def merge(base: Path, ours: Path, theirs: Path) -> None:
    """Write the merge of the three versions over `ours`, as DVC writes it."""
    from dvc.utils.serialize import dump_yaml

    lock = read_lock(ours, f"this branch: `git checkout --theirs {LOCK}`, {AGAIN}")
    rest = f"and stays as on this branch: {AGAIN}"
    before = read_lock(base, f"the common ancestor, {rest}") if base.stat().st_size else {}  # empty where both added the file
    after = read_lock(theirs, f"the other branch, {rest}")
    dump_yaml(ours, {**lock, "stages": merge_stages(before.get("stages", {}), lock["stages"], after["stages"])})


def read_lock(path: Path, whose: str) -> dict[str, Any]:
    """
    Raises:
        ReprotuneError: it is damaged; git then keeps ours as it is and tells of a conflict.
    """
    from dvc.utils.serialize import ParseError, load_yaml

    try:
        lock = load_yaml(path)
    except ParseError:
        lock = None
    if not isinstance(lock, dict) or not isinstance(lock.get("stages"), dict):
        raise ReprotuneError(f"{LOCK} is not merged: it is damaged on {whose}")
    return lock


def install() -> str:
    """What .gitattributes names, in this clone's own git configuration."""
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).resolve()))}"
    drivers = {"dvc-lock": f"PYTHONPATH={shlex.quote(str(Path.cwd()))} {command} %O %A %B", "keep-ours": KEEP}
    for name, driver in drivers.items():
        done = subprocess.run(["git", "config", f"merge.{name}.driver", driver], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ReprotuneError(f"git can't be set up: {done.stderr.strip() or 'this is no git repository'}")
    return "git merges dvc.lock stage by stage; after a merge, `dvc repro`"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.merge_lock", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true", help="set git up, in this clone")
    parser.add_argument("versions", nargs="*", type=Path, metavar="FILE", help="for git: ancestor, ours, theirs")
    options = parser.parse_args()
    if options.install:
        print(install())
    elif len(options.versions) == len(("ancestor", "ours", "theirs")):
        merge(*options.versions)
    else:
        parser.error("--install, or the three files that git names")


if __name__ == "__main__":
    run_tool(main)
