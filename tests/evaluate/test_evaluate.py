"""The stage: from predictions to scores, with nulls that have a reason where something cannot be measured."""

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from evaluation import evaluate_folder, example, many

from stages.evaluate import __main__ as evaluate
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import predictions_of
from stages.lib.records.scores import EXAMPLES, REPLIES

ENGLISH = ["The train to Bern leaves at nine.", "I would like to pay my invoice, please.", "A robot is a machine that can move."]
CHINESE = ["今天的天气很好，我们去公园吧。"]
ROWS = [
    example(ENGLISH[0], (10.0, 5, "no idea at all, and so on"), (5.0, 5, ENGLISH[0])),
    example(ENGLISH[1], (80.0, 20, "no"), (20.0, 20, ENGLISH[1])),
    example(CHINESE[0], (30.0, 10, "好"), (30.0, 10, "不好"), language="zh"),
]
UNSCORED = [
    example("x", None, (9999.0, 1, "x")),
    example("x", (9999.0, 1, "x"), None),
    example("x", None, None, language="ja"),
]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return evaluate_folder(tmp_path_factory.mktemp("evaluate"), ROWS)


def test_the_stage_writes_each_models_scores(scores: dict) -> None:
    base, tuned, reference = (scores["contenders"][name] for name in ("base", "tuned", "reference"))
    assert base["perplexity"] == pytest.approx(math.exp(120 / 35))
    assert tuned["perplexity"] == pytest.approx(math.exp(55 / 35))
    assert scores["comparison"]["perplexity_ratio"] == pytest.approx(math.exp((55 - 120) / 35))
    assert tuned["bits_per_byte"] == pytest.approx(55 / math.log(2) / sum(len(row["reference"].encode()) for row in ROWS))
    assert (base["reply_stopped"], tuned["reply_stopped"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert reference["reply_characters"] == pytest.approx(sum(len(row["reference"]) for row in ROWS) / 3)
    assert scores["comparison"]["more_likely_when_tuned"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert tuned["length_ratio"] == pytest.approx(
        (len(ENGLISH[0]) + len(ENGLISH[1]) + 2) / sum(len(r["reference"]) for r in ROWS)
    )


def test_the_floors_stand_beside_the_models_with_the_same_figures(scores: dict) -> None:
    floors = [scores["contenders"][f"floor_{name}"] for name in ("echo", "constant", "random")]
    assert all(
        {"chrf", "broken", "length_ratio", "distinct_1"} <= set(floor) <= set(scores["contenders"]["tuned"]) for floor in floors
    )
    assert floors[0]["prompt_copy"] == 1


def test_rows_that_one_model_could_not_score_are_counted_and_left_out_of_both(scores: dict, tmp_path: Path) -> None:
    found = evaluate_folder(tmp_path, [*ROWS, *UNSCORED])
    for name in ("base", "tuned"):
        assert (found["contenders"][name]["unscored"], found["contenders"][name]["unanswered"]) == (3, 3)
        for key in ("perplexity", "chrf", "bits_per_byte", "broken"):
            assert found["contenders"][name][key] == scores["contenders"][name][key]
    assert {key: found["comparison"][key] for key in scores["comparison"]} == scores["comparison"]
    assert len(pd.read_parquet(tmp_path / EXAMPLES)) == 6
    assert pd.read_parquet(tmp_path / REPLIES)["base_chrf"].notna().sum() == 3


def test_with_no_scored_row_at_all_the_reason_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"data/predictions: no test conversation could be scored: too long"):
        evaluate_folder(tmp_path, UNSCORED[2:])


def test_an_empty_test_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match="test is empty"):
        evaluate_folder(tmp_path, [])


@pytest.mark.parametrize("missing", [1, -1])
def test_predictions_of_another_test_set_are_an_error_that_says_so(tmp_path: Path, missing: int) -> None:
    evaluate_folder(tmp_path, ROWS)
    path = tmp_path / (predictions_of("tuned") if missing > 0 else conversations_of("test"))
    if missing > 0:
        pq.write_table(pq.read_table(path)[1:], path)
    else:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with contextlib.chdir(tmp_path), pytest.raises(ReprotuneError, match=r"data/predictions/\w+\.parquet: .*pairs/0000"):
        evaluate.main()


def test_the_keys_are_those_of_the_test_set_whatever_the_languages_and_the_models(tmp_path: Path) -> None:
    languages = [f"x{chr(97 + at)}" for at in range(26)]
    mixed = [example("a b", (1.0, 2, "a"), (1.0, 2, "b"), language=language) for language in languages for _ in range(2)]
    keys = {name: set(figures) for name, figures in evaluate_folder(tmp_path / "mixed", mixed)["contenders"].items()}
    english = [example("a b", (1.0, 2, "a"), (1.0, 2, "b")) for _ in range(100)]
    for number, more in ((99, set()), (100, {"bleu_en", "rouge_l_en"})):
        found = evaluate_folder(tmp_path / str(number), english[:number])
        assert set(found["contenders"]["tuned"]) - keys["tuned"] == more
        assert keys["tuned"] <= set(found["contenders"]["tuned"])
        assert [(row["contender"], row["language"], row["replies"]) for row in found["languages"]] == [
            ("base", "en", number), ("tuned", "en", number)]  # fmt: skip
    assert len(keys["tuned"]) < 30


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_likelihood_that_is_no_number_leaves_nulls_with_their_reason(tmp_path: Path, bad: float) -> None:
    rows = many(30)
    rows[3]["tuned"] = (bad, 5, "reply")
    found = evaluate_folder(tmp_path, rows)
    assert found["contenders"]["base"]["perplexity"] > 1
    assert found["contenders"]["tuned"]["perplexity"] is None
    assert found["reasons"]["tuned.perplexity"] == "the likelihood of 1 of 30 conversations is no number"
    assert found["comparison"]["perplexity_ratio_high"] is None
    assert found["claims"][0]["verdict"] == "not_measured"
    assert found["contenders"]["tuned"]["chrf"] > 0


def test_a_perplexity_beyond_any_number_is_a_null_and_no_traceback(tmp_path: Path) -> None:
    rows = [example("a b", (1.0, 1, "a"), (1e5 + at, 1, "b")) for at in range(25)]
    found = evaluate_folder(tmp_path, rows)
    assert "larger than any number" in found["reasons"]["tuned.perplexity"]
    assert found["comparison"]["perplexity_ratio"] is None
    assert found["claims"][0]["verdict"] == "more"


def test_equal_models_are_neither_more_nor_less_likely(tmp_path: Path) -> None:
    rows = [row | {"tuned": row["base"]} for row in many(30)]
    found = evaluate_folder(tmp_path, rows)
    assert found["comparison"]["more_likely_when_tuned"] == 0.5
    assert found["comparison"]["perplexity_ratio"] == 1
    assert found["comparison"]["perplexity_ratio_low"] is None
    assert found["reasons"]["comparison.perplexity_ratio_low"].startswith("all groups give the same figure")
    assert {claim["verdict"] for claim in found["claims"]} <= {"unclear", "not_measured"}


def test_one_conversation_has_no_interval(tmp_path: Path) -> None:
    found = evaluate_folder(tmp_path, many(1))
    assert found["comparison"]["perplexity_ratio"] > 0
    assert found["comparison"]["perplexity_ratio_low"] is None
    assert "one group" in found["reasons"]["comparison.perplexity_ratio_low"]
    assert found["claims"][0]["verdict"] == "too_few"


def test_what_belongs_together_counts_once(tmp_path: Path) -> None:
    alone, together = (evaluate_folder(tmp_path / str(groups), many(60, groups=groups)) for groups in (1, 5))
    assert (alone["comparison"]["groups"], together["comparison"]["groups"]) == (60, 12)
    assert alone["claims"][0]["verdict"] == "less"
    assert together["claims"][0]["verdict"] == "too_few"


def test_strata_of_twenty_rows_stand_alone_the_others_are_pooled_apart_from_a_label_of_that_name(tmp_path: Path) -> None:
    labels = [*["billing"] * 25, *["other"] * 20, *["rare"] * 5, *[None] * 3]
    rows = [row | {"label": label} for row, label in zip(many(53), labels, strict=True)]
    strata = [one for one in evaluate_folder(tmp_path, rows)["strata"] if one["stratum"] == "label"]
    assert [(one["value"], one["pooled"], one["conversations"]) for one in strata] == [
        ("billing", False, 25), ("other", False, 20), (None, True, 8)]  # fmt: skip
    assert strata[2]["verdict"] == "too_few"
    assert strata[0]["estimate"] == pytest.approx(strata[0]["tuned"] / strata[0]["base"])


def test_the_influence_names_the_conversations_that_move_the_result_most(tmp_path: Path) -> None:
    rows = [example("a b", (10.0 + at % 3, 10, "a"), (9.0, 10, "b")) for at in range(40)]
    for at in (5, 7, 30):
        rows[at]["tuned"] = (400.0, 100, "b")
    found = evaluate_folder(tmp_path, rows)
    assert sorted(found["influence"]["without"]) == ["pairs/0005", "pairs/0007", "pairs/0030"]
    assert found["comparison"]["perplexity_ratio"] > 1 > found["comparison"]["perplexity_ratio_without_3"]


def test_several_turns_add_up_and_a_missing_likelihood_takes_no_reply_away(tmp_path: Path) -> None:
    second = {"set": "test", "id": "pairs/0000", "turn": 1, "labels": 5, "unscored": None, "unanswered": None, "reply": None}
    more = {"base": [second | {"nll": 7.0}], "tuned": [second | {"nll": 1.0}]}
    found = evaluate_folder(tmp_path, ROWS, more=more)
    assert found["contenders"]["base"]["perplexity"] == pytest.approx(math.exp(127 / 40))
    assert found["contenders"]["base"]["replies"] == 3
    half = example("x y", None, None, row={"reply": "x", "stopped": True, "unanswered": None})
    found = evaluate_folder(tmp_path / "half", [*ROWS, half])
    assert found["contenders"]["tuned"]["unscored"] == 1
    assert found["contenders"]["tuned"]["replies"] == 4


def test_forgetting_and_memorising_are_claimed_where_predict_gave_the_likelihoods(tmp_path: Path) -> None:
    def others(name: str, number: int, factor: float, noise: int) -> dict[str, list[dict]]:
        random = np.random.default_rng(noise)
        blank = {"set": name, "turn": 1, "labels": 10, "unscored": None, "unanswered": None}
        base = [blank | {"id": f"{name}/{at}", "nll": 20.0} for at in range(number)]
        return {"base": base, "tuned": [one | {"nll": 20 * factor + random.normal(0, 1)} for one in base]}

    retention, train = others("retention", 40, 1.5, 1), others("train", 40, 0.2, 2)
    more = {model: [*retention[model], *train[model]] for model in ("base", "tuned")}
    found = evaluate_folder(tmp_path, many(40), more=more)
    claims = {claim["name"]: claim for claim in found["claims"]}
    for end, value in (("", "estimate"), ("_low", "low"), ("_high", "high")):
        assert found["comparison"][f"retention_ratio{end}"] == claims["forgot"][value]
    assert (claims["forgot"]["verdict"], claims["memorised"]["verdict"]) == ("more", "more")
    assert claims["forgot"]["estimate"] == pytest.approx(math.e, rel=0.1)
    assert claims["memorised"]["estimate"] == pytest.approx(0.5, abs=0.1)


LABELS = ["card lost", "top up", "refund"]


def classified(number: int, right: int) -> list[dict]:
    """Of `number` questions base answers none and tuned `right`; by likelihood both know all."""
    rows = []
    for at in range(number):
        label = LABELS[at % 3]
        nll = {one: 0.1 if one == label else 5.0 for one in LABELS}
        replies = "I don't know", label if at < right else LABELS[(at + 1) % 3]
        rows.append(
            example(label, (3.0, 3, replies[0]), (1.0, 3, replies[1]), base_label_nll=nll, tuned_label_nll=nll, label=label)
        )
    return rows


def test_classification_is_judged_by_its_labels_and_not_by_overlap(tmp_path: Path) -> None:
    conditions = {"task": "classification", "task_reason": "3 short replies", "labels": LABELS}
    found = evaluate_folder(tmp_path, classified(90, 60), conditions)
    base, tuned, majority = (found["contenders"][name] for name in ("base", "tuned", "floor_constant"))
    assert (base["accuracy"], tuned["accuracy"], majority["accuracy"]) == (0, pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (base["invalid_reply"], tuned["invalid_reply"]) == (1, 0)
    assert base["likelihood_accuracy"] == tuned["likelihood_accuracy"] == 1
    assert tuned["accuracy_low"] < 2 / 3 < tuned["accuracy_high"]
    assert found["comparison"]["accuracy_mcnemar_p"] == pytest.approx(2 * 0.5**60)
    claim = found["claims"][0]
    assert (claim["measure"], claim["verdict"]) == ("accuracy_difference", "more")
    claims = {claim["name"]: claim["verdict"] for claim in found["claims"]}
    assert claims["broken"] == "less"  # fewer replies that are no label
    assert claims["majority"] == "more"
    assert found["comparison"]["majority_difference"] == pytest.approx(1 / 3)
    assert len(found["confusion"]) == 90
    assert {one["measure"] for one in found["strata"]} == {"accuracy_difference"}


@pytest.mark.parametrize("seed", range(2))
def test_labels_that_nobody_can_learn_are_no_better_than_the_most_frequent_one_though_base_knows_none(
    tmp_path: Path, seed: int
) -> None:
    conditions = {"task": "classification", "task_reason": "3 short replies", "labels": LABELS}
    drawn = np.random.default_rng(seed).choice(LABELS, (2, 120), p=[0.5, 0.3, 0.2])
    rows = [example(label, (3.0, 3, "I don't know"), (1.0, 3, reply), label=label) for label, reply in drawn.T.tolist()]
    claims = {claim["name"]: claim for claim in evaluate_folder(tmp_path, rows, conditions)["claims"]}
    assert claims["better"]["verdict"] == "more"  # than base, which is no achievement
    assert claims["majority"]["verdict"] in ("less", "unclear")
    assert claims["majority"]["base"] == pytest.approx(np.mean(drawn[0] == LABELS[0]))


def test_wrong_labels_only_are_no_success_though_the_perplexity_falls(tmp_path: Path) -> None:
    conditions = {"task": "classification", "task_reason": "3 short replies", "labels": LABELS}
    rows = classified(60, 0)
    for row in rows:
        row["base"] = (3.0, 3, row["reference"])
    found = evaluate_folder(tmp_path, rows, conditions)
    assert found["comparison"]["perplexity_ratio"] < 1
    assert found["claims"][0]["verdict"] == "less"
    assert found["comparison"]["accuracy_difference"] == -1


def test_two_runs_differ_in_the_part_of_the_fingerprint_that_changed(scores: dict, tmp_path: Path) -> None:
    first = scores["comparability"]
    grouped = evaluate_folder(tmp_path / "grouped", [row | {"group": "g"} for row in ROWS])["comparability"]
    assert {name for name in first if first[name] != grouped[name]} == {"test"}
    conditions = {"max_new_tokens": 9, "environment": {"precision": "bfloat16", "device": "cuda", "torch": "1"}}
    told = evaluate_folder(tmp_path / "told", ROWS, conditions)["comparability"]
    assert (told["base_precision"], told["tuned_decoding"]) == ("bfloat16", "decoding greedy, max_new_tokens 9, batch_size 4")
    models = {f"{model}_{part}" for model in ("base", "tuned") for part in ("decoding", "precision", "device", "versions")}
    assert {name for name in first if first[name] != told[name]} == models


def test_the_stage_counts_the_votes_of_its_own_replies(tmp_path: Path) -> None:
    first = evaluate_folder(tmp_path, many(25))
    assert first["comparison"]["win_rate"] is None
    assert first["reasons"]["comparison.win_rate"].startswith("nobody has voted")
    hashes = pd.read_parquet(tmp_path / REPLIES)["hash"]
    lines = [{"id": "pairs/0", "turn": 1, "replies": one, "winner": "tuned"} for one in [*hashes, "0" * 16]]
    (tmp_path / "votes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    scores = evaluate_folder(tmp_path, many(25))
    assert pd.read_parquet(tmp_path / REPLIES)["votes"].tolist() == [1] * 25
    assert (scores["comparison"]["votes"], scores["comparison"]["votes_foreign"]) == (25, 1)
    [claim] = [one for one in scores["claims"] if one["name"] == "preferred"]
    assert (claim["verdict"], claim["estimate"]) == ("more", 1.0)
