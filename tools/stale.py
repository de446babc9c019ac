"""Is dvc.lock that of this code, data and params? `python -m tools.stale`, in a clone with its data or without.

Names each stage that is stale with what changed, then the stages that come after; ends with 1 if there is one. What is not here
counts by its hash in dvc.lock and *.dvc: nothing is fetched, nothing is run and nothing is changed.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import cast

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.stage import PipelineStage
from dvc_data.hashfile.build import build
from dvc_data.hashfile.tree import Tree

from stages.lib.core.errors import ReprotuneError
from stages.sources.__main__ import CHECKED
from tools.console import check_lock, run_tool

ALWAYS_THE_SAME = (CHECKED.as_posix(),)  # what holds the same bytes whatever its stage is run on, so that nothing runs for it
ABSENT = ("deleted", "not in cache")  # as DVC's status says it
CHANGED = {"new": "is new", "modified": "changed"}


def changes_of(stage: PipelineStage, outs: list[Output]) -> Iterator[str]:
    """What made a stage stale, without what comes before it. `outs`: of all stages and *.dvc files."""
    if stage.changed_stage():
        yield "its command changed"
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            recorded = dep.hash_info.value or {}
            yield from differences({name: recorded.get(name) for name in dep.params}, dep.read_params())
        elif said := change_of(dep, outs):
            yield f"{dep.def_path} {said}"
    for out in stage.outs:
        yield from (f"{name} is not what dvc.lock records" for name, said in out.status().items() if said not in ABSENT)


def differences(recorded: object, found: object, name: str = "") -> Iterator[str]:
    """Params that are not as they were, by their full names.

    >>> list(differences({"train": {"seed": 0, "r": 8}, "clean": None}, {"train": {"seed": 1, "r": 8}, "clean": {"html": True}}))
    ['train.seed changed', 'clean changed']
    """
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        for key in dict.fromkeys([*recorded, *found]):
            yield from differences(recorded.get(key), found.get(key), f"{name}.{key}" if name else str(key))
    elif recorded != found:
        yield f"{name} changed"


def change_of(dep: Output, outs: list[Output]) -> str | None:
    """What became of a file or folder; by what dvc.lock and *.dvc say of it, as far as it is not here."""
    if not dep.hash_info:
        return CHANGED["new"]
    absent = [out for out in outs if out.fs.isin_or_eq(out.fs_path, dep.fs_path) and not out.exists]
    if absent:
        recorded = recorded_hash(dep, absent)
        return CHANGED["modified"] if recorded not in (None, dep.hash_info.value) else None
    status = dep.status()
    return CHANGED.get(status[str(dep)]) if status else None


def recorded_hash(dep: Output, absent: list[Output]) -> str | None:
    """The hash that it would have with the absent outs in their places; None where one of them is a folder unknown here."""
    if absent[0].fs_path == dep.fs_path:
        return absent[0].hash_info and str(absent[0].hash_info.value)
    tree = Tree()
    if dep.exists:
        here = cast("Tree", build(dep.cache, dep.fs_path, dep.fs, dep.hash_name, ignore=dep.dvcignore, dry_run=True)[2])
        for key, meta, hash_info in here:
            tree.add(key, meta, hash_info)
    for out in absent:
        if not out.hash_info or out.hash_info.isdir:
            return None
        tree.add(out.fs.relparts(out.fs_path, dep.fs_path), None, out.hash_info)
    tree.digest()
    return str(tree.oid)


def may_change(before: PipelineStage, stage: PipelineStage) -> bool:
    """Whether a stage that is run again may give another one other bytes to read."""
    outs = [out for out in before.outs if out.def_path not in ALWAYS_THE_SAME]
    return any(
        dep.fs.isin_or_eq(out.fs_path, dep.fs_path) or dep.fs.isin_or_eq(dep.fs_path, out.fs_path)
        for dep in stage.deps
        if not isinstance(dep, ParamsDependency)
        for out in outs
    )


def find_stale(repo: Repo) -> tuple[dict[str, list[str]], list[str]]:
    """Stages with what made them stale, and those that come after them; in the order in which they run."""
    graph, outs = repo.index.graph, list(repo.index.outs)
    changed: dict[PipelineStage, list[str]] = {}
    after = []
    for stage in plan_repro(graph):
        if not isinstance(stage, PipelineStage):
            continue
        if changes := list(changes_of(stage, outs)):
            changed[stage] = changes
        elif any(before in changed or before in after for before in graph.successors(stage) if may_change(before, stage)):
            after.append(stage)
    return {stage.addressing: changes for stage, changes in changed.items()}, [stage.addressing for stage in after]


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m tools.stale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    check_lock()
    try:
        with Repo() as repo:
            changed, after = find_stale(repo)
    except DvcException as error:
        raise ReprotuneError(f"DVC can't read the project: {' '.join(str(error).split())}") from None
    for stage, changes in changed.items():
        print(f"{stage}: {', '.join(changes)}")
    if after:
        print(f"after it: {', '.join(after)}")
    if not changed:
        print("dvc.lock is that of this code, data and params")
        return 0
    print("dvc.lock is not that of this code, data and params: `dvc repro --pull`, then `git add dvc.lock metrics`")
    return 1


if __name__ == "__main__":
    run_tool(main)
