"""Rows of every layout -> conversations; what is no conversation says why."""

import csv
import json
from pathlib import Path

import pyarrow
import pytest
from conftest import REPO
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from pydantic import TypeAdapter, ValidationError

from stages.collect.conversations import read_source
from stages.collect.layouts import recognize_layout
from stages.collect.raw_conversation import RawConversation
from stages.collect.rows import UnreadableRow
from stages.collect.sources import Columns, Source
from stages.lib.core.errors import ReprotuneError

CASES = REPO / "tests/cases"
PAIRS = {"user": "question", "assistant": "answer"}
MESSAGES = {"conversation": "ticket", "role": "from", "content": "text"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cases(name: str) -> pytest.MarkDecorator:
    """One test for each line of tests/cases/<name>.jsonl: `label`, `input`, `expected`, and what the source says."""
    rows = [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return pytest.mark.parametrize("case", rows, ids=[row["label"] for row in rows])


def read_all(**source: object) -> list[RawConversation | UnreadableRow]:
    return list(read_source(TypeAdapter(Source).validate_python(source)))


def read(**source: object) -> list[RawConversation]:
    rows = read_all(**source)
    assert all(isinstance(row, RawConversation) for row in rows), rows
    return rows


def write_csv(header: str, *rows: list[str]) -> None:
    with Path("raw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def write_jsonl(*rows: dict) -> None:
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def turns(row: RawConversation) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row.messages]


def pair(user: str, assistant: str) -> list[dict]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


# What a row says


@cases("layouts")
def test_a_rows_layout_is_mapped_or_told_by_its_keys(case: dict) -> None:
    write_jsonl(case["input"])
    (row,) = read(format="jsonl", path="raw.jsonl", columns=case.get("columns"), roles=case.get("roles", {}))
    assert [f"{message['role']}: {message['content']}" for message in row.messages] == case["expected"]


@cases("layouts_unreadable")
def test_a_row_that_is_no_conversation_says_why(case: dict) -> None:
    write_jsonl(case["input"])
    (row,) = read_all(format="jsonl", path="raw.jsonl", columns=case.get("columns"))
    assert isinstance(row, UnreadableRow)
    assert row.place == "raw.jsonl:1"
    assert row.reason == case["expected"] or (case["expected"].endswith(": ") and row.reason.startswith(case["expected"]))


def test_rows_of_different_layouts_may_share_a_file() -> None:
    rows = [{"messages": pair("1", "2")}, {"prompt": "3", "completion": "4", "id": 9}, {"instruction": "5", "output": "6"}]
    write_jsonl(*rows)
    assert [turns(row)[0][1] for row in read(format="jsonl", path="raw.jsonl")] == ["1", "3", "5"]


@cases("layouts")
def test_parquet_and_a_document_give_what_jsonl_gives(case: dict) -> None:
    write_jsonl(case["input"])
    source = {"columns": case.get("columns"), "roles": case.get("roles", {})}
    (expected,) = read(format="jsonl", path="raw.jsonl", **source)
    Path("raw.json").write_text(json.dumps([case["input"]]), encoding="utf-8")
    assert read(format="json", path="raw.json", **source)[0][1:] == expected[1:]
    try:
        parquet.write_table(pyarrow.Table.from_pylist([case["input"]]), "raw.parquet")
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):  # a list of texts and objects, which Parquet has not
        return
    assert read(format="parquet", path="raw.parquet", **source)[0][1:] == expected[1:]


@given(
    st.sets(st.sampled_from(["messages", "conversations", "instruction", "input", "output", "prompt", "completion", "id", "x"]))
)
def test_whatever_is_recognised_names_only_keys_that_are_there(keys: set[str]) -> None:
    columns = recognize_layout(keys)
    standards = [{"messages"}, {"conversations"}, {"instruction", "output"}, {"prompt", "completion"}]
    assert (columns is None) == (not any(standard <= keys for standard in standards))
    in_list = ("role", "content")
    assert columns is None or {name for field, name in columns if name and field not in in_list} <= keys


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"user": "a"},
        {"role": "a", "content": "b"},
        {"conversation": "a", "role": "b"},
        {"user": "a", "assistant": "b", "conversation": "c", "role": "d", "content": "e"},
        {"user": "a", "assistant": "b", "role": "c"},
        {"user": "a", "assistant": "b", "order": "c"},
        {"messages": "a", "user": "b", "assistant": "c"},
        {"messages": "a", "input": "b"},
        {**MESSAGES, "id": "a"},
        {**MESSAGES, "input": "a"},
        {**MESSAGES, "messages": "a"},
    ],
)
def test_columns_of_no_layout_or_of_two_are_refused(columns: dict) -> None:
    with pytest.raises(ValidationError):
        Columns(**columns)


@pytest.mark.parametrize("name", ["klingon", "zip", "unicode_escape", "utf-7", "idna", "rot13", "punycode", "cp037"])
def test_an_encoding_that_is_unknown_or_not_for_text_files_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="expected one such as utf-8"):
        TypeAdapter(Source).validate_python({"format": "csv", "path": "x", "encoding": name})


# A table


@pytest.mark.parametrize("header", ["messages", "conversations", "instruction,input,output", "prompt,completion"])
def test_a_csv_with_standard_names_needs_no_mapping(header: str) -> None:
    cells = {
        "messages": json.dumps(pair("q", "a")),
        "conversations": json.dumps([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]),
        "instruction": "q", "input": "", "output": "a", "prompt": "q", "completion": "a",
    }  # fmt: skip
    write_csv(f"{header},label", [*(cells[name] for name in header.split(",")), "topic"])
    (row,) = read(format="csv", path="raw.csv")
    assert (turns(row), row.label) == ([("user", "q"), ("assistant", "a")], "topic")


def test_other_names_in_a_csv_or_in_parquet_must_be_mapped() -> None:
    write_csv("question,answer", ["q", "a"])
    with pytest.raises(ReprotuneError, match=r"^raw\.csv:1: no standard columns \(.*\); found 'question', 'answer' \(map"):
        read(format="csv", path="raw.csv")
    parquet.write_table(pyarrow.table({"question": ["q"], "answer": ["a"]}), "raw.parquet")
    with pytest.raises(ReprotuneError, match=r"^raw\.parquet: no standard columns \(.*\); found 'question', 'answer' \(map the"):
        read(format="parquet", path="raw.parquet")
    with pytest.raises(ReprotuneError, match=r"^raw\.parquet: no column 'topic'; found"):
        read(format="parquet", path="raw.parquet", columns=PAIRS | {"label": "topic"})
    assert turns(read(format="parquet", path="raw.parquet", columns=PAIRS)[0]) == [("user", "q"), ("assistant", "a")]


def test_a_mapped_key_that_only_some_rows_have_is_fine_and_one_that_none_has_is_misspelt() -> None:
    write_jsonl({"q": "1", "a": "2", "topic": "x"}, {"q": "3", "a": "4"})
    columns = {"user": "q", "assistant": "a"}
    rows = read(format="jsonl", path="raw.jsonl", columns=columns | {"label": "topic"}, label="other")
    assert [row.label for row in rows] == ["x", "other"]
    with pytest.raises(ReprotuneError, match="no row has the key 'topc'"):
        read(format="jsonl", path="raw.jsonl", columns=columns | {"label": "topc"})


def test_fields_of_every_type_become_text_or_nothing() -> None:
    values = {"id": [7, 8, 9], "label": [1.5, float("nan"), None], "language": ["zh", " ", None], "group": [True, None, None]}
    parquet.write_table(pyarrow.table({"prompt": ["q"] * 3, "completion": ["a"] * 3, **values}), "raw.parquet")
    rows = read(format="parquet", path="raw.parquet", language="en")
    assert [row[1:5] for row in rows] == [("7", "1.5", "zh", "true"), ("8", None, "en", None), ("9", None, "en", None)]


# A row a message


def test_messages_are_sorted_by_number_or_by_text() -> None:
    columns = MESSAGES | {"order": "at"}
    write_csv("ticket,from,text,at", *(["1", "user", at, at] for at in ("10", "9", "1e1", "-1")))
    (row,) = read(format="csv", path="raw.csv", columns=columns)
    assert [text for _, text in turns(row)] == ["-1", "9", "10", "1e1"]
    texts = ["m10", "m9", "m1"]
    write_csv("ticket,from,text,at", *(["1", "user", at, at] for at in texts))
    (row,) = read(format="csv", path="raw.csv", columns=columns)
    assert [text for _, text in turns(row)] == ["m1", "m9", "m10"]
    ids = [str(2**62 + number) for number in (2, 0, 1)]
    write_csv("ticket,from,text,at", *(["1", "user", at, at] for at in ids))
    (row,) = read(format="csv", path="raw.csv", columns=columns)
    assert [text for _, text in turns(row)] == sorted(ids)


def test_with_an_order_the_conversation_takes_its_label_and_place_from_its_first_message_in_that_order() -> None:
    write_csv("ticket,from,text,at,topic", ["1", "assistant", "a", "2", "late"], ["1", "user", "q", "1", "early"])
    (row,) = read(format="csv", path="raw.csv", columns=MESSAGES | {"order": "at", "label": "topic"})
    assert (turns(row), row.label, row.place, row.rows) == ([("user", "q"), ("assistant", "a")], "early", "raw.csv:3", 2)


def test_messages_are_sorted_by_time_and_a_conversation_with_something_else_is_unreadable() -> None:
    columns = MESSAGES | {"order": "at"}
    tickets = [["1", "user", "q", "2024-03-01 9:50"], ["1", "assistant", "a", "2024-03-01 10:05"]]
    tickets += [["2", "assistant", "b", "2024-03-01 10:05"], ["2", "user", "r", "unknown"]]
    write_csv("ticket,from,text,at", *tickets)
    first, second = read_all(format="csv", path="raw.csv", columns=columns)
    assert turns(first) == [("user", "q"), ("assistant", "a")]
    assert (second.place, second.further) == ("raw.csv:4", (5,))
    assert second.reason == "'unknown' is no time that can be read, as others in its column are"


def test_a_column_whose_days_and_months_can_t_be_told_apart_is_an_error_where_the_order_depends_on_it() -> None:
    write_csv("ticket,from,text,at", ["1", "user", "q", "3/4/2024"], ["1", "assistant", "a", "4/3/2024"])
    with pytest.raises(ReprotuneError, match=r"^raw\.csv: column 'at': which part of '4/3/2024' is the day can't be told"):
        read(format="csv", path="raw.csv", columns=MESSAGES | {"order": "at"})


def test_label_group_language_and_system_come_from_the_first_row_that_has_them() -> None:
    columns = MESSAGES | {"group": "customer", "label": "topic", "language": "lang", "system": "prompt"}
    rows = [["1", "assistant", "hello", "", "", "", ""], ["1", "user", "q", "C1", "billing", "zh", "be kind"]]
    rows += [["1", "assistant", "a", "C1", "closed", "en", ""], ["2", "user", "q", "", "", "", ""]]
    write_csv("ticket,from,text,customer,topic,lang,prompt", *rows)
    one, two = read(format="csv", path="raw.csv", columns=columns, label="other", language="fr")
    assert (one.label, one.language, one.group, turns(one)[0]) == ("billing", "zh", "C1", ("system", "be kind"))
    assert (two.label, two.language, two.group, len(two.messages)) == ("other", "fr", None, 1)


def test_en_and_capital_en_are_one_language() -> None:
    write_csv("question,answer,lang", ["q", "a", "EN"], ["q", "b", "zh-Hant"])
    rows = read(format="csv", path="raw.csv", columns=PAIRS | {"language": "lang"})
    assert [row.language for row in rows] == ["en", "zh-Hant"]


def test_a_conversation_of_two_groups_is_unreadable() -> None:
    write_csv("ticket,from,text,customer", ["1", "user", "q", "C1"], ["1", "assistant", "a", "C2"], ["2", "user", "q", "C1"])
    bad, good = read_all(format="csv", path="raw.csv", columns=MESSAGES | {"group": "customer"})
    assert (bad.place, bad.further, good.key) == ("raw.csv:2", (3,), "2")
    assert (
        bad.reason == "conversation '1' has rows of the groups 'C1' and 'C2'; expected one (where that "
        "column names who writes, leave `group` out of the source's `columns`)"
    )


def test_a_message_without_its_order_is_unreadable() -> None:
    write_csv("ticket,from,text,at", ["1", "user", "q", ""])
    (row,) = read_all(format="csv", path="raw.csv", columns=MESSAGES | {"order": "at"})
    assert row.reason == "nothing in column 'at', by which messages are sorted"


def test_a_conversation_with_an_unreadable_message_is_unreadable_as_a_whole() -> None:
    write_csv("ticket,from,text", ["1", "user", "q"], ["2", "user", "q"], ["1", "bot", "x"], ["1", "user", "r"])
    rows = read_all(format="csv", path="raw.csv", columns=MESSAGES)
    bad, rest, good = rows[0], *sorted(rows[1:], key=lambda row: isinstance(row, RawConversation))
    assert (bad.place, bad.rows) == ("raw.csv:4", 1)
    assert (rest.place, rest.rows, rest.reason) == (
        "raw.csv:2",
        2,
        "another row of conversation '1' is unreadable, or one beside it",
    )
    assert (good.key, good.rows) == ("2", 1)


def test_a_row_of_which_nothing_can_be_read_damages_the_conversations_beside_it() -> None:
    rows = [["1", "user", "q"], ["1", "assistant", "a, not quoted", "more"], ["1", "user", "thanks"], ["1", "assistant", "bye"]]
    rows += [["2", "user", "q"], ["2", "assistant", "a"], ["2", "user", "r", "more"], ["3", "user", "q"], ["4", "user", "q"]]
    write_csv("ticket,from,text", *rows)
    found = read_all(format="csv", path="raw.csv", columns=MESSAGES)
    assert [row.key for row in found if isinstance(row, RawConversation)] == ["4"]
    assert sum(row.rows for row in found) == len(rows)


def test_messages_come_from_jsonl_and_parquet_too() -> None:
    rows = [
        {"ticket": 1, "from": "user", "text": "q"},
        {"ticket": 1, "from": "assistant", "text": [{"type": "text", "text": "a"}]},
    ]
    write_jsonl(*rows, {"ticket": 2, "from": "user"})
    *bad, row = read_all(format="jsonl", path="raw.jsonl", columns=MESSAGES)
    assert (row.key, turns(row)) == ("1", [("user", "q"), ("assistant", "a")])
    assert [one.reason for one in bad] == ["no key 'text'; found 'ticket', 'from' (map the keys in the source's `columns`)"]
    parquet.write_table(pyarrow.table({"ticket": [1], "from": ["user"], "text": ["q"]}), "raw.parquet")
    (row,) = read(format="parquet", path="raw.parquet", columns=MESSAGES)
    assert (row.key, turns(row)) == ("1", [("user", "q")])


# All that a row may bring


def test_a_csv_row_is_a_pair_with_quoted_commas_quotes_and_line_ends() -> None:
    write_csv("question,answer", ["a, b", 'she said "no"'], ["line 1\nline 2\r\nline 3", "你好，世界"])
    rows = read(format="csv", path="raw.csv", columns=PAIRS)
    assert [turns(row) for row in rows] == [
        [("user", "a, b"), ("assistant", 'she said "no"')],
        [("user", "line 1\nline 2\r\nline 3"), ("assistant", "你好，世界")],
    ]


def test_a_csv_row_brings_system_id_label_language_and_group_where_columns_are_mapped() -> None:
    columns = PAIRS | {"system": "s", "id": "n", "label": "l", "language": "g", "group": "c"}
    write_csv("question,answer,s,n,l,g,c", ["q", "a", "be kind", "7", "billing", "zh", "ann"], ["q", "a", " ", "8", "", "", ""])
    full, blank = read(format="csv", path="raw.csv", columns=columns, label="other", language="en")
    assert full[1:5] == ("7", "billing", "zh", "ann")
    assert turns(full) == [("system", "be kind"), ("user", "q"), ("assistant", "a")]
    assert blank[1:5] == ("8", "other", "en", None)
    assert turns(blank) == [("user", "q"), ("assistant", "a")]


def test_csv_messages_of_interleaved_conversations_come_together_in_their_order() -> None:
    write_csv(
        "ticket,from,text,topic",
        ["t1", "customer", "first?", "billing"],
        ["t2", "customer", "second?", ""],
        ["t1", "agent", "one.", "ignored"],
        ["t2", "agent", "two.", ""],
        ["t1", "customer", "thanks", ""],
    )
    roles = {"customer": "user", "agent": "assistant"}
    first, second = read(format="csv", path="raw.csv", columns=MESSAGES | {"label": "topic"}, roles=roles, label="other")
    assert (first.place, first.key, first.label) == ("raw.csv:2", "t1", "billing")
    assert turns(first) == [("user", "first?"), ("assistant", "one."), ("user", "thanks")]
    assert (second.place, second.key, second.label) == ("raw.csv:3", "t2", "other")
    assert turns(second) == [("user", "second?"), ("assistant", "two.")]


def test_csv_messages_may_share_a_system_column() -> None:
    write_csv("ticket,from,text,prompt", ["t1", "user", "hi", "be kind"], ["t1", "assistant", "hello", "be kind"])
    (row,) = read(format="csv", path="raw.csv", columns=MESSAGES | {"system": "prompt"})
    assert turns(row) == [("system", "be kind"), ("user", "hi"), ("assistant", "hello")]


def test_a_jsonl_row_keeps_its_messages_and_its_own_fields() -> None:
    write_jsonl(
        {"messages": pair("hi", "hello")},
        {"id": 7, "label": 3, "language": "zh", "group": 5, "messages": [{"role": "bot", "content": "👋"}], "more": 1},
    )
    bare, full = read(format="jsonl", path="raw.jsonl", roles={"bot": "assistant"}, label="other", language="en")
    assert bare == RawConversation("raw.jsonl:1", None, "other", "en", None, pair("hi", "hello"))
    assert full == RawConversation("raw.jsonl:2", "7", "3", "zh", "5", [{"role": "assistant", "content": "👋"}])


INNER = {
    "turn": {
        "q": "Where?",
        "a": "There.",
        "talk": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}],
    }
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ({"user": "turn.q", "assistant": "turn.a"}, [INNER]),
        ({"messages": "turn.talk"}, [INNER]),
        ({"conversation": "meta.chat", "role": "by.name", "content": "said.text"}, [
            {"said": {"text": text}, "by": {"name": name}} for name, text in (("user", "Where?"), ("assistant", "There."))
        ]),
    ],
    ids=["pair", "list", "message"],
)  # fmt: skip
def test_a_mapped_name_leads_into_an_object_of_a_row(kind: str, columns: dict, rows: list[dict]) -> None:
    meta = {"id": "7", "topic": "tea", "chat": "7", "who": {"name": "ann"}}
    rows = [row | {"meta": meta} for row in rows]
    write_jsonl(*rows)
    parquet.write_table(pyarrow.Table.from_pylist(rows), "raw.parquet")
    of_row = {"label": "meta.topic", "group": "meta.who.name"} | ({} if "conversation" in columns else {"id": "meta.id"})
    (found,) = read(format=kind, path=f"raw.{kind}", columns=columns | of_row)
    assert turns(found) == [("user", "Where?"), ("assistant", "There.")]
    assert (found.key, found.label, found.group) == ("7", "tea", "ann")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_row_in_which_a_mapped_name_leads_nowhere_says_so(kind: str) -> None:
    write_csv("q,a", ["Where?", "There."])
    write_jsonl({"q": "Where?", "a": "There."})
    parquet.write_table(pyarrow.Table.from_pylist([{"q": "Where?", "a": "There."}]), "raw.parquet")
    (found,) = read_all(format=kind, path=f"raw.{kind}", columns={"user": "q.text", "assistant": "a"})
    assert isinstance(found, UnreadableRow)
    assert found.reason == "no key 'q.text'; found 'q', 'a' (map the keys in the source's `columns`)"
    with pytest.raises(ReprotuneError, match=r"no row has the key 'a\.topic'"):
        read_all(format=kind, path=f"raw.{kind}", columns={"user": "q", "assistant": "a", "label": "a.topic"})


PAIR = {"prompt": "Where?", "completion": "There."}
TALK = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There.", "mine": 1}]


@pytest.mark.parametrize(
    ("row", "marks", "stops"),
    [
        (PAIR | {"mine": 1}, {"mine": "mask"}, False),
        (PAIR | {"mine": 1}, {"mien": "mask"}, True),
        (PAIR | {"mine": 1}, {"mien": "ignore"}, False),
        (PAIR | {"meta": {"mine": 1}}, {"meta.mine": "mask"}, True),
        ({"messages": TALK}, {"mine": "mask"}, False),
        ({"messages": json.dumps(TALK)}, {"mine": "mask"}, False),
        ({"messages": TALK}, {"mien": "mask"}, True),
        ({"prompt": "Where?", "completion": TALK[1:]}, {"mine": "mask"}, False),
        ({"input": {"messages": TALK[:1]}, "preferred_output": TALK[1:], "non_preferred_output": []}, {"mine": "mask"}, False),
    ],
)
def test_a_mark_that_no_row_or_message_has_is_misspelt(row: dict, marks: dict[str, str], stops: bool) -> None:
    write_jsonl(PAIR, row)
    if not stops:
        assert ["weight" in found.messages[-1] for found in read(format="jsonl", path="raw.jsonl", marks=marks)] == [
            False,
            "ignore" not in marks.values(),
        ]
        return
    with pytest.raises(ReprotuneError, match=r"raw\.jsonl: no row or message has the key .* \(see the source's `marks`\)"):
        read_all(format="jsonl", path="raw.jsonl", marks=marks)


def test_a_mark_may_stand_in_one_file_of_a_folder_alone() -> None:
    Path("chats").mkdir()
    Path("chats/a.csv").write_text("prompt,completion\nWhere?,There.\n", encoding="utf-8")
    Path("chats/b.csv").write_text("prompt,completion,mine\nWhere?,There.,1\n", encoding="utf-8")
    found = read(format="csv", path="chats", marks={"mine": "mask"})
    assert ["weight" in row.messages[-1] for row in found] == [False, True]
