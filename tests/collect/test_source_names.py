"""A source's name stands in names of stages and files, and in ids: what it may be, and that nothing else does harm."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPO, copy_project, made_once, run

from stages.collect import __main__ as collect
from stages.collect.__main__ import CollectParams, name_of_source
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import Section, read_params
from stages.sources.__main__ import SourceNames

SOURCE = {"format": "jsonl", "path": "raw.jsonl"}
RULE = "expected a letter, then letters, digits, _ or -, at most 100 in all"
HARMFUL = [
    "x; touch PWNED #",
    "$(touch PWNED)",
    "`touch PWNED`",
    "x'; touch PWNED; '",
    'x"; touch PWNED; "',
    "x\ntouch PWNED",
    "${collect.limit}",
    "x | touch PWNED",
    "a b",
    "a/b",
    "../precious",
    "../../precious",
    "/precious",
    "x.y",
    "x[0]",
    "-x",
    "2024",
    "ü",
]

QUICK = ("x'; touch PWNED; '", "../../precious", "x.y")


def write_params(folder: Path, *names: object) -> None:
    params = {"collect": {"limit": None, "bad_rows": "stop", "sources": dict.fromkeys(names, SOURCE)}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize("model", [CollectParams, SourceNames])
@pytest.mark.parametrize("name", [*HARMFUL, "", "a" * 101, "ａ", "a\n", "a@b", 5, True, None])
def test_every_reader_of_the_sources_names_the_rule_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: type[Section], name: object
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, "good", name)
    with pytest.raises(ReprotuneError) as caught:
        read_params("collect", model)
    assert str(caught.value) == f"params.yaml: collect.sources: a source named {name!r}; {RULE}"


@pytest.mark.parametrize("model", [CollectParams, SourceNames])
def test_letters_digits_underscores_and_hyphens_are_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: type[Section]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a", "Support-2024_v2", "a" * 100]
    write_params(tmp_path, *names)
    assert sorted(read_params("collect", model).sources) == sorted(names)  # type: ignore[attr-defined]


def test_names_that_differ_in_case_alone_are_one_file_to_some_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, "Support", "support")
    with pytest.raises(ReprotuneError, match=r"; expected names that differ in more than case$"):
        read_params("collect", CollectParams)


@pytest.mark.parametrize("stage", ["collect@my-chats", "../dvc.yaml:collect@my-chats", "/home/me@work/dvc.yaml:collect@my-chats"])
def test_the_source_is_the_one_that_is_typed_else_the_one_whose_stage_dvc_runs(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setenv("DVC_STAGE", stage)
    assert name_of_source([]) == "my-chats"
    assert name_of_source(["pairs"]) == "pairs"


def test_without_a_name_it_says_how_to_give_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    shutil.copytree(REPO / "requirements", "requirements")
    write_params(tmp_path, "pairs")
    with pytest.raises(ReprotuneError, match=r"^no source is named; name one of pairs behind `python -m stages\.collect`$"):
        collect.main(name_of_source([]))


# With DVC


def make_collecting(folder: Path, warm: dict[str, str]) -> None:
    folder.mkdir()
    pipeline = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    stages = {name: pipeline[name] for name in ("sources", "collect")}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    for name in ("stages", "requirements"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (folder / "raw.jsonl").write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    write_params(folder, "Good-1", "good")
    run(["git", "init", "-q"], folder)
    run(["dvc", "init", "-q"], folder, **warm)
    run(["dvc", "repro", "-q"], folder, **warm)


@pytest.fixture
def collecting(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, warm: dict[str, str]) -> Path:
    """A DVC project of `sources` and `collect` alone, run once."""
    made = made_once(tmp_path_factory, "collecting", lambda folder: make_collecting(folder, warm))
    return copy_project(made, tmp_path / "project")


def test_dvc_runs_each_source_under_its_name(collecting: Path) -> None:
    for name in ("Good-1", "good"):
        assert json.loads((collecting / f"data/collected/{name}.jsonl").read_text())["id"].startswith(f"{name}/")
        assert (collecting / f"data/ledger/collect/{name}.jsonl").is_file()


def test_dvc_runs_a_source_from_another_folder_too(collecting: Path, warm: dict[str, str]) -> None:
    out = collecting / "data/collected/good.jsonl"
    before = out.read_bytes()
    out.unlink()
    run(["dvc", "repro", "--force", "../dvc.yaml:collect@good"], collecting / "stages", **warm)
    assert out.read_bytes() == before


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HARMFUL])
def test_dvc_executes_no_name_removes_nothing_by_it_and_the_rule_is_told(
    collecting: Path, warm: dict[str, str], name: str
) -> None:
    precious = [collecting / "precious.jsonl", collecting / "data/precious.jsonl", collecting / "data/ledger/precious.jsonl"]
    for path in precious:
        path.write_text("mine\n", encoding="utf-8")
    write_params(collecting, "good", name)
    done = run(["dvc", "repro"], collecting, check=False, **warm)
    assert done.returncode != 0
    assert f"error: params.yaml: collect.sources: a source named {name!r}; {RULE}\n" in done.stderr
    assert not list(collecting.rglob("PWNED*"))
    assert all(path.is_file() for path in precious)
