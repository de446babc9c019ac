"""What talks rest on, in objects, in a second column, or above the rows of a document: read, or asked for; not lost."""

import json
import re
import shlex
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("in_a_project")

HOUSE = "The house has two doors and a gate."
OLD = "It is very old by now."
TALKS = [
    [{"role": "user", "content": f"Where is {what}?"}, {"role": "assistant", "content": f"Look for {what} on the left."}]
    for what in ("the door", "the gate")
]
SHAREGPT = [{"from": "human", "value": "Where is the door?"}, {"from": "gpt", "value": "It is on the left."}]
SYSTEM = {"role": "system", "content": "Be brief."}
PAIR = {"prompt": "How wide is the gate?", "completion": "It is three metres wide."}
ASKED_PAIR = {"question": "How wide is the gate?", "answer": "It is three metres wide."}


def write(row: dict) -> str:
    Path("data/raw/rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return "data/raw/rows.jsonl"


def ways(said: str) -> tuple[list[str], list[str]]:
    """What is to be typed as it is advised: to read the column, and without it."""
    command = shlex.split(re.search("`python -m tools.preview ([^`]+)`", said)[1])
    return command, [part for part in command if part != re.search(r"or without (\S+), by which it is not used", said)[1]]


def document(values: dict) -> str:
    Path("data/raw/rows.json").write_text(json.dumps(values), encoding="utf-8")
    return "data/raw/rows.json"


OF_OBJECTS = [
    [{"title": "Of doors", "text": HOUSE}, {"title": "Of age", "text": OLD}],
    {"title": ["Of doors"], "sentences": [[HOUSE], [OLD]]},
    [{"id": 1, "text": HOUSE}],
    [[HOUSE, OLD]],
]


@pytest.mark.parametrize("cell", OF_OBJECTS)
@pytest.mark.parametrize("row", [{"messages": TALKS[0]}, {"conversations": SHAREGPT}, PAIR, {"messages": [SYSTEM, *TALKS[0]]}])
def test_texts_in_objects_are_asked_for_with_commands_that_work(row: dict, cell: object, look) -> None:
    said, messages = look(write(row | {"documents": cell}))
    assert "'documents' may hold what the talks rest on, but in lists or objects" in said
    assert messages == []
    read, unread = (look(*typed)[1][0] for typed in ways(said))
    assert any(HOUSE in one["content"] for one in read)
    assert not any(HOUSE in one["content"] for one in unread)


@pytest.mark.parametrize(
    "cell", [[HOUSE, OLD], [{"text": f"{HOUSE}\n"}, {"text": OLD}], {"parts": [{"text": HOUSE}, {"text": OLD}]}]
)
def test_a_list_of_texts_is_read_as_one(cell: object, look) -> None:
    read = look(write({"messages": TALKS[0], "context": cell}))[1][0]
    assert read == [
        {"role": "system", "content": f"{HOUSE}\n\n{OLD}" if isinstance(cell, list) else f"{HOUSE}\n{OLD}"},
        *TALKS[0],
    ]


@pytest.mark.parametrize("cell", [["https://a.example", "b.pdf"], [{"title": "Of doors", "url": "a b"}], {"id": 4}, [[]], [{}]])
def test_addresses_names_and_numbers_in_lists_change_nothing(cell: object, look) -> None:
    said, messages = look(write({"messages": TALKS[0], "documents": cell}))
    assert "a standard format that needs no mapping roles" in said
    assert messages == TALKS[:1]


def test_passages_beside_a_question_are_no_talk(look) -> None:
    [asked, answered] = look(write(ASKED_PAIR | {"documents": OF_OBJECTS[0]}))[1][0]
    assert HOUSE in asked["content"]
    assert answered["content"] == ASKED_PAIR["answer"]


def test_a_second_context_beside_any_pair_is_asked_for(look) -> None:
    said, messages = look(write(ASKED_PAIR | {"context": HOUSE, "documents": OLD}))
    assert "'documents' may hold what the talks rest on, as 'context' may too" in said
    assert messages == []
    asked = f"{ASKED_PAIR['question']}\n\n{HOUSE}"
    texts = [[one["content"] for one in look(*typed)[1][0]] for typed in ways(said)]
    assert texts == [[OLD, asked, ASKED_PAIR["answer"]], [asked, ASKED_PAIR["answer"]]]


def test_one_context_beside_any_pair_is_read_but_no_second_wording_of_its_question(look) -> None:
    texts = [*ASKED_PAIR.values()]
    assert [one["content"] for one in look(write(ASKED_PAIR | {"background": HOUSE}))[1][0]] == [HOUSE, *texts]
    assert [one["content"] for one in look(write(ASKED_PAIR | {"instruction": HOUSE}))[1][0]] == texts


@pytest.mark.parametrize("name", ["system", "context", "instruction", "system_prompt"])
@pytest.mark.parametrize("row", [ASKED_PAIR, PAIR, {"messages": TALKS[0]}, TALKS[0]])
def test_what_stands_above_the_rows_of_a_document_is_asked_for(name: str, row: object, look) -> None:
    said, messages = look(document({name: HOUSE, "version": "1 of 2", "data": [row, row]}))
    assert f"{name!r} stands above the rows" in said
    assert messages == []
    typed = shlex.split(re.search("`python -m tools.preview ([^`]+)`", said)[1])
    assert not any(HOUSE in one["content"] for one in look(*typed)[1][0])


@pytest.mark.parametrize(
    ("name", "in_rows"), [("documents", "documents"), ("Definition", "system"), ("taskDescription", "system")]
)
def test_a_list_of_texts_above_the_array_that_is_named_is_asked_for_and_read_from_each_row(name: str, in_rows: str, look) -> None:
    rows = {"train": [ASKED_PAIR], "test": [ASKED_PAIR]}
    said, messages = look(document({name: [HOUSE], **rows}), "--array", "train")
    assert f"{name!r} stands above the rows" in said
    assert f"under the {'same name' if name == in_rows else repr(in_rows)}" in said.replace("the name ", "the ")
    assert messages == []
    typed = shlex.split(re.search("`python -m tools.preview ([^`]+)`", said)[1])
    assert [one["content"] for one in look(*typed)[1][0]] == [*ASKED_PAIR.values()]
    put = document({key: [row | {in_rows: [HOUSE]} for row in value] for key, value in rows.items()})
    assert HOUSE in look(put, "--array", "train")[1][0][0]["content"]


@pytest.mark.parametrize("beside", [{"enable_thinking": False, "tools": []}, {}])
def test_a_system_message_in_an_object_of_the_row_is_proposed_with_its_place(beside: dict, look) -> None:
    rows = [{"messages": talk, "chat_template_kwargs": {"custom_instructions": OLD, **beside}} for talk in TALKS]
    rows += [{"messages": TALKS[0], "chat_template_kwargs": beside}]
    Path("data/raw/rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    said, messages = look("data/raw/rows.jsonl")
    assert "system: chat_template_kwargs.custom_instructions" in said
    assert messages == [[{"role": "system", "content": OLD}, *talk] for talk in TALKS] + [TALKS[0]]


@pytest.mark.parametrize(
    "above",
    [
        {"name": "Of doors", "version": "1 of 2", "license": "as you like", "description": HOUSE, "date": "May 3"},
        {"system": "", "context": None, "instruction": 7, "background": "web", "document": {"id": 3}},
        {"messages_of": "all", "persona": TALKS[0][0]["content"]},
    ],
)
def test_what_says_nothing_of_the_rows_above_them_blocks_nothing(above: dict, look) -> None:
    assert look(document({**above, "data": [{"messages": talk} for talk in TALKS]}))[1] == TALKS


def test_what_rows_say_too_or_a_talk_that_is_the_document_blocks_nothing(look) -> None:
    talk = [{"role": "system", "content": HOUSE}, *TALKS[0]]
    assert look(document({"system": OLD, "data": [{"messages": TALKS[0], "system": HOUSE}]}))[1] == [talk]
    assert look(document({"system": HOUSE, "messages": TALKS[0]}))[1] == [talk]


def test_of_a_folder_the_document_that_says_it_is_named(look) -> None:
    Path("data/raw/mine").mkdir()
    Path(document({"data": [ASKED_PAIR]})).rename("data/raw/mine/a.json")
    Path(document({"system": HOUSE, "data": [ASKED_PAIR]})).rename("data/raw/mine/b.json")
    assert "data/raw/mine/b.json: 'system' stands above the rows" in look("data/raw/mine")[0]
