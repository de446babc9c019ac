"""What the preview says, and proposes, of what people thought of replies and of what is no one's words."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import REPO

from tools.preview import __main__ as preview


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What the command prints of rows, on one line each paragraph."""
    (tmp_path / "data/raw").mkdir(parents=True)
    shutil.copy(REPO / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(rows: list[dict], *options: str, code: int = 0) -> str:
        Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["preview", "rows.jsonl", *options])
        assert preview.main() == code
        return " ".join(capsys.readouterr().out.split())

    return run


def pairs(**beside: list) -> list[dict]:
    return [
        {"question": f"Where is shelf {number}?", "answer": f"Beside door {number}."}
        | {key: value[number] for key, value in beside.items()}
        for number in range(4)
    ]


@pytest.mark.parametrize("values", [["up", "down", "up", ""], ["👍", "👎", None, "👍"], [1, -1, 1, 1], ["赞", "踩", "赞", "赞"]])
def test_a_thumb_down_is_proposed_as_context_and_said(look, values: list) -> None:
    said = look(pairs(feedback=values))
    assert "marks: {feedback: train}" in said
    assert "with 1 reply not to learn" in said


def test_grades_are_learned_alike_and_it_is_said_how_to_leave_some_out(look) -> None:
    said = look(pairs(rating=[5, 1, 4, 5]))
    assert "all are learned alike; to leave some out: --leave-out rating=1" in said
    assert "marks:" not in said
    assert "left out rating is 1 1; as stated" in look(pairs(rating=[5, 1, 4, 5]), "--leave-out", "rating=1")


def test_a_label_of_0_and_1_beside_a_prompt_and_its_completion_says_whether_people_liked_it(look) -> None:
    rows = [{"prompt": f"Where is {n}?", "completion": f"At door {n}.", "label": n % 2} for n in range(4)]
    assert "columns: {user: prompt, assistant: completion, desirable: label}" in look(rows)


UNWANTED = {
    "status": (["approved", "rejected", "approved", "approved"], "[rejected]"),
    "审核状态": (["通过", "驳回", "通过", "通过"], "[驳回]"),
    "split": (["train", "test", "validation", "train"], "[test, validation]"),
    "exclude": ([False, True, False, False], "true"),
    "rejected": ([False, True, False, False], "true"),
    "is_deleted": ([None, True, None, None], "true"),
    "approved": ([True, False, True, True], "false"),
    "是否有效": (["是", "否", "是", "是"], "[否]"),
    "is_correct": ([1, 0, 1, 1], "[0]"),
    "skip": ([0, 1, 0, None], "[1]"),
    "is_safe": ([True, False, True, True], "false"),
}


@pytest.mark.parametrize("key", UNWANTED)
@pytest.mark.parametrize("in_lists", [False, True])
def test_rows_that_say_they_are_not_to_be_learned_are_proposed_to_be_left_out(key: str, in_lists: bool, look) -> None:
    values, wanted = UNWANTED[key]
    rows = pairs(**{key: values})
    if in_lists:
        sides = [("user", "question"), ("assistant", "answer")]
        rows = [{"messages": [{"role": role, "content": row[name]} for role, name in sides], key: row[key]} for row in rows]
    said = look(rows)
    assert f"leave_out: {{{key}: {wanted}}}" in said.replace(f"leave_out: {key}: {wanted}", f"leave_out: {{{key}: {wanted}}}")
    left = 1 + wanted.count(",")
    assert f"reads as {4 - left} conversations of {8 - 2 * left} messages" in said
    assert f"left out {key} is " in said


@pytest.mark.parametrize("values", [["approved"] * 4, ["rejected"] * 4])
def test_where_all_rows_say_the_same_none_is_proposed_to_be_left_out(values: list, look) -> None:
    assert "leave_out" not in look(pairs(status=values))


@pytest.mark.parametrize("names", [("question", "answer", "corrected_answer"), ("instruction", "output", "edited_output")])
def test_of_a_reply_and_the_same_one_corrected_the_corrected_one_is_learned(names: tuple[str, str, str], look) -> None:
    rows = [dict(zip(names, (f"Where is shelf {n}?", "No idea.", f"Beside door {n}."), strict=True)) for n in range(4)]
    assert f"columns: {{user: {names[0]}, assistant: {names[2]}}}" in look(rows)
    rows[1][names[2]] = None
    assert "Nothing to paste: the names do not tell" in look(rows, code=1)


def test_a_class_is_none_that_says_so(look) -> None:
    rows = [{"text": f"Is shelf {number} free?", "intent": ["spam", "question"][number % 2]} for number in range(4)]
    assert "leave_out" not in look(rows, "--columns", "user=text", "assistant=intent", "label=intent")
    renamed = [{"text": row["text"], "status": row["intent"]} for row in rows]
    assert "leave_out" not in look(renamed, "--columns", "user=text", "assistant=status", "label=status")


def test_a_quality_of_good_and_bad_is_a_thumb_and_other_words_are_said(look) -> None:
    assert "marks: {quality: train}" in look(pairs(quality=["good", "bad", "good", "good"]))
    assert "--leave-out quality=VALUE" in look(pairs(quality=["high", "low", "high", "high"]))
    assert "--leave-out quality=bad" in look(pairs(quality=["fine", "bad", "fine", "fine"]))


def test_who_says_nothing_is_proposed_to_be_left_out(look) -> None:
    talk = [("customer", "Open?"), ("event", "Kim joined"), ("agent", "Till six."), ("system", "Chat ended")]
    rows = [{"conversation": n, "role": role, "text": f"{text} {n}"} for n in range(3) for role, text in talk]
    assert "leave_out: role: [event, system]" in look(rows)


def test_a_system_message_before_the_talk_stays(look) -> None:
    talk = [("system", "Be brief."), ("customer", "Open?"), ("agent", "Till six.")]
    rows = [{"conversation": n, "role": role, "text": f"{text} {n}"} for n in range(3) for role, text in talk]
    assert "leave_out" not in look(rows)


def test_a_few_pictures_among_texts_are_proposed_to_be_left_out_and_many_are_refused(look) -> None:
    assert 'leave_out: image_path: "*"' in look(pairs(image_path=["a.png", None, None, None]))
    many = pairs(image_path=["a.png"] * 3 + [None])
    assert "of 2 messages" in look(many)
    assert "of 2 messages" in look(many, "--leave-out", "image_path=*")
    assert "--marks image_path=ignore" in look(pairs(image_path=["a.png"] * 4), code=1)
    assert "of 8 messages" in look(many, "--marks", "image_path=ignore")


def test_tools_that_describe_nothing_and_thoughts_by_another_name_are_said(look) -> None:
    said = look(pairs(tools=[["saw"]] * 4, rationale=["It is near."] * 4))
    assert "tools describes nothing that the assistant could call" in said
    assert "rationale may hold thoughts" in said


def test_a_name_that_is_no_ones_can_be_left_out_as_advised(look) -> None:
    talk = [("customer", "Open?"), ("wizard", "Sim"), ("agent", "Till six.")]
    rows = [{"conversation": n, "role": role, "text": f"{text} {n}"} for n in range(3) for role, text in talk]
    assert "--leave-out role=wizard" in look(rows, code=1)
    assert "of 6 messages" in look(rows, "--leave-out", "role=wizard")


def test_what_a_template_without_tools_needs_is_a_step_of_what_is_to_be_done(look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "settings_needed", lambda _: "it knows no tools: set clean.tool_messages to drop")
    said = look(pairs())
    assert "There too, or `dvc repro` stops, since it knows no tools: set clean.tool_messages to drop. and type:" in said
