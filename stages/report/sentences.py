"""Claims in plain words, English and Chinese."""

from typing import Literal

from stages.lib.records.scores import Claim, ClaimName, Measure, Verdict
from stages.report.reasons import in_chinese

Language = Literal["en", "zh"]
RATIOS: tuple[Measure, ...] = ("perplexity_ratio", "length_ratio", "retention_ratio")
SHARES: tuple[Measure, ...] = ("accuracy_difference", "majority_difference", "broken_difference")  # percentage points

HEADS: dict[Language, dict[ClaimName, tuple[str, str, str]]] = {  # less, more, can't tell
    "en": {
        "better": ("Better on test", "Worse on test", "Can't tell whether it is better on test"),
        "majority": (
            "Worse than always replying with the most frequent label",
            "Better than always replying with the most frequent label",
            "Not shown to be better than always replying with the most frequent label",
        ),
        "wording": (
            "Its wording is further from the references",
            "Its wording is closer to the references",
            "Can't tell whose wording is closer to the references",
        ),
        "forgot": (
            "General prompts are easier for it than before",
            "It forgot: base's own replies to general prompts have become less likely",
            "Can't tell whether it forgot anything",
        ),
        "broken": ("Fewer broken replies", "More broken replies", "Can't tell whether more or fewer replies are broken"),
        "length": ("Shorter replies", "Longer replies", "Can't tell whether replies are longer or shorter"),
        "memorised": (
            "What it learned helps more on new conversations than on those of training",
            "It knows training conversations better than new ones",
            "Can't tell whether it memorised training conversations",
        ),
        "preferred": (
            "People prefer base's replies",
            "People prefer the tuned model's replies",
            "Can't tell whose replies people prefer",
        ),
    },
    "zh": {
        "better": ("测试集上更好", "测试集上更差", "无法判断测试集上是否更好"),
        "majority": ("还不如总是回答最常见的标签", "优于总是回答最常见的标签", "没有证据表明优于总是回答最常见的标签"),
        "wording": ("措辞离参考回复更远", "措辞离参考回复更近", "无法判断谁的措辞离参考回复更近"),
        "forgot": (
            "通用提示对它来说比以前更容易",
            "有遗忘，基座模型自己对通用提示的回复在它看来变得更不可能",
            "无法判断它是否有所遗忘",
        ),
        "broken": ("有毛病的回复变少", "有毛病的回复变多", "无法判断有毛病的回复变多还是变少"),
        "length": ("回复变短", "回复变长", "无法判断回复变长还是变短"),
        "memorised": (
            "学到的东西对新对话的帮助比对训练对话更大",
            "它对训练对话比对新对话更熟悉",
            "无法判断它是否记住了训练对话",
        ),
        "preferred": ("人更喜欢基座模型的回复", "人更喜欢微调模型的回复", "无法判断人更喜欢哪个模型的回复"),
    },
}
VERDICTS: tuple[Verdict, ...] = ("less", "more", "unclear")
MEASURES: dict[Language, dict[Measure, str]] = {
    "en": {
        "perplexity_ratio": "perplexity {estimate} times base's{interval}, from {base} to {tuned}",
        "accuracy_difference": "share of right replies {estimate} points{interval}, from {base} to {tuned}",
        "majority_difference": "share of right replies {estimate} points{interval}, {tuned} beside {base}",
        "chrf_difference": "chrF {estimate}{interval}, from {base} to {tuned}",
        "broken_difference": "share of broken replies {estimate} points{interval}, from {base} to {tuned}",
        "length_ratio": "{estimate} times as long as {other}'s{interval}, from {base} to {tuned} characters",
        "retention_ratio": "perplexity of base's own replies to general prompts {estimate} times what it was{interval}",
        "memorised_auc": "the gain tells a training conversation from a test one {estimate} beyond chance{interval}",
        "win_rate": "tuned wins {estimate} of the votes, ties split{interval}; better in {tuned} of them, base in {base}",
    },
    "zh": {
        "perplexity_ratio": "困惑度是基座的 {estimate} 倍{interval}，从 {base} 变为 {tuned}",
        "accuracy_difference": "正确回复的比例变化 {estimate} 个百分点{interval}，从 {base} 变为 {tuned}",
        "majority_difference": "正确回复的比例相差 {estimate} 个百分点{interval}，它是 {tuned}，最常见的标签是 {base}",
        "chrf_difference": "chrF 变化 {estimate}{interval}，从 {base} 变为 {tuned}",
        "broken_difference": "有毛病的回复的比例变化 {estimate} 个百分点{interval}，从 {base} 变为 {tuned}",
        "length_ratio": "长度是{other}的 {estimate} 倍{interval}，从 {base} 变为 {tuned} 个字符",
        "retention_ratio": "基座对通用提示的回复，困惑度是原来的 {estimate} 倍{interval}",
        "memorised_auc": "凭这一提升区分训练对话和测试对话，比随机猜测高 {estimate}{interval}",
        "win_rate": "微调模型赢得 {estimate} 的票，平局各算一半{interval}；{tuned} 的票认为它更好，{base} 的票认为基座模型更好",
    },
}
WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "too_few": "Too few to tell ({name}): {reason}.",
        "not_measured": "Not measured ({name}): {reason}.",
        "interval": " ({low} to {high})",
        "detectable": " With {these}, a change smaller than {detectable} would be missed more than one time in five.",
        "more": " About {more} more {evidence} would decide an effect of this size.",
        "ratio": "a factor of {factor}",
        "points": "{size} points",
        "base": "base",
        "stop": ".",
        "colon": ": ",
    },
    "zh": {
        "too_few": "样本太少，无法判断（{name}）：{reason}。",
        "not_measured": "未测量（{name}）：{reason}。",
        "interval": "（{low} 到 {high}）",
        "detectable": "以{these}，小于 {detectable} 的变化有超过五分之一的可能被漏掉。",
        "more": "要判定这样大小的效应，大约还需要 {more} {evidence}。",
        "ratio": "{factor} 倍",
        "points": "{size} 个百分点",
        "base": "基座",
        "stop": "。",
        "colon": "：",
    },
}
TEST: dict[Language, tuple[str, str]] = {"en": ("this test set", "test conversations"), "zh": ("现有的测试集", "段测试对话")}
EVIDENCE: dict[Language, dict[ClaimName, tuple[str, str]]] = {  # of what is no matter of test alone: what there is, what to add
    "en": {
        "forgot": ("these general prompts", "general prompts (predict.retention)"),
        "memorised": ("these conversations", "conversations, training and test together,"),
        "preferred": ("these votes", "votes, on other replies,"),
    },
    "zh": {
        "forgot": ("现有的通用提示", "条通用提示（predict.retention）"),
        "memorised": ("现有的对话", "段对话（训练和测试合计）"),
        "preferred": ("现有的票", "张投给其他回复的票"),
    },
}
NAMES: dict[Language, dict[ClaimName, str]] = {
    "en": {
        "better": "better", "majority": "better than the most frequent label", "wording": "wording", "forgot": "forgot",
        "broken": "broken replies", "length": "length", "memorised": "memorised",
        "preferred": "preferred by people",
    },
    "zh": {
        "better": "更好", "majority": "优于最常见的标签", "wording": "措辞", "forgot": "遗忘", "broken": "有毛病的回复",
        "length": "长度", "memorised": "记忆", "preferred": "人的偏好",
    },
}  # fmt: skip


def number(value: float | None, measure: Measure, signed: bool = False) -> str:
    """
    >>> number(0.302, "perplexity_ratio"), number(0.25, "accuracy_difference"), number(0.25, "accuracy_difference", True)
    ('0.30', '25%', '+25')
    """
    if value is None:
        return "?"
    if measure in SHARES:
        return f"{100 * value:+.0f}" if signed else f"{value:.0%}"
    if measure == "win_rate":
        return f"{value:.0%}"
    if measure == "memorised_auc":
        return f"{value:+.2f}"
    if measure == "chrf_difference":
        return f"{value:+.1f}" if signed else f"{value:.1f}"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def level(value: float | None, measure: Measure) -> str:
    """One model's own value; of lengths, characters, which are whole ones.

    >>> level(28.62, "length_ratio"), level(19.8414, "perplexity_ratio")
    ('29', '19.84')
    """
    return number(value, measure) if value is None or measure != "length_ratio" else f"{value:,.0f}"


def evidence_of(name: ClaimName, language: Language) -> tuple[str, str]:
    """What a claim rests on, and what more of would decide it."""
    return EVIDENCE[language].get(name, TEST[language])


def rounded(conversations: int) -> str:
    """Two digits of it are more than can be known."""
    digits = max(0, len(str(conversations)) - 2)
    return f"{round(conversations, -digits):,}"


def sentence(claim: Claim, language: Language = "en", other: str | None = None) -> str:
    """One claim: the verdict, the figures behind it, what could have been shown and what would decide it.

    `other`: the name of the model that tuned is compared with; None for base.
    """
    words, measure, verdict = WORDS[language], claim["measure"], claim["verdict"]
    if verdict in ("too_few", "not_measured"):
        reason = claim["reason"] if language == "en" else in_chinese(claim["reason"] or "")
        return words[verdict].format(name=NAMES[language][claim["name"]], reason=reason)
    ends = {end: number(claim[end], measure, signed=True) for end in ("low", "high")}
    interval = "" if claim["low"] is None else words["interval"].format(**ends)
    figures = MEASURES[language][measure].format(
        estimate=number(claim["estimate"], measure, signed=True),
        interval=interval,
        base=level(claim["base"], measure),
        tuned=level(claim["tuned"], measure),
        other=other or WORDS[language]["base"],
    )
    less, more, unclear = HEADS[language][claim["name"]]
    if measure == "accuracy_difference":
        less, more = more, less
    said = f"{dict(zip(VERDICTS, (less, more, unclear), strict=True))[verdict]}{words['colon']}{figures}{words['stop']}"
    if verdict != "unclear":
        return said
    these, evidence = evidence_of(claim["name"], language)
    if claim["detectable"] is not None:
        size = number(claim["detectable"], measure).lstrip("+")
        if measure in RATIOS:
            size = words["ratio"].format(factor=size)
        elif measure in SHARES:
            size = words["points"].format(size=f"{100 * claim['detectable']:.0f}")
        said += words["detectable"].format(these=these, detectable=size)
    if claim["more_conversations"]:
        said += words["more"].format(more=rounded(claim["more_conversations"]), evidence=evidence)
    return said
