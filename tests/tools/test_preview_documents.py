"""JSON documents of several arrays: which one is read is asked for, and no part of a data set gets into another unsaid."""

import json
import re
import shlex
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("in_a_project")

GATE = {"question": "Is the gate old?", "answer": "It is very old."}
DOOR = {"question": "Is the door red?", "answer": "It was red once."}
TALK = [{"role": "user", "content": GATE["question"]}, {"role": "assistant", "content": GATE["answer"]}]


def document(values: object) -> str:
    Path("data/raw/rows.json").write_text(json.dumps(values), encoding="utf-8")
    return "data/raw/rows.json"


def said_by(messages: list[list[dict]]) -> list[str]:
    return [message["content"] for talk in messages for message in talk]


@pytest.mark.parametrize("first", ["train", "test"])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ([GATE], [DOOR]),
        ([{"messages": TALK}], [{"messages": TALK}]),
        ([TALK], [TALK, TALK]),
        (TALK, TALK),
        ({key: [text] for key, text in GATE.items()}, {key: [text] for key, text in DOOR.items()}),
        ({"a7": GATE, "a8": GATE}, {"a9": DOOR}),
        ([{"text": GATE["question"], "label": GATE["answer"]}], [{"text": DOOR["question"], "label": DOOR["answer"]}]),
    ],
)
def test_of_the_parts_of_a_data_set_one_is_read_by_the_command_that_is_told_and_no_other(
    train: object, test: object, first: str, look
) -> None:
    parts = {"train": train, "test": test}
    said, messages = look(document({first: parts[first], **parts}))
    assert (messages, "2 arrays (" in said) == ([], True)
    typed = shlex.split(re.search("`python -m tools.preview ([^`]+)`", said)[1])
    assert typed == ["data/raw/rows.json", "--array", "train"]
    said, messages = look(*typed)
    assert "rows_train: format: json path: data/raw/rows.json array: train" in said
    assert {*said_by(messages)} == {*GATE.values()}
    assert len(messages) == (2 if "a7" in train else 1)
    if test in ([DOOR], {"a9": DOOR}):
        assert said_by(look(*typed[:-1], "test")[1]) == [*DOOR.values()]


def test_questions_with_their_answers_are_no_talk_though_their_document_holds_another_list(look) -> None:
    said, messages = look(document({"faq": [GATE, DOOR], "tags": ["old", "red", "gate"]}))
    assert (messages, "2 arrays ('faq', 'tags')" in said) == ([], True)
    assert len(look("data/raw/rows.json", "--array", "faq")[1]) == 2
    assert "--array faq`" in look(document({"tags": ["old", "red", "gate"], "by": [{"name": "Bo"}], "faq": [GATE, DOOR]}))[0]
    assert len(look(document({"conversation": [GATE, DOOR], "tags": ["old", "red", "gate"]}))[1]) == 1


def test_texts_with_their_intents_are_no_talk_of_two_sides(look) -> None:
    texts = [{"text": "Open the gate.", "intent": "open"}, {"text": "Shut it again.", "intent": "shut"}]
    for values in ({"nlu": {"common_examples": texts, "regex": []}}, {"common_examples": texts, "regex": [1]}):
        assert look(document(values))[1] == []
    assert "a list of messages without roles" in look(document([{"dialog": texts}, {"dialog": texts}]))[0]


def test_an_array_that_is_not_there_or_a_file_that_is_no_document_is_said(look) -> None:
    document({"train": [GATE], "test": [DOOR]})
    assert (
        "no array 'trian'; found 'train', 'test' (see the source's `array`)" in look("data/raw/rows.json", "--array", "trian")[0]
    )
    Path("data/raw/rows.csv").write_text("question,answer\nOld?,Very.\n", encoding="utf-8")
    assert "this is csv; leave it out" in look("data/raw/rows.csv", "--array", "train")[0]


def test_a_document_of_columns_is_rows_and_one_of_other_lists_is_not(look) -> None:
    columns = {key: [GATE[key], DOOR[key]] for key in GATE}
    assert said_by(look(document(columns))[1]) == [*GATE.values(), *DOOR.values()]
    standard = {"prompt": columns["question"], "completion": columns["answer"], "label": ["a", "b"]}
    assert said_by(look(document(standard))[1]) == [*GATE.values(), *DOOR.values()]
    for other in ({"faq": [GATE, DOOR], "tags": ["a", "b"]}, {"question": ["Old?", "Red?"], "answer": ["Very."]}):
        assert "2 arrays" in look(document(other))[0]


@pytest.mark.parametrize(
    ("row", "typed"),
    [
        ({"alpha": "Is it old?", "beta": "Very."}, []),
        ({"messages": TALK, "documents": [{"id": 1, "text": "The gate is old."}]}, []),
        ({"messages": [*TALK[:1], TALK[1] | {"skip_loss": True}]}, []),
        (
            {"talk": [{"who": who, "text": "Old?"} for who in ("Al", "Bo", "Cy")]},
            ["--columns", "messages=talk", "role=who", "content=text"],
        ),
    ],
    ids=["columns", "contexts", "marks", "roles"],
)
def test_what_is_to_be_typed_next_names_what_was_typed_before(row: dict, typed: list[str], look) -> None:
    said, messages = look(document({"train": [row], "test": [row]}), "--array", "train", *typed)
    assert messages == []
    commands = re.findall("python -m tools.preview ([^`#]*?)(?:`| {2}|#| python| Nothing)", said)
    assert len(commands) > 0
    assert all(" --array train --" in command for command in commands)
    if typed:
        assert all("--columns messages=talk role=who content=text" in one for one in commands if "--roles" in one)


def test_each_array_of_a_file_is_a_source_of_its_own(look) -> None:
    params = Path("params.yaml").read_text(encoding="utf-8")
    entry = "    mine:\n      format: json\n      path: data/raw/rows.json\n      array: train\n"
    Path("params.yaml").write_text(params.replace("  sources:\n", f"  sources:\n{entry}"), encoding="utf-8")
    document({"train": [GATE], "test": [DOOR]})
    assert "params.yaml reads this file already" in look("data/raw/rows.json", "--array", "train")[0]
    assert (
        "To train on it, paste this under `collect.sources` in params.yaml: rows_test:"
        in look("data/raw/rows.json", "--array", "test")[0]
    )
