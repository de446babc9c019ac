"""The DAG is right: a stage declares exactly the code, requirements, files and params that it uses; what should be stale is."""

import ast
import graphlib
import importlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import PINS, REPO, copy_project, environment, make_project, run, tiny_params, write_params
from dvc.repo import Repo

from stages.lib.core.params import SECTIONS, Yaml12Loader

CORE = "stages/lib/core"

STAGES = (
    "base_model", "sources", "collect", "clean", "split", "tokenize", "train", "predict@base", "predict@tuned", "evaluate",
    "report",
)  # fmt: skip
ROOMS = tuple(dict.fromkeys(stage.partition("@")[0] for stage in STAGES))
AFTER = {  # what runs after a stage's outs changed, the stage itself included; written by hand, not read from dvc.yaml
    "base_model": {"base_model", "tokenize", "train", "predict@base", "predict@tuned", "evaluate", "report"},
    "collect": {"collect", "clean", "split", "tokenize", "train", "predict@base", "predict@tuned", "evaluate", "report"},
    "clean": {"clean", "split", "tokenize", "train", "predict@base", "predict@tuned", "evaluate", "report"},
    "split": {"split", "tokenize", "train", "predict@base", "predict@tuned", "evaluate", "report"},
    "tokenize": {"tokenize", "train", "predict@tuned", "evaluate", "report"},
    "train": {"train", "predict@tuned", "evaluate", "report"},
    "predict@base": {"predict@base", "predict@tuned", "evaluate", "report"},  # tuned scores base's replies to general prompts
    "predict@tuned": {"predict@tuned", "evaluate", "report"},
    "evaluate": {"evaluate", "report"},
    "report": {"report"},
}
AFTER["sources"] = {"sources"} | AFTER["collect"]
AFTER["predict"] = AFTER["predict@base"] | AFTER["predict@tuned"]


def pipeline() -> dict[str, dict]:
    """Room -> its entry in dvc.yaml; the body of a `foreach`."""
    stages = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


def code(folder: str) -> list[str]:
    """The Python files under a folder, or the one file that is named."""
    paths = [REPO / folder] if folder.endswith(".py") else sorted((REPO / folder).rglob("*.py"))
    return [path.relative_to(REPO).as_posix() for path in paths]


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return frozenset(names)


def files_of(name: str) -> set[Path]:
    """The files that run when a dotted name of this project is imported: the module, and its packages' `__init__`."""
    parts = name.split(".")
    candidates = [REPO.joinpath(*parts).with_suffix(".py")]
    candidates += [REPO.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)]
    return {path for path in candidates if path.is_file()}


@cache
def closure(room: str) -> tuple[frozenset[str], frozenset[str]]:
    """(project files, third-party top-level packages) that running a stage loads, directly or not."""
    files: set[Path] = set()
    packages: set[str] = set()
    waiting = files_of(f"stages.{room}.__main__")
    while waiting:
        path = waiting.pop()
        files.add(path)
        for name in imports_of(path):
            if name.split(".")[0] in ("stages", "tools"):
                waiting |= files_of(name) - files
            else:
                packages.add(name.split(".")[0])
    return frozenset(path.relative_to(REPO).as_posix() for path in files), frozenset(packages - set(sys.stdlib_module_names))


def requirements_of(packages: set[str]) -> set[str]:
    """The requirements files that pin the distributions behind these packages."""
    pinned = {}
    for path in PINS:
        for name in re.findall(r"^([A-Za-z0-9._-]+)==", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            if path.stem != "constraints":
                pinned[re.sub(r"[-_.]+", "-", name).lower()] = path.relative_to(REPO).as_posix()
    distributions = importlib.metadata.packages_distributions()
    return {pinned[re.sub(r"[-_.]+", "-", distributions[package][0]).lower()] for package in packages}


@pytest.mark.parametrize("room", ROOMS)
def test_declared_code_is_the_import_closure(room: str) -> None:
    """Every file of what dvc.yaml names is imported, and every file that is imported is in what it names."""
    declared = [dep for dep in pipeline()[room]["deps"] if dep.startswith("stages/")]
    files = [file for dep in declared for file in code(dep)]
    assert len(files) == len(set(files)), "a file stands in two of the entries"
    assert set(files) == closure(room)[0]


def rooms_with_pins(room: str) -> set[str]:
    """Of what a stage declares; core's are everybody's."""
    return {dep for dep in pipeline()[room]["deps"] if (REPO / dep / "requirements.txt").is_file()} - {CORE}


@pytest.mark.parametrize("room", ROOMS)
def test_the_pins_in_declared_rooms_are_of_the_packages_imported(room: str) -> None:
    declared = {f"{name}/requirements.txt" for name in (CORE, *rooms_with_pins(room))}
    assert declared == requirements_of(closure(room)[1]) | {f"{CORE}/requirements.txt"}
    assert not any(dep.startswith("requirements") for dep in pipeline()[room]["deps"])


@pytest.mark.parametrize("room", ROOMS)
def test_a_stage_checks_the_pins_in_the_rooms_that_it_declares(room: str) -> None:
    source = (REPO / "stages" / room / "__main__.py").read_text(encoding="utf-8")
    [call] = re.findall(r"check_installed\(([^)]*)\)", source)
    assert set(ast.literal_eval(f"[{call}]")) == rooms_with_pins(room)


def params_read(room: str) -> set[str]:
    """`section.key` for each field of the models that a stage's code gives to `read_params`."""
    names = set()
    for file in closure(room)[0]:
        for node in ast.walk(ast.parse((REPO / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "read_params":
                section, model = ast.literal_eval(node.args[0]), ast.unparse(node.args[1])
                module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
                names |= {f"{section}.{field}" for field in getattr(module, model).model_fields}
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_declared_params_are_those_read(room: str) -> None:
    """core/test_params.py shows that the code uses each field of the models."""
    keys = yaml.safe_load((REPO / "params.yaml").read_text(encoding="utf-8"))
    declared = [name.removesuffix(".${key}") for name in pipeline()[room].get("params", [])]
    leaves = [[name] if "." in name else [f"{name}.{key}" for key in keys[name]] for name in declared]
    assert sorted(leaf for some in leaves for leaf in some) == sorted(params_read(room))


@pytest.mark.parametrize("room", ["collect", "clean", "split", "report"])
def test_data_stages_load_no_torch(room: str) -> None:
    code = f"import sys, stages.{room}.__main__; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, env=environment(), check=False)
    assert done.returncode == 0


# --- The house: who may import whom -----------------------------------------------------------------------------------


def place_of(path: Path) -> str:
    """The room of a file: stages/<stage>, tools/<tool>, stages/lib/<folder> or a file of stages/lib."""
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:3] if parts[1] == "lib" else parts[:2])


def arrows(folder: str) -> list[tuple[str, str]]:
    """(importing room, imported room) of all imports between rooms of this project."""
    files = sorted((REPO / folder).rglob("*.py"))
    pairs = {(place_of(path), place_of(other)) for path in files for name in imports_of(path) for other in files_of(name)}
    return sorted((one, other) for one, other in pairs if one != other)


def test_a_stage_imports_its_own_room_and_lib() -> None:
    assert [pair for pair in arrows("stages") if not pair[1].startswith("stages.lib.")] == []


def test_the_library_has_no_circles() -> None:
    after = {}
    for one, other in arrows("stages/lib"):
        after.setdefault(one, set()).add(other)
    assert list(graphlib.TopologicalSorter(after).static_order())  # raises CycleError


def test_what_one_stage_alone_imports_stands_in_its_room() -> None:
    lonely = [file for file in code("stages/lib") if sum(file in closure(room)[0] for room in ROOMS) < 2]
    assert lonely == []


def test_a_tool_imports_stages_and_what_tools_share_but_no_other_tool() -> None:
    shared = ("tools.__init__", "tools.console")
    assert [pair for pair in arrows("tools") if pair[1].startswith("tools.") and pair[1] not in shared] == []


def test_only_report_leaves_outs_to_git() -> None:
    for name, stage in pipeline().items():
        uncached = [out for out in stage["outs"] + stage.get("metrics", []) if isinstance(out, dict)]
        assert bool(uncached) == (name == "report")
        assert "always_changed" not in stage
        assert not any(value.get("persist") for out in uncached for value in out.values())


# --- What a change makes stale ----------------------------------------------------------------------------------------


def stale_stages(folder: Path) -> set[str]:
    """Stages that DVC finds changed, and all that come after them in DVC's own graph; collect@x counts as collect."""
    with Repo(str(folder)) as repo, repo.lock:
        changed = {stage for stage in repo.index.stages if stage.changed()}
        downstream = repo.index.graph.reverse(copy=False)
        reached = set(changed)
        waiting = list(changed)
        while waiting:
            for following in downstream.successors(waiting.pop()):
                if following not in reached:
                    reached.add(following)
                    waiting.append(following)
        return {stage.name if stage.name.startswith("predict") else stage.name.partition("@")[0] for stage in reached}


@pytest.fixture(scope="module")
def mutable(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all mutations; each puts back what it changed."""
    return copy_project(finished_project, tmp_path_factory.mktemp("mutable") / "project")


def stale_after(folder: Path, path: str, change) -> set[str]:
    """Stale stages while `change(text)` stands in the file."""
    file = folder / path
    original = file.read_bytes()
    try:
        file.write_text(change(original.decode()), encoding="utf-8")
        return stale_stages(folder)
    finally:
        file.write_bytes(original)


def leaves(value: object, prefix: str = "") -> list[str]:
    """Dotted paths of the scalars and lists in nested mappings; empty mappings count as scalars."""
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{prefix}.{key}" if prefix else key)]
    return [prefix]


def stages_reading(param: str) -> set[str]:
    """By hand: the section's own stage, but for what two stages read."""
    section = param.partition(".")[0]
    if param.startswith("collect.sources"):
        return AFTER["sources"]
    return AFTER[section]


LIBRARY = {  # what two stages share -> who runs it, by hand
    "base_model": ("base_model", "tokenize", "train", "predict"),
    "base_model/pins.py": ("base_model", "tokenize", "train", "predict", "report"),
    "chat_template": ("base_model", "tokenize", "predict"),
    "collected.py": ("sources", "collect", "clean"),
    "core": ROOMS,
    "general_prompts.py": ("predict", "evaluate"),
    "languages": ("clean", "evaluate"),
    "model": ("train", "predict"),
    "personal_data": ("clean", "report"),
    "processes.py": ("clean", "split"),
    "records/assignment.py": ("split", "evaluate", "report"),
    "records/cleaned.py": ("clean", "split", "report"),
    "records/conversation.py": ("base_model", "collect", "clean", "split", "tokenize", "predict", "evaluate", "report"),
    "records/loss_history.py": ("train", "report"),
    "records/predictions.py": ("predict", "evaluate", "report"),
    "records/scores.py": ("evaluate", "report"),
    "records/tokenize_ledger.py": ("tokenize", "report"),
    "scripts.py": ("clean", "split", "tokenize", "evaluate"),
    "similarity": ("clean", "split"),
}
REQUIREMENTS = {  # by hand too; in the tiny project no source is packaged, and its model is a folder
    "requirements/constraints.txt": (),
    "requirements/corpora.txt": (),
    "requirements/dev.txt": (),
    "requirements/dvc.txt": (),
    "stages/clean/requirements.txt": ("clean",),
    "stages/evaluate/requirements.txt": ("evaluate",),
    "stages/lib/base_model/requirements.txt": ("base_model", "tokenize", "train", "predict"),
    "stages/lib/core/requirements.txt": ROOMS,
    "stages/lib/languages/requirements.txt": ("clean", "evaluate"),
    "stages/lib/personal_data/requirements.txt": ("clean", "report"),
}


def after(stages) -> set[str]:
    return set().union(*(AFTER[stage] for stage in stages)) if stages else set()


def test_nothing_is_stale_after_a_run(mutable: Path) -> None:
    assert stale_stages(mutable) == set()


def params_of_each_kind() -> list[str]:
    """Each of the sections that stages declare by key, and the first of those that they declare whole."""
    params = tiny_params()
    return [
        leaf
        for section in params
        for leaf in leaves(params[section], section)[: None if section in ("base_model", "collect") else 1]
    ] + ["split.locked_test", "evaluate.contenders"]


@pytest.mark.parametrize("param", params_of_each_kind())
def test_a_changed_param_makes_its_readers_stale(mutable: Path, param: str) -> None:
    def change(text: str) -> str:
        params = yaml.load(text, Loader=Yaml12Loader)
        *parents, key = param.split(".")
        section = params
        for name in parents:
            section = section[name]
        section[key] = "changed"
        return yaml.safe_dump(params, allow_unicode=True)

    if param.endswith(".path") or param in ("split.locked_test", "evaluate.contenders"):  # names a dep: the new file must exist
        (mutable / "changed").write_text("question,answer,topic\n", encoding="utf-8")
    assert stale_after(mutable, "params.yaml", change) == stages_reading(param)


@pytest.mark.parametrize("room", ROOMS)
def test_a_changed_file_of_a_room_makes_its_stage_stale(mutable: Path, room: str) -> None:
    """One file: DVC hashes folders whole, and which folders those are is shown above."""
    assert stale_after(mutable, code(f"stages/{room}")[-1], lambda text: text + "\n# changed\n") == AFTER[room]


@pytest.mark.parametrize("name", LIBRARY)
def test_a_changed_file_of_the_library_makes_its_importers_stale(mutable: Path, name: str) -> None:
    stale = stale_after(mutable, code(f"stages/lib/{name}")[-1], lambda text: text + "\n# changed\n")
    assert stale == after(LIBRARY[name])


def test_each_file_of_the_library_has_its_line() -> None:
    assert sorted({file for name in LIBRARY for file in code(f"stages/lib/{name}")}) == code("stages/lib")


@pytest.mark.parametrize("path", [path.relative_to(REPO).as_posix() for path in PINS])
def test_changed_pins_make_their_stages_stale(mutable: Path, path: str) -> None:
    assert stale_after(mutable, path, lambda text: text + "\n# changed\n") == after(REQUIREMENTS[path])


def test_a_changed_raw_row_makes_everything_after_collect_stale(mutable: Path) -> None:
    changed = stale_after(mutable, "data/raw/pairs.csv", lambda text: text.replace("Question 3.0", "Question three"))
    assert changed == AFTER["collect"]


@pytest.mark.parametrize("file", ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"])
def test_a_changed_file_in_a_models_folder_makes_everything_after_base_model_stale(mutable: Path, file: str) -> None:
    path = mutable / "tiny_model" / file
    original = path.read_bytes()
    try:
        path.write_bytes(original + b" ")
        assert stale_stages(mutable) == AFTER["base_model"]
    finally:
        path.write_bytes(original)


def test_comments_touches_and_other_files_make_nothing_stale(mutable: Path) -> None:
    assert stale_after(mutable, "params.yaml", lambda text: "# a comment\n" + text) == set()
    assert stale_after(mutable, "params.yaml", lambda text: text.replace("seed: 0", "seed:   0  # spaces")) == set()
    assert stale_after(mutable, "requirements.txt", lambda text: text + "\n# changed\n") == set()
    assert stale_after(mutable, "tools/chat.py", lambda text: text + "\n# changed\n") == set()
    for path in ("data/raw/pairs.csv", "stages/train/__main__.py", "data/collected/pairs.jsonl"):
        (mutable / path).touch()
    assert stale_stages(mutable) == set()


@pytest.mark.parametrize(
    "folder",
    [
        "stages/train",
        "stages/lib/core",
        "data/collected",
        "data/ledger/collect",
        "models/tokenizer",
        "models/adapter",
        "tiny_model",
    ],
)
def test_what_editors_and_systems_leave_behind_makes_nothing_stale(mutable: Path, folder: str) -> None:
    strays = ["__pycache__/a.pyc", ".a.py.swp", "a.py~", ".DS_Store", ".idea/a.xml", ".vscode/a.json", "Thumbs.db", "._a.py",
              ".#a.py", "#a.py#", "a.py.orig"]  # fmt: skip
    for name in strays:
        (mutable / folder / name).parent.mkdir(exist_ok=True)
        (mutable / folder / name).write_text("x", encoding="utf-8")
    assert stale_stages(mutable) == set()


def test_an_unrelated_section_in_params_makes_nothing_stale(mutable: Path) -> None:
    assert stale_after(mutable, "params.yaml", lambda text: text + "\nunrelated: 1\n") == set()


def test_every_section_has_its_stage() -> None:
    assert set(ROOMS) == set(pipeline())
    with_params = {room for room, stage in pipeline().items() if stage.get("params")}
    assert with_params - {"sources"} == set(SECTIONS)  # it reads the names in `collect`


# --- Real runs --------------------------------------------------------------------------------------------------------


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran, in order."""
    return re.findall(r"^Running stage '([^']+)'", output, flags=re.MULTILINE)


def edit_params(folder: Path, section: str, **values: object) -> None:
    params = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params[section] |= values
    write_params(folder, params)


def test_a_second_repro_runs_nothing(finished_project: Path, warm: dict[str, str], tmp_path: Path) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    assert ran(run(["dvc", "repro"], folder, **warm).stdout) == []


@pytest.mark.slow
def test_a_change_without_effect_stops_where_its_effect_ends(
    finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    source = folder / "stages" / "clean" / "__main__.py"
    source.write_text(source.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    assert ran(run(["dvc", "repro"], folder, **warm).stdout) == ["clean"]
    raw = folder / "data" / "raw" / "pairs.csv"
    lines = raw.read_text(encoding="utf-8").splitlines()
    raw.write_text("\n".join([*lines, lines[7]]) + "\n", encoding="utf-8")
    # A duplicate is dropped: the ledger and its count change, the conversations do not.
    assert ran(run(["dvc", "repro"], folder, **warm).stdout) == ["collect@pairs", "clean", "report"]


@pytest.mark.slow
def test_a_new_source_is_collected_alone(finished_project: Path, warm: dict[str, str], tmp_path: Path) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    (folder / "data" / "raw" / "more.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": "new?"}, {"role": "assistant", "content": "Yes, new."}]}) + "\n",
        encoding="utf-8",
    )
    params = tiny_params()
    params["collect"]["sources"]["more"] = {"format": "jsonl", "path": "data/raw/more.jsonl"}
    write_params(folder, params)
    assert ran(run(["dvc", "repro", "split"], folder, **warm).stdout) == ["sources", "collect@more", "clean", "split"]
    # Taken out again, its rows are gone, and the lock is the first one.
    write_params(folder, tiny_params())
    run(["dvc", "repro", "split"], folder, **warm)
    assert not (folder / "data" / "collected" / "more.jsonl").exists()
    assert "more/" not in (folder / "data" / "cleaned.jsonl").read_text(encoding="utf-8")
    first, now = (yaml.safe_load((at / "dvc.lock").read_text())["stages"] for at in (finished_project, folder))
    assert {name: now[name] for name in ("clean", "split")} == {name: first[name] for name in ("clean", "split")}


def test_a_reverted_param_comes_back_from_the_run_cache(finished_project: Path, warm: dict[str, str], tmp_path: Path) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    edit_params(folder, "train", learning_rate=1e-5)
    assert ran(run(["dvc", "repro"], folder, **warm).stdout) == ["train", "predict@tuned", "evaluate", "report"]
    run(["git", "commit", "-qam", "another rate"], folder)
    edit_params(folder, "train", learning_rate=tiny_params()["train"]["learning_rate"])
    reverted = run(["dvc", "repro"], folder, **warm).stdout
    assert ran(reverted) == ["report"]
    assert "Stage 'train' is cached" in reverted
    assert (folder / "dvc.lock").read_bytes() == (finished_project / "dvc.lock").read_bytes()
    run(["git", "checkout", "-q", "--", "."], folder)
    run(["git", "checkout", "-q", "HEAD~1"], folder)
    assert ran(run(["dvc", "repro"], folder, **warm).stdout) == []
    adapters = [at / "models" / "adapter" / "adapter_model.safetensors" for at in (folder, finished_project)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


@pytest.mark.slow
def test_forced_again_elsewhere_gives_the_same_lock(finished_project: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "another place" / "with spaces", tiny_model_folder)
    run(["dvc", "repro", "--force"], folder, PYTHONHASHSEED="7")
    assert (folder / "dvc.lock").read_text() == (finished_project / "dvc.lock").read_text()
    for path in (finished_project / "metrics").rglob("*.*"):
        assert path.read_bytes() == (folder / path.relative_to(finished_project)).read_bytes()


@pytest.mark.slow
def test_a_clone_with_the_remote_computes_nothing_and_fetches_no_weights(
    pushed: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    run(["git", "clone", "-q", str(pushed), str(clone)], tmp_path)
    shutil.rmtree(clone / "tiny_model")  # its weights are nowhere: a stage that wanted them would fail, and so would base_model
    dry = run(["dvc", "repro", "--dry", "--allow-missing"], clone, **warm)
    assert "Data and pipelines are up to date." in dry.stdout
    run(["dvc", "pull", "-q"], clone, **warm)
    assert ran(run(["dvc", "repro", "--allow-missing"], clone, **warm).stdout) == []
    assert not (clone / ".base_models").exists()
    assert not list((pushed.parent / "remote").rglob("*.safetensors"))


def test_a_clone_with_the_line_ends_of_another_system_holds_the_same_bytes(tmp_path: Path) -> None:
    """DVC compares bytes: with other line ends every stage would be stale."""
    run(["git", "clone", "-q", "--depth=1", "-c", "core.autocrlf=true", REPO.as_uri(), str(tmp_path / "clone")], tmp_path)
    ends = {line.split()[1] for line in run(["git", "ls-files", "--eol"], tmp_path / "clone").stdout.splitlines()}
    assert ends == {"w/lf", "w/none"}


def test_a_raw_file_is_ignored_by_git_and_kept_by_dvc(project: Path, warm: dict[str, str]) -> None:
    """A .dvc file that git sees and DVC does not would be neither pushed nor restored, without a word."""
    raw = project / "data" / "raw" / "own.csv"
    raw.write_text("question,answer\na,b\n", encoding="utf-8")
    run(["dvc", "add", "-q", "data/raw/own.csv"], project, **warm)
    untracked = run(["git", "status", "--porcelain", "--untracked-files=all"], project).stdout.split("\n")
    assert [line for line in untracked if line.startswith("??")] == ["?? data/raw/own.csv.dvc"]
    raw.unlink()
    run(["dvc", "checkout", "-q", "--allow-missing"], project, **warm)
    assert raw.exists()


def test_the_lock_names_no_stage_that_is_gone() -> None:
    """DVC leaves the entry of a stage that was renamed, for good."""
    defined = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    locked = yaml.safe_load((REPO / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert {name.partition("@")[0] for name in locked} == set(defined)
