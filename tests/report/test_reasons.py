"""Each reason that a run can give for what it does not say has its words in Chinese."""

import re
from string import Formatter

import pytest

from stages.lib.records.scores import Why
from stages.report.gates import Gate, check_gate
from stages.report.reasons import CHINESE, MISSING, NULL, in_chinese
from stages.report.sentences import sentence

TERMS = r"predict|token|metrics/report\.html|metrics/base\.json|evaluate\.embedding|null|chrf"  # names that no language changes
VALUES = {"groups": 12, "fewest": 20, "bad": 3, "all": 1234, "tokens": 20, "votes": 7}


def values_of(template: str) -> dict[str, int]:
    return {name: VALUES[name] for _, name, _, _ in Formatter().parse(template) if name}


def test_the_table_has_every_reason_and_no_other() -> None:
    assert CHINESE.keys() == {why.value for why in Why} | {MISSING, NULL}


@pytest.mark.parametrize("why", Why)
def test_a_reason_is_said_in_chinese_with_its_values_and_no_english_is_left(why: Why) -> None:
    values = values_of(why.value)
    said = in_chinese(why.said(**values))
    assert not re.search("[A-Za-z]", re.sub(TERMS, "", said)), said
    assert all(f"{value:,}" in said for value in values.values())


def test_the_reasons_of_gates_are_said_too() -> None:
    gate = Gate(metric="base.chrf", above=1)
    reasons = [check_gate(gate, values, {})["reason"] for values in (None, {}, {"chrf": None})]
    assert [in_chinese(reason or "") for reason in reasons] == [
        "metrics/base.json 里没有 chrf", "metrics/base.json 里没有 chrf", "它为空"
    ]  # fmt: skip


def test_a_claim_without_a_verdict_has_its_reason_in_the_sentences_language() -> None:
    empty = dict.fromkeys(["base", "tuned", "estimate", "low", "high", "p", "p_holm", "detectable", "more_conversations"])
    claim = {"name": "preferred", "measure": "win_rate", "verdict": "not_measured", "conversations": 0, "groups": 0} | empty
    said = sentence(claim | {"reason": Why.NO_VOTE.said()}, "zh")
    assert said == "未测量（人的偏好）：还没有人投票；在 metrics/report.html 里投票。"


def test_what_is_no_reason_of_ours_stays_as_it_is() -> None:
    assert in_chinese("the moon") == "the moon"
