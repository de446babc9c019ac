"""Claims about two tuned models in plain words, English and Chinese. A is base's place in a claim, B tuned's."""

from stages.lib.records.scores import Claim, ClaimName, Measure
from stages.report.sentences import RATIOS, Language, evidence_of, rounded
from tools.compare.claims import SeedNoise, Verdict

HEADS: dict[Language, dict[ClaimName, tuple[str, str, str]]] = {  # less, more, can't tell
    "en": {
        "better": ("Better on test", "Worse on test", "Can't tell whether it is better on test"),
        "forgot": ("Forgot less", "Forgot more", "Can't tell whether it forgot more or less"),
        "broken": ("Fewer broken replies", "More broken replies", "Can't tell whether more or fewer replies are broken"),
        "length": ("Shorter replies", "Longer replies", "Can't tell whether replies are longer or shorter"),
        "wording": (
            "Replies are less like the references", "Replies are more like the references",
            "Can't tell which replies are more like the references",
        ),
        "memorised": (
            "Gained less on training conversations than on new ones", "Gained more on training conversations than on new ones",
            "Can't tell whether it memorised more",
        ),
    },
    "zh": {
        "better": ("测试集上更好", "测试集上更差", "无法判断测试集上是否更好"),
        "forgot": ("遗忘得更少", "遗忘得更多", "无法判断遗忘得更多还是更少"),
        "broken": ("有毛病的回复变少", "有毛病的回复变多", "无法判断有毛病的回复变多还是变少"),
        "length": ("回复变短", "回复变长", "无法判断回复变长还是变短"),
        "wording": ("回复离参考更远", "回复离参考更近", "无法判断哪一边的回复离参考更近"),
        "memorised": ("对训练对话的提升小于对新对话的", "对训练对话的提升大于对新对话的", "无法判断是否记住了更多训练对话"),
    },
}  # fmt: skip
MEASURES: dict[Language, dict[Measure, str]] = {
    "en": {
        "perplexity_ratio": "perplexity {estimate} times A's{interval}, from {a} to {b}",
        "bits_per_byte_difference": "bits per byte {estimate}{interval}, from {a} to {b}",
        "accuracy_difference": "share of right replies {estimate}{interval}, from {a} to {b}",
        "broken_difference": "share of broken replies {estimate}{interval}, from {a} to {b}",
        "length_ratio": "{estimate} times as long as A's{interval}, from {a} to {b} characters",
        "retention_ratio": "perplexity of base's own replies to general prompts {estimate} times A's{interval}, from {a} to {b}",
        "chrf_difference": "chrF {estimate}{interval}, from {a} to {b}",
        "memorised_auc": "the gain over A tells a training conversation from a test one {estimate} beyond chance{interval}",
    },
    "zh": {
        "perplexity_ratio": "困惑度是 A 的 {estimate} 倍{interval}，从 {a} 变为 {b}",
        "bits_per_byte_difference": "每字节比特数变化 {estimate}{interval}，从 {a} 变为 {b}",
        "accuracy_difference": "正确回复的比例变化 {estimate}{interval}，从 {a} 变为 {b}",
        "broken_difference": "有毛病的回复的比例变化 {estimate}{interval}，从 {a} 变为 {b}",
        "length_ratio": "长度是 A 的 {estimate} 倍{interval}，从 {a} 变为 {b} 个字符",
        "retention_ratio": "基座对通用提示的回复，困惑度是 A 的 {estimate} 倍{interval}，从 {a} 变为 {b}",
        "chrf_difference": "chrF 变化 {estimate}{interval}，从 {a} 变为 {b}",
        "memorised_auc": "凭相对 A 的提升区分训练对话和测试对话，比随机猜测高 {estimate}{interval}",
    },
}
NAMES: dict[Language, dict[ClaimName, str]] = {
    "en": {
        "better": "better", "forgot": "forgot", "broken": "broken replies", "length": "length",
        "wording": "likeness to the references", "memorised": "memorised",
    },
    "zh": {
        "better": "更好", "forgot": "遗忘", "broken": "有毛病的回复", "length": "长度", "wording": "与参考的相似",
        "memorised": "记忆",
    },
}  # fmt: skip
WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "too_few": "Too few to tell ({name}): {reason}.",
        "not_measured": "No claim ({name}): {reason}.",
        "claim": "{head}: {figures}.{decided}",
        "interval": " ({low} to {high})",
        "points": "{value} points",
        "reason": " {reason}.",
        "factor": "a factor of {value}",
        "missed": " With {these}, a change smaller than {size} would be missed more than one time in five.",
        "decide": " About {number} more {what} would decide an effect of this size.",
        "the same": "The tuned models of A and of B predict the same, to the byte.",
        "better": "B is better than A{doubt}: {figures}, over {number} test {conversations}.",
        "worse": "B is worse than A{doubt}: {figures}, over {number} test {conversations}.",
        "doubt": ", but no more than another seed would move it",
        "can't tell": "Can't tell whether B is better than A: {figures}.{decided}",
        "too few to tell": "Too few to tell: {reason}.",
        "not comparable": "Not comparable: {reason}.",
        "not measured": "Not measured: {reason}.",
        "first run": "B is the first run here: {reason}.",
    },
    "zh": {
        "too_few": "样本太少，无法判断（{name}）：{reason}。",
        "not_measured": "没有结论（{name}）：{reason}。",
        "claim": "{head}：{figures}。{decided}",
        "interval": "（{low} 到 {high}）",
        "points": "{value} 个百分点",
        "reason": "{reason}。",
        "factor": "{value} 倍",
        "missed": "以{these}，小于 {size} 的变化有超过五分之一的可能被漏掉。",
        "decide": "要判定这样大小的效应，大约还需要 {number} {what}。",
        "the same": "A 和 B 的微调模型预测完全相同，逐字节一致。",
        "better": "B 比 A 好{doubt}：{figures}，依据 {number} 段测试对话。",
        "worse": "B 比 A 差{doubt}：{figures}，依据 {number} 段测试对话。",
        "doubt": "，但差别不超过换一个随机种子带来的波动",
        "can't tell": "无法判断 B 是否比 A 好：{figures}。{decided}",
        "too few to tell": "样本太少，无法判断：{reason}。",
        "not comparable": "无法比较：{reason}。",
        "not measured": "没有测量：{reason}。",
        "first run": "B 是这里的第一次运行：{reason}。",
    },
}


def sentence(claim: Claim, language: Language = "en", reason: str | None = None) -> str:
    """`reason`: the claim's own, in this language."""
    words, name, verdict = WORDS[language], claim["name"], claim["verdict"]
    reason = reason or claim["reason"]
    if verdict in ("too_few", "not_measured"):
        return words[verdict].format(name=NAMES[language][name], reason=reason)
    less, more, unclear = HEADS[language][name]
    if claim["measure"] == "accuracy_difference":
        less, more = more, less
    head = unclear if verdict == "unclear" else less if verdict == "less" else more
    decided = would_decide(claim, language, reason) if verdict == "unclear" else ""
    return words["claim"].format(head=head, figures=figures(claim, language), decided=decided)


def figures(claim: Claim, language: Language = "en") -> str:
    measure, interval = claim["measure"], ""
    if claim["low"] is not None:
        ends = {end: change(claim[end], measure, language) for end in ("low", "high")}
        interval = WORDS[language]["interval"].format(**ends)
    return MEASURES[language][measure].format(
        estimate=change(claim["estimate"], measure, language),
        interval=interval,
        a=level(claim["base"], measure),
        b=level(claim["tuned"], measure),
    )


def change(value: float | None, measure: Measure, language: Language = "en") -> str:
    """With more digits than base against tuned needs: two tuned models are near each other.

    >>> change(0.9951, "perplexity_ratio"), change(-0.0312, "broken_difference"), change(None, "length_ratio")
    ('0.995', '-3.1 points', '?')
    """
    if value is None:
        return "?"
    if measure in RATIOS:
        return f"{value:.3f}" if value < 100 else f"{value:,.0f}"
    if measure in ("accuracy_difference", "broken_difference"):
        return WORDS[language]["points"].format(value=f"{100 * value:+.1f}")
    return f"{value:+.4f}" if measure == "bits_per_byte_difference" else f"{value:+.2f}"


def level(value: float | None, measure: Measure) -> str:
    """One model's own value.

    >>> level(19.8414, "perplexity_ratio"), level(0.25, "accuracy_difference")
    ('19.84', '25.0%')
    """
    if value is None:
        return "?"
    if measure in ("accuracy_difference", "broken_difference"):
        return f"{value:.1%}"
    if measure == "length_ratio":
        return f"{value:,.0f}"
    return f"{value:.3f}" if measure == "bits_per_byte_difference" else f"{value:,.2f}"


def would_decide(claim: Claim, language: Language = "en", reason: str | None = None) -> str:
    """What a test set like this would have found, and what would decide."""
    words, reason = WORDS[language], reason or claim["reason"]
    these, evidence = evidence_of(claim["name"], language)
    said = words["reason"].format(reason=f"{reason[0].upper()}{reason[1:]}") if reason else ""
    if claim["detectable"] is not None:
        size = change(claim["detectable"], claim["measure"], language).lstrip("+")
        size = words["factor"].format(value=size) if claim["measure"] in RATIOS else size
        said += words["missed"].format(these=these, size=size)
    if claim["more_conversations"]:
        said += words["decide"].format(number=rounded(claim["more_conversations"]), what=evidence)
    return said


def headline(verdict: Verdict, claim: Claim, noise: SeedNoise, language: Language = "en", reason: str | None = None) -> str:
    """The first claim in a word and a sentence."""
    words, number = WORDS[language], claim["conversations"]
    return words[verdict].format(
        doubt=words["doubt"] if noise["beyond"] is False else "",
        figures=figures(claim, language),
        number=f"{number:,}",
        conversations="conversation" if number == 1 else "conversations",
        decided=would_decide(claim, language, reason),
        reason=reason or claim["reason"],
    )
