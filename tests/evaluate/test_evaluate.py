"""Metrics: each against values worked out by hand or by sacrebleu itself; languages apart; intervals over conversations."""

import contextlib
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sacrebleu
import yaml
from conftest import write_conversations

from stages.evaluate import __main__ as evaluate
from stages.evaluate.__main__ import EvaluateParams, bits_per_byte, bootstrap, compare, perplexity, score_replies, score_variety
from stages.evaluate.text_metrics import Bleu, ChrF, RougeL, bleu_tokenizer, count_ngrams, distinct_n, signatures, words
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import SCHEMA, blank, predictions_of

PARAMS = EvaluateParams(seed=0, resamples=200, confidence=0.95, rouge_max_words=500)
ENGLISH = ["The train to Bern leaves at nine.", "I would like to pay my invoice, please.", "A robot is a machine that can move."]
CHINESE = ["今天的天气很好，我们去公园吧。", "机器人是一种可以移动的机器。", "我想支付我的发票，谢谢您的帮助。"]


# Reply metrics


@pytest.mark.parametrize(("texts", "language"), [(ENGLISH, "en"), (CHINESE, "zh"), ([*ENGLISH, *CHINESE], "zh")])
def test_identical_texts_score_100(texts: list[str], language: str) -> None:
    pair = {"predictions": texts, "references": texts}
    assert ChrF().compute(**pair)["chrf"] == pytest.approx(100)
    assert Bleu().compute(**pair, language=language)["bleu"] == pytest.approx(100)
    assert RougeL().compute(**pair, max_words=500)["rouge_l"] == pytest.approx(100)


@pytest.mark.parametrize("language", ["en", "zh", "zh-Hant", "ja", "th", "und"])
def test_bleu_and_chrf_are_sacrebleus(language: str) -> None:
    texts = [*ENGLISH, *CHINESE]
    replies = [text[:-4] + "?" for text in texts]
    tokenizer = {"zh": "zh", "zh-Hant": "zh", "ja": "char", "th": "char"}.get(language, "13a")
    expected = sacrebleu.corpus_bleu(replies, [texts], tokenize=tokenizer).score
    assert bleu_tokenizer(language) == tokenizer
    assert Bleu().compute(predictions=replies, references=texts, language=language)["bleu"] == pytest.approx(expected)
    assert ChrF().compute(predictions=replies, references=texts)["chrf"] == pytest.approx(
        sacrebleu.corpus_chrf(replies, [texts]).score
    )


def test_chinese_bleu_needs_the_chinese_tokenizer() -> None:
    replies = [text[:-3] + "吗？" for text in CHINESE]
    assert Bleu().compute(predictions=replies, references=CHINESE, language="zh")["bleu"] > 50
    assert Bleu().compute(predictions=replies, references=CHINESE, language="en")["bleu"] < 5


@pytest.mark.parametrize(
    ("reply", "reference", "expected"),
    [
        ("the cat sat", "the cat sat on the mat", 2 * 1 * 0.5 / 1.5),  # precision 3/3, recall 3/6
        ("mat the on sat", "the cat sat on the mat", 2 * (2 / 4) * (2 / 6) / (2 / 4 + 2 / 6)),  # "the on" or "the sat"
        ("我很好", "我不好", 2 / 3),  # two of three characters in order, both ways
        ("", "the cat", 0),
        ("dog", "the cat", 0),
    ],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(reply: str, reference: str, expected: float) -> None:
    score = RougeL().compute(predictions=[reply], references=[reference], max_words=500)["rouge_l"]
    assert score == pytest.approx(100 * expected)


def test_rouge_l_is_a_mean_over_texts_and_reads_no_more_words_than_asked() -> None:
    pairs = {"predictions": ["a b c", "x"], "references": ["a b d", "x"]}
    assert RougeL().compute(**pairs, max_words=500)["rouge_l"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert RougeL().compute(**pairs, max_words=2)["rouge_l"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD 42!", ["hello", "world", "42"]),
        ("我用Python写code", ["我", "用", "python", "写", "code"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("안녕 하세요", ["안", "녕", "하", "세", "요"]),
        ("snake_case(x)", ["snake", "case", "x"]),
        ("Größe Ünal", ["größe", "ünal"]),
        ("👍 …", []),
    ],
)
def test_words_are_words_or_characters_where_the_script_has_no_spaces(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_languages_are_never_pooled_in_bleu_and_rouge() -> None:
    table = pd.DataFrame({"language": ["en"] * 3 + ["zh"] * 3, "reference": [*ENGLISH, *CHINESE]})
    scores = score_replies(table, pd.Series([*ENGLISH, *["不知道"] * 3]), 500)
    assert sorted(scores) == ["bleu_en", "bleu_zh", "chrf", "rouge_l_en", "rouge_l_zh"]
    assert (scores["bleu_en"], scores["rouge_l_en"]) == (pytest.approx(100), pytest.approx(100))
    assert scores["bleu_zh"] < 20
    assert scores["rouge_l_zh"] < 20


def test_a_signature_tells_which_tokenizer_made_a_score() -> None:
    found = signatures(["en", "zh"])
    assert sorted(found) == ["bleu_en", "bleu_zh", "chrf"]
    assert "tok:13a" in found["bleu_en"]
    assert "tok:zh" in found["bleu_zh"]
    assert all(f"version:{sacrebleu.__version__}" in text for text in found.values())


# Variety


def test_distinct_n_counts_different_n_grams_of_the_sample_and_none_over_two_texts() -> None:
    assert distinct_n(["a b a b", "a b"], n=1, sample=99) == pytest.approx(2 / 6)
    assert distinct_n(["a b a b", "a b"], n=2, sample=99) == pytest.approx(2 / 4)  # ab ba ab | ab
    assert distinct_n(["a b a b", "a b"], n=1, sample=2) == 1
    assert distinct_n(["a"], n=2, sample=99) is None
    assert count_ngrams(["a b c", "a", ""], 2) == 2


def test_distinct_n_is_taken_at_equal_n_for_base_tuned_and_reference() -> None:
    varied = [f"one {number}" for number in range(50)]
    variety = score_variety({"base": varied, "tuned": varied[:5], "reference": varied[:10]})
    assert variety["base"] == variety["tuned"] == variety["reference"]
    assert variety["base"]["distinct_1"] == pytest.approx(6 / 10)


# Likelihood


def test_perplexity_is_exp_of_total_over_total_and_no_mean_of_means() -> None:
    nll, labels = np.array([1.0, 90.0]), np.array([1, 10])
    assert perplexity(nll, labels) == pytest.approx(math.exp(91 / 11))
    assert perplexity(nll, labels) != pytest.approx((math.exp(1) + math.exp(9)) / 2)


def test_bits_per_byte_is_nll_in_bits_over_utf8_bytes() -> None:
    assert bits_per_byte(np.array([math.log(2) * 12]), np.array([len("你好".encode())])) == pytest.approx(2)


# Intervals


def scored(number: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    labels = random.integers(1, 30, number)
    base = labels * random.uniform(1, 3, number)
    return pd.DataFrame({"base_nll": base, "tuned_nll": base * random.uniform(0.5, 1.1, number), "base_labels": labels})


@pytest.mark.parametrize("number", [2, 5, 50, 500])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_the_point_estimate(number: int, seed: int) -> None:
    found = compare(scored(number, seed), PARAMS)
    assert found["perplexity_ratio_low"] <= found["perplexity_ratio"] <= found["perplexity_ratio_high"]
    assert found["perplexity_ratio"] == pytest.approx(
        perplexity(scored(number, seed)["tuned_nll"], scored(number, seed)["base_labels"])
        / perplexity(scored(number, seed)["base_nll"], scored(number, seed)["base_labels"])
    )


def test_the_interval_is_the_same_each_time_and_another_for_another_seed() -> None:
    table = scored(40)
    assert compare(table, PARAMS) == compare(table, PARAMS)
    assert compare(table, PARAMS) != compare(table, PARAMS.model_copy(update={"seed": 1}))


def test_the_interval_narrows_with_confidence_and_with_more_conversations() -> None:
    def width(number: int, confidence: float) -> float:
        found = compare(scored(number), PARAMS.model_copy(update={"confidence": confidence}))
        return found["perplexity_ratio_high"] - found["perplexity_ratio_low"]

    assert width(40, 0.6) < width(40, 0.95)
    assert width(800, 0.95) < width(40, 0.95) / 2


def test_the_bootstrap_draws_as_many_rows_as_there_are_with_replacement() -> None:
    draws: list[np.ndarray] = []

    def remember(rows: np.ndarray) -> float:
        draws.append(rows)
        return float(rows.mean())

    low, high = bootstrap(remember, 30, PARAMS)
    assert len(draws) == PARAMS.resamples
    assert all(len(rows) == 30 and 0 <= rows.min() <= rows.max() < 30 for rows in draws)
    assert all(len(set(rows)) < 30 for rows in draws)
    assert (low, high) == pytest.approx(np.quantile([rows.mean() for rows in draws], [0.025, 0.975]))


def test_the_interval_resamples_conversations_and_not_turns() -> None:
    # Ten conversations of 20 labels that go all one way: drawn whole, the ratio swings; label by label it would hardly move.
    better = np.array([1.0, 0.2] * 5)
    table = pd.DataFrame({"base_nll": [60.0] * 10, "tuned_nll": 60 * better, "base_labels": [20] * 10})
    found = compare(table, PARAMS)
    assert found["perplexity_ratio_high"] / found["perplexity_ratio_low"] > 3


def test_the_share_that_grew_more_likely_counts_conversations() -> None:
    table = pd.DataFrame({"base_nll": [2.0, 2.0, 2.0, 9.0], "tuned_nll": [1.0, 1.0, 2.0, 10.0], "base_labels": [1, 1, 1, 100]})
    assert compare(table, PARAMS)["more_likely_when_tuned"] == 0.5


# The stage


def evaluate_folder(folder: Path, rows: list[dict]) -> dict:
    """Run the stage on conversations given as language, reference, and (nll, labels, reply) of base and tuned, None: unscored."""
    params = {"evaluate": PARAMS.model_dump()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "requirements").mkdir()
    for name in ("core.txt", "evaluation.txt"):
        (folder / "requirements" / name).write_text("", encoding="utf-8")
    conversations = []
    predictions: dict[str, list[dict]] = {"base": [], "tuned": []}
    for number, row in enumerate(rows):
        messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": row["reference"]}]
        id = f"pairs/{number}"
        conversations.append({"id": id, "label": None, "language": row["language"], "group": None, "messages": messages})
        for model, table in predictions.items():
            nll, labels, reply = row[model] or (None, None, None)
            stopped, reason = (None, "too long") if reply is None else (len(reply) < 20, None)
            row_of = blank("test", id, 1) | {"nll": nll, "labels": labels, "reply": reply, "stopped": stopped, "unscored": reason}
            table.append(row_of)
    write_conversations(folder / conversations_of("test"), conversations)
    (folder / "data/predictions").mkdir(parents=True)
    for model, table in predictions.items():
        pq.write_table(pa.Table.from_pylist(table, SCHEMA), folder / predictions_of(model))
    (folder / evaluate.EXAMPLES).parent.mkdir(parents=True)
    with contextlib.chdir(folder):
        evaluate.main()
    return read_json(folder / evaluate.SCORES)


ROWS = [
    {"language": "en", "reference": ENGLISH[0], "base": (10.0, 5, "no idea at all, and so on"), "tuned": (5.0, 5, ENGLISH[0])},
    {"language": "en", "reference": ENGLISH[1], "base": (80.0, 20, "no"), "tuned": (20.0, 20, ENGLISH[1])},
    {"language": "zh", "reference": CHINESE[0], "base": (30.0, 10, "好"), "tuned": (30.0, 10, "不好")},
]
UNSCORED_BY_BASE = {"language": "en", "reference": "x", "base": None, "tuned": (9999.0, 1, "x")}
UNSCORED_BY_TUNED = {"language": "en", "reference": "x", "base": (9999.0, 1, "x"), "tuned": None}
UNSCORED_BY_BOTH = {"language": "ja", "reference": "x", "base": None, "tuned": None}


def test_the_stage_writes_each_models_scores(tmp_path: Path) -> None:
    scores = evaluate_folder(tmp_path, ROWS)
    assert scores["base"]["perplexity"] == pytest.approx(math.exp(120 / 35))
    assert scores["tuned"]["perplexity"] == pytest.approx(math.exp(55 / 35))
    assert scores["comparison"]["perplexity_ratio"] == pytest.approx(math.exp((55 - 120) / 35))
    assert scores["tuned"]["bleu_en"] == pytest.approx(100)
    assert scores["tuned"]["bits_per_byte"] == pytest.approx(
        55 / math.log(2) / sum(len(row["reference"].encode()) for row in ROWS)
    )
    assert (scores["base"]["reply_stopped"], scores["tuned"]["reply_stopped"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert scores["reference"]["reply_characters"] == pytest.approx(sum(len(row["reference"]) for row in ROWS) / 3)
    assert len(pd.read_parquet(tmp_path / evaluate.EXAMPLES)) == 3


def test_rows_that_one_model_could_not_score_are_counted_and_left_out_of_both(tmp_path: Path) -> None:
    scores = evaluate_folder(tmp_path, [*ROWS, UNSCORED_BY_BASE, UNSCORED_BY_TUNED, UNSCORED_BY_BOTH])
    (tmp_path / "without").mkdir()
    without = evaluate_folder(tmp_path / "without", ROWS)
    for name in ("base", "tuned", "reference"):
        assert (scores[name].pop("unscored"), without[name].pop("unscored")) == (3, 0)
    assert scores == without
    assert len(pd.read_parquet(tmp_path / evaluate.EXAMPLES)) == 6


def test_with_no_scored_row_at_all_the_reason_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"data/predictions: no test conversation could be scored: too long"):
        evaluate_folder(tmp_path, [UNSCORED_BY_BOTH])


def test_predictions_of_another_test_set_are_an_error_that_says_so(tmp_path: Path) -> None:
    evaluate_folder(tmp_path, ROWS)
    path = tmp_path / predictions_of("tuned")
    pq.write_table(pq.read_table(path)[1:], path)
    with contextlib.chdir(tmp_path), pytest.raises(ReprotuneError, match=r"data/predictions/tuned\.parquet.*pairs/0"):
        evaluate.main()
