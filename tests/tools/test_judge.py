"""Judges: pairs without names in both orders; an opinion that follows the place is none; no verdict before people have voted."""

import contextlib
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import tiny_params, write_conversations, write_params

from stages.evaluate.votes import add_hashes
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_jsonl
from stages.lib.records.conversation import conversations_of
from stages.lib.records.scores import REPLIES
from tools import judge

NUMBER = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty replies of each model, and one pair of equal replies. Read it, never write."""
    folder = tmp_path_factory.mktemp("judge")
    rows, test = [], []
    for at in range(NUMBER + 1):
        id = f"chats/{at:02}"
        messages = [{"role": "user", "content": f"question {at}"}, {"role": "assistant", "content": "reference"}]
        test.append({"id": id, "label": None, "language": "en", "group": None, "messages": messages})
        replies = ("same", "same") if at == NUMBER else (f"first kind {at}", f"second kind {at}")
        rows.append({"id": id, "turn": 1, "group": id, "base_reply": replies[0], "tuned_reply": replies[1]})
    write_conversations(folder / conversations_of("test"), test)
    (folder / REPLIES).parent.mkdir(parents=True)
    add_hashes(pd.DataFrame(rows)).to_parquet(folder / REPLIES)
    params = tiny_params()
    params["evaluate"]["votes"] = "votes.jsonl"
    write_params(folder, params)
    return folder


@pytest.fixture(scope="module")
def requests(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    path = tmp_path_factory.mktemp("asked") / "pairs.jsonl"
    with contextlib.chdir(folder):
        judge.ask(path, 200, "some-model")
        with pytest.raises(ReprotuneError, match="is there already"):
            judge.ask(path, 200, "some-model")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def asked(request: dict) -> str:
    return request["body"]["messages"][1]["content"]


def answer(request: dict, preferred: str) -> str:
    """The letter of the reply that holds these words, which the judge prefers."""
    return "A" if preferred in asked(request).partition("[Reply B]")[0] else "B"


def told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, answers: list[dict], votes: list[dict] = ()) -> str:
    write_jsonl(tmp_path / "answers.jsonl", answers)
    (folder / "votes.jsonl").write_text("".join(json.dumps(vote) + "\n" for vote in votes) or "\n", encoding="utf-8")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["judge", "read", str(tmp_path / "answers.jsonl")])
        judge.main()
    return capsys.readouterr().out


def batch(request: dict, said: str) -> dict:
    body = {"choices": [{"message": {"role": "assistant", "content": said}}]}
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def votes_for(requests: list[dict], number: int, winner: str = "tuned") -> list[dict]:
    pairs = [request["custom_id"][:-2] for request in requests if request["custom_id"].endswith("-1")][:number]
    return [{"id": "chats/00", "turn": 1, "replies": pair, "winner": winner} for pair in pairs]


def test_each_pair_is_asked_in_both_orders_and_nothing_says_whose_reply_is_whose(requests: list[dict]) -> None:
    assert len(requests) == len({request["custom_id"] for request in requests}) == 2 * NUMBER
    assert {(request["url"], request["body"]["model"]) for request in requests} == {("/v1/chat/completions", "some-model")}
    by_pair: dict[str, list[str]] = {}
    for request in requests:
        assert not any(word in json.dumps(request).lower() for word in ("tuned", "base", "reference"))
        by_pair.setdefault(request["custom_id"][:-2], []).append(asked(request))
    first = [texts[0].index("first kind") < texts[0].index("second kind") for texts in by_pair.values()]
    assert all(one != (texts[1].index("first kind") < texts[1].index("second kind")) for one, texts in
               zip(first, by_pair.values(), strict=True))  # fmt: skip
    assert 10 < sum(first) < NUMBER - 10


def test_before_people_have_voted_on_fifty_of_its_pairs_nothing_is_said_of_its_opinion(
    folder: Path, requests: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    answers = [batch(request, answer(request, "second kind")) for request in requests]
    for number in (0, 49):
        said = told(folder, tmp_path, capsys, answers, votes_for(requests, number))
        assert f"no verdict: people have voted on {number} of its pairs" in said
        assert "wins" not in said
    elsewhere = [vote | {"replies": "0" * 16} for vote in votes_for(requests, 60)]
    assert "voted on 0 of its pairs" in told(folder, tmp_path, capsys, answers, elsewhere)


def test_from_fifty_votes_on_it_says_how_far_it_agrees_with_people_and_who_wins(
    folder: Path, requests: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    answers = [batch(request, f" **{answer(request, 'second kind')}**\n") for request in requests]
    votes = [*votes_for(requests, 40), *votes_for(requests[40:], 10, "base")]
    said = told(folder, tmp_path, capsys, answers, votes)
    assert "it agrees with people on 40 of 50 pairs (80%," in said
    assert "always saying tuned would on 80%" in said
    assert "by its opinion tuned wins 100% of 60 pairs (94% to 100%)" in said


def test_who_always_takes_the_first_place_prefers_nobody(
    folder: Path, requests: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    said = told(folder, tmp_path, capsys, [batch(request, "A") for request in requests], votes_for(requests, 50))
    assert "a place and not a reply in 60 of them (100%)" in said
    assert "tuned wins 50% of 60 pairs" in said


def test_what_is_no_answer_in_both_orders_is_counted_and_left_out(
    folder: Path, requests: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    answers = [{"custom_id": request["custom_id"], "answer": "t"} for request in requests]
    answers[0] = {"custom_id": requests[0]["custom_id"], "answer": "both are fine"}
    answers[1] = {"custom_id": requests[1]["custom_id"], "response": None, "error": {"message": "busy"}}
    said = told(folder, tmp_path, capsys, [*answers, {"custom_id": "0" * 16 + "-1", "answer": "A"}])
    assert "58 pairs judged in both orders; left out: 2 in one order alone, 1 of another run, 2 neither A, B nor T" in said


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"answer": "A"}', '{"custom_id": 7, "answer": "A"}', pytest.param("[" * 100_000, id="deep")]
)
def test_a_line_that_answers_nothing_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "answers.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"answers\.jsonl:1: no answer to a request"):
        judge.read_answers(tmp_path / "answers.jsonl")


@pytest.mark.parametrize("number", [0, -5])
def test_no_pairs_are_nothing_to_ask(tmp_path: Path, number: int) -> None:
    with pytest.raises(ReprotuneError, match=f"--pairs {number}: expected 1 or more"):
        judge.ask(tmp_path / "pairs.jsonl", number, "some-model")
    assert not (tmp_path / "pairs.jsonl").exists()


def test_answers_that_are_not_there_are_no_result_of_a_stage(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match="no such file") as error:
        judge.read_answers(tmp_path / "answers.jsonl")
    assert "dvc" not in str(error.value).replace(str(tmp_path), "")
