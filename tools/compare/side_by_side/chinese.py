"""The comparison's own sentences, which its record has in English, in Chinese. What stands in braces is taken over."""

import re
from functools import cache

from stages.report.page.texts import Both

SENTENCES = {
    # Why a claim is not made
    "the metrics' definitions differ": "指标的定义不同",
    "the two learned from different conversations": "两次训练用的对话不同",
    "the test sets differ": "测试集不同",
    "the dvc.lock of {run} is of no one run": "{run} 的 dvc.lock 不是同一次运行的记录",
    "the base models differ, and with them the replies that could be forgotten": "基座模型不同，可能被遗忘的回复也就不同",
    "one task is a classification, the other is none": "一个任务是分类，另一个不是",
    "greedy replies change with the precision, which differs or is unknown": "贪心解码的回复随精度而变，两者的精度不同或未知",
    "replies were cut at different lengths, some at {limit} tokens": "回复截断的长度不同，有些截在 {limit} 个 token",
    "replies were decoded in different ways": "回复的解码方式不同",
    "{table} of {runs} is out of reach": "取不到 {runs} 的 {table}",
    "A and B": "A 和 B",
    "the two models split the texts into different tokens": "两个模型把文本切成了不同的 token",
    "the base models' replies to the general prompts differ": "基座模型对通用提示的回复不同",
    "the task is no classification": "任务不是分类",
    "the two have no test message in common": "两者没有共同的测试消息",
    "{run} has no run, so there is nothing to compare with": "{run} 没有运行结果，无从比较",
    # What to bear in mind
    "B fails {failed} of its {number} gates: {names}.": "B 的 {number} 道门槛中有 {failed} 道未达到：{names}。",
    "Another precision alone moves likelihoods in the third digit.": "仅仅精度不同，就会改变似然的第三位数字。",
    "The two were not predicted by the same packages on the same kind of machine, which moves last digits.":
        "两次预测所用的软件包或机器种类不同，末位数字会有变化。",
    "The code of evaluate differs: each run's replies are scored as its own version does it.":
        "evaluate 的代码不同：每次运行的回复按各自的版本计分。",
    "{number} test conversations without a likelihood in one of the runs are left out.":
        "有 {number} 段测试对话在其中一次运行里没有似然，未计入。",
    "{number} replies that only one of the runs has, or that lack a score, are left out.":
        "有 {number} 条回复只有一次运行才有，或没有得分，未计入。",
    "From git alone, {name} went from {a} to {b}; whether that is chance can't be said without the scores.":
        "只看 git：{name} 从 {a} 变为 {b}；没有得分，就不知道是否出于偶然。",
    "{run} was run with other values of {params} than its params.yaml has: `dvc repro` is due.":
        "{run} 运行时 {params} 的值与它的 params.yaml 不同：请执行 `dvc repro`。",
    "What {run}'s dvc.lock records is not what stands in {path}: `dvc repro` is due.":
        "{run} 的 {path} 与它的 dvc.lock 记录的不同：请执行 `dvc repro`。",
    "{run}'s {path} and its dvc.lock were edited: the scores of its run are others. `dvc repro -f -s report` writes them again.":
        "{run} 的 {path} 和它的 dvc.lock 都被改过：这次运行的得分不是这样。用 `dvc repro -f -s report` 重新写出。",
    "In {run}'s dvc.lock {stage} was run with another {path} than stands there, as after a merge: `dvc repro` is due.":
        "在 {run} 的 dvc.lock 里，{stage} 运行时的 {path} 与其中记录的不是同一份，合并之后就会这样：请执行 `dvc repro`。",
    # Another seed
    "seed noise not measured: another `train.seed` moves these figures too":
        "没有测量随机种子带来的波动：换一个 `train.seed`，这些数字也会变",
    "seed noise was measured on neither of these runs; `python -m tools.seeds` measures it":
        "随机种子带来的波动不是在这两次运行上测的；`python -m tools.seeds` 可以测量",
    "by another seed alone, two runs differ by up to a factor of {far} ({number} seeds); this change is larger":
        "只换随机种子，两次运行最多相差 {far} 倍（{number} 个种子）；这里的变化更大",
    "by another seed alone, two runs differ by up to a factor of {far} ({number} seeds); this change is no larger than that":
        "只换随机种子，两次运行最多相差 {far} 倍（{number} 个种子）；这里的变化不比它大",
    "by another seed alone, two runs differ by up to {far} ({number} seeds); this change is larger":
        "只换随机种子，两次运行最多相差 {far}（{number} 个种子）；这里的变化更大",
    "by another seed alone, two runs differ by up to {far} ({number} seeds); this change is no larger than that":
        "只换随机种子，两次运行最多相差 {far}（{number} 个种子）；这里的变化不比它大",
    "by another seed alone, two runs differ by up to a factor of {far} ({number} seeds)":
        "只换随机种子，两次运行最多相差 {far} 倍（{number} 个种子）",
    "by another seed alone, two runs differ by up to {far} ({number} seeds)":
        "只换随机种子，两次运行最多相差 {far}（{number} 个种子）",
    # Out of reach
    "no remote is set up; `python -m tools.remote add` does it, where someone has pushed them":
        "没有设置远程存储；如果有人推送过，用 `python -m tools.remote add` 设置",
    "not in the cache, and --no-fetch asks no remote": "缓存里没有，而 --no-fetch 不查远程存储",
    "the remote has none either; `dvc push --run-cache` where the run was made":
        "远程存储里也没有；请在运行的机器上执行 `dvc push --run-cache`",
    "the remote can't be read: {words}": "无法读取远程存储：{words}",
    "dvc.lock does not record it": "dvc.lock 里没有记录",
    "written by an earlier version, without {columns}": "由较早的版本写出，没有 {columns}",
    "no Parquet file": "不是 Parquet 文件",
    "{path} of {run}: {why}": "{run} 的 {path}：{why}",
    # Stages
    "only {run} has it": "只有 {run} 有",
    "the same results": "结果相同",
    "1 out changed": "1 个输出改变",
    "{number} outs changed": "{number} 个输出改变",
}  # fmt: skip

OF_DATA = {  # what became of conversations
    "{split}, before {why}": "{split}，之前{why}",
    "{split}, now {why}": "{split}，现在{why}",
    "not collected": "没有收集",
    "dropped, {reason}": "被丢弃（{reason}）",
    "kept, and in no split": "保留，但不在任何划分里",
    "{one} to {other}": "{one}移到{other}",
    "{one}; {more}": "{one}；{more}",
    "now {repairs}": "现在 {repairs}",
    "no longer {repairs}": "不再 {repairs}",
    "other messages left out or joined": "省略或合并的消息不同",
    "other tags": "标记不同",
    "in details": "细节不同",
    "text": "文本",
    "train": "训练集",
    "validation": "验证集",
    "test": "测试集",
    "entered": "新增",
    "left": "离开",
    "moved": "换了划分",
    "cleaned differently": "清洗结果不同",
    "changed": "改变",
}


@cache
def _patterns(of_data: bool) -> list[tuple[re.Pattern[str], str]]:
    found = []
    for english, chinese in (OF_DATA if of_data else SENTENCES).items():
        pieces = re.split(r"\{(\w+)\}", english)
        pattern = "".join(f"(?P<{piece}>.+?)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
        found.append((re.compile(pattern, re.DOTALL), chinese))
    return found


def both(text: str, of_data: bool = False) -> Both:
    """
    >>> both("train, before dropped, refusal", of_data=True).zh
    '训练集，之前被丢弃（refusal）'
    """
    for pattern, chinese in _patterns(of_data):
        if found := pattern.fullmatch(text):
            values = {name: both(value, of_data).zh for name, value in found.groupdict().items()}
            return Both(text, chinese.format(**values))
    return Both(text, text)
