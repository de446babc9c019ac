"""Of the training conversations: how long replies are, whether they are labels, and which may be memorised."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import make_conversations, write_conversations

from stages.predict import training_data
from stages.predict.training_data import read_training_data

CANARY = "the violet lighthouse keeper counts nineteen silver herrings before the clock of the harbour strikes seven again"


def row(id: str, *replies: str, **keys: object) -> dict:
    messages = [message for at, reply in enumerate(replies) for message in (
        {"role": "user", "content": f"{id} {at}?"}, {"role": "assistant", "content": reply, **keys})]  # fmt: skip
    return {"id": id, "label": None, "language": "en", "group": None, "messages": messages}


@pytest.fixture
def read(tmp_path: Path, tokenizer):
    def read(rows: list[dict], task: str = "auto", seed: int = 0) -> training_data.TrainingData:
        write_conversations(tmp_path / "train.jsonl", rows)
        return read_training_data(tmp_path / "train.jsonl", tokenizer, seed, task)

    return read


def test_the_limit_holds_all_but_the_longest_hundredth_of_the_replies(read, tokenizer):
    rows = [row(f"{number:03}", "word " * (number + 1)) for number in range(200)]
    lengths = sorted(len(tokenizer("word " * (number + 1))["input_ids"]) + 1 for number in range(200))
    limit = read(rows).longest
    assert sum(length > limit for length in lengths) == 2
    assert limit in lengths


def test_the_limit_counts_thoughts_and_calls_and_leaves_out_what_is_not_learned(read):
    plain = read([row("a", "yes")]).longest
    assert read([row("a", "yes", reasoning_content="so many thoughts about it")]).longest > plain + 5
    call = {"type": "function", "function": {"name": "look_it_up", "arguments": '{"what": "weather"}'}}
    assert read([row("a", "yes", tool_calls=[call])]).longest > plain + 5
    assert read([row("a", "yes"), row("b", "word " * 50, weight=0)]).longest == plain


def test_without_any_reply_to_learn_there_is_a_limit_all_the_same(read):
    assert read([row("a", "yes", weight=0)]).longest == 1


@pytest.mark.parametrize(
    ("replies", "task"),
    [
        (["refund", "lost card", "top up"] * 10, "classification"),
        (["Refund", "refund", "REFUND ", "lost card"] * 10, "classification"),
        (["yes"] * 30, "dialogue"),
        (["refund", "lost card", "top up"], "dialogue"),
        ([f"answer {number}" for number in range(40)] * 4, "dialogue"),
        (["x" * 65, "lost card"] * 10, "dialogue"),
        ([f"answer {number}" for number in range(201)] * 6, "dialogue"),
    ],
    ids=["labels", "spellings", "one label", "once each", "four times each", "long", "many"],
)
def test_few_and_short_replies_that_stand_again_and_again_are_labels(read, replies, task):
    found = read([row(f"{number:04}", reply) for number, reply in enumerate(replies)])
    assert found.task == task, found.task_reason
    assert bool(found.labels) == (task == "classification")
    assert found.task_reason


def test_of_several_spellings_of_a_label_the_most_frequent_one_is_taken(read):
    replies = ["Refund"] * 4 + ["refund"] * 9 + ["lost card"] * 12
    assert read([row(f"{number:02}", reply) for number, reply in enumerate(replies)]).labels == ["lost card", "refund"]


def test_the_task_can_be_set(read):
    labels = [row(f"{number:02}", reply) for number, reply in enumerate(["refund", "lost card"] * 10)]
    assert read(labels, task="dialogue").labels == []
    assert read(labels[:2], task="classification").labels == ["lost card", "refund"]


def test_the_sample_is_drawn_by_the_seed_whatever_else_is_in_train(read, monkeypatch):
    rows = make_conversations(60)
    rows = [one | {"label": None, "language": "en", "group": None} for one in rows]
    ids = [one["id"] for one in read(rows).sample]
    assert sorted(ids) == sorted(one["id"] for one in rows)
    assert ids != sorted(ids)
    assert ids != [one["id"] for one in read(rows, seed=1).sample]
    assert [one["id"] for one in read(rows[:40]).sample] == [id for id in ids if id in {one["id"] for one in rows[:40]}]
    monkeypatch.setattr(training_data, "SAMPLE", 7)
    assert [one["id"] for one in read(rows).sample] == ids[:7]


def test_long_replies_that_stand_in_several_conversations_are_looked_for_the_most_frequent_first(read, monkeypatch):
    rows = [row(f"plain{number}", f"{CANARY} {number}") for number in range(9)]
    rows += [row(f"canary{number}", "hello", CANARY.upper() if number % 2 else CANARY) for number in range(8)]
    rows += [row(f"twice{number}", f"{CANARY} and once more") for number in range(2)]
    rows += [row("within", f"{CANARY}!", f"{CANARY}!")]  # in one conversation alone
    found = read(rows).repeated
    assert [(one["id"], turn) for one, turn in found] == [("canary0", 3), ("twice0", 1)]
    monkeypatch.setattr(training_data, "REPEATED", 1)
    assert [one["id"] for one, _ in read(rows).repeated] == ["canary0"]


def test_labels_are_counted_once_a_conversation():
    assert training_data.find_task(Counter({"a": 5, "b": 5}), 10)[0] == "classification"
    assert training_data.find_task(Counter({"a": 5, "b": 4}), 9)[0] == "dialogue"
