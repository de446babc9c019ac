"""What was done otherwise: params, and the stages that ran for it."""

from typing import TypedDict

from tools.compare.lock import Entry, Lock, flatten
from tools.compare.run import Run


class ChangedParam(TypedDict):
    """`a`, `b`: the values; a list as a whole; None also where there is no such param."""

    name: str
    a: object
    b: object


class ChangedStage(TypedDict):
    """A stage whose record in dvc.lock differs. `only`: the run that has it, a or b, where one alone does. `command`: whether
    that changed. `code`, `packages`, `data`: deps that differ; `params`: leaves that do. `outs`: those that differ, none where it
    came to the same.
    """

    name: str
    only: str | None
    command: bool
    code: list[str]
    packages: list[str]
    data: list[str]
    params: list[str]
    outs: list[str]


def changed_params(a: Run, b: Run) -> list[ChangedParam]:
    before, after = flatten(a.params), flatten(b.params)
    names = [
        name
        for name in dict.fromkeys([*after, *before])
        if name not in before or name not in after or before[name] != after[name]
    ]
    return [{"name": name, "a": before.get(name), "b": after.get(name)} for name in names]


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def changed_stages(a: Lock, b: Lock) -> list[ChangedStage]:
    """In the order of the later lock."""
    stages: list[ChangedStage] = []
    for name in dict.fromkeys([*b, *a]):
        before, after = a.get(name), b.get(name)
        if before == after:
            continue
        only = None if before and after else "b" if after else "a"
        stages.append(describe(name, only, before or NOTHING, after or NOTHING))
    return stages


NOTHING = Entry("", {}, {}, {})


def describe(name: str, only: str | None, before: Entry, after: Entry) -> ChangedStage:
    deps = differing(before.deps, after.deps)
    code = [path for path in deps if path.startswith("stages/")]
    packages = [path for path in deps if path.startswith("requirements/")]
    params = (
        {name: repr(value) for name, value in before.params.items()},
        {name: repr(value) for name, value in after.params.items()},
    )
    return {
        "name": name,
        "only": only,
        "command": before.command != after.command and only is None,
        "code": code,
        "packages": packages,
        "data": [path for path in deps if path not in code and path not in packages],
        "params": differing(*params),
        "outs": differing(before.outs, after.outs),
    }
