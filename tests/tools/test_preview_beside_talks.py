"""What stands beside talks: what they rest on becomes their system message, or is asked for; keys of which turns are learned."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("in_a_project")

HOUSE = "The house has two doors and a gate."
TALKS = [
    [
        {"role": "user", "content": f"How do I open {what}?"},
        {"role": "assistant", "content": f"Turn the key of {what} twice."},
        {"role": "user", "content": f"And who locks {what} at night?"},
        {"role": "assistant", "content": f"Nobody has locked {what} so far."},
    ]
    for what in ("the door", "the gate")
]
SHAREGPT = [
    [{"from": {"user": "human", "assistant": "gpt"}[one["role"]], "value": one["content"]} for one in talk] for talk in TALKS
]
PAIR = {"prompt": "How wide is the gate?", "completion": "It is three metres wide."}
SYSTEM = {"role": "system", "content": "Be brief."}


def write(*rows: dict) -> str:
    Path("data/raw/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "data/raw/rows.jsonl"


NAMES = [
    "context",
    "instruction",
    "background",
    "document",
    "passages",
    "knowledge",
    "systemPrompt",
    "meta_instruction",
    "上下文",
]


@pytest.mark.parametrize(("key", "talks"), [("messages", TALKS), ("conversations", SHAREGPT)])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_standard_list_rests_on_is_its_system_message_where_there_is_any(name: str, key: str, talks: list, look) -> None:
    said, messages = look(write({"id": "a", key: talks[0], name: HOUSE}, {"id": "b", key: talks[1], name: None}))
    assert f"but for {name}, which is a system message; a proposal" in said
    assert messages == [[{"role": "system", "content": HOUSE}, *TALKS[0]], TALKS[1]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cells", [(None, ""), ("web", "app"), (17, 18), ({"user": 4}, {"user": 5}), ([], None)])
def test_a_column_without_texts_changes_nothing(name: str, cells: tuple, look) -> None:
    said, messages = look(write(*({"messages": talk, name: cell} for talk, cell in zip(TALKS, cells, strict=True))))
    assert "a standard format that needs no mapping roles" in said
    assert messages == TALKS


@pytest.mark.parametrize("name", ["instruction", "system_message_text", "document"])
def test_what_the_talk_says_itself_is_nothing_that_it_rests_on(name: str, look) -> None:
    said, messages = look(write(*({"messages": talk, name: talk[0]["content"]} for talk in TALKS)))
    assert "a standard format that needs no mapping roles" in said
    assert messages == TALKS


def test_the_same_text_as_a_system_message_stands_there_once(look) -> None:
    talks = [[SYSTEM, *TALKS[0]], TALKS[1]]
    rows = [{"messages": talk, "context": text} for talk, text in zip(talks, ("Be brief.", HOUSE), strict=True)]
    assert look(write(*rows))[1] == [talks[0], [{"role": "system", "content": HOUSE}, *TALKS[1]]]


@pytest.mark.parametrize(
    ("row", "first", "other"),
    [
        ({"messages": [SYSTEM, *TALKS[0]], "context": HOUSE}, [HOUSE, "Be brief."], ["Be brief."]),
        ({"messages": TALKS[0], "system": "Be brief.", "document": HOUSE}, [HOUSE], ["Be brief."]),
        ({"messages": TALKS[0], "document": HOUSE, "background": "It is old."}, [HOUSE], ["It is old."]),
        ({"dialog": TALKS[0], "context": "It is old.", "document": HOUSE}, [HOUSE], ["It is old."]),
    ],
)
def test_a_second_system_message_is_asked_for_with_commands_that_work(row: dict, first: list, other: list, look) -> None:
    said, messages = look(write(row))
    assert messages == []
    assert "may hold what the talks rest on" in said
    command = shlex.split(re.search("`python -m tools.preview ([^`]+)`", said)[1])
    mapped = next(part for part in command if part.startswith("system="))
    instead = re.search(r"or with (\S+) in its place", said)
    assert bool(instead) == (f"or without {mapped}" not in said)
    chosen = [part for part in command if part != mapped] + ([instead[1]] if instead else [])
    for typed, wanted in ((command, first), (chosen, other)):
        systems = [one["content"] for one in look(*typed)[1][0] if one["role"] == "system"]
        assert systems == wanted


def test_an_empty_system_column_is_no_second_one(look) -> None:
    assert look(write({"messages": TALKS[0], "system": "", "context": HOUSE}))[1][0][0] == {"role": "system", "content": HOUSE}


def test_a_context_beside_a_standard_pair_belongs_to_its_question(look) -> None:
    asked = {"role": "user", "content": f"How wide is the gate?\n\n{HOUSE}"}
    assert look(write(PAIR | {"context": HOUSE}))[1] == [[asked, {"role": "assistant", "content": PAIR["completion"]}]]
    alpaca = {"instruction": PAIR["prompt"], "input": "", "output": PAIR["completion"], "context": HOUSE}
    assert [one["content"] for one in look(write(alpaca))[1][0]] == [HOUSE, *PAIR.values()]
    said, messages = look(write(PAIR | {"context": None}))
    assert "a standard format that needs no mapping reads as" in said
    assert [one["content"] for one in messages[0]] == [*PAIR.values()]


@pytest.mark.parametrize(("same", "system"), [(True, [HOUSE]), (False, [])])
def test_a_context_of_rows_that_are_messages_is_one_where_all_rows_of_a_talk_have_it(same: bool, system: list, look) -> None:
    with Path("data/raw/rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [[7, one["role"], one["content"], HOUSE if same else f"{HOUSE} {at}"] for at, one in enumerate(TALKS[0])]
        csv.writer(file).writerows([["ticket_id", "role", "content", "context"], *rows])
    messages = look("data/raw/rows.csv")[1][0]
    assert [one["content"] for one in messages] == [*system, *(one["content"] for one in TALKS[0])]


def test_rows_of_several_layouts_stay_as_they_are(look) -> None:
    said, messages = look(write(*({"messages": talk, "context": HOUSE} for talk in TALKS), PAIR))
    assert "columns:" not in said
    assert [len(talk) for talk in messages] == [4, 4, 2]


LAST = "where it asks for that, only the last reply of a conversation is learned"
ASKED = [
    ({"only_last_turn_loss": True}, "only_last_turn_loss", LAST, [0, None]),
    ({"metadata": {"mask_history": True}}, "mask_history", LAST, [0, None]),
    ({"mask_prompt": True}, "mask_prompt", "asks for nothing but what is done anyway", [None, None]),
    ({"train_on_inputs": True}, "train_on_inputs", "asks that questions be learned too, which is not done", None),
    ({"mask_last_turn": True}, "mask_last_turn", "says which turns are to be learned, in a way that can't be read", None),
]


@pytest.mark.parametrize(("beside", "key", "note", "weights"), ASKED)
def test_what_a_key_asks_for_is_said_and_done_or_stops(beside: dict, key: str, note: str, weights: list | None, look) -> None:
    path = write({"messages": TALKS[0], **beside})
    said, messages = look(path)
    assert f"{key}: {note}" in said
    assert "not used" not in said
    if weights is None:
        assert messages == []
        assert said.count("Nothing to paste: ") == 1
        assert f"--marks {key}=ignore" in said
        said, messages = look(path, "--marks", f"{key}=ignore")
        assert f"marks: {{{key}: ignore}}" in said
    assert [one.get("weight") for one in messages[0] if one["role"] == "assistant"] == (weights or [None, None])


def test_a_measured_loss_says_nothing_of_turns(look) -> None:
    said, messages = look(write({"messages": TALKS[0], "final_loss": 0.13}))
    assert "not used: final_loss" in said
    assert messages == TALKS[:1]


@pytest.mark.parametrize("models", [["gpt-4o"], ["gpt-4o", "org/some-7b:free"]])
@pytest.mark.parametrize("key", ["choices", "target", "expected"])
def test_a_models_name_is_no_reply_where_another_column_holds_the_reply(models: list[str], key: str, look) -> None:
    replies = [f"It is {number} metres wide." for number in range(len(models))]
    asked = [{"role": "user", "content": "How wide is the gate?"}]
    held = [[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": one}}] for one in replies]
    cells = held if key == "choices" else replies
    rows = [{"id": f"c{at}", "model": model, "messages": asked, key: cells[at]} for at, model in enumerate(models)]

    assert [messages[-1]["content"] for messages in look(write(*rows))[1]] == replies


@pytest.mark.parametrize("reply", ["42", "Hello", "At noon."])
def test_a_short_reply_is_no_models_name(reply: str, look) -> None:
    row = {"user": "How many?", "assistant": reply, "target": "other"}
    assert look(write(row))[1][0][-1]["content"] == reply
