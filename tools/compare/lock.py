"""dvc.lock of a revision: what each stage was run with, and what came of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import Yaml12Loader

HASH = re.compile(r"[0-9a-f]+(\.dir)?")


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2's scalars, as DVC writes them and params.yaml is read, at libyaml's speed: `5e-05` is a number."""

    yaml_implicit_resolvers = Yaml12Loader.yaml_implicit_resolvers


Loader.add_constructor("tag:yaml.org,2002:int", lambda _loader, node: int(node.value))
Loader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: float(node.value))


def read_yaml(content: bytes) -> Any:
    """
    >>> read_yaml(b"{rate: 5e-05, remove: no, md5: '0123'}")
    {'rate': 5e-05, 'remove': 'no', 'md5': '0123'}
    """
    return yaml.load(content, Loader=Loader)


class Entry(NamedTuple):
    """A stage. `deps`, `outs`: path -> hash. `params`: the full names of its leaves -> value."""

    command: str
    deps: dict[str, str]
    params: dict[str, object]
    outs: dict[str, str]


Lock = dict[str, Entry]  # by the stage's name


def parse_lock(content: bytes, where: str, mend: str) -> Lock:
    """`mend`: what does so where it is damaged.

    Raises:
        ReprotuneError: it is no lock.
    """
    try:
        document = read_yaml(content)
        return {name: parse_entry(stage) for name, stage in document["stages"].items()}
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError):
        raise ReprotuneError(f"{where}: damaged, or with marks of a merge; {mend}") from None


def parse_entry(stage: Mapping[str, Any]) -> Entry:
    params = {name: value for file in stage.get("params", {}).values() for name, value in flatten(file).items()}
    deps, outs = ({str(one["path"]): read_md5(one.get("md5")) for one in stage.get(key, [])} for key in ("deps", "outs"))
    return Entry(str(stage["cmd"]), deps, params, outs)


def read_md5(value: object) -> str:
    """It becomes the name of a file, in a cache: nothing else may be in a hash's place."""
    if value is not None and not HASH.fullmatch(str(value)):
        raise ValueError
    return str(value)


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Leaves by their full names; a list is one leaf.

    >>> flatten({"train": {"seed": 0, "targets": ["a"]}, "report.gates": []})
    {'train.seed': 0, 'train.targets': ['a'], 'report.gates': []}
    """
    leaves: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def not_of_one_run(lock: Lock) -> list[tuple[str, str]]:
    """(stage, file) where a stage was run with another file than the lock records of the stage that writes it: after a merge, or
    where only a part was run again, the lock is put together from several runs.

    >>> split, train = Entry("", {}, {}, {"a": "1", "b": "1"}), Entry("", {"a": "1", "b": "2", "code": "3"}, {}, {})
    >>> not_of_one_run({"split": split, "train": train})
    [('train', 'b')]
    """
    outs = {path: md5 for entry in lock.values() for path, md5 in entry.outs.items()}
    folders = {path: hash_of_folder(outs, path) for entry in lock.values() for path in entry.deps if path not in outs}
    recorded = outs | {path: md5 for path, md5 in folders.items() if md5 is not None}
    return [(name, path) for name, entry in lock.items() for path, md5 in entry.deps.items() if recorded.get(path, md5) != md5]


def hash_of_folder(outs: Mapping[str, str], folder: str) -> str | None:
    """What DVC records of a folder that several stages fill (`collect`, a source each); None where no out is in it, or a folder.

    >>> hash_of_folder({"data/collected/faq.jsonl": "0" * 32}, "data/collected")
    '0b2479042db8eee4eb864c071286dfb1.dir'
    >>> hash_of_folder({"data/cleaned.jsonl": "0" * 32}, "stages/lib/core")
    """
    inside = {path.removeprefix(f"{folder}/"): md5 for path, md5 in outs.items() if path.startswith(f"{folder}/")}
    if not inside or any(md5.endswith(".dir") for md5 in inside.values()):
        return None
    tree = Tree()
    for path, md5 in inside.items():
        tree.add(tuple(path.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    return tree.oid


def find_out(lock: Lock, path: Path) -> tuple[Path, str] | None:
    """The out that a file is, or the folder that it is in, and the hash that DVC recorded of that; None where it recorded none.

    >>> lock = {"evaluate": Entry("", {}, {}, {"data/evaluation": "1.dir"})}
    >>> find_out(lock, Path("data/evaluation/scores.json"))
    (PosixPath('data/evaluation'), '1.dir')
    """
    outs = {name: md5 for entry in lock.values() for name, md5 in entry.outs.items()}
    return next(((one, outs[one.as_posix()]) for one in (path, path.parent) if one.as_posix() in outs), None)
