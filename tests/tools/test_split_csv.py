"""The splits as CSV: what collect reads back from them is what was written."""

import csv
import sys
from pathlib import Path

import pytest
from conftest import examples, write_conversations
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.collect.conversations import read_source
from stages.collect.raw_conversation import RawConversation
from stages.collect.sources import Columns, CsvSource
from stages.lib.records.conversation import Conversation
from tools import split_csv
from tools.console import run_tool

ALL = Columns(
    conversation="conversation", role="role", content="content", order="turn", label="label", language="language", group="group"
)
HARD = [
    'say "hi", please',
    "=1+1",
    "@cmd",
    "-1",
    "+1",
    "a\r\nb",
    "a\rb",
    "a\nb",
    " padded ",
    "你好，世界；",
    "👩‍💻",
    "\tx",
    "a,b;c",
    "\x00",
    '"',
    "'",
]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def conversation(id: str, *texts: str, label: str | None = None, group: str | None = None) -> Conversation:
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    return {"id": id, "label": label, "language": "en", "group": group, "messages": messages}  # type: ignore[typeddict-item]


def write_splits(train: list[Conversation], validation: list[Conversation], test: list[Conversation]) -> None:
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        write_conversations(Path(f"data/split/{name}.jsonl"), rows)


def read_back(path: str) -> list[Conversation]:
    rows = read_source(CsvSource(format="csv", path=path, columns=ALL))
    conversations = []
    for row in rows:
        assert isinstance(row, RawConversation), row
        one = {"id": row.key, "label": row.label, "language": row.language, "group": row.group, "messages": row.messages}
        conversations.append(one)
    return conversations  # type: ignore[return-value]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["split_csv", *arguments])
    run_tool(split_csv.main)


def test_each_split_becomes_a_file_with_a_row_for_each_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_splits([conversation("a/1", "q", "a", "q2", "a2", label="x")], [conversation("a/2", "q", "a")], [])
    run(monkeypatch)
    with Path("data/split/csv/train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["conversation", "label", "language", "group", "turn", "role", "content"]
    assert rows[1:3] == [["a/1", "x", "en", "", "1", "user", "q"], ["a/1", "x", "en", "", "2", "assistant", "a"]]
    assert len(rows) == 5
    assert capsys.readouterr().out.splitlines() == [
        "data/split/csv/train.csv: 1 conversations, 4 messages",
        "data/split/csv/validation.csv: 1 conversations, 2 messages",
        "data/split/csv/test.csv: 0 conversations, 0 messages",
    ]


@pytest.mark.parametrize("text", HARD)
@pytest.mark.parametrize("options", [[], ["--bom"]])
def test_collect_reads_back_what_was_written(monkeypatch: pytest.MonkeyPatch, text: str, options: list[str]) -> None:
    rows = [conversation("s/1", text, f"{text}!", "more", text, label="billing", group="s/ann"), conversation("s/2", "q", text)]
    write_splits(rows, [], [])
    run(monkeypatch, "out", *options)
    assert read_back("out/train.csv") == rows


@settings(deadline=None, max_examples=examples(50))
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=12, max_size=24))
def test_any_text_comes_back_and_ten_turns_stay_in_order(texts: list[str]) -> None:
    rows = [conversation("s/1", *texts)]
    write_splits(rows, [], [])
    split_csv.export(Path("any"), bom=False)
    assert read_back("any/train.csv") == rows


def test_a_cell_like_a_formula_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    write_splits([conversation("s/1", "=SUM(A1:A9)", "+49 30 1234")], [], [])
    run(monkeypatch)
    content = Path("data/split/csv/train.csv").read_text(encoding="utf-8")
    assert "user,=SUM(A1:A9)\n" in content
    assert "assistant,+49 30 1234\n" in content


def test_only_with_bom_a_file_begins_with_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    write_splits([conversation("s/1", "q", "a")], [], [])
    run(monkeypatch, "plain")
    run(monkeypatch, "excel", "--bom")
    plain, excel = (Path(folder, "train.csv").read_bytes() for folder in ("plain", "excel"))
    assert excel == b"\xef\xbb\xbf" + plain
    assert plain.startswith(b"conversation,")


def test_before_the_split_it_says_what_to_run_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    write_splits([conversation("s/1", "q", "a")], [], [])
    Path("data/split/test.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"error: data/split/test\.jsonl: not found; `dvc repro` makes it"):
        run(monkeypatch, "out")
    assert not Path("out").exists()


def test_a_folder_that_is_a_file_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    write_splits([conversation("s/1", "q", "a")], [], [])
    Path("out").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^error: out: is a file; name a folder$"):
        run(monkeypatch, "out")
