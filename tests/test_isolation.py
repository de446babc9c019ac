"""A stage needs what it declares and nothing else: run in a folder that holds only that, it gives the same outs."""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from stage_runner import run_in_fork

from stages.lib.core.params import Yaml12Loader

STAGES = ["base_model", "sources", "collect@pairs", "collect@chats", "clean", "split", "tokenize", "train", "predict@base",
          "predict@tuned", "evaluate", "report"]  # fmt: skip
PIPELINE = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
FOR_THE_ORDER = {"data/sources.txt"}  # a dep that is not read: `collect` runs after `sources`
NEEDED_OF_SOURCES = {
    "sources": 2,
    "clean": 3,
}  # of collect.sources.NAME.KEY: all names together, each name


@pytest.fixture(scope="module")
def lock(finished_project: Path) -> dict:
    """dvc.lock: what DVC saw of each stage, with names resolved and params by their leaf."""
    return yaml.safe_load((finished_project / "dvc.lock").read_text(encoding="utf-8"))["stages"]


@pytest.fixture(scope="module")
def weights_root(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC_ROOT with the base model's weights, the one thing that stages use and do not declare (they verify it)."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(finished_project / "tiny_model", root / "tiny_model")
    return root


def declared(stage: dict) -> list[str]:
    return [dep["path"] for dep in stage["deps"]]


def declared_params(stage: dict, text: str) -> dict:
    """Only the params that the stage declares, from the text of params.yaml."""
    everything, kept = yaml.load(text, Loader=Yaml12Loader), {}
    for name in stage.get("params", {}).get("params.yaml", {}):
        *parents, key = name.split(".")
        source, target = everything, kept
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[key] = source[key]
    return kept


def prepare(folder: Path, project: Path, deps: list[str], params: dict) -> Path:
    for name in deps:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (project / name).is_dir():
            shutil.copytree(project / name, folder / name)
        else:
            shutil.copy(project / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    return folder


def outs_of(folder: Path, stage: dict) -> dict[str, str]:
    """File -> hash of everything under the stage's outs."""
    found = {}
    for out in stage["outs"]:
        path = folder / out["path"]
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found[file.relative_to(folder).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def leaf_params(params: dict, prefix: tuple = ()) -> list[tuple]:
    if isinstance(params, dict) and params:
        return [leaf for key, value in params.items() for leaf in leaf_params(value, (*prefix, key))]
    return [prefix]


def without(params: dict, leaf: tuple) -> dict:
    if len(leaf) == 1:
        return {key: value for key, value in params.items() if key != leaf[0]}
    return {key: without(value, leaf[1:]) if key == leaf[0] else value for key, value in params.items()}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_gives_the_same_outs_with_only_what_it_declares_and_needs_all_of_it(
    name: str, finished_project: Path, weights_root: Path, lock: dict, tmp_path: Path
) -> None:
    stage = lock[name]
    command = [*stage["cmd"].split()[2:], *(name.split("@")[1:] if name.startswith("collect@") else [])]
    deps = declared(stage)
    params = declared_params(stage, (finished_project / "params.yaml").read_text(encoding="utf-8"))
    expected = outs_of(finished_project, stage)
    assert expected

    complete = prepare(tmp_path / "complete", finished_project, deps, params)
    assert run_in_fork(complete, weights_root, command) == 0, (tmp_path / "complete.log").read_text()
    assert outs_of(complete, stage) == expected

    needless = []
    for number, dep in enumerate(dep for dep in deps if dep not in FOR_THE_ORDER):
        folder = prepare(tmp_path / f"dep{number}", finished_project, [other for other in deps if other != dep], params)
        if run_in_fork(folder, weights_root, command) == 0 and outs_of(folder, stage) == expected:
            needless.append(dep)
    leaves = leaf_params(params)
    if name in NEEDED_OF_SOURCES:
        leaves = list(dict.fromkeys(leaf[: NEEDED_OF_SOURCES[name]] for leaf in leaves))
    for number, leaf in enumerate(leaves):
        folder = prepare(tmp_path / f"param{number}", finished_project, deps, without(params, leaf))
        if run_in_fork(folder, weights_root, command) == 0 and outs_of(folder, stage) == expected:
            needless.append(".".join(leaf))
    assert needless == []
