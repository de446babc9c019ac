"""Errors that a user can act on: first ten and a count, one message for a full disk, pins against what is installed."""

import contextlib
import errno
import re
import resource
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from stages.lib.base_model.tokenized import Example, write_examples
from stages.lib.core.errors import ReprotuneError, describe_os_error, raise_first, run_stage
from stages.lib.core.files import read_json, read_jsonl, write_json, write_jsonl
from stages.lib.core.requirements import check_installed, check_pins
from stages.lib.records.predictions import Conditions, blank, write_predictions

NUMPY = metadata.version("numpy")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPROTUNE_ANY_VERSIONS", raising=False)


def message_of(main: Callable[[], None], **options: str) -> str:
    """What `run_stage` ends the process with; text makes Python's exit code 1."""
    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
        run_stage(main, **options)
    assert isinstance(caught.value, SystemExit)
    assert isinstance(caught.value.code, str)
    return caught.value.code


def fail(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


# Lists


def test_no_problem_raises_nothing() -> None:
    raise_first([])


@pytest.mark.parametrize(("number", "last"), [(1, "row 0"), (10, "row 9"), (11, "... and 1 more like these")])
def test_ten_problems_are_shown_and_the_rest_counted(number: int, last: str) -> None:
    with pytest.raises(ReprotuneError) as caught:
        raise_first([f"row {position}" for position in range(number)])
    assert str(caught.value).splitlines()[-1] == last
    assert len(str(caught.value).splitlines()) == min(number, 11)


def test_a_large_rest_is_counted_with_separators() -> None:
    with pytest.raises(ReprotuneError, match=r"\.\.\. and 1,990 more like these$"):
        raise_first(["row"] * 2000)


# The end of a stage


def test_a_stage_that_ends_well_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(lambda: print("3 rows"))
    assert re.fullmatch(r"3 rows\ntook \d+\.\d s\n", capsys.readouterr().out)


def test_of_processes_that_train_together_the_first_one_says_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, said in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        run_stage(lambda: None)
        assert capsys.readouterr().out.count("took") == said


def test_a_stage_that_fails_says_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    message_of(fail(ReprotuneError("no")))
    assert capsys.readouterr().out == ""


def test_a_users_mistake_is_its_message_and_the_command_that_restores() -> None:
    first, last = message_of(fail(ReprotuneError("a.csv:3: no"))).splitlines()
    assert first == "error: a.csv:3: no"
    assert last.startswith("Nothing was saved. `dvc checkout")
    assert last.endswith("` brings back the results of the last good run.")


def test_a_stage_may_name_its_own_command_that_restores() -> None:
    assert "`git checkout -- metrics` brings back" in message_of(fail(ReprotuneError("no")), restore="git checkout -- metrics")


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_stage(fail(ZeroDivisionError()))


def test_a_stage_that_is_interrupted_ends_without_a_traceback() -> None:
    assert message_of(fail(KeyboardInterrupt())).startswith("error: interrupted\nNothing was saved.")


@pytest.mark.parametrize("error", [ReprotuneError("no"), OSError(errno.ENOSPC, "x"), KeyboardInterrupt(), ZeroDivisionError()])
def test_what_a_failed_stage_has_half_written_goes_and_what_was_there_before_stays(error: BaseException) -> None:
    before, half, folder, never = (Path(name) for name in ("before.json", "half.json", "folder", "never.json"))
    write_json(before, "earlier")

    def main() -> None:
        write_json(half, "half")
        write_json(folder / "half.json", "half")
        raise error

    with pytest.raises((SystemExit, KeyboardInterrupt, ZeroDivisionError)):
        run_stage(main, outs=[before, half, folder, never])
    assert sorted(path.name for path in Path().iterdir()) == ["before.json"]
    assert read_json(before) == "earlier"


def test_what_a_stage_that_ends_well_has_written_stays() -> None:
    run_stage(lambda: write_json(Path("out.json"), 1), outs=[Path("out.json")])
    assert read_json(Path("out.json")) == 1


# The disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_gets_its_remedy(number: int) -> None:
    assert describe_os_error(OSError(number, "x", "data/a.jsonl")) == (
        "data/a.jsonl: no space left; free some and run it again (`du -sh .dvc/cache` shows what results take)"
    )


def test_another_failure_of_the_disk_names_the_file_and_the_reason() -> None:
    assert (
        describe_os_error(PermissionError(errno.EACCES, "Permission denied", "data/a.jsonl")) == "data/a.jsonl: Permission denied"
    )


def write_table(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": list(range(100_000))}), path)


def write_rows(path: Path) -> None:
    rows = [blank("test", "a", 1)]
    conditions = Conditions(
        environment={}, decoding="", batch_size=1, max_new_tokens=1, task="dialogue", task_reason="", labels=[]
    )
    write_predictions(path, rows, conditions)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_jsonl(path, ({"a": number} for number in range(10_000))),
        lambda path: write_json(path, list(range(10_000))),
        lambda path: write_examples(path, [("a", Example([1], [1]))]),
        write_rows,
    ],
    ids=["jsonl", "json", "examples", "predictions"],
)
def test_a_full_disk_is_one_message_that_names_the_file_whatever_is_written(write: Callable[[Path], None]) -> None:
    Path("out").symlink_to("/dev/full")
    message = message_of(lambda: write(Path("out")))
    remedy = "free some and run it again (`du -sh .dvc/cache` shows what results take)"
    assert message.startswith(f"error: out: no space left; {remedy}\n")
    assert len(message.splitlines()) == 2


def save_tensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(10_000)}, path)


def save_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE(vocab={str(number): number for number in range(3000)}, merges=[])).save(str(path))


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow over 1,000 bytes: the system's error is another than a full disk's, its ways are the same.

    No fixture: pytest itself writes to a file where its output goes to one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("write", [save_tensors, save_tokenizer, write_table])
def test_a_failed_write_of_weights_or_tokenizer_is_no_traceback(write: Callable[[Path], None]) -> None:
    with small_disk():
        message = message_of(lambda: write(Path("out")))
    assert "File too large" in message
    assert len(message.splitlines()) == 2


# Files


@pytest.mark.parametrize("read", [read_jsonl, read_json])
def test_a_missing_input_names_the_commands_that_bring_it(read: Callable[[Path], Any]) -> None:
    with pytest.raises(ReprotuneError, match=r"data/x\.json: not found; `dvc repro` makes it, `dvc pull` fetches it"):
        read(Path("data/x.json"))


# Requirements


def requirements(text: str) -> Path:
    path = Path("some.txt")
    path.write_text(text, encoding="utf-8")
    return path


def test_installed_pins_pass_with_comments_extras_markers_and_options_around_them() -> None:
    text = f"# all\nnumpy=={NUMPY}  # arrays\n\nPyYAML=={metadata.version('pyyaml')} ; python_version > '3'\n-c constraints.txt\n"
    check_pins(requirements(text))


def test_a_local_version_label_counts_as_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: installed(name) + "+cpu")
    check_pins(requirements(f"numpy=={NUMPY}\n"))


def test_each_differing_or_absent_package_is_named_with_the_remedy() -> None:
    with pytest.raises(ReprotuneError) as caught:
        check_pins(requirements("numpy==0.0.1\nno-such-package==1.0\n"))
    assert str(caught.value).splitlines()[:2] == [
        f"some.txt: numpy 0.0.1 is pinned; installed: {NUMPY}",
        "some.txt: no-such-package 1.0 is pinned; installed: absent",
    ]
    assert "Run `make env`, or set REPROTUNE_ANY_VERSIONS=1" in str(caught.value)


def test_any_versions_pass_when_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROTUNE_ANY_VERSIONS", "1")
    check_pins(requirements("numpy==0.0.1\nno-such-package==1.0\n"))


def test_a_missing_requirements_file_names_the_command_that_restores_it() -> None:
    with pytest.raises(ReprotuneError, match=r"no_room/requirements\.txt: not found; `git checkout -- .*no_room/req.*\.txt`"):
        check_installed("stages/no_room")
