"""What can't be compared ends in one line that says why."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from compare_project import commit, likely, make_repository, store_folder, write_run
from conftest import run
from dvc_objects.errors import ObjectFormatError
from dvc_objects.fs.errors import ConfigError

from stages.lib.core.errors import ReprotuneError
from stages.lib.records.scores import EXAMPLES
from stages.report.files import CLAIMS, COMPARABILITY, GATES
from tools.compare.__main__ import compare_two, main, read_two
from tools.compare.best import NO_LOSS, find_best
from tools.compare.comparison import Comparison, compare
from tools.compare.lock import hash_of_folder
from tools.compare.page import render
from tools.compare.revision import find_revisions
from tools.compare.side_by_side.document import render_page
from tools.compare.store import NOT_IN_FOLDER, Recorded, Store


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`empty`, without a run, then a run on main."""
    folder = make_repository(tmp_path_factory.mktemp("errors") / "project")
    commit(folder, "nothing")
    run(["git", "tag", "empty"], folder)
    write_run(folder, likely(0))
    commit(folder, "a run")
    return folder


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    shutil.copytree(repository.parent, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy" / "project"


def refused(folder: Path, *names: str) -> str:
    with contextlib.chdir(folder), pytest.raises(ReprotuneError) as error:
        compare_two(list(names), fetch=False)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["no-such-branch", "-x", "", "HEAD~99", "*", "refs/exps"])
def test_an_unknown_revision_is_named(repository: Path, name: str) -> None:
    assert refused(repository, name).startswith(f"{name}: no revision and no experiment here")


def test_a_folder_outside_git_is_no_project(tmp_path: Path) -> None:
    assert "no git repository" in refused(tmp_path)


def test_a_revision_without_a_run_says_what_makes_one(repository: Path) -> None:
    commit_of_empty = run(["git", "rev-parse", "--short=7", "empty"], repository).stdout.strip()
    expected = f"metrics/tuned.json: empty ({commit_of_empty}) has none, so no run of it is known; `dvc repro` makes it"
    assert refused(repository, "main", "empty") == expected


def compared(folder: Path, *names: str) -> Comparison:
    """With its Markdown and its page made too."""
    with contextlib.chdir(folder):
        runs = read_two(list(names), fetch=False)
        found = compare(*runs)
        assert render(found).startswith(f"## {found['verdict'].capitalize()}")
        assert found["headline"] in render_page(found, *runs).replace("&#39;", "'")
    return found


def without_params(copy: Path) -> None:
    run(["git", "rm", "-q", "params.yaml"], copy)


def with_metrics_of_another_layout(copy: Path) -> None:
    (copy / "metrics").mkdir(exist_ok=True)
    (copy / "metrics/tuned.json").write_text("[1, 2]\n")
    (copy / "metrics/scores.json").write_text('{"perplexity": 3}\n')


def with_a_damaged_lock(copy: Path) -> None:
    (copy / "dvc.lock").write_text("stages: [1]\n")


@pytest.mark.parametrize("change", [None, without_params, with_metrics_of_another_layout, with_a_damaged_lock])
def test_a_first_run_is_told_by_itself(copy: Path, change: Callable[[Path], None] | None) -> None:
    run(["git", "checkout", "-qb", "start", "empty"], copy)
    if change:
        change(copy)
        commit(copy, "changed")
    start = run(["git", "rev-parse", "--short=7", "HEAD"], copy).stdout.strip()
    found = compared(copy, "start", "main")
    whole = run(["git", "rev-parse", "start"], copy).stdout.strip()
    assert f": {start} has no run" in compared(copy, whole, "main")["headline"]
    assert found["verdict"] == "first run"
    assert found["headline"] == f"B is the first run here: start ({start}) has no run, so there is nothing to compare with."
    assert {one["verdict"] for one in found["claims"].values()} == {"not_measured"}
    assert "perplexity" in found["against_base"]["claims"]["better"]["sentence"]
    assert (found["missing"], found["stages"], found["replies"], found["data"]["changes"]) == ([], [], None, [])
    assert found["loss"]["b"]["validation"]
    assert found["params"] == []
    text = render(found)
    assert "### B's tuned model against its base" in text
    assert found["against_base"]["claims"]["forgot"]["sentence"][:20] in text
    assert "### Claims" not in text


def test_a_run_before_whose_lock_is_gone_is_compared_by_what_git_has(copy: Path) -> None:
    run(["git", "rm", "-q", "dvc.lock"], copy)
    commit(copy, "no lock")
    run(["git", "checkout", "-q", "HEAD~1"], copy)
    write_run(copy, likely(-1, 1))
    found = compared(copy, "main", "workspace")
    assert found["verdict"] == "not measured"
    assert found["metrics"]["tuned"]["perplexity"]["change"] < 0
    assert "dvc.lock does not record it" in {one["why"] for one in found["missing"]}
    assert found["stages"] == []


def test_a_revision_without_a_lock_says_so(copy: Path) -> None:
    (copy / "dvc.lock").unlink()
    assert refused(copy, "HEAD").startswith("dvc.lock: workspace has none")


NO_HASH = "stages: {a: {cmd: a, outs: [{path: data/evaluation/examples.parquet, md5: ../../../../etc/passwd}]}}"


@pytest.mark.parametrize("content", ["<<<<<<< ours\nstages: {}\n", "", "stages: [1]", "[]", "stages: {a: {}}", "\x00", NO_HASH])
def test_a_damaged_lock_is_named(copy: Path, content: str) -> None:
    (copy / "dvc.lock").write_text(content)
    assert refused(copy, "HEAD").startswith("dvc.lock of workspace: damaged")


def test_what_restores_a_lock_is_said_only_where_git_has_a_whole_one(copy: Path) -> None:
    (copy / "dvc.lock").write_text("stages: [1]")
    assert "; `git checkout HEAD -- dvc.lock metrics` restores" in refused(copy, "HEAD")
    commit(copy, "damaged")
    for names in (["HEAD~1"], ["HEAD~1", "HEAD"]):
        assert refused(copy, *names).endswith("; name another revision, or there `rm dvc.lock`, `dvc repro` and commit it")


def edit(path: Path, values: dict[str, object]) -> None:
    """Write these values over those of a JSON object."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_a_number_that_is_none_is_one_that_could_not_be_computed(copy: Path) -> None:
    edit(copy / "metrics/tuned.json", {"perplexity": float("nan")})
    edit(copy / "metrics/training.json", {"validation_loss": float("inf")})
    commit(copy, "no numbers")
    json.dumps(compared(copy, "HEAD~1", "HEAD"), allow_nan=False)
    with contextlib.chdir(copy):
        assert find_best(["HEAD"], fetch=False)["candidates"][0]["why_not"] == NO_LOSS


def test_what_a_run_says_of_itself_in_another_form_is_left_out(copy: Path) -> None:
    claims = json.loads((copy / CLAIMS).read_text(encoding="utf-8"))
    edit(copy / CLAIMS, {"better": claims["better"] | {"sentence": 5}, "forgot": claims["forgot"] | {"estimate": "x"}})
    edit(copy / COMPARABILITY, {"tuned_decoding": 5, "test": {}})
    gate = {"metric": {}, "key": "x", "value": "x", "bound": "below 1", "passed": "no", "reason": None}
    (copy / GATES).write_text(json.dumps([gate]), encoding="utf-8")
    own = compared(copy, "HEAD", "workspace")["against_base"]
    assert own["gates"] == []
    assert own["claims"].keys() == claims.keys() - {"better", "forgot"}


def test_damaged_metrics_and_params_are_named(copy: Path) -> None:
    (copy / "metrics/comparison.json").write_text("<<<<<<< ours\n")
    assert refused(copy, "HEAD").startswith("metrics/comparison.json of workspace: not JSON")
    run(["git", "checkout", "-q", "."], copy)
    for text in ("a: [\n", "a: !!float b\n", "a: !!int 0x\n"):
        (copy / "params.yaml").write_text(text)
        assert refused(copy, "HEAD").startswith("params.yaml of workspace: not valid YAML")


def test_params_that_json_has_no_word_for_are_written_as_text(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = (copy / "params.yaml").read_text(encoding="utf-8")
    values = "infinite: !!float inf, none: !!float nan, set: !!set {b}, bytes: !!binary AAAA, 1: [!!timestamp 2026-01-01]"
    odd = f"odd: {{{values}}}\n"
    (copy / "params.yaml").write_text(params + odd, encoding="utf-8")
    monkeypatch.chdir(copy)
    monkeypatch.setattr("sys.argv", ["compare", "HEAD", "workspace", "--no-fetch", "--json", "--out", "compared"])
    main()
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed == json.loads((copy / "compared/compare.json").read_text(encoding="utf-8"))
    found = {one["name"]: one["b"] for one in printed["params"]}
    assert (found["odd.infinite"], found["odd.none"], found["odd.set"]) == ("Infinity", "NaN", "{'b'}")
    assert "odd.infinite" in (copy / "compared/compare.html").read_text(encoding="utf-8")


def test_by_default_the_work_tree_is_held_against_the_last_commit_of_the_main_branch(copy: Path) -> None:
    start = run(["git", "rev-parse", "HEAD"], copy).stdout.strip()
    run(["git", "switch", "-qc", "mine"], copy)
    write_run(copy, likely(-1, 1))
    commit(copy, "mine")
    with contextlib.chdir(copy):
        before, after = find_revisions(None, None)
        assert (before.commit, after.commit) == (start, None)
        assert compare_two([], fetch=False)["verdict"] == "better"


def test_without_a_common_commit_the_remedy_is_named(copy: Path) -> None:
    run(["git", "checkout", "-q", "--orphan", "alone"], copy)
    run(["git", "commit", "-qm", "alone"], copy)
    assert "no commit in common with main" in refused(copy)


def test_what_was_not_run_since_is_said(copy: Path) -> None:
    params = (copy / "params.yaml").read_text(encoding="utf-8")
    (copy / "params.yaml").write_text(params.replace("learning_rate: 0.0004", "learning_rate: 0.1"), encoding="utf-8")
    (copy / "metrics/tuned.json").write_text('{"perplexity": 1.0}\n')
    with contextlib.chdir(copy):
        notes = compare_two(["HEAD"], fetch=False)["notes"]
    assert "B was run with other values of train.learning_rate than its params.yaml has: `dvc repro` is due." in notes
    assert "What B's dvc.lock records is not what stands in metrics/tuned.json: `dvc repro` is due." in notes


DETAILS = ("adapter.json", "comparability.json", "claims.json", "gates.json")
IN_FOLDERS = dict.fromkeys(DETAILS, "details") | {"train_loss.csv": "plots", "validation_loss.csv": "plots"}


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("name", ["comparison.json", "base.json", "contenders.json", "training.json", "seeds.json", *IN_FOLDERS])
def test_whatever_the_comparison_reads_of_metrics_is_held_against_the_lock(copy: Path, name: str, committed: bool) -> None:
    folder = IN_FOLDERS.get(name, "")
    path = copy / "metrics" / folder / name
    before = path.read_text(encoding="utf-8")
    path.write_text(before + ("\n" if name.endswith("csv") else " "), encoding="utf-8")
    if committed:
        run(["git", "commit", "-qam", "edited"], copy)
    with contextlib.chdir(copy):
        notes = compare_two(["main~1" if committed else "HEAD", *["HEAD"] * committed], fetch=False)["notes"]
    assert f"What B's dvc.lock records is not what stands in metrics/{folder or name}: `dvc repro` is due." in notes


@pytest.mark.parametrize("name", ["tuned", "base", "comparison"])
def test_a_metric_that_was_edited_together_with_its_hash_in_the_lock_is_not_what_the_run_scored(copy: Path, name: str) -> None:
    path, lock = copy / f"metrics/{name}.json", copy / "dvc.lock"
    values = json.loads(path.read_text(encoding="utf-8"))
    key = next(key for key, value in values.items() if value)
    before = hashlib.md5(path.read_bytes()).hexdigest()
    path.write_text(json.dumps(values | {key: values[key] * 0.9}), encoding="utf-8")
    after = hashlib.md5(path.read_bytes()).hexdigest()
    lock.write_text(lock.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    run(["git", "commit", "-qam", "better"], copy)
    with contextlib.chdir(copy):
        notes = compare_two(["main~1", "HEAD"], fetch=False)["notes"]
    assert [note for note in notes if "edited" in note] == [
        f"B's metrics/{name}.json and its dvc.lock were edited: the scores of its run are others. "
        "`dvc repro -f -s report` writes them again."
    ]


@pytest.mark.parametrize("committed", [True, False])
def test_what_dvc_ignores_in_a_folder_of_metrics_is_no_edit_and_what_it_counts_is(copy: Path, committed: bool) -> None:
    def notes() -> list[str]:
        if committed:
            run(["git", "add", "-fA", "metrics"], copy)
            run(["git", "commit", "-qm", "more files"], copy)
        with contextlib.chdir(copy):
            return compare_two(["HEAD"] * 2 if committed else ["HEAD"], fetch=False)["notes"]

    for name in ("details/.DS_Store", "details/gates.json.orig", "details/gates.json~", "plots/Thumbs.db"):
        (copy / "metrics" / name).write_text("left")
    assert not any("metrics/" in note for note in notes())
    (copy / "metrics/plots/损失 é.csv").write_text("step\n")
    (copy / "metrics/details/.hidden").write_text("counts for DVC")
    said = [note for note in notes() if "`dvc repro` is due" in note]
    assert all(folder in " ".join(said) for folder in ("metrics/details", "metrics/plots"))


@pytest.mark.parametrize("stage", ["evaluate", "predict@tuned", "train", "tokenize"])
@pytest.mark.parametrize("side", ["A", "B"])
def test_of_a_lock_that_was_merged_from_two_runs_nothing_is_claimed(copy: Path, stage: str, side: str) -> None:
    write_run(copy, likely(-1, 1))
    commit(copy, "better")
    lock = yaml.safe_load((copy / "dvc.lock").read_text(encoding="utf-8"))
    lock["stages"]["split"]["outs"][1]["md5"] = lock["stages"]["split"]["outs"][2]["md5"] = "0" * 32  # test and train
    lock["stages"]["predict@tuned"]["outs"][0]["md5"] = "1" * 32
    for name, entry in lock["stages"].items():  # all that is left over from before is what this stage was run with
        for dep in entry.get("deps", []) if name != stage else []:
            outs = [out for one in lock["stages"].values() for out in one.get("outs", [])]
            dep["md5"] = next((out["md5"] for out in outs if out["path"] == dep["path"]), dep["md5"])
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    with contextlib.chdir(copy):
        names = ["workspace", "HEAD~1"] if side == "A" else ["HEAD~1", "workspace"]
        runs = read_two(names, fetch=False)
        found = compare(*runs)
        page = render_page(found, *runs)
    assert found["verdict"] == "not comparable"
    assert all(claim["verdict"] == "not_measured" for claim in found["claims"].values())
    assert f"In {side}'s dvc.lock {stage} was run with another " in " ".join(found["notes"])
    assert f"{side} 的 dvc.lock 不是同一次运行的记录" in page


@pytest.mark.parametrize("merged", [False, True])
def test_a_folder_that_several_stages_fill_is_held_against_each_of_its_files(copy: Path, merged: bool) -> None:
    write_run(copy, likely(-1, 1))
    commit(copy, "better")
    lock = yaml.safe_load((copy / "dvc.lock").read_text(encoding="utf-8"))
    files = {"data/collected/faq.jsonl": "2" * 32, "data/collected/web.jsonl": "3" * 32}
    deps = [{"path": "data/collected", "hash": "md5", "md5": hash_of_folder(files, "data/collected")}]
    files["data/collected/web.jsonl"] = "4" * 32 if merged else "3" * 32  # the other branch had another web.jsonl
    lock["stages"]["clean"] = {"cmd": "python -m stages.clean", "deps": deps}
    for path, md5 in files.items():
        outs = [{"path": path, "hash": "md5", "md5": md5}]
        lock["stages"][f"collect@{Path(path).stem}"] = {"cmd": "python -m stages.collect", "outs": outs}
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    with contextlib.chdir(copy):
        found = compare(*read_two(["HEAD~1", "workspace"], fetch=False))
    assert ("In B's dvc.lock clean was run with another data/collected" in " ".join(found["notes"])) == merged
    assert (found["verdict"] == "not comparable") == merged


def test_a_rate_that_dvc_writes_with_an_exponent_alone_is_the_one_in_params(copy: Path) -> None:
    for name, found, written in (
        ("params.yaml", "learning_rate: 0.0004", "0.00005"),
        ("dvc.lock", "learning_rate: 0.0004", "5e-05"),
    ):
        text = (copy / name).read_text(encoding="utf-8")
        assert found in text
        (copy / name).write_text(text.replace(found, f"learning_rate: {written}"), encoding="utf-8")
    with contextlib.chdir(copy):
        found = compare_two(["HEAD"], fetch=False)
    assert found["notes"] == []
    assert found["params"] == [{"name": "train.learning_rate", "a": 4e-4, "b": 5e-05}]


def test_without_experiments_the_command_that_makes_one_is_named(repository: Path) -> None:
    with contextlib.chdir(repository), pytest.raises(ReprotuneError, match="dvc exp run --queue"):
        find_best([], fetch=False)


def test_a_file_that_the_folder_of_a_run_never_had_is_not_looked_for_in_a_remote(copy: Path) -> None:
    (copy / EXAMPLES).unlink()
    lock = yaml.safe_load((copy / "dvc.lock").read_text(encoding="utf-8"))
    with contextlib.chdir(copy):
        lock["stages"]["evaluate"]["outs"][0]["md5"] = store_folder(EXAMPLES.parent)
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    [why] = [one["why"] for one in compared(copy, "main", "workspace")["missing"] if one["path"] == EXAMPLES.as_posix()]
    assert why == NOT_IN_FOLDER


REFUSALS = [OSError("no route"), ConfigError("no key"), ValueError("Invalid"), ObjectFormatError("x is corrupted"), KeyError("x")]


@pytest.mark.parametrize("error", REFUSALS)
def test_what_a_remote_raises_becomes_a_sentence_and_a_fault_of_the_code_does_not(
    copy: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def pull(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("dvc.data_cloud.DataCloud.pull", pull)
    (copy / ".dvc/config.local").write_text("[core]\n    remote = team\n['remote \"team\"']\n    url = /nowhere\n")
    with contextlib.chdir(copy):
        store = Store(fetch=True)
        fails = pytest.raises(KeyError) if isinstance(error, KeyError) else contextlib.nullcontext()
        with fails:
            store.bring([Recorded(Path("data/x"), Path("data/x"), "0" * 32, "HEAD")])
            assert store.why_not_here == f"the remote can't be read: {error}"
