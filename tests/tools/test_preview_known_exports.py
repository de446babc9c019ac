"""Public layouts that can't be mapped are refused in one line, and what that line asks for is read."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import REPO

from stages.lib.core.errors import ReprotuneError
from tools.preview import __main__ as preview

TEXTS = [("Is the lock oiled?", "Twice a year, in spring."), ("河水有多深？", "两米，春天更深一些。")]


def reply(text: str, rank: int, *replies: dict) -> dict:
    return {"text": text, "role": "assistant", "rank": rank, "replies": list(replies)}


def refused(question: str, answer: str) -> dict[str, tuple[dict, str]]:
    """Name -> a row, and words of the reason."""
    talk = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    texts = {"Human": f"<|Human|>: {question}<eoh>", "Inner Thoughts": "None", "MOSS": f"<|MOSS|>: {answer}<eom>"}
    comment = {"part_type": "comment", "body": answer, "author": {"type": "admin"}}
    parts = {"type": "conversation_part.list", "conversation_parts": [comment]}
    choices = [{"value": {"choices": ["locks"]}, "type": "choices"}]
    tree = {"text": question, "role": "prompter", "replies": [reply(answer, 0), reply("No.", 1)]}
    return {
        "tree": ({"message_tree_id": "t", "prompt": tree}, "'prompt' holds a tree of messages"),
        "moss": ({"conversation_id": 1, "chat": {"turn_1": texts, "turn_2": texts}}, "'chat' holds MOSS's turns"),
        "segments": (
            {"segments": [{"label": False, "text": question}, {"label": True, "text": answer}]},
            "'segments' holds Axolotl's segments",
        ),
        "intercom": (
            {"id": question, "source": {"body": question}, "conversation_parts": parts},
            "'conversation_parts' holds Intercom's conversations",
        ),
        "label_studio": (
            {"id": 1, "data": {"text": question}, "annotations": [{"id": 1, "result": choices}]},
            "'annotations' holds Label Studio's annotations",
        ),
        "answers": (
            {"question": question, "answers": [{"text": answer, "author": "Kim"}, {"text": "No.", "author": "Bo"}]},
            "'answers' holds several answers to each question, which are no turns of a talk",
        ),
        "squad": (
            {"title": "t", "paragraphs": [{"context": "", "qas": [{"question": question, "answers": [{"text": answer}]}]}]},
            "'paragraphs' holds SQuAD's paragraphs",
        ),
        "coqa": (
            {"story": "s", "questions": [question, "Why?"], "answers": {"input_text": [answer, "No."], "answer_start": [3, 9]}},
            "'questions' and 'answers' hold a talk's questions and the replies to them, in two lists",
        ),
        "mt_bench": (
            {"question_id": question, "turns": [question, "Why?"], "reference": [answer, "No."]},
            "'turns' and 'reference' hold a talk's questions and the replies to them",
        ),
        "instances": (
            {"instruction": "Say it.", "instances": [{"input": question, "output": answer}, {"input": "", "output": "No."}]},
            "'instances' holds examples of an instruction",
        ),
        "ai_studio": (
            {"chunkedPrompt": {"chunks": [{"role": "user", "text": question, "tokenCount": 3}], "pendingInputs": []}},
            "'chunks' holds Google AI Studio's prompt",
        ),
        "silly_tavern": ({"name": "Bo", "is_user": False, "mes": question}, "'mes' holds one chat of SillyTavern"),
        "lm_studio": (
            {"versions": [{"type": "singleStep", "role": "user", "content": question}], "currentlySelected": 0},
            "'versions' holds LM Studio's messages",
        ),
        "comments": (
            {"title": question, "comments": [{"body": answer, "author": "Bo", "replies": [{"body": "No.", "author": "Al"}]}]},
            "'comments' holds a tree of messages",
        ),
        "arc": (
            {"question": question, "choices": {"text": [answer, "No."], "label": ["A", "B"]}, "answerKey": "B"},
            "'choices' can be chosen from, and the answer names one of them by its place",
        ),
        "options": (
            {"question": question, "choices": [answer, "No."], "answer": 0},
            "'choices' can be chosen from, and the answer names one of them by its place",
        ),
        "lettered": ({"question": question, "A": answer, "B": "No.", "answer": "B"}, "'A' and 'B' can be chosen from"),
        "speakers": (
            {"dialogue": [question, answer, "Thanks."], "speakers": ["Kim", "Kim", "Bo"]},
            "'speakers' names who says each text of a list beside it, and they do not take turns",
        ),
        "batch": (
            {"custom_id": question, "method": "POST", "body": {"messages": talk[:1]}},
            "'body' holds a batch's requests",
        ),
        "anthropic_batch": ({"custom_id": question, "params": {"messages": talk[:1]}}, "'params' holds a batch's requests"),
        "anthropic_batch_output": (
            {"custom_id": question, "result": {"type": "succeeded", "message": talk[1]}},
            "'result' holds a batch's replies",
        ),
        "batch_output": (
            {"id": "b", "custom_id": question, "response": {"body": {"choices": [{"message": talk[1]}]}}, "error": None},
            "'response' holds a batch's replies",
        ),
        "shp": (
            {"history": question, "c_root_id_A": "x", "human_ref_A": answer, "human_ref_B": "Who could know that?", "labels": 1},
            "'human_ref_A' and 'human_ref_B' hold two replies to one question, of which only the preferred one is to be learned, "
            "which 'labels' may say",
        ),
        "beavertails": (
            {"prompt": question, "response_0": answer, "response_1": "Who could know that?", "better_response_id": 0},
            "'response_0' and 'response_1' hold two replies",
        ),
        "arena": (
            {"model_a": "m", "model_b": "n", "conversation_a": talk, "conversation_b": talk, "winner": "model_a"},
            "'conversation_a' and 'conversation_b' hold two replies",
        ),
    }  # fmt: skip


NAMES = list(refused("", ""))


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    shutil.copy(REPO / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def look(monkeypatch: pytest.MonkeyPatch, rows: list[dict], *options: str) -> int:
    Path("rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["preview", "rows.jsonl", *options])
    return preview.main()


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_is_named_with_what_to_write_which_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReprotuneError) as error:
        look(monkeypatch, [refused(*texts)[name][0] for texts in TEXTS])
    said = str(error.value)
    assert said.startswith(f"rows.jsonl: {refused('', '')[name][1]}")
    assert "\n" not in said
    assert capsys.readouterr().out == ""
    if name == "label_studio":
        written = [{"text": question, "topic": "locks", "annotator": 1} for question, _ in TEXTS]
    else:
        example = said[said.index(": {", said.index("a line for each")) + 2 :]
        written = [
            json.loads(example.replace("...", "%s") % ((question, answer, "No.")[: example.count("...")]))
            for question, answer in TEXTS
        ]
    assert look(monkeypatch, written) == 0
    assert "2 conversations of 4 messages" in capsys.readouterr().out


def test_two_replies_options_and_speakers_that_lose_nothing_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": q, "response_a": a, "response_b": "Who could know?", "chosen": a, "rejected": "Who?"} for q, a in TEXTS]
    assert look(monkeypatch, rows) == 0
    told = [{"history": q, "human_ref_A": a, "human_ref_B": "Who could know?"} for q, a in TEXTS]
    assert look(monkeypatch, told, "--columns", "user=history", "assistant=human_ref_A") == 0
    chosen = [{"question": q, "choices": [a, "No."], "answer": a} for q, a in TEXTS]
    assert look(monkeypatch, chosen) == 0
    told = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}], "questions": [q], "answers": [a]}
        for q, a in TEXTS
    ]
    assert look(monkeypatch, [one | {key: one[key] * 2 for key in ("questions", "answers")} for one in told]) == 0
    capsys.readouterr()
    options = [{"question": q, "choices": {"text": [a, "No."], "key": ["A", "B"]}, "answer": a} for q, a in TEXTS]
    assert look(monkeypatch, options) == 0
    assert "question -> user, answer -> assistant" in capsys.readouterr().out
    assert look(monkeypatch, [{"questions": [q], "answers": [a]} for q, a in TEXTS]) == 1  # it asks
    by_turns = [{"dialogue": [q, a], "speakers": ["Kim", "Bo"]} for q, a in TEXTS]
    assert look(monkeypatch, by_turns) == 0
    named = [{"frage_a": 1, "frage_b": 2, "x": q} for q, _ in TEXTS]
    assert look(monkeypatch, named) == 1
    assert "hold two replies" not in capsys.readouterr().out
