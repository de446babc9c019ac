"""Claims in plain words: the right direction, the figures, and what would decide where nothing is decided."""

import pytest

from stages.report.evaluation import apart_from, strata_table
from stages.report.sentences import sentence

CLAIM = {
    "name": "better", "measure": "perplexity_ratio", "verdict": "less", "base": 65.497, "tuned": 19.84, "estimate": 0.3029,
    "low": 0.2165, "high": 0.4239, "p": 1e-7, "p_holm": 1e-7, "conversations": 63, "groups": 53, "detectable": 1.575,
    "more_conversations": None, "reason": None,
}  # fmt: skip
SHARE = {"measure": "accuracy_difference", "base": 0.1, "tuned": 0.4, "estimate": 0.3, "low": 0.2, "high": 0.4}


def test_a_claim_says_its_verdict_with_its_figures() -> None:
    assert sentence(CLAIM) == "Better on test: perplexity 0.30 times base's (0.22 to 0.42), from 65.50 to 19.84."
    assert sentence(CLAIM, "zh") == "测试集上更好：困惑度是基座的 0.30 倍（0.22 到 0.42），从 65.50 变为 19.84。"


@pytest.mark.parametrize(("verdict", "head"), [("more", "Better on test"), ("less", "Worse on test")])
def test_more_right_replies_are_better_where_more_perplexity_is_worse(verdict: str, head: str) -> None:
    assert sentence(CLAIM | SHARE | {"verdict": verdict}).startswith(
        f"{head}: share of right replies +30 points (+20 to +40), from 10% to 40%"
    )
    assert sentence(CLAIM | {"verdict": verdict}).startswith({"more": "Worse", "less": "Better"}[verdict])


def test_where_nothing_is_decided_the_sentence_says_what_could_have_been_shown_and_what_would_decide() -> None:
    said = sentence(CLAIM | {"verdict": "unclear", "more_conversations": 1234})
    assert said.startswith("Can't tell whether it is better on test: ")
    assert "smaller than a factor of 1.57 would be missed" in said.replace("1.58", "1.57")
    assert said.endswith("About 1,200 more test conversations would decide an effect of this size.")
    chinese = sentence(CLAIM | {"verdict": "unclear", "more_conversations": 1234}, "zh")
    assert "1,200 段测试对话" in chinese


REMEDIES = {
    "better": ("test conversations", "段测试对话"),
    "broken": ("test conversations", "段测试对话"),
    "forgot": ("general prompts", "条通用提示"),
    "memorised": ("conversations, training and test together,", "段对话（训练和测试合计）"),
    "preferred": ("votes", "张投给其他回复的票"),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_what_would_decide_is_more_of_what_the_claim_rests_on(name: str) -> None:
    claim = CLAIM | {"name": name, "measure": MEASURES.get(name, "win_rate"), "verdict": "unclear", "more_conversations": 40}
    english, chinese = REMEDIES[name]
    assert f"About 40 more {english}" in sentence(claim)
    assert f"大约还需要 40 {chinese}" in sentence(claim, "zh")
    assert ("this test set" in sentence(claim)) == (english == "test conversations")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_characters_are_whole_ones(language: str) -> None:
    said = sentence(CLAIM | {"name": "length", "measure": "length_ratio", "base": 1128.62, "tuned": 28.62}, language)
    assert "1,129" in said
    assert "29" in said
    assert ".62" not in said


@pytest.mark.parametrize("verdict", ["too_few", "not_measured"])
def test_without_a_verdict_the_reason_stands(verdict: str) -> None:
    empty = dict.fromkeys(["base", "tuned", "estimate", "low", "high", "p", "p_holm", "detectable"])
    for language in ("en", "zh"):
        assert "why not" in sentence(CLAIM | empty | {"verdict": verdict, "reason": "why not"}, language)


MEASURES = {"better": "perplexity_ratio", "majority": "majority_difference", "wording": "chrf_difference",
            "forgot": "retention_ratio", "broken": "broken_difference", "length": "length_ratio",
            "memorised": "memorised_auc"}  # fmt: skip


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_claim_has_words_for_each_verdict(name: str, language: str) -> None:
    said = {
        sentence(CLAIM | {"name": name, "measure": MEASURES[name], "verdict": one}, language)
        for one in ("less", "more", "unclear")
    }
    assert len(said) == 3
    assert not any("{" in one or "None" in one for one in said)


def test_the_pooled_rest_and_what_has_no_value_never_share_a_name_with_a_users_own() -> None:
    row = {"stratum": "label", "measure": "perplexity_ratio", "conversations": 20}
    values = [("other", False), ("(other)", False), (None, True), (None, False)]
    table = strata_table([row | {"value": value, "pooled": pooled} for value, pooled in values])
    assert table["value"].tolist() == ["other", "(other)", "((other))", "(none)"]
    assert apart_from("(none)", {"(none)", "((none))"}) == "(((none)))"
