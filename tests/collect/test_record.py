"""What the field's formats hold beside roles and texts -> the record: marks, tool use, thoughts, parts, history, preferences."""

import json
import math
import time
from pathlib import Path

import pyarrow
import pytest
from conftest import REPO
from pyarrow import parquet
from pydantic import TypeAdapter

from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.sources import Source
from stages.collect.transcripts import read_transcript
from stages.lib.records.conversation import Conversation

CASES = [json.loads(line) for line in (REPO / "tests/cases/record.jsonl").read_text(encoding="utf-8").splitlines()]
RECORD = TypeAdapter(Conversation)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def collect(rows: list[dict], **source: object) -> tuple[list[Conversation], list[str]]:
    """(the records as the pipeline writes them, why rows are unreadable); each row is in one of them."""
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    read = read_source(TypeAdapter(Source).validate_python({"format": "jsonl", "path": "raw.jsonl", **source}))
    collected, unreadable = assign_ids("s", read)
    assert sum(1 + len(row.further) for row in collected) + sum(row.rows for row in unreadable) == len(rows)
    return [RECORD.validate_json(row.line) for row in collected], [row.reason for row in unreadable]


@pytest.mark.parametrize("case", CASES, ids=[case["label"] for case in CASES])
def test_a_row_is_read_as_its_format_means_it_or_refused_by_name(case: dict) -> None:
    source = {key: case[key] for key in ("columns", "roles", "marks") if key in case}
    records, unreadable = collect(case["input"], **source)
    if "unreadable" in case:
        assert (records, unreadable) == ([], [case["unreadable"]])
        return
    assert unreadable == []
    for record, expected in zip(records, case["expected"], strict=True):
        group = record["group"] and record["group"].removeprefix("s/")
        language = record["language"].removeprefix("und")
        beside = {"label": record["label"], "language": language, "group": group}
        beside |= {"tools": record.get("tools"), "rejected": record.get("rejected")}
        assert {"messages": record["messages"], **{key: value for key, value in beside.items() if value}} == expected


def test_a_table_with_a_mark_or_earlier_turns_beside_its_pairs_is_read_with_them() -> None:
    rows = [
        "prompt,completion,weight,mine,chat_history",
        "Where?,Nowhere.,0,,",
        'Where?,Not here.,1,yes,"[[""Open?"", ""Yes.""]]"',
    ]
    Path("raw.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = {"format": "csv", "path": "raw.csv", "marks": {"mine": "mask"}}
    collected, unreadable = assign_ids("s", read_source(TypeAdapter(Source).validate_python(source)))
    records = [RECORD.validate_json(row.line)["messages"] for row in collected]
    assert unreadable == []
    assert [[message.get("weight", 1) for message in messages] for messages in records] == [[1, 0], [1, 0, 1, 0]]


def test_long_chains_and_many_ranked_replies_take_seconds_at_most() -> None:
    started = time.process_time()
    chain = [{"id": str(n), "instruction": f"q{n}", "output": "a", "parent_id": str(n - 1) if n else None} for n in range(3000)]
    [record], unreadable = collect(chain)
    assert (len(record["messages"]), unreadable) == (6000, [])
    first = {"message_id": "first", "role": "prompter", "text": "q", "parent_id": None}
    reply = {"role": "assistant", "parent_id": "first"}
    ranked = [{**reply, "message_id": str(n), "text": f"a{n}", "rank": 3000 - n} for n in range(3000)]
    [record], unreadable = collect([first, *ranked])
    assert ([message["content"] for message in record["messages"]], unreadable) == (["q", "a2999"], [])
    assert len(record["rejected"]) == 2999
    assert time.process_time() - started < 10


def test_a_rank_that_is_nan_ranks_nothing() -> None:
    table = pyarrow.table({"prompt": ["q"], "responses": [["a", "b"]], "scores": [[math.nan, 1.0]]})
    parquet.write_table(table, "raw.parquet")
    read = read_source(TypeAdapter(Source).validate_python({"format": "parquet", "path": "raw.parquet"}))
    _, [row] = assign_ids("s", read)
    assert row.reason.startswith('responses is ["a", "b"]; expected text, messages, or replies with their ranks or scores')


@pytest.mark.parametrize("part", [" ", "\n", "<|im_start|> ", "[INST] ", "[INST] a [/INST] ", "<s>\n", "### Input:\n", "</s>"])
def test_long_texts_with_a_template_s_markers_take_no_time(part: str) -> None:
    began = time.process_time()
    for first in ("", "<|im_start|>user\nhi<|im_end|>", "[INST] ", "### Human: a"):
        read_transcript(first + part * 300_000)
    assert time.process_time() - began < 10
