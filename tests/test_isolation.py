"""A stage needs what it declares and nothing else: run in a folder that holds only that, it gives the same outs.

That it imports all of the code, checks the requirements and reads each param that it declares is shown without running it, in
test_dag.py and core/test_params.py.
"""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import run

from stages.lib.core.params import Yaml12Loader

STAGES = ["base_model", "sources", "collect@pairs", "collect@chats", "clean", "split", "tokenize", "train", "predict@base",
          "predict@tuned", "evaluate", "report"]  # fmt: skip
OF_DATA = {"base_model", "sources", "collect@pairs", "collect@chats", "clean", "split"}
FOR_THE_ORDER = {"data/sources.txt"}  # a dep that is not read: `collect` runs after `sources`


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


@pytest.mark.parametrize("name", [name if name in OF_DATA else pytest.param(name, marks=pytest.mark.slow) for name in STAGES])
def test_a_stage_gives_the_same_outs_with_only_what_it_declares_and_needs_each_file_of_data(
    name: str, finished_project: Path, weights_root: Path, warm: dict[str, str], lock: dict, tmp_path: Path
) -> None:
    stage = lock[name]
    deps = declared(stage)
    params = declared_params(stage, (finished_project / "params.yaml").read_text(encoding="utf-8"))
    expected = outs_of(finished_project, stage)
    assert expected

    def outs_with(kept: list[str]) -> tuple[dict[str, str], str]:
        folder = prepare(tmp_path / f"{len(list(tmp_path.iterdir()))}", finished_project, kept, params)
        root = folder if "tiny_model" in deps else weights_root
        done = run(stage["cmd"].split(), folder, check=False, DVC_ROOT=str(root), DVC_STAGE=name, **warm)
        return (outs_of(folder, stage) if done.returncode == 0 else {}), done.stdout + done.stderr

    found, said = outs_with(deps)
    assert found == expected, said
    data = [dep for dep in deps if not dep.startswith(("stages/", "requirements/"))]
    needless = [dep for dep in data if outs_with([other for other in deps if other != dep])[0] == expected]
    assert set(needless) <= FOR_THE_ORDER
