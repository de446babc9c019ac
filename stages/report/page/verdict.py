"""The verdict of the whole run, from the claims and the gates, and what the test set is too small or too narrow to show."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from stages.lib.records.scores import Claim, Evaluation
from stages.report.gates import Outcome
from stages.report.page.names import VERDICTS
from stages.report.page.texts import Both
from stages.report.sentences import HEADS, NAMES, Language, sentence

LANGUAGES: tuple[Language, Language] = ("en", "zh")
Tone = Literal["good", "bad", "open"]
LOWER_IS_BETTER = {
    "better": True, "majority": False, "wording": False, "forgot": True, "broken": True, "memorised": True, "preferred": False,
}  # fmt: skip
COSTS = {
    "forgot": Both("base's own replies to general prompts have become less likely", "基座模型自己对通用提示的回复变得更不可能"),
    "broken": Both("more replies are broken", "有毛病的回复变多"),
    "memorised": Both("it knows training conversations better than new ones", "它对训练对话比对新对话更熟悉"),
    "majority": Both("always replying with the most frequent label would be better", "还不如总是回答最常见的标签"),
    "wording": Both("its wording is further from the references", "措辞离参考回复更远"),
    "preferred": Both("people prefer base's replies", "人更喜欢基座模型的回复"),
}
NO_PRICE = Both("Nothing else that was measured got worse.", "其他测过的方面都没有变差。")
PRICE = Both("The price: {names}.", "代价：{names}。")
GATES_HOLD = Both("All gates hold ({number}).", "门槛全部达到（{number} 道）。")
GATES_FAIL = Both("Gates that fail: {failing} of {number}.", "未达到的门槛：{number} 道中有 {failing} 道。")
NO_GATES = Both("No gate is set.", "没有设置门槛。")
UNDECIDABLE = {
    "too_few": Both("Too few test conversations to tell whether it is better", "测试对话太少，无法判断是否更好"),
    "not_measured": Both("Not measured whether it is better", "没有测出是否更好"),
}
SIZE = Both(
    "It rests on {conversations} test conversations in {groups} groups; conversations of a group count as one voice.",
    "依据是 {conversations} 段测试对话，分成 {groups} 组；同一组的对话合起来只算一份证据。",
)
DETECTABLE = Both(
    "An improvement that leaves the perplexity above {ratio} times base's would be missed more than one time in five.",
    "如果改进后的困惑度仍高于基座的 {ratio} 倍，有超过五分之一的可能发现不了。",
)
WITHOUT = Both(
    "Without the three conversations that move it most, the perplexity ratio is {ratio}.",
    "去掉影响最大的三段对话，困惑度比值是 {ratio}。",
)
LEFT_OUT = Both(
    "Left out: {unscored} conversations without a likelihood and {unanswered} missing replies, of one of the models or both.",
    "未计入：其中一个或两个模型没有似然的对话 {unscored} 段，缺少的回复 {unanswered} 条。",
)
FOREIGN = Both(
    "Votes that were given to other replies than this run's, and count for nothing: {number}.",
    "投给别的运行的回复、因此不计入的票：{number} 票。",
)
UNDECIDED = Both("Undecided: {names}; the claims above say why.", "未能判断：{names}；原因见上面的结论。")
KIND = Both(
    "It speaks for other conversations of this kind: what is not in test was not tested.",
    "结论只针对同类的对话：测试集里没有的，就没有测过。",
)


class Verdict(NamedTuple):
    tone: Tone
    head: Both
    lines: list[Both]


class ToldClaim(NamedTuple):
    tone: Tone
    word: Both
    sentence: Both


def tone_of(claim: Claim) -> Tone:
    """Good or bad news; open where nothing is decided, or where neither direction is better."""
    if claim["verdict"] not in ("less", "more") or claim["name"] not in LOWER_IS_BETTER:
        return "open"
    lower_is_better = LOWER_IS_BETTER[claim["name"]] and claim["measure"] != "accuracy_difference"
    return "good" if (claim["verdict"] == "less") == lower_is_better else "bad"


def tell(claim: Claim, other: str | None = None) -> ToldClaim:
    """`other`: the model that tuned is compared with; None for base."""
    return tell_as(claim, Both(sentence(claim, other=other), sentence(claim, "zh", other)))


def tell_as(claim: Claim, said: Both) -> ToldClaim:
    """With a sentence of one's own."""
    tone = tone_of(claim)
    undecided = {"unclear": "can't tell", "too_few": "too few to tell", "not_measured": "not measured"}
    word = {"good": "better", "bad": "worse", "open": undecided.get(claim["verdict"], "changed")}[tone]
    return ToldClaim(tone, VERDICTS[word], said)


def judge(claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> Verdict:
    first = next(claim for claim in claims if claim["name"] == "better")
    costs = [claim for claim in claims if claim is not first and tone_of(claim) == "bad"]
    failing = sum(not outcome["passed"] for outcome in outcomes)
    lines = []
    if costs:
        told = [COSTS[claim["name"]] for claim in costs]
        english, chinese = "; ".join(one.en for one in told), "；".join(one.zh for one in told)
        lines.append(Both(PRICE.en.format(names=english), PRICE.zh.format(names=chinese)))
    elif tone_of(first) == "good":
        lines.append(NO_PRICE)
    unbeaten = [claim for claim in claims if claim["name"] == "majority" and tone_of(claim) == "open"]
    lines += [_head(claim) for claim in unbeaten]
    if not outcomes:
        lines.append(NO_GATES)
    else:
        lines.append((GATES_FAIL if failing else GATES_HOLD).filled(failing=failing, number=len(outcomes)))
    tone = "bad" if failing else "open" if unbeaten else tone_of(first)
    return Verdict(tone, _head(first), lines)


def _direction(claim: Claim) -> int:
    """The position in HEADS."""
    position = {"less": 0, "more": 1}.get(claim["verdict"], 2)
    return 1 - position if claim["measure"] == "accuracy_difference" and position < 2 else position


def _head(claim: Claim) -> Both:
    if claim["name"] == "better" and claim["verdict"] in UNDECIDABLE:
        return UNDECIDABLE[claim["verdict"]]
    return Both(*(HEADS[language][claim["name"]][_direction(claim)] for language in LANGUAGES))


def limits(evaluation: Evaluation, seed_noise: Both) -> list[Both]:
    """What these figures leave open."""
    comparison, tuned = evaluation["comparison"], evaluation["contenders"]["tuned"]
    lines = [SIZE.filled(conversations=_whole(comparison["conversations"]), groups=_whole(comparison["groups"]))]
    if evaluation["task"] == "dialogue" and (ratio := comparison["perplexity_ratio_detectable"]) is not None:
        lines.append(DETECTABLE.filled(ratio=f"{ratio:.2f}"))
    if (ratio := evaluation["influence"]["perplexity_ratio"]) is not None and evaluation["task"] == "dialogue":
        lines.append(WITHOUT.filled(ratio=f"{ratio:.2f}"))
    if tuned["unscored"] or tuned["unanswered"]:
        lines.append(LEFT_OUT.filled(unscored=_whole(tuned["unscored"]), unanswered=_whole(tuned["unanswered"])))
    if comparison["votes_foreign"]:
        lines.append(FOREIGN.filled(number=_whole(comparison["votes_foreign"])))
    undecided = [claim for claim in evaluation["claims"] if claim["verdict"] in ("unclear", "too_few", "not_measured")]
    if undecided:
        english, chinese = ([NAMES[language][claim["name"]] for claim in undecided] for language in LANGUAGES)
        lines.append(Both(UNDECIDED.en.format(names=", ".join(english)), UNDECIDED.zh.format(names="、".join(chinese))))
    return [*lines, Both(*(text.replace("`", "") for text in seed_noise)), KIND]


def _whole(value: float | None) -> str:
    return "0" if value is None else f"{value:,.0f}"
