"""The names of the figures in metrics/, as the page of two runs lists them; those of the report's table are the report's."""

from stages.report.names import shown_name
from stages.report.page import names
from stages.report.page.texts import Both, same

NAMES = names.METRICS | {
    "distinct_1": same("distinct-1"),
    "reply_characters": Both("characters in a reply", "每条回复的字符数"),
    "reply_stopped": Both("replies that end by themselves", "自行结束的回复"),
    "replies": Both("replies", "回复数"),
    "conversations": Both("conversations", "对话数"),
    "labels": Both("tokens scored", "计分的 token 数"),
    "empty": Both("empty replies", "空白回复"),
    "looping": Both("replies stuck in a loop", "陷入循环的回复"),
    "runaway": Both("replies that run on", "停不下来的回复"),
    "prompt_copy": Both("replies that repeat the prompt", "重复提示的回复"),
    "wrong_language": Both("replies in another language", "语言不对的回复"),
    "unanswered": Both("replies that are missing", "缺少的回复"),
    "unscored": Both("conversations without a likelihood", "没有似然的对话"),
    "groups": Both("groups", "组数"),
    "perplexity_ratio": Both("perplexity ratio", "困惑度之比"),
    "retention_ratio": Both("perplexity ratio on general prompts", "通用提示上的困惑度之比"),
    "chrf_difference": Both("chrF difference", "chrF 之差"),
    "broken_difference": Both("difference in broken replies", "有毛病的回复比例之差"),
    "accuracy_difference": Both("difference in accuracy", "正确率之差"),
    "embedding_similarity_difference": Both("difference in similarity in meaning", "语义相似度之差"),
    "more_likely_when_tuned": Both("references more likely when tuned", "微调后更可能的参考回复"),
    "win_rate": Both("votes won", "赢得的投票"),
    "votes": Both("votes", "投票数"),
    "steps": Both("steps", "步数"),
    "kept_step": Both("step that was kept", "保留的那一步"),
    "validation_loss": Both("validation loss", "验证损失"),
    "validation_loss_start": Both("validation loss before training", "训练前的验证损失"),
    **names.COUNTS,
}
ENDS = {"_low": Both(", low end", "，区间下限"), "_high": Both(", high end", "，区间上限")}


def metric_name(key: str) -> Both:
    """What has no name here is named as in its file.

    >>> metric_name("perplexity_ratio_low").en, metric_name("train_cut").zh
    ('perplexity ratio, low end', 'train_cut')
    """
    for suffix, end in ENDS.items():
        if name := NAMES.get(key.removesuffix(suffix)) if key.endswith(suffix) else None:
            return Both(name.en + end.en, name.zh + end.zh)
    return NAMES.get(key) or same(shown_name(key))
