"""Replies of other models: what is read, what is compared, and that a part is never passed off as the whole."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from evaluation import evaluate_folder, example, many

from stages.evaluate.reply_files import read_other_models
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.scores import REPLIES

ROWS = many(40)
LABELS = ["card lost", "top up", "refund"]


def conversation(id: str, replies: int = 1) -> dict:
    messages = [{"role": role, "content": f"{role} {at}"} for at in range(replies) for role in ("user", "assistant")]
    return {"id": id, "label": None, "language": "en", "group": None, "messages": messages}


TEST = [conversation("chats/1"), conversation("chats/2", 2)]


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) or "\n", encoding="utf-8")
    return path


def test_a_reply_stands_for_the_last_message_or_for_the_turn_that_it_names(tmp_path: Path) -> None:
    rows = [{"id": "chats/2", "reply": "last"}, {"id": "chats/2", "turn": 1, "reply": "first"}, {"id": "chats/1", "reply": ""}]
    found = read_other_models(write(tmp_path / "hosted.jsonl", rows), TEST)
    assert found["hosted"].replies == {("chats/2", 3): "last", ("chats/2", 1): "first", ("chats/1", 1): ""}


def test_replies_to_nothing_of_test_are_counted(tmp_path: Path) -> None:
    strange = [
        {"id": "chats/9", "reply": "x"},
        {"id": "chats/1", "turn": 0, "reply": "x"},
        {"id": "chats/1", "turn": 5, "reply": "x"},
    ]
    found = read_other_models(write(tmp_path / "hosted.jsonl", [{"id": "chats/1", "reply": "yes"}, *strange]), TEST)
    assert (found["hosted"].foreign, len(found["hosted"].replies)) == (3, 1)


def test_in_a_folder_each_file_is_a_model_and_a_file_without_a_row_is_none(tmp_path: Path) -> None:
    for name in ("year_2024", "year_2025"):
        write(tmp_path / "models" / f"{name}.jsonl", [{"id": "chats/1", "reply": name}])
    (tmp_path / "models" / ".DS_Store").write_text("x", encoding="utf-8")
    assert list(read_other_models(tmp_path / "models", TEST)) == ["year_2024", "year_2025"]
    assert read_other_models(write(tmp_path / "no_contenders.jsonl", []), TEST) == {}


@pytest.mark.parametrize(
    ("name", "rows", "problem"),
    [
        ("hosted.jsonl", [{"id": "chats/1"}], "hosted.jsonl:1: reply: Field required"),
        ("hosted.jsonl", [{"id": 1, "reply": "x"}], "hosted.jsonl:1: id: Input should be a valid string"),
        ("hosted.jsonl", [{"id": "chats/1", "reply": None}], "hosted.jsonl:1: reply: Input should be a valid string"),
        ("hosted.jsonl", [{"id": "chats/1", "reply": "x", "score": 1}], "unknown key score"),
        ("hosted.jsonl", [{"id": "chats/1", "reply": "x"}, {"id": "chats/1", "turn": 1, "reply": "y"}], "a second reply to"),
        ("hosted.jsonl", [{"id": "other/1", "reply": "x"}], "none of its 1 replies is to a message of test"),
        ("tuned.jsonl", [{"id": "chats/1", "reply": "x"}], "its name is the model's"),
        ("my model.jsonl", [{"id": "chats/1", "reply": "x"}], "its name is the model's"),
        ("models/hosted.csv", [{"id": "chats/1", "reply": "x"}], "expected only .jsonl files of replies"),
        ("models/hosted.jsonl", [], "no reply in it"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_replies_is_one_line_that_says_why(tmp_path: Path, name: str, rows: list, problem: str) -> None:
    path = write(tmp_path / name, rows)
    with pytest.raises(ReprotuneError) as caught:
        read_other_models(tmp_path / "models" if "/" in name else path, TEST)
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\udcff"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosted.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(ReprotuneError, match=r"hosted\.jsonl:1: "):
        read_other_models(path, TEST)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"gone\.jsonl: not found; evaluate\.contenders names"):
        read_other_models(tmp_path / "gone.jsonl", TEST)


# Compared


def evaluate_beside(folder: Path, models: dict[str, list[dict]], rows: list[dict] = ROWS, **more: object) -> dict:
    for name, replies in models.items():
        write(folder / "others" / f"{name}.jsonl", replies)
    return evaluate_folder(folder, rows, contenders="others", **more)


def replies_of(model: str, rows: list[dict] = ROWS) -> list[dict]:
    return [{"id": f"pairs/{at:04}", "reply": row[model][2]} for at, row in enumerate(rows)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A model that says what tuned says, and one that repeats the references, of which a third and three strangers are there."""
    right = [{"id": f"pairs/{at:04}", "reply": row["reference"]} for at, row in enumerate(ROWS) if at % 3 == 0]
    folder = tmp_path_factory.mktemp("others")
    some = [*right, *({"id": f"pairs/9{at}", "reply": "x"} for at in range(3))]
    return evaluate_beside(folder, {"same": replies_of("tuned"), "right": some}) | {"folder": folder}


def test_a_model_that_says_the_same_is_scored_the_same(found: dict) -> None:
    same, tuned = found["others"]["same"], found["contenders"]["tuned"]
    kept = {key for key in same["scores"] if not key.startswith("runaway")}
    assert {"chrf", "length_ratio", "distinct_1", "looping", "empty"} <= kept
    assert {key: same["scores"][key] for key in kept} == {key: tuned[key] for key in kept}
    assert (same["replies"], same["missing"], same["foreign"]) == (40, 0, 0)
    assert (same["comparison"]["chrf_difference"], same["comparison"]["length_ratio"]) == (0, 1)
    assert {claim["verdict"] for claim in same["claims"]} == {"unclear"}


def test_with_a_part_of_the_replies_all_three_are_compared_on_that_part(found: dict) -> None:
    right = found["others"]["right"]
    assert (right["replies"], right["missing"], right["foreign"], right["not_asked"]) == (14, 26, 3, 0)
    assert right["scores"]["chrf"] == pytest.approx(100)
    assert right["tuned"]["replies"] == right["base"]["replies"] == 14
    assert right["tuned"]["chrf"] != found["contenders"]["tuned"]["chrf"]
    assert right["comparison"]["chrf_difference"] == pytest.approx(right["tuned"]["chrf"] - 100)
    assert {claim["verdict"] for claim in right["claims"]} == {"too_few"}
    replies = pd.read_parquet(found["folder"] / REPLIES)
    assert (replies["right_reply"].notna().sum(), replies["same_reply"].notna().sum()) == (14, 40)


def test_what_base_and_tuned_are_said_to_be_does_not_change_with_another_model(found: dict, tmp_path: Path) -> None:
    alone = evaluate_folder(tmp_path, ROWS)
    assert alone["others"] == {}
    for part in ("contenders", "comparison", "claims", "strata", "comparability"):
        assert found[part] == alone[part]


def test_where_a_reply_was_cut_a_file_cannot_say_so_runaways_are_broken_for_nobody(tmp_path: Path) -> None:
    rows = [example("ab", (1.0, 2, "a" * 30), (1.0, 2, "b" * 30)) for _ in range(25)]
    found = evaluate_beside(tmp_path, {"hosted": replies_of("tuned", rows)}, rows)
    assert found["contenders"]["tuned"]["broken"] == 1
    hosted = found["others"]["hosted"]
    assert hosted["scores"]["runaway"] is None
    assert "does not say" in found["reasons"]["contenders.hosted.scores.runaway"]
    assert hosted["tuned"]["broken"] == hosted["scores"]["broken"] == 0


def test_another_classifier_is_judged_by_its_labels(tmp_path: Path) -> None:
    rows = [example(LABELS[at % 3], (1.0, 1, "?"), (1.0, 1, LABELS[at % 3] if at % 2 else "?")) for at in range(60)]
    replies = [{"id": f"pairs/{at:04}", "reply": row["reference"].upper()} for at, row in enumerate(rows)]
    conditions = {"task": "classification", "task_reason": "3 short replies", "labels": LABELS}
    hosted = evaluate_beside(tmp_path, {"hosted": replies}, rows, conditions=conditions)["others"]["hosted"]
    assert (hosted["scores"]["accuracy"], hosted["scores"]["macro_f1"], hosted["tuned"]["accuracy"]) == (1, 1, 0.5)
    assert hosted["comparison"]["accuracy_mcnemar_p"] == pytest.approx(2 * 0.5**30)
    verdicts = {claim["name"]: claim["verdict"] for claim in hosted["claims"]}
    assert (verdicts["better"], verdicts["broken"]) == ("less", "more")


def test_claims_against_several_models_count_each_other(tmp_path: Path) -> None:
    one = evaluate_beside(tmp_path / "one", {"a": replies_of("base")})["others"]["a"]["claims"]
    two = evaluate_beside(tmp_path / "two", {name: replies_of("base") for name in ("a", "b")})["others"]["a"]["claims"]
    assert [claim["p"] for claim in one] == [claim["p"] for claim in two]
    assert all(before["p_holm"] <= after["p_holm"] for before, after in zip(one, two, strict=True))
    assert any(not math.isclose(before["p_holm"], after["p_holm"]) for before, after in zip(one, two, strict=True))
