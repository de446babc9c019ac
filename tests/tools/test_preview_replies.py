"""What the preview says of replies: a refusal in their place, a call written as text, and two columns that may be the reply."""

import json
import re
import shlex
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("in_a_project")

ASKED = {"role": "user", "content": "Is the gate open?"}
REFUSED = {"role": "assistant", "content": None, "refusal": "I can't look at gates."}


def write(*rows: dict) -> str:
    Path("data/raw/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "data/raw/rows.jsonl"


@pytest.mark.parametrize("in_a_list", [True, False])
def test_a_refusal_in_the_content_s_place_is_the_reply_and_beside_one_it_is_said_to_be_unused(in_a_list: bool, look) -> None:
    def rows(*talk: dict) -> list[dict]:
        return [{"messages": [*talk]}] if in_a_list else [{"conversation": "a", **message} for message in talk]

    said, messages = look(write(*rows(ASKED | {"refusal": None}, REFUSED)))
    assert messages == [[ASKED, {"role": "assistant", "content": "I can't look at gates."}]]
    assert "not used" not in said
    said, messages = look(write(*rows(ASKED, REFUSED | {"content": "It is."})))
    assert messages == [[ASKED, {"role": "assistant", "content": "It is."}]]
    assert f"not used{' in the messages' if in_a_list else ''}: refusal" in said


SQUAD = {"id": "1", "title": "The farm", "context": "The gate is old. It has two bars.", "question": "How is the gate?"}


@pytest.mark.parametrize("answers", [{"text": ["old", "Old"], "answer_start": [12, 12]}, [{"text": "old", "answer_start": 12}]])
def test_the_one_answer_in_a_list_is_the_reply(answers: object, look) -> None:
    said, messages = look(write(SQUAD | {"answers": answers}))
    assert "question -> user, answers -> assistant, context -> input, id" in said
    asked = f"{SQUAD['question']}\n\n{SQUAD['context']}"
    assert messages == [[{"role": "user", "content": asked}, {"role": "assistant", "content": "old"}]]


def test_talks_that_are_objects_of_lists_are_read(look) -> None:
    turns = {"turn_id": ["0", "1"], "speaker": ["USER", "SYSTEM"], "utterance": ["Is it open?", "Since noon."]}
    said, messages = look(write({"dialogue_id": "a", "turns": turns}, {"dialogue_id": "b", "turns": turns}))
    assert "a list of messages in 'turns'" in said
    assert messages[0] == [{"role": "user", "content": "Is it open?"}, {"role": "assistant", "content": "Since noon."}]


@pytest.mark.parametrize("cell", ["{'text': array(['old'], dtype=object), 'answer_start': array([8])}", "['old', 'very old']"])
def test_replies_as_python_prints_objects_are_said_to_be_learned_so_and_json_is_not(cell: str, look) -> None:
    def table(reply: str) -> str:
        Path("data/raw/rows.csv").write_text(f'question,answer\nHow is it?,"{reply}"\n', encoding="utf-8")
        return "data/raw/rows.csv"

    note = "answer holds objects as Python prints them, which are read as that text"
    said, [[_, reply]] = look(table(cell))
    assert (note in said, reply["content"]) == (True, cell)
    assert note not in look(table('{""text"": [""old""]}'))[0]
    assert note not in look(table("old"))[0]


CALL = {"type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize("call", ['[look(at="gate")]', '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'])
def test_a_call_written_as_text_before_a_tool_s_result_is_learned_so_and_said(call: str, look) -> None:
    talk = [
        ASKED,
        {"role": "assistant", "content": call},
        {"role": "tool", "content": "shut"},
        {"role": "assistant", "content": "No."},
    ]
    said, messages = look(write({"messages": talk}))
    assert messages == [talk]
    assert "1 tool's result follows a reply that calls none under tool_calls; such a reply is learned as it is written" in said
    assert f"as what the model is to say: {' '.join(call.split())[:40]}" in said
    turns = [
        {"from": who, "value": text} for who, text in (("human", "Open?"), ("gpt", call), ("tool", "shut"), ("tool", "by Bo"))
    ]
    said, _ = look(write({"conversations": [*turns, *turns[1:3], {"from": "gpt", "value": "No."}]}))
    assert "2 tools' results follow replies that call none" in said


@pytest.mark.parametrize(
    "talk",
    [
        [ASKED, {"role": "assistant", "content": '[look(at="gate")]'}],
        [ASKED, {"role": "assistant", "content": "[1]"}, ASKED, {"role": "assistant", "content": "look(gate)"}],
        [
            ASKED,
            {"role": "assistant", "content": "look(gate)", "tool_calls": [CALL]},
            {"role": "assistant", "content": "Let me see."},
            *({"role": "tool", "content": text} for text in ("shut", "by Bo")),
            {"role": "assistant", "content": "No."},
        ],
    ],
)
def test_of_a_reply_that_merely_looks_like_a_call_and_of_real_calls_nothing_is_said(talk: list[dict], look) -> None:
    assert "under tool_calls" not in look(write({"messages": talk}))[0]


TWO = {"question": "What is 6 times 7?", "answer": "42", "ground_truth_solution": "Six times seven is 42."}


@pytest.mark.parametrize(
    ("row", "replies"),
    [
        (TWO, ["answer", "ground_truth_solution"]),
        ({"question": "Who?", "answer": "I think that was Kim.", "ground_truth": "It was Bo."}, ["answer", "ground_truth"]),
        ({"prompt": "Why?", "completion": "It is so.", "参考答案": "因为天已经黑了。"}, ["completion", "参考答案"]),
        ({"instruction": "Why?", "output": "It is so.", "response": "It was so."}, ["output", "response"]),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_which_of_two_columns_is_the_reply_is_asked_with_commands_that_work(
    row: dict, replies: list[str], backwards: bool, look
) -> None:
    said, messages = look(write(dict(reversed(row.items())) if backwards else row))
    assert (messages, f"{replies[0]!r} and {replies[1]!r} may each be the reply" in said) == ([], True)
    first = shlex.split(re.search("`python -m tools.preview ([^`]+)`", said)[1])
    [other] = shlex.split(re.search("or with (.+) in place of", said)[1])
    replaced = [other if part == f"assistant={replies[0]}" else part for part in first]
    assert [look(*typed)[1][0][-1]["content"] for typed in (first, replaced)] == [row[name] for name in replies]


@pytest.mark.parametrize(
    "beside",
    [
        {"answer_type": "a number of two digits"},
        {"response": ""},
        {"reference_answer": "42"},
        {"target": 42},
        {"output_url": "see the web page"},
        {"wrong_answer": "It is 41."},
    ],
)
def test_what_is_no_reply_beside_one_is_not_asked_about(beside: dict, look) -> None:
    assert look(write({key: TWO[key] for key in ("question", "answer")} | beside))[1][0][-1]["content"] == "42"


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"question": "Why?", "answer": {"aliases": ["Because"], "value": "So.", "type": "x"}}, "answer.value -> assistant"),
        ({"question": {"text": "Why?", "tokens": ["Why"]}, "answer": "So."}, "question.text -> user, answer -> assistant"),
    ],
)
def test_a_text_inside_the_objects_of_a_side_is_found(row: dict, columns: str, look) -> None:
    said, messages = look(write(row))
    assert columns in said
    assert [message["content"] for message in messages[0]] == ["Why?", "So."]


def test_where_a_side_is_deeper_the_columns_are_asked_for_and_one_is_shown(look) -> None:
    row = {"request": {"input": {"text": "Why?"}}, "response": {"output": {"text": ["So."]}, "intents": []}}
    assert "or say which column holds what" in look(write(row))[0]
    _, messages = look("data/raw/rows.jsonl", "--columns", "user=request.input.text", "assistant=response.output.text")
    assert [message["content"] for message in messages[0]] == ["Why?", "So."]
    assert "COLUMN may lead into objects: talk.turns, say." in look(write({"talk": {"turns": [ASKED]}, "x": 1}))[0]


def test_verdicts_of_who_labelled_a_text_are_no_replies_and_leave_out_what_they_reject(look) -> None:
    rows = [{"text": f"Open gate {at}.", "label": "open", "_input_hash": at} for at in range(3)]
    answers = ["accept", "reject", "ignore"]
    said, messages = look(write(*(row | {"answer": answer} for row, answer in zip(rows, answers, strict=True))))
    assert "leave_out: answer: [reject, ignore]" in said or "leave_out: {answer: [reject, ignore]}" in said
    assert [[message["content"] for message in talk] for talk in messages] == [["Open gate 0.", "open"]]
    assert len(look(write(*(row | {"answer": "accept"} for row in rows)))[1]) == 3
    said, _ = look(write({"question": "Why?", "answer": "accept", "response": "So."}))
    assert "question -> user, response -> assistant" in said
    assert look(write({"question": "Which?", "answer": "Reject"}, {"question": "Why?", "answer": "It is old."}))[1][0][1] == {
        "role": "assistant",
        "content": "Reject",
    }


def test_two_people_named_alike_but_for_a_number_are_two_sides(look) -> None:
    talk = [{"agent": f"agent_{1 + at % 2}", "message": text} for at, text in enumerate(["Why?", "So.", "Ah.", "Yes."])]
    said, messages = look(write({"dialog": talk}, {"dialog": talk}))
    assert "agent_1 -> user, agent_2 -> assistant: a guess" in said
    assert [message["role"] for message in messages[0]] == ["user", "assistant"] * 2


def test_of_rows_that_name_the_one_before_them_who_begins_is_the_user(look) -> None:
    rows = [("2", "Kim", "Turn the key.", "1"), ("1", "Bo", "How do I open it?", None), ("3", "Bo", "Thanks.", "2")]
    keys = ("mid", "who", "said", "before")
    typed = ["--columns", "role=who", "content=said", "id=mid", "parent=before"]
    said, messages = look(write(*(dict(zip(keys, row, strict=True)) for row in rows)), *typed)
    assert "Bo -> user, Kim -> assistant: a guess, since Bo begins most conversations" in said
    assert [message["role"] for message in messages[0]][:2] == ["user", "assistant"]


def test_talks_of_preferences_are_read_with_those_that_were_rejected_though_pairs_stand_beside_them(look) -> None:
    chosen, rejected = ([ASKED, {"role": "assistant", "content": text}] for text in ("Yes.", "No."))
    pairs = [{"input": ASKED["content"], "output": "Yes."}]
    said, messages = look(write({"conversation": pairs, "chosen": chosen, "rejected": rejected}))
    assert "1 rejected reply" in said
    assert messages == [chosen]


def test_a_column_for_corrections_in_which_there_are_none_asks_nothing(look) -> None:
    row = {"user_message": "Is it open?", "bot_message": "Yes.", "bot_message_edited": ""}
    assert [message["content"] for message in look(write(row, row | {"bot_message": "No."}))[1][1]] == ["Is it open?", "No."]


def test_the_name_of_a_tool_beside_its_result_is_read_and_a_person_s_is_not(look) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    talk = [ASKED, called, {"role": "tool", "name": "look", "content": "open"}, {"role": "assistant", "content": "Yes."}]
    assert "not used" not in look(write({"messages": talk}))[0]
    assert "not used in the messages: name" in look(write({"messages": [ASKED | {"name": "Bo"}, *talk[1:]]}))[0]
