"""What a source leaves out by a key's value is in the ledger, and stands in no conversation."""

import csv
import json
from pathlib import Path

import pyarrow
import pytest
from conftest import tiny_params, write_params
from pyarrow import parquet
from pydantic import TypeAdapter

from stages.collect import __main__ as collect
from stages.collect.conversations import read_source
from stages.collect.lists import reason_to_leave_out
from stages.collect.raw_conversation import RawConversation
from stages.collect.rows import UnreadableRow
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl

ROWS = {"conversation": "ticket", "role": "from", "content": "text"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(**source: object) -> list[RawConversation | UnreadableRow]:
    return list(read_source(TypeAdapter(Source).validate_python(source)))


def texts(row: RawConversation | UnreadableRow) -> list[str]:
    assert isinstance(row, RawConversation), row
    return [message["content"] for message in row.messages]


def write_csv(*rows: list[object]) -> None:
    with Path("raw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def write_jsonl(*rows: dict) -> None:
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "wanted", "leaves"),
    [
        (False, False, True),
        (True, False, False),
        ("False", False, True),  # as pandas writes it into a CSV
        (0, False, False),
        ("note", "note", True),
        ("note", ["event", "note"], True),
        ("Note", "note", False),
        (5, 5, True),
        ("5", 5, True),
        (10**20, 10**20, True),
        (None, None, True),
        (" ", None, True),
        ("x", None, False),
        ("2024-03-01", "*", True),
        (None, "*", False),
        ("", "*", False),
        (False, "*", False),
        (["a"], "a", False),
    ],
)
def test_a_value_is_compared_as_what_it_says(value: object, wanted: object, leaves: bool) -> None:
    assert bool(reason_to_leave_out({"key": value}, {"key": wanted})) == leaves  # type: ignore[dict-item]
    assert reason_to_leave_out({"other": value}, {"key": wanted}) is None  # type: ignore[dict-item]


def test_messages_of_a_list_are_left_out_whoever_writes_them() -> None:
    notes = [{"role": "user", "content": "q", "public": True}, {"role": "colleague", "content": "rude one", "public": False}]
    write_jsonl({"messages": [*notes, {"role": "assistant", "content": "a"}]})
    (row,) = read(format="jsonl", path="raw.jsonl", leave_out={"public": False})
    assert texts(row) == ["q", "a"]
    assert (row.rows, row.left_out_rows, row.left_out_messages) == (1, (), (2,))


def test_rows_that_are_messages_are_left_out_and_counted_to_their_conversation() -> None:
    rows = [
        [1, "customer", "q", "say"],
        [1, "bot 7", "Kim joined", "event"],
        [1, "agent", "a", "say"],
        [2, "bot 7", "x", "event"],
    ]
    write_csv(["ticket", "from", "text", "kind"], *rows)
    source = {"leave_out": {"kind": ["event"]}, "roles": {"customer": "user", "agent": "assistant"}}
    one, two = read(format="csv", path="raw.csv", columns=ROWS, **source)
    assert texts(one) == ["q", "a"]
    assert (one.further, one.left_out_rows, one.rows) == ((4,), (3,), 3)
    assert isinstance(two, UnreadableRow)
    assert (two.fate, two.place, two.reason) == ("left_out", "raw.csv:5", "all of its messages are left out")


def test_an_unreadable_conversation_stands_for_its_left_out_rows_too() -> None:
    write_csv(["ticket", "from", "text", "kind"], [1, "user", "q", "say"], [1, "who", "x", "say"], [1, "z", "e", "event"])
    rows = read(format="csv", path="raw.csv", columns=ROWS, leave_out={"kind": "event"})
    assert sum(row.rows for row in rows) == 3


def test_a_pair_and_a_row_with_a_list_are_left_out_as_a_whole() -> None:
    write_jsonl({"prompt": "q", "completion": "a", "status": "spam"}, {"prompt": "r", "completion": "b", "status": "ok"})
    left_out, kept = read(format="jsonl", path="raw.jsonl", leave_out={"status": "spam"})
    assert isinstance(left_out, UnreadableRow)
    assert (left_out.fate, left_out.reason, texts(kept)) == ("left_out", "status is spam", ["r", "b"])


def test_a_key_that_nothing_has_is_misspelt() -> None:
    write_jsonl({"messages": [{"role": "user", "content": "q", "public": False}]})
    with pytest.raises(ReprotuneError, match=r"no row or message has the key 'publik' \(see the source's `leave_out`\)"):
        read(format="jsonl", path="raw.jsonl", leave_out={"publik": False})
    assert read(format="jsonl", path="raw.jsonl", leave_out={"public": True})


def test_the_ledger_has_every_row_and_what_is_left_out_stops_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[1, "user", "q", "say"], [1, "?", "Kim joined", "event"], [1, "assistant", "a", "say"], [2, "?", "closed", "event"]]
    write_csv(["ticket", "from", "text", "kind"], *rows)
    source = {"format": "csv", "path": "raw.csv", "columns": ROWS, "leave_out": {"kind": "event"}}
    params = tiny_params()
    params["collect"]["sources"] = {"mine": source}
    write_params(Path(), params)
    collect.main("mine")
    assert capsys.readouterr().out == "collect mine: 1 conversations read, 1 kept, 2 rows left out\n"
    ledger = read_jsonl(Path("data/ledger/collect/mine.jsonl"))
    assert sum(row["rows"] for row in ledger) == 4
    assert [(row["fate"], row.get("left_out_rows")) for row in ledger] == [("collected", [3]), ("left_out", None)]


# Who begins


@pytest.mark.parametrize("begins", ["user", "assistant"])
def test_where_messages_name_no_role_sides_take_turns_from_who_begins(begins: str) -> None:
    sides = ["user", "assistant", "user"] if begins == "user" else ["assistant", "user", "assistant"]
    listed = {"dialog": ["a", "b", "c"]}, {"dialog": [{"content": text} for text in "abc"]}
    for row in listed:
        write_jsonl(row)
        (found,) = read(format="jsonl", path="raw.jsonl", columns={"messages": "dialog"}, begins=begins)
        assert isinstance(found, RawConversation)
        assert [message["role"] for message in found.messages] == sides
    write_csv(["ticket", "text"], [1, "a"], [2, "x"], [1, "b"], [1, "c"])
    columns = {"conversation": "ticket", "content": "text"}
    found, _ = read(format="csv", path="raw.csv", columns=columns, begins=begins)
    assert isinstance(found, RawConversation)
    assert [message["role"] for message in found.messages] == sides


def test_a_message_that_names_its_role_keeps_it() -> None:
    write_jsonl({"messages": [{"role": "system", "content": "s"}, {"content": "b"}, {"content": "c"}]})
    (found,) = read(format="jsonl", path="raw.jsonl", begins="assistant")
    assert isinstance(found, RawConversation)
    assert [message["role"] for message in found.messages] == ["system", "assistant", "user"]


def test_a_message_that_is_left_out_takes_nobodys_turn() -> None:
    write_jsonl({"messages": [{"content": "q"}, {"content": "Kim joined", "kind": "event"}, {"content": "a"}]})
    (found,) = read(format="jsonl", path="raw.jsonl", begins="user", leave_out={"kind": "event"})
    assert isinstance(found, RawConversation)
    assert [(message["role"], message["content"]) for message in found.messages] == [("user", "q"), ("assistant", "a")]


def test_messages_of_a_list_are_sorted_by_their_key_and_lists_are_read_alike() -> None:
    one = [{"role": "assistant", "content": "a", "at": "3/5/2024"}, {"role": "user", "content": "q", "at": "3/4/2024"}]
    two = [{"role": "assistant", "content": "b", "at": "3/24/2024"}, {"role": "user", "content": "r", "at": "3/23/2024"}]
    write_jsonl({"messages": one}, {"messages": two})
    columns = {"messages": "messages", "role": "role", "content": "content", "order": "at"}
    assert [texts(row) for row in read(format="jsonl", path="raw.jsonl", columns=columns)] == [["q", "a"], ["r", "b"]]
    write_jsonl({"messages": one}, {"messages": [{"role": "user", "content": "q"}]})
    _, second = read(format="jsonl", path="raw.jsonl", columns=columns)
    assert isinstance(second, UnreadableRow)
    assert second.reason == "messages[0] has nothing under 'at', by which messages are sorted"


@pytest.mark.parametrize("key", ["meta.bot", "meta.by.bot", "by.bot"])
def test_rows_are_left_out_by_a_key_that_leads_into_a_column_of_parquet_too(key: str) -> None:
    rows = [
        {"prompt": f"Is it {n}?", "completion": "Yes.", "meta": {"bot": n == 1, "by": {"bot": n == 1}}, "by.bot": n == 1}
        for n in range(3)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), "raw.parquet")
    kept, left, other = read(format="parquet", path="raw.parquet", leave_out={key: True})
    assert [texts(kept)[0], texts(other)[0]] == ["Is it 0?", "Is it 2?"]
    assert (left.place, left.fate, left.reason) == ("raw.parquet: row 2", "left_out", f"{key} is true")
