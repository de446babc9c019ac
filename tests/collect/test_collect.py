"""One file a source, one ledger row for all that is in it; ids that no neighbour, no order and no format changes."""

import csv
import gzip
import json
import random
from pathlib import Path

import orjson
import pyarrow
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from stages.collect import __main__ as collect
from stages.collect.__main__ import assign_ids, content_hash, ledger_rows, pick_ids
from stages.collect.raw_conversation import RawConversation
from stages.collect.rows import UnreadableRow
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl
from stages.lib.records.conversation import Conversation, Message

PAIRS = {"user": "question", "assistant": "answer"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_csv(header: str, *rows: list[str]) -> None:
    with Path("raw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def write_jsonl(*rows: object, path: str = "raw.jsonl") -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def pair(user: str, assistant: str) -> list[Message]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def collect_folder(sources: dict, limit: int | None = None, bad_rows: str = "stop") -> None:
    """Run the stage for each source in a project of params.yaml and requirements alone."""
    params = {"collect": {"limit": limit, "bad_rows": bad_rows, "sources": sources}}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for name in sources:
        collect.main(name)


def collected_rows(name: str) -> list[dict]:
    return read_jsonl(Path(f"data/collected/{name}.jsonl"))


def ledger(name: str) -> list[dict]:
    return read_jsonl(Path(f"data/ledger/collect/{name}.jsonl"))


# Ids


def raw(user: str, label: str | None = None, key: str | None = None) -> RawConversation:
    return RawConversation("raw.csv:1", key, label, None, None, pair(user, "yes"))  # type: ignore[arg-type]


def collected(rows: list[RawConversation]) -> list[Conversation]:
    return [orjson.loads(row.line) for row in assign_ids("pairs", rows)[0]]


def by_id(rows: list[RawConversation]) -> dict[str, Conversation]:
    return {row["id"]: row for row in collected(rows)}


def test_an_own_id_and_an_own_group_are_kept_under_the_sources_name() -> None:
    (row,) = collected([raw("a", key="41")._replace(group="ann")])
    assert (row["id"], row["group"], row["language"]) == ("pairs/41", "pairs/ann", "und")


def test_an_own_id_that_stands_twice_names_both_places() -> None:
    rows = [raw("a", key="41"), raw("b", key="41")._replace(place="raw.csv:9")]
    first, (later,) = assign_ids("pairs", rows)
    assert [row.place for row in first] == ["raw.csv:1"]
    assert later.place == "raw.csv:9"
    assert later.reason.startswith("id '41' stands already at raw.csv:1; ids must be unique")


def test_an_own_id_that_looks_like_another_rows_hash_is_a_bad_row_and_overwrites_nothing() -> None:
    (row,) = assign_ids("pairs", [raw("a")])[0]
    kept, bad = assign_ids("pairs", [raw("a"), raw("b", key=row.id.removeprefix("pairs/"))])
    assert ([one.id for one in kept], len(bad)) == ([row.id], 1)


def test_a_row_without_an_id_gets_one_from_its_text_under_the_sources_name() -> None:
    (here,), ((there,), _) = collected([raw("a")]), assign_ids("chats", [raw("a")])
    assert here["id"].startswith("pairs/")
    assert there.id == here["id"].replace("pairs/", "chats/")
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


@pytest.mark.parametrize(
    ("label", "language", "group", "id"),
    [
        (None, None, None, "889626eca90881ce"),
        ("billing", None, None, "bd9baf1dade7beb2"),
        (None, "zh-Hant", None, "fc97a7eb6ad38190"),
        (None, None, "ann", "0687d254e0c10a98"),
    ],
)
def test_the_ids_of_rows_without_a_key_stay_what_they_were(
    label: str | None, language: str | None, group: str | None, id: str
) -> None:
    row = RawConversation(
        place="a.csv:1", key=None, label=label, language=language, group=group, messages=pair("hi", "yes"), further=(2, 3)
    )
    assert content_hash(row) == id


def test_the_ids_of_conversations_with_every_role_stay_what_they_were() -> None:
    texts = (("system", "s"), ("user", "您好"), ("tool", ""), ("assistant", "yes\n"))
    messages = [Message(role=role, content=text) for role, text in texts]  # type: ignore[typeddict-item]
    row = RawConversation(place="a.csv:1", key=None, label="l", language="en", group="g", messages=messages)
    assert content_hash(row) == "b8c87b03773eb647"


def test_the_ids_of_packaged_rows_stay_what_they_were() -> None:
    """An id is in data that people have split and trained on: a change here would move rows between train and test."""
    row = RawConversation("ai.yml: conversation 1", None, "ai", "en", None, pair("What is AI?", "你好"))  # type: ignore[arg-type]
    assert [one["id"] for one in collected([row])] == ["pairs/9bbc6215306f7b39"]


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99), limit=st.integers(1, 8))
def test_a_limit_picks_the_same_rows_whatever_their_order(rows: list, seed: int, limit: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    picked, again = (pick_ids([row.id for row in assign_ids("pairs", some)[0]], limit) for some in (rows, shuffled))
    assert picked == again
    assert len(picked) == min(limit, len(rows))


def test_a_limit_does_not_take_the_first_rows_of_the_file() -> None:
    ids = [row.id for row in assign_ids("pairs", [raw(f"question {number}") for number in range(100)])[0]]
    assert 0 < len(pick_ids(ids, 20) & set(ids[:20])) < 20
    assert pick_ids(ids, None) == set(ids)


UNREADABLE = st.builds(UnreadableRow, st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(["0" * 16, "1" * 16]))


@settings(deadline=None)
@given(rows=st.lists(UNREADABLE, max_size=6), seed=st.integers(0, 99))
def test_unreadable_rows_have_ids_that_no_order_changes_and_no_two_share(rows: list, seed: int) -> None:
    def without_places(some: list) -> list:
        return [(row["id"], row["rows"], row["reason"]) for row in ledger_rows("pairs", [], set(), some)]

    assert without_places(rows) == without_places(random.Random(seed).sample(rows, len(rows)))
    assert len({id for id, *_ in without_places(rows)}) == len(rows)


# The stage


def test_shuffled_lines_give_the_same_bytes_but_for_places() -> None:
    rows = [[f"question {number % 9}", f"answer {number % 4}", f"topic {number % 2}"] for number in range(40)]
    rows += [["too", "few"]] * 3
    source = {"format": "csv", "path": "raw.csv", "columns": PAIRS | {"label": "topic"}, "limit": 30}
    outcomes = []
    for order in (rows, random.Random(0).sample(rows, len(rows))):
        write_csv("question,answer,topic", *order)
        collect_folder({"pairs": source}, bad_rows="drop")
        listed = ledger("pairs")
        places = [row.pop("place") for row in listed]
        outcomes.append((Path("data/collected/pairs.jsonl").read_bytes(), listed))
        assert sorted(places) == sorted(f"raw.csv:{line}" for line in range(2, 45))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][0].splitlines()) == 30


def test_the_ledger_has_every_row_in_order_of_the_ids_and_the_output_those_that_were_picked() -> None:
    write_csv("question,answer", *([f"question {number}", "a"] for number in range(30)))
    collect_folder({"pairs": {"format": "csv", "path": "raw.csv", "columns": PAIRS}}, limit=10)
    ids = [row["id"] for row in collected_rows("pairs")]
    rows = ledger("pairs")
    assert [row["id"] for row in rows if row["fate"] == "collected"] == ids == sorted(ids)
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert [sum(row["fate"] == fate for row in rows) for fate in ("collected", "over_limit")] == [10, 20]


def test_the_smaller_of_the_two_limits_holds() -> None:
    write_csv("question,answer", *([f"question {number}", "a"] for number in range(30)))
    source = {"format": "csv", "path": "raw.csv", "columns": PAIRS}
    collect_folder({"few": source | {"limit": 4}, "many": source | {"limit": 20}, "all": source}, limit=10)
    assert [len(collected_rows(name)) for name in ("few", "many", "all")] == [4, 10, 10]


def test_the_ledger_names_file_line_and_fate_of_each_id() -> None:
    write_csv("question,answer,n", ["one\ntwo", "a", "first"], ["b", "c", "second"])
    collect_folder({"pairs": {"format": "csv", "path": "raw.csv", "columns": PAIRS | {"id": "n"}}})
    assert ledger("pairs") == [
        {"id": "pairs/first", "place": "raw.csv:2", "further": [], "rows": 1, "fate": "collected", "reason": None},
        {"id": "pairs/second", "place": "raw.csv:4", "further": [], "rows": 1, "fate": "collected", "reason": None},
    ]


def test_bad_rows_stop_the_stage_or_are_dropped_with_their_reason(capsys: pytest.CaptureFixture) -> None:
    good = {"id": "a", "messages": pair("q", "a")}
    write_jsonl(good, 3, good, {"id": "b", "messages": "no"}, {"id": "z", "messages": []})
    source = {"format": "jsonl", "path": "raw.jsonl"}
    with pytest.raises(ReprotuneError) as caught:
        collect_folder({"chats": source})
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert places == ["raw.jsonl:2", "raw.jsonl:3", "raw.jsonl:4"]
    assert not Path("data").exists()

    collect_folder({"chats": source}, bad_rows="drop")
    assert [row["id"] for row in collected_rows("chats")] == ["chats/a", "chats/z"]
    ids = [row["id"] for row in ledger("chats")]
    assert ids == sorted(ids)
    assert (ids[0], ids[-1], len(set(ids))) == ("chats/a", "chats/z", 5)
    fates = {row["place"]: (row["fate"], row["reason"]) for row in ledger("chats")}
    assert fates["raw.jsonl:1"] == fates["raw.jsonl:5"] == ("collected", None)
    assert fates["raw.jsonl:2"][1].startswith("a number or a truth value; expected a JSON object")
    assert fates["raw.jsonl:3"][1].startswith("id 'a' stands already at raw.jsonl:1")
    assert fates["raw.jsonl:4"][1].startswith("messages is text, but not JSON")
    assert "2 conversations read, 2 kept, 3 rows unreadable" in capsys.readouterr().out


def test_the_ledgers_rows_add_up_to_the_files_where_a_row_is_a_message() -> None:
    rows = [
        ["1", "user", "q"],
        ["2", "bot", "x"],
        ["1", "assistant", "a"],
        ["2", "user", "q"],
        ["", "user", "q"],
        ["3", "user", "q"],
    ]
    write_csv("ticket,from,text", *rows)
    columns = {"conversation": "ticket", "role": "from", "content": "text"}
    collect_folder({"chats": {"format": "csv", "path": "raw.csv", "columns": columns}}, bad_rows="drop")
    assert [row["id"] for row in collected_rows("chats")] == ["chats/1", "chats/3"]
    assert sorted((row["fate"], row["rows"], row["place"]) for row in ledger("chats")) == [
        ("collected", 1, "raw.csv:7"),
        ("collected", 2, "raw.csv:2"),
        ("unreadable", 1, "raw.csv:3"),
        ("unreadable", 1, "raw.csv:5"),
        ("unreadable", 1, "raw.csv:6"),
    ]


def test_one_content_has_one_id_in_every_format() -> None:
    rows = [{"messages": pair("您好", "hello"), "label": "greeting"}, {"messages": pair("bye", "再见"), "label": "parting"}]
    write_jsonl(*rows)
    write_jsonl(*({"conversations": [{"from": m["role"], "value": m["content"]} for m in row["messages"]], "label": row["label"]}
                  for row in rows), path="sharegpt.jsonl")  # fmt: skip
    Path("raw.json").write_text(json.dumps({"data": rows}), encoding="utf-8")
    Path("raw.jsonl.gz").write_bytes(gzip.compress(Path("raw.jsonl").read_bytes()))
    parquet.write_table(pyarrow.Table.from_pylist(rows), "raw.parquet")
    write_csv("question,answer,label", *([*(m["content"] for m in row["messages"]), row["label"]] for row in rows))
    Path("wide.tsv").write_text(Path("raw.csv").read_text(encoding="utf-8").replace(",", "\t"), encoding="utf-16")
    columns = PAIRS | {"label": "label"}
    sources = {
        "lines": {"format": "jsonl", "path": "raw.jsonl"},
        "sharegpt": {"format": "jsonl", "path": "sharegpt.jsonl"},
        "document": {"format": "json", "path": "raw.json"},
        "compressed": {"format": "jsonl", "path": "raw.jsonl.gz"},
        "table": {"format": "parquet", "path": "raw.parquet"},
        "pairs": {"format": "csv", "path": "raw.csv", "columns": columns},
        "wide": {"format": "tsv", "path": "wide.tsv", "columns": columns},
    }
    collect_folder(sources)
    contents = {
        name: Path(f"data/collected/{name}.jsonl").read_text(encoding="utf-8").replace(f'"{name}/', '"') for name in sources
    }
    assert set(contents.values()) == {contents["lines"]}
    assert len(contents["lines"].splitlines()) == 2


def test_a_source_that_holds_nothing_readable_says_why_though_bad_rows_are_dropped() -> None:
    write_jsonl(1, 2)
    with pytest.raises(ReprotuneError, match=r"raw\.jsonl:1: a number"):
        collect_folder({"chats": {"format": "jsonl", "path": "raw.jsonl"}}, bad_rows="drop")
