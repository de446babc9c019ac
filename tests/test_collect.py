"""Sources of every format into one schema; ids that no neighbour and no order changes."""

import contextlib
import csv
import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stages import collect
from stages.collect import assign_ids, limit_rows
from stages.lib.conversations import Conversation, read_jsonl
from stages.lib.errors import ReprotuneError
from stages.lib.sources import CHATTERBOT_FOLDERS, RawConversation, Source, read_source

REPO = Path(__file__).parent.parent
PAIRS = {"user": "question", "assistant": "answer"}
MESSAGES = {"conversation": "ticket", "role": "from", "content": "text"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(**source: object) -> list[RawConversation]:
    return list(read_source(TypeAdapter(Source).validate_python(source)))


def write_csv(header: str, *rows: list[str], encoding: str = "utf-8") -> None:
    with Path("raw.csv").open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def write_jsonl(*rows: dict) -> None:
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def turns(row: RawConversation | Conversation) -> list[tuple[str, str]]:
    messages = row["messages"] if isinstance(row, dict) else row.messages
    return [(message["role"], message["content"]) for message in messages]


def pair(user: str, assistant: str) -> list[dict]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def collect_folder(folder: Path, sources: dict, limit: int | None = None) -> None:
    """Run the stage for each source in a project of params.yaml and requirements alone."""
    (folder / "params.yaml").write_text(yaml.safe_dump({"collect": {"limit": limit, "sources": sources}}), encoding="utf-8")
    (folder / "requirements").mkdir(exist_ok=True)
    (folder / "requirements/core.txt").write_text("", encoding="utf-8")
    with contextlib.chdir(folder):
        for name in sources:
            collect.main(name)


# Formats


def test_chatterbot_in_english_gives_its_2026_dialogues_with_topics_as_labels() -> None:
    rows = read(format="chatterbot", path="x", language="en")
    assert len(rows) == 2026
    first = rows[0]
    assert (first.place, first.key, first.label, first.language) == ("ai.yml: conversation 1", None, "ai", "en")
    assert turns(first)[0] == ("user", "What is AI?")
    assert turns(first)[1][1].startswith("Artificial Intelligence is the branch of engineering")
    assert {row.label for row in rows} >= {"ai", "food", "history", "money"}


def test_chatterbot_in_chinese_is_chinese() -> None:
    rows = read(format="chatterbot", path="x", language="zh")
    assert turns(rows[0]) == [("user", "什么是ai"), ("assistant", "人工智能是工程和科学的分支,致力于构建具有思维的机器。")]
    assert {row.language for row in rows} == {"zh"}


def test_chatterbot_speakers_take_turns() -> None:
    for row in read(format="chatterbot", path="x", language="en"):
        assert [role for role, _ in turns(row)] == [("user", "assistant")[turn % 2] for turn in range(len(row.messages))]


def test_in_chatterbots_yaml_every_scalar_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "chatterbot_corpus/data/english"
    folder.mkdir(parents=True)
    (tmp_path / "chatterbot_corpus/__init__.py").write_text("", encoding="utf-8")
    (folder / "books.yml").write_text("conversations:\n- - No\n  - 1984\n  - 2001-01-01\n- - ~\n  - 1e3\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    rows = read(format="chatterbot", path="x", language="en")
    assert [turns(row) for row in rows] == [
        [("user", "No"), ("assistant", "1984"), ("user", "2001-01-01")],
        [("user", "~"), ("assistant", "1e3")],
    ]
    assert [row.place for row in rows] == ["books.yml: conversation 1", "books.yml: conversation 2"]


@pytest.mark.parametrize("language", sorted(CHATTERBOT_FOLDERS))
def test_chatterbot_has_every_language_that_params_may_name(language: str) -> None:
    source = TypeAdapter(Source).validate_python({"format": "chatterbot", "path": "x", "language": language})
    assert next(read_source(source)).messages


def test_chitchat_gives_its_7168_conversations_under_their_own_ids_and_the_first_to_speak_is_the_user() -> None:
    rows = read(format="chitchat", path="x")
    assert len(rows) == len({row.key for row in rows}) == 7168
    first = rows[0]
    assert first.key == "a07edb12-6b91-4138-b11e-02421888d699"
    assert turns(first)[:3] == [("user", "Hello"), ("user", "How are you doing today?"), ("assistant", "whats up MD")]
    assert all(row.messages[0]["role"] == "user" for row in rows if row.messages)
    assert len({row.label for row in rows}) > 10


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
    assert bare == ("raw.jsonl:1", None, "other", "en", None, pair("hi", "hello"))
    assert full == ("raw.jsonl:2", "7", "3", "zh", "5", [{"role": "assistant", "content": "👋"}])


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_and_line_ends_are_no_part_of_the_texts(line_end: str) -> None:
    Path("raw.csv").write_bytes(b"\xef\xbb\xbf" + f"question,answer{line_end}q,a{line_end}".encode())
    (row,) = read(format="csv", path="raw.csv", columns=PAIRS)
    assert turns(row) == [("user", "q"), ("assistant", "a")]
    Path("raw.jsonl").write_bytes(b"\xef\xbb\xbf" + (json.dumps({"messages": pair("q", "a")}) + line_end).encode())
    (row,) = read(format="jsonl", path="raw.jsonl")
    assert turns(row) == [("user", "q"), ("assistant", "a")]


# Places


def test_a_place_is_the_line_where_the_row_begins_after_rows_of_several_lines() -> None:
    write_csv("question,answer", ["one\ntwo\nthree", "a"], ["b", "c"], ["d", "e\nf"], ["g", "h"])
    assert [row.place for row in read(format="csv", path="raw.csv", columns=PAIRS)] == [
        f"raw.csv:{line}" for line in (2, 5, 6, 8)
    ]


def test_a_place_is_the_line_where_the_row_begins_after_blank_lines() -> None:
    Path("raw.csv").write_text('question,answer\n\nq,a\n\n\nr,"b\nc"\ns,d\n', encoding="utf-8")
    assert [row.place for row in read(format="csv", path="raw.csv", columns=PAIRS)] == ["raw.csv:3", "raw.csv:6", "raw.csv:8"]
    Path("raw.jsonl").write_text(f"\n{json.dumps({'messages': []})}\n\n{json.dumps({'messages': []})}\n", encoding="utf-8")
    assert [row.place for row in read(format="jsonl", path="raw.jsonl")] == ["raw.jsonl:2", "raw.jsonl:4"]


def test_the_ledger_names_file_and_line_of_each_id(tmp_path: Path) -> None:
    write_csv("question,answer,n", ["one\ntwo", "a", "first"], ["b", "c", "second"])
    collect_folder(tmp_path, {"pairs": {"format": "csv", "path": "raw.csv", "columns": PAIRS | {"id": "n"}}})
    assert read_jsonl(Path("data/ledger/collect/pairs.jsonl")) == [
        {"id": "pairs/first", "place": "raw.csv:2"},
        {"id": "pairs/second", "place": "raw.csv:4"},
    ]


# Ids


def raw(user: str, label: str | None = None, key: str | None = None) -> RawConversation:
    return RawConversation("raw.csv:1", key, label, None, None, pair(user, "yes"))  # type: ignore[arg-type]


def collected(rows: list[RawConversation]) -> list[Conversation]:
    return [conversation for _, conversation in assign_ids("pairs", rows)]


def by_id(rows: list[RawConversation]) -> dict[str, Conversation]:
    return {row["id"]: row for row in collected(rows)}


def test_an_own_id_and_an_own_group_are_kept_under_the_sources_name() -> None:
    (row,) = collected([raw("a", key="41")._replace(group="ann")])
    assert (row["id"], row["group"], row["language"]) == ("pairs/41", "pairs/ann", "und")


def test_an_own_id_that_stands_twice_names_both_places() -> None:
    rows = [raw("a", key="41"), raw("b", key="41")._replace(place="raw.csv:9")]
    with pytest.raises(ReprotuneError, match=r"raw\.csv:9: id '41' stands already at raw\.csv:1; ids must be unique"):
        collected(rows)


def test_a_row_without_an_id_gets_one_from_its_text_under_the_sources_name() -> None:
    (here,), ((_, there),) = collected([raw("a")]), assign_ids("chats", [raw("a")])
    assert here["id"].startswith("pairs/")
    assert there["id"].startswith("chats/")
    assert collected([raw("b")])[0]["id"] != here["id"]


def test_identical_rows_get_different_ids() -> None:
    assert len({row["id"] for row in collected([raw("a")] * 5)}) == 5


TEXTS = st.sampled_from(["hi", "hello", "你好", "hi there", "👋"])
ROWS = st.lists(st.builds(raw, TEXTS), max_size=8)
# Rows that a reader calls the same: they differ in case, width, spaces or label alone.
ALIKE = st.builds(raw, st.sampled_from(["hi", "Hi", "hi ", "ｈｉ"]), st.sampled_from([None, "a", "b"]))


@settings(deadline=None)
@given(rows=ROWS, inserted=st.builds(raw, TEXTS), position=st.integers(0, 8))
def test_inserting_a_row_changes_no_other_rows_id(rows: list, inserted: RawConversation, position: int) -> None:
    assert by_id(rows).items() <= by_id([*rows[:position], inserted, *rows[position:]]).items()


@settings(deadline=None)
@given(rows=st.lists(ALIKE, max_size=6), inserted=ALIKE, position=st.integers(0, 6))
def test_inserting_a_row_changes_no_id_of_rows_that_are_alike(rows: list, inserted: RawConversation, position: int) -> None:
    assert by_id(rows).items() <= by_id([*rows[:position], inserted, *rows[position:]]).items()


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_shuffling_rows_gives_the_same_conversations_under_the_same_ids(rows: list, seed: int) -> None:
    assert by_id(rows) == by_id(random.Random(seed).sample(rows, len(rows)))


@settings(deadline=None)
@given(rows=st.lists(ALIKE, max_size=6), seed=st.integers(0, 99))
def test_shuffling_rows_that_are_alike_gives_the_same_conversations_under_the_same_ids(rows: list, seed: int) -> None:
    assert by_id(rows) == by_id(random.Random(seed).sample(rows, len(rows)))


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99), limit=st.integers(1, 8))
def test_a_limit_picks_the_same_rows_whatever_their_order(rows: list, seed: int, limit: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    picked, again = (limit_rows(assign_ids("pairs", some), limit) for some in (rows, shuffled))
    assert {row["id"] for _, row in picked} == {row["id"] for _, row in again}
    assert len(picked) == min(limit, len(rows))


def test_a_limit_does_not_take_the_first_rows_of_the_file() -> None:
    placed = assign_ids("pairs", [raw(f"question {number}") for number in range(100)])
    picked = limit_rows(placed, 20)
    assert 0 < sum(pair in placed[:20] for pair in picked) < 20
    assert limit_rows(placed, None) == placed


# The stage


def test_shuffled_lines_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [[f"question {number % 9}", f"answer {number % 4}", f"topic {number % 2}"] for number in range(40)]
    source = {"format": "csv", "path": "raw.csv", "columns": PAIRS | {"label": "topic"}}
    write_csv("question,answer,topic", *rows)
    collect_folder(tmp_path, {"pairs": source})
    before = Path("data/collected/pairs.jsonl").read_bytes()
    write_csv("question,answer,topic", *random.Random(0).sample(rows, len(rows)))
    collect_folder(tmp_path, {"pairs": source})
    assert Path("data/collected/pairs.jsonl").read_bytes() == before
    assert len(before.splitlines()) == 40


def test_output_and_ledger_hold_the_same_ids_in_order_and_as_many_as_the_limit(tmp_path: Path) -> None:
    write_csv("question,answer", *([f"question {number}", "a"] for number in range(30)))
    collect_folder(tmp_path, {"pairs": {"format": "csv", "path": "raw.csv", "columns": PAIRS}}, limit=10)
    ids = [row["id"] for row in read_jsonl(Path("data/collected/pairs.jsonl"))]
    assert ids == sorted(ids) == [row["id"] for row in read_jsonl(Path("data/ledger/collect/pairs.jsonl"))]
    assert len(ids) == 10
