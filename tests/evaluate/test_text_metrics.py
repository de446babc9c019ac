"""Reply metrics: each against values worked out by hand, or by sacrebleu and rouge-score themselves; languages apart."""

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from stages.evaluate.scoring import samples_of, variety
from stages.evaluate.text_metrics import (
    Bleu,
    ChrF,
    RougeL,
    bleu_tokenizer,
    count_ngrams,
    distinct_n,
    rouge_l,
    sentence_chrf,
    signatures,
)
from stages.evaluate.words import words

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
    assert Bleu().compute(predictions=replies, references=texts, language=language)["bleu"] == pytest.approx(expected, abs=1e-9)
    each = [sacrebleu.sentence_chrf(reply, [text]).score for reply, text in zip(replies, texts, strict=True)]
    assert sentence_chrf(replies, texts).tolist() == pytest.approx(each, abs=1e-9)
    assert ChrF().compute(predictions=replies, references=texts)["chrf"] == pytest.approx(sum(each) / len(each), abs=1e-9)


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


PROSE = [
    ("Don't panic: it's well-known (really!), e.g. in 3.5% of cases.", "don't panic; it is well known, really"),
    ('You said: "and/or", didn\'t you? It costs $5 - no more...', "It costs 5, and you didn't say or"),
    ("snake_case and CamelCase, 100% of A&B's", "Snake case; camelcase: 100 of A B"),
]


@given(st.lists(st.sampled_from("abcd"), max_size=90), st.lists(st.sampled_from("abcde"), max_size=90))
def test_rouge_l_of_any_words_is_rouge_scores(reply: list[str], reference: list[str]) -> None:
    texts = " ".join(reply), " ".join(reference)
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(texts[1], texts[0])["rougeL"].fmeasure
    assert rouge_l([texts[0]], [texts[1]], 500).tolist() == [100 * expected]


@pytest.mark.parametrize(("reply", "reference"), PROSE)
def test_rouge_l_of_english_prose_is_rouge_scores(reply: str, reference: str) -> None:
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(reference, reply)["rougeL"].fmeasure
    assert 0 < expected < 1
    assert rouge_l([reply], [reference], 500)[0] == pytest.approx(100 * expected, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD 42!", ["hello", "world", "42"]),
        ("我用Python写code", ["我", "用", "python", "写", "code"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("안녕 하세요", ["안", "녕", "하", "세", "요"]),
        ("snake_case(x)", ["snake", "case", "x"]),
        ("Größe Ünal", ["größe", "ünal"]),
        ("यह दिन", ["यह", "दिन"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("cafe\u0301", ["café"]),
        ("👍 …", ["👍"]),
        ("ok👍🏽👩‍💻", ["ok", "👍🏽", "👩‍💻"]),
        ("🇨🇳🇨🇭", ["🇨🇳", "🇨🇭"]),
        ("❤\ufe0f", ["❤"]),
        ("x<=3", ["x", "<=", "3"]),
        ("...", ["..."]),
        ("", []),
    ],
)
def test_words_are_words_or_characters_where_the_script_has_no_spaces(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("दिन", "दान"),  # day and gift: they differ in a vowel sign
        ("কি", "কে"),
        ("நீ", "நா"),
        ("שָׁלוֹם", "שְׁלוֹם"),
        ("👍", "👎"),
        ("🇫🇷", "🇩🇪"),
        ("👍🏻", "👍🏿"),
        ("a != b", "a == b"),
        ("a && b", "a || b"),
        ("a + b", "a - b"),
        ("a * b", "a / b"),
        ("x ≤ y", "x ≥ y"),
        ("€5", "£5"),
        (":)", ":("),
        ("?", "!"),
        ("C++", "C"),
    ],
)
def test_texts_that_differ_in_a_mark_an_emoji_or_an_operator_do_not_score_100(one: str, other: str) -> None:
    assert rouge_l([one, one], [one, other], 500).tolist() == pytest.approx([100, rouge_l([other], [one], 500)[0]])
    assert rouge_l([other], [one], 500)[0] < 100


def test_a_signature_tells_which_tokenizer_made_a_score() -> None:
    found = signatures(["en", "zh"])
    assert sorted(found) == ["bleu_en", "bleu_zh", "chrf"]
    assert "tok:13a" in found["bleu_en"]
    assert "tok:zh" in found["bleu_zh"]
    assert all(f"version:{sacrebleu.__version__}" in text for text in found.values())


# Variety


def test_distinct_n_counts_different_n_grams_of_the_sample_and_none_over_two_texts() -> None:
    assert distinct_n(["a b a b", "a b"], n=1, sample=6) == pytest.approx(2 / 6)
    assert distinct_n(["a b a b", "a b"], n=2, sample=4) == pytest.approx(2 / 4)  # ab ba ab | ab
    assert distinct_n(["a b a b", "a b"], n=1, sample=2) == 1
    assert distinct_n(["a"], n=2, sample=0) is None
    assert count_ngrams(["a b c", "a", ""], 2) == 2


def test_a_collapse_to_short_replies_reads_as_less_variety_whatever_they_are() -> None:
    references = [f"reference {number} says this and that" for number in range(20)]
    samples = samples_of(references)
    long, short, same = ([text.format(number=number) for number in range(20)] for text in ("one {number} two", "{number}", "yes"))
    found = [variety(texts, samples)["distinct_1"] for texts in (references, long, short, same)]
    assert found == sorted(found, reverse=True)
    assert found[3] == pytest.approx(1 / samples[1])


def test_variety_of_one_model_does_not_move_with_anothers_replies() -> None:
    """The sample is the references' alone: three models' replies are measured on it, each for itself."""
    references = ["one two three four"] * 5
    assert samples_of(references) == {1: 20, 2: 15}
    assert variety(["a b c d e f g"] * 5, samples_of(references))["distinct_1"] == pytest.approx(7 / 20)


def test_variety_without_a_word_in_the_references_says_why_there_is_none() -> None:
    assert variety(["a b"], samples_of([""]))["distinct_1"] == "no reference has a word"
