"""A folder is one source: its files sorted, each conversation of one file, the ids those of what the rows hold."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from conftest import environment, run, tiny_params, write_params
from pydantic import TypeAdapter, ValidationError

from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.raw_conversation import RawConversation
from stages.collect.readers import one_a_file
from stages.collect.rows import UnreadableRow
from stages.collect.sources import Source
from stages.lib.collected import check_names
from stages.lib.core.errors import ReprotuneError

PAIRS = {"user": "question", "assistant": "answer"}
ROWS = {"conversation": "ticket", "role": "from", "content": "text"}


@pytest.fixture
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def source_of(**source: object) -> Source:
    return TypeAdapter(Source).validate_python(source)


def write(name: str, *rows: list[object]) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def ids(source: Source) -> dict[str, str]:
    """Id -> question."""
    collected, unreadable = assign_ids("s", read_source(source))
    assert not unreadable
    return {row.id: json.loads(row.line)["messages"][0]["content"] for row in collected}


@pytest.mark.usefixtures("_in_a_folder")
def test_the_files_of_a_folder_are_read_in_the_order_of_their_names_and_what_dvc_and_editors_write_is_none() -> None:
    for name in ("raw/b.csv", "raw/a.csv", "raw/deep/c.csv"):
        write(name, ["question", "answer"], [f"in {name}?", "yes"])
    for name in ("raw/a.csv.dvc", "raw/.gitignore", "raw/.cache/x.csv"):
        write(name, ["no", "table"])
    source = source_of(format="csv", path="raw", columns=PAIRS)
    assert [one.path for one in one_a_file(source)] == ["raw/a.csv", "raw/b.csv", "raw/deep/c.csv"]
    rows = list(read_source(source))
    assert [row.place for row in rows] == ["raw/a.csv:2", "raw/b.csv:2", "raw/deep/c.csv:2"]
    some = source_of(format="csv", path="raw", files="*.csv", columns=PAIRS)
    assert [one.path for one in one_a_file(some)] == ["raw/a.csv", "raw/b.csv"]


@pytest.mark.usefixtures("_in_a_folder")
def test_another_file_changes_no_id_of_the_others() -> None:
    write("raw/b.csv", ["question", "answer"], ["one?", "yes"], ["two?", "no"])
    source = source_of(format="csv", path="raw", columns=PAIRS)
    before = ids(source)
    write("raw/a.csv", ["question", "answer"], ["three?", "maybe"])
    assert before.items() <= ids(source).items()


@pytest.mark.usefixtures("_in_a_folder")
def test_a_conversation_of_two_files_is_never_joined_without_a_word() -> None:
    for name in ("raw/a.csv", "raw/b.csv"):
        write(name, ["ticket", "from", "text"], [1, "user", f"{name}?"], [1, "assistant", "yes"])
    collected, unreadable = assign_ids("s", read_source(source_of(format="csv", path="raw", columns=ROWS)))
    assert [row.id for row in collected] == ["s/1"]
    (other,) = unreadable
    assert (other.place, other.rows) == ("raw/b.csv:2", 2)
    assert other.reason == (
        "id '1' stands already at raw/a.csv:2; make one file of the two if it is one conversation, or else each file a source of "
        "its own"
    )


@pytest.mark.usefixtures("_in_a_folder")
def test_the_last_row_of_a_file_does_not_damage_the_first_of_the_next() -> None:
    write("raw/a.csv", ["ticket", "from", "text"], [1, "user", "q"], [1, "assistant", "x", "one cell too many"])
    write("raw/b.csv", ["ticket", "from", "text"], [2, "user", "q"], [2, "assistant", "a"])
    rows = list(read_source(source_of(format="csv", path="raw", columns=ROWS)))
    assert [row.key for row in rows if isinstance(row, RawConversation)] == ["2"]
    assert sum(row.rows for row in rows if isinstance(row, UnreadableRow)) == 2


@pytest.mark.usefixtures("_in_a_folder")
def test_the_order_is_read_alike_in_all_files() -> None:
    write("raw/a.csv", ["ticket", "from", "text", "at"], [1, "user", "q", "4/3/2024"], [1, "assistant", "a", "3/4/2024"])
    write("raw/b.csv", ["ticket", "from", "text", "at"], [2, "user", "q", "24/3/2024"], [2, "assistant", "a", "25/3/2024"])
    rows = list(read_source(source_of(format="csv", path="raw", columns=ROWS | {"order": "at"})))
    assert [message["content"] for message in rows[0].messages] == ["q", "a"]  # 4 March, 3 April


@pytest.mark.usefixtures("_in_a_folder")
def test_each_table_may_have_its_columns_in_another_order_and_must_have_them() -> None:
    write("raw/a.csv", ["question", "answer"], ["q1", "a1"])
    write("raw/b.csv", ["more", "answer", "question"], ["x", "a2", "q2"])
    source = source_of(format="csv", path="raw", columns=PAIRS)
    assert [[message["content"] for message in row.messages] for row in read_source(source)] == [["q1", "a1"], ["q2", "a2"]]
    write("raw/c.csv", ["question", "reply"], ["q3", "a3"])
    with pytest.raises(ReprotuneError, match=r"^raw/c\.csv:1: no column 'answer'; found 'question', 'reply'"):
        list(read_source(source))


@pytest.mark.usefixtures("_in_a_folder")
@pytest.mark.parametrize("link", ["raw/link.csv", "raw"])
def test_a_file_that_leads_out_of_the_project_needs_permission_in_a_folder_too(link: str, tmp_path: Path) -> None:
    other = tmp_path.parent / f"{tmp_path.name}_other"
    write(str(other / "x.csv"), ["question", "answer"], ["q", "a"])
    Path(link).parent.mkdir(exist_ok=True)
    Path(link).symlink_to(other / "x.csv" if link.endswith("csv") else other)
    with pytest.raises(ReprotuneError, match=r"leads out of the project; .* set `outside: true`"):
        list(read_source(source_of(format="csv", path="raw", columns=PAIRS)))
    assert len(list(read_source(source_of(format="csv", path="raw", columns=PAIRS, outside=True)))) == 1


@pytest.mark.usefixtures("_in_a_folder")
def test_a_folder_without_such_a_file_and_a_pattern_for_a_file_are_errors() -> None:
    write("raw/a.csv", ["question", "answer"], ["q", "a"])
    for said, source in (
        ("raw: no file in it that '*.tsv' fits (the source's `files`)", {"path": "raw", "files": "*.tsv"}),
        ("raw/a.csv: is a file; `files` names files in a folder", {"path": "raw/a.csv", "files": "*.csv"}),
        ("nowhere: no such folder; `files` names files in a folder", {"path": "nowhere", "files": "*.csv"}),
    ):
        with pytest.raises(ReprotuneError) as caught:
            list(read_source(source_of(format="csv", columns=PAIRS, **source)))
        assert str(caught.value) == said


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*.csv", "a/../../b"])
def test_a_pattern_stays_in_its_folder(pattern: str) -> None:
    with pytest.raises(ValidationError, match="expected a pattern for names in the folder"):
        source_of(format="csv", path="raw", files=pattern)


@pytest.mark.usefixtures("_in_a_folder")
def test_a_pattern_as_path_is_told_how_to_be_written_before_dvc_looks_for_such_a_file() -> None:
    with pytest.raises(
        ValueError, match=r"^source 'a' has the pattern 'data/raw/x/\*\*/\*\.csv' as its path; expected a file or a "
    ):
        check_names({"a": {"path": "data/raw/x/**/*.csv"}})
    with pytest.raises(ValueError, match=r"`path: data/raw`, with the pattern beside it, `files: \"\?\.csv\"`$"):
        check_names({"a": {"path": "data/raw/?.csv"}})
    Path("why?.csv").write_text("", encoding="utf-8")
    check_names({"a": {"path": "why?.csv"}, "b": {"path": "x[1].csv"}})


@pytest.mark.slow
def test_dvc_collects_a_folder_again_when_a_file_comes_and_no_other_source(project: Path, warm: dict[str, str]) -> None:
    write(str(project / "data/raw/chats/one.csv"), ["question", "answer"], ["q", "a"])
    params = tiny_params()
    params["collect"]["sources"]["more"] = {"format": "csv", "path": "data/raw/chats", "columns": PAIRS}
    write_params(project, params)
    run(["dvc", "add", "-q", "data/raw/chats"], project, **warm)
    run(["dvc", "repro", "-q", "collect@more", "collect@pairs"], project, **warm)
    write(str(project / "data/raw/chats/two.csv"), ["question", "answer"], ["r", "b"])
    said = run(["dvc", "repro", "collect@more", "collect@pairs"], project, **warm).stdout
    assert "collect more: 2 conversations read, 2 kept" in said
    assert "collect pairs" not in said
    params["collect"]["sources"]["more"]["path"] = "data/raw/chats/*.csv"
    write_params(project, params)
    done = subprocess.run(
        ["dvc", "repro", "collect@more"], cwd=project, env=environment(**warm), capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert 'expected a file or a folder, `path: data/raw/chats`, with the pattern beside it, `files: "*.csv"`' in done.stderr


def test_a_file_in_a_folder_of_raw_files_is_ignored_by_git_and_kept_by_dvc(project: Path, warm: dict[str, str]) -> None:
    write(str(project / "data/raw/chats/deep/one.csv"), ["question", "answer"], ["q", "a"])
    run(["dvc", "add", "-q", "data/raw/chats/deep/one.csv"], project, **warm)
    untracked = run(["git", "status", "--porcelain", "-uall"], project).stdout.splitlines()
    assert [line for line in untracked if line.startswith("??")] == ["?? data/raw/chats/deep/one.csv.dvc"]
