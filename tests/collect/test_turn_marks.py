"""Keys beside the turns, or of their file, that say which turns are learned: read so, or refused by name."""

import csv
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.sources import Source

TALK = [
    {"role": "user", "content": "How do I open it?"},
    {"role": "assistant", "content": "Turn the key."},
    {"role": "user", "content": "And then?"},
    {"role": "assistant", "content": "Push."},
]
SHAREGPT = [{"from": {"user": "human", "assistant": "gpt"}[one["role"]], "value": one["content"]} for one in TALK]
LAST, ALL = [0, None], [None, None]  # the weights of both replies

ONLY_THE_LAST = [
    ("only_last_turn_loss", True), ("mask_history", True), ("mask_history", 1), ("loss_on_last_turn", True),
    ("last_turn_only", True), ("train_on_last", True), ("loss_last_only", True), ("onlyTrainLastReply", "true"),
    ("mask_all_but_last", True), ("train_on_history", False), ("mask_previous_turns", True), ("ignore_history_loss", True),
    ("dont_train_on_history", True), ("last_only", True), ("loss_scale", "last_round"), ("train_on", "last_turn"),
    ("mask", "history"), ("只训练最后一轮", True), ("仅最后一轮计算损失", True), ("屏蔽历史", "是"),
]  # fmt: skip
AS_ALWAYS = [
    ("only_last_turn_loss", False), ("mask_history", False), ("mask_history", 0), ("mask_history", None), ("mask_prompt", True),
    ("train_on_inputs", False), ("train_on_responses_only", True), ("assistant_only_loss", True), ("train_on_history", True),
    ("train_on_all_turns", True), ("roles_to_train", ["assistant"]), ("prompt_loss_weight", 0.0), ("train_on", "assistant"),
    ("mask_response", False), ("no_loss_on_prompt", True), ("train_on_last", False),
]  # fmt: skip
NO_MARKS = [
    ("final_loss", 1), ("last_loss", True), ("lossy", True), ("prompt_loss", 0.53), ("hearing_loss_question", True),
    ("weight_loss_question", True), ("family_history_of_hearing_loss", True), ("history_of_loss", False), ("person_weight", 70),
    ("masked_user", False), ("mask_user_names", True), ("mask", "B-PER"), ("last_message", "hi"), ("last_turn", 3),
    ("training_id", 1), ("train", "history of rome"), ("trained_by", "user"), ("final_answer_only", True),
    ("mask_token", "<mask>"),
    ("loss_per_turn", 0.4), ("is_last", True),
]  # fmt: skip
QUESTIONS_TOO = [
    ("train_on_inputs", True), ("mask_prompt", False), ("train_on_responses_only", False), ("prompt_loss_weight", 0.1),
    ("loss_on_prompt", True), ("train_on", "user"),
]  # fmt: skip
UNCLEAR = [
    ("mask_last_turn", True), ("train_on_first_turn", True), ("first_turn_only", True), ("only_last_2_turns_loss", True),
    ("train_on_last_turns", 2), ("mask_history", 3), ("mask_response", True), ("roles_to_train", ["user", "assistant"]),
    ("train_on_every_turn", False),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(name: str = "raw.jsonl", **source: object) -> tuple[list[list[int | None]], list[str]]:
    """(the weights of each conversation's replies, why rows are unreadable)."""
    kind = Path(name).suffix.removeprefix(".")
    rows = read_source(TypeAdapter(Source).validate_python({"format": kind, "path": name, **source}))
    collected, unreadable = assign_ids("s", rows)
    talks = [json.loads(row.line)["messages"] for row in collected]
    weights = [[one.get("weight") for one in talk if one["role"] == "assistant"] for talk in talks]
    return weights, [row.reason for row in unreadable]


def read_rows(*rows: dict, **source: object) -> tuple[list[list[int | None]], list[str]]:
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read(**source)


@pytest.mark.parametrize("beside", [{"messages": TALK}, {"conversations": SHAREGPT}])
@pytest.mark.parametrize(("key", "value"), ONLY_THE_LAST)
def test_only_the_last_reply_is_learned_where_a_row_asks_for_it(beside: dict, key: str, value: object) -> None:
    assert read_rows(beside | {key: value}) == ([LAST], [])


@pytest.mark.parametrize(("key", "value"), [*AS_ALWAYS, *NO_MARKS])
def test_all_replies_are_learned_where_a_key_asks_for_that_or_for_nothing(key: str, value: object) -> None:
    assert read_rows({"messages": TALK, key: value}) == ([ALL], [])


@pytest.mark.parametrize(("key", "value"), [*QUESTIONS_TOO, *UNCLEAR])
def test_what_is_not_done_or_can_not_be_told_stops_with_a_remedy_that_works(key: str, value: object) -> None:
    row = {"messages": TALK, key: value}
    weights, [reason] = read_rows(row)
    assert weights == []
    assert reason.startswith(f"{key} is ")
    assert ("questions be learned too" in reason) == ((key, value) in QUESTIONS_TOO)
    assert f"set `marks: {{{key}: ignore}}` in the source" in reason
    assert read_rows(row, marks={key: "ignore"}) == ([ALL], [])


def test_one_of_two_rows_may_ask_for_it_and_a_source_may_say_that_it_means_nothing_or_all() -> None:
    rows = [{"messages": TALK, "mask_history": on} for on in (True, False)]
    assert sorted(read_rows(*rows)[0], key=str) == [LAST, ALL]
    assert read_rows(rows[0], marks={"mask_history": "ignore"}) == ([ALL], [])
    assert read_rows(rows[0], marks={"mask_history": "mask"}) == ([[0, 0]], [])
    assert read_rows(rows[0] | {"train": False}) == ([[0, 0]], [])


def test_a_column_with_a_field_is_no_mark() -> None:
    columns = {"messages": "messages", "role": "role", "content": "content", "label": "last_turn_only"}
    assert read_rows({"messages": TALK, "last_turn_only": "true"}, columns=columns) == ([ALL], [])


@pytest.mark.parametrize("name", ["metadata", "config", "train_config"])
def test_it_may_stand_in_an_object_beside_the_turns(name: str) -> None:
    assert read_rows({"messages": TALK, name: {"mask_history": True, "train_on_inputs": False, "seed": 7}}) == ([LAST], [])
    [reason] = read_rows({"messages": TALK, name: {"train_on_inputs": True}})[1]
    assert reason.startswith("train_on_inputs is true, which asks that questions be learned too")
    assert read_rows({"messages": TALK, name: {"train_on_inputs": True}}, marks={"train_on_inputs": "ignore"}) == ([ALL], [])


@pytest.mark.parametrize("rows", [[{"messages": TALK}], [TALK]])
@pytest.mark.parametrize("of_file", [{"mask_history": True, "roles_to_train": ["assistant"]}, {"metadata": {"mask_history": 1}}])
def test_it_may_be_said_of_all_rows_of_a_document(rows: list, of_file: dict) -> None:
    Path("raw.json").write_text(json.dumps({"version": 2, **of_file, "data": rows}), encoding="utf-8")
    assert read("raw.json") == ([LAST], [])
    Path("raw.json").write_text(json.dumps({"train_on_inputs": True, "data": rows}), encoding="utf-8")
    assert "train_on_inputs is true, which asks" in read("raw.json")[1][0]


def test_a_row_of_a_document_that_says_it_itself_is_believed() -> None:
    document = {"mask_history": True, "data": [{"messages": TALK, "mask_history": False}]}
    Path("raw.json").write_text(json.dumps(document), encoding="utf-8")
    assert read("raw.json") == ([ALL], [])


@pytest.mark.parametrize(("key", "value", "weights"), [("mask_history", "true", LAST), ("last_turn_only", "1", LAST),
                                                       ("mask_history", "false", ALL), ("mask_prompt", "true", ALL)])  # fmt: skip
def test_it_may_be_a_column_of_rows_that_are_messages_or_lists_in_cells(key: str, value: str, weights: list) -> None:
    with Path("raw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["talk", "role", "content", key], *(["t", *one.values(), value] for one in TALK)])
    columns = {"conversation": "talk", "role": "role", "content": "content"}
    assert read("raw.csv", columns=columns) == ([weights], [])
    with Path("raw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["messages", key], [json.dumps(TALK), value]])
    assert read("raw.csv") == ([weights], [])


def test_earlier_turns_of_a_pair_are_history() -> None:
    row = {"prompt": "And then?", "completion": "Push.", "history": [["How do I open it?", "Turn the key."]]}
    assert read_rows(row | {"mask_history": True}) == ([LAST], [])


def test_where_rows_name_the_one_before_them_nobody_can_tell_which_is_last() -> None:
    rows = [
        {"role": one["role"], "text": one["content"], "message_id": str(at), "parent_id": str(at - 1) if at else None}
        for at, one in enumerate(TALK)
    ]
    marked = [row | {"mask_history": True} for row in rows]
    weights, reasons = read_rows(*marked)
    assert (weights, {reason.partition(" is ")[0] for reason in reasons}) == ([], {"mask_history"})
    assert read_rows(*marked, marks={"mask_history": "ignore"}) == ([ALL], [])
    assert read_rows(*(row | {"mask_history": False} for row in rows)) == ([ALL], [])
