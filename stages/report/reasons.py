"""Why a metric is null or a claim has no verdict, in Chinese. The English words of metrics/ are the key, as in gettext."""

import re
from collections.abc import Iterator
from functools import cache
from string import Formatter

from stages.lib.records.scores import Why

MISSING = "{file} has no {key}"  # of gates, which name a metric
NULL = "it is null"
CHINESE: dict[str, str] = {
    Why.NOT_COMPUTED.value: "无法计算",
    Why.FIGURE_NOT_COMPUTED.value: "这个数值本身无法计算",
    Why.ONE_GROUP.value: "只有一组对话，看不出离散程度",
    Why.NOTHING_LEFT.value: "去掉其中一组就没有可测的内容了",
    Why.NO_SPREAD.value: "各组的数值都相同，看不出离散程度",
    Why.TOO_FEW_GROUPS.value: "对话组太少",
    Why.FEW_GROUPS.value: "只有 {groups} 组对话，不足 {fewest} 组",
    Why.FEW_PROMPTS.value: "只有 {groups} 条通用提示，不足 {fewest} 条",
    Why.NO_LIKELIHOOD.value: "没有一段对话有似然",
    Why.NO_TOKEN.value: "没有一段对话有可打分的 token",
    Why.NO_BYTE.value: "没有一段对话有可打分的字节",
    Why.NO_NUMBERS.value: "{all} 段对话中有 {bad} 段的似然不是数",
    Why.NO_NUMBER.value: "有的似然不是数",
    Why.NO_NUMBER_OR_NONE.value: "有的对话的似然不是数，或者没有对话",
    Why.TOO_LARGE.value: "大得无法表示",
    Why.IMPOSSIBLE.value: "大得无法表示：在模型看来，参考回复几乎不可能出现",
    Why.NO_RETENTION.value: "predict 没有给出通用提示的似然",
    Why.NO_TRAIN.value: "predict 没有给出训练对话的似然",
    Why.NO_LABEL_LIKELIHOOD.value: "predict 没有给出每个标签的似然",
    Why.LABEL_NO_NUMBER.value: "有的标签的似然不是数",
    Why.UNKNOWN_LABEL.value: "测试集里有训练集没有的标签",
    Why.NO_REPLY.value: "没有一段对话两个模型都有回复",
    Why.NO_LONG_REPLY.value: "其中没有 {tokens} 个 token 以上的回复",
    Why.NO_WORD.value: "参考回复里没有词",
    Why.NO_WORD_PAIR.value: "没有一条参考回复有两个词",
    Why.EMPTY_REFERENCES.value: "参考回复是空的",
    Why.UNKNOWN_END.value: "回复文件没有说明哪些回复是自行结束的",
    Why.NO_VOTE.value: "还没有人投票；在 metrics/report.html 里投票",
    Why.FOREIGN_VOTES.value: "{votes} 票都投给了别的回复；在 metrics/report.html 里投票",
    Why.NO_EMBEDDING.value: "evaluate.embedding 为 null",
    MISSING: "{file} 里没有 {key}",
    NULL: "它为空",
}


@cache
def patterns() -> list[tuple[re.Pattern[str], str]]:
    """What matches each English reason, its values by their names, and the Chinese one."""
    return [(re.compile("".join(_pieces(english))), chinese) for english, chinese in CHINESE.items()]


def _pieces(template: str) -> Iterator[str]:
    for text, name, _, _ in Formatter().parse(template):
        yield re.escape(text)
        if name:
            yield f"(?P<{name}>.+)"


def in_chinese(reason: str) -> str:
    """A reason that is none of these stays as it is.

    >>> in_chinese("12 groups of conversations; under 20 are too few to tell")
    '只有 12 组对话，不足 20 组'
    """
    for pattern, chinese in patterns():
        if found := pattern.fullmatch(reason):
            return chinese.format(**found.groupdict())
    return reason
