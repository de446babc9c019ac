"""What the page says in its own words, English and Chinese: they stand beside each other in the file, and a switch shows one."""

from typing import NamedTuple


class Both(NamedTuple):
    en: str
    zh: str

    def filled(self, **values: object) -> "Both":
        """With values that are the same in both languages, or have both themselves."""
        english, chinese = ({k: v[at] if isinstance(v, Both) else v for k, v in values.items()} for at in range(2))
        return Both(self.en.format(**english), self.zh.format(**chinese))


def same(text: str) -> Both:
    """What has no translation: an id, a number, a metric's name."""
    return Both(text, text)


PAGE = {
    "title": Both("What tuning changed", "微调改变了什么"),
    "language": Both("Language", "语言"),
    "contents": Both("Contents", "目录"),
    "skip": Both("Skip to the verdict", "跳到结论"),
    "verdict": Both("Verdict", "结论"),
    "limits": Both("What this test cannot show", "这次测试说明不了什么"),
    "worst": Both("Replies that got worse most", "变差最多的回复"),
    "worst_how": Both(
        "First replies with a new fault, then those that lost most overlap with their reference (chrF). Whether they are worse "
        "is for you to judge.",
        "先列新出现毛病的回复，再列与参考回复的重合（chrF）下降最多的回复。是否真的变差，请您自己判断。",
    ),
    "none_worse": Both(
        "No reply got a new fault or lost overlap with its reference.", "没有回复新出现毛病，与参考的重合也没有下降。"
    ),
    "gates": Both("Gates", "门槛"),
    "gates_how": Both(
        "Held against the bound is the bad end of the metric's interval.", "与界限比较的是指标区间里较差的那一端。"
    ),
    "no_gates": Both(
        "No gate is set: report.gates in params.yaml lists them.", "没有设置门槛：写在 params.yaml 的 report.gates 里。"
    ),
    "comparable": Both("Comparable with other runs?", "能与别的运行比较吗？"),
    "comparable_how": Both(
        "Two runs compare in full only where all of this is equal. This page knows no other commit; python -m tools.compare "
        "looks into two, and says what may be compared where they differ. One fingerprint stands for all of it:",
        "下列各项全都相同的两次运行才能全面比较。本页不知道别的提交：python -m tools.compare 比较两次提交，"
        "有差异时会说明还有哪些可比。这个指纹代表全部：",
    ),
    "scores": Both("Scores beside the floors", "得分与底线"),
    "scores_how": Both(
        "A floor takes no model: the prompt again, the most frequent reply of train, a random one. A score says something by its "
        "distance from them.",
        "底线不用模型：重复提示、训练集中最常见的回复、随机一条训练回复。得分要看高出底线多少。",
    ),
    "others": Both("Against other models", "与其他模型比较"),
    "mistakes": Both("Most frequent mistakes", "最常见的错误"),
    "mistakes_how": Both(
        "Of the tuned model's replies; dvc plots show has the whole confusion matrix.",
        "微调模型的回复；完整的混淆矩阵见 dvc plots show。",
    ),
    "strata": Both("Where it helped and where not", "哪些部分变好，哪些没有"),
    "strata_how": Both(
        "Change: tuned perplexity over base's, below 1 is better. Drawn: the interval, and the line of no change.",
        "变化：微调后的困惑度除以基座模型的，小于 1 为好。图中是区间，竖线表示没有变化。",
    ),
    "strata_how_right": Both(
        "Change: difference of accuracy, above 0 is better. Drawn: the interval, and the line of no change.",
        "变化：正确率之差，大于 0 为好。图中是区间，竖线表示没有变化。",
    ),
    "no_strata": Both(
        "All test conversations are of one kind, or too few of each to be told apart.",
        "测试对话都属于同一类，或每一类都太少，无法分开比较。",
    ),
    "replies": Both("All replies on test", "测试集上的全部回复"),
    "votes": Both("Vote blind", "盲评"),
    "training": Both("Training", "训练过程"),
    "labels": Both("Perplexity of each label", "各标签的困惑度"),
    "fates": Both("Where the conversations went", "对话的去向"),
    "fates_how": Both("Every row that was read ends in one of these.", "读取的每一行最终都归入其中一项。"),
    "kept_known": Both("Forgetting and memory", "遗忘与记忆"),
    "kept_known_how": Both(
        "Forgetting is measured on general prompts that have nothing to do with your data, memory by the gain on training "
        "conversations against new ones.",
        "遗忘用与您的数据无关的通用提示来测；记忆则比较训练对话和新对话上的提升。",
    ),
    "by_heart": Both("Known by heart, and of how many replies", "能背出的比例，以及回复的条数"),
    "environment": Both("Made with", "运行环境"),
    "environment_how": Both(
        "Hardware, precision and versions of training and of both predictions.", "训练和两次预测所用的硬件、精度与版本。"
    ),
    "all_of_it": Both("All of it", "全部内容"),
    "losses_table": Both("Validation losses as a table", "验证损失的数值"),
    "script": Both(
        "To search the replies and to vote, allow this page its own script.", "搜索回复和投票需要允许本页自带的脚本。"
    ),
}

COLUMNS = {
    "gate": Both("metric", "指标"),
    "found": Both("found", "测得"),
    "bound": Both("bound", "界限"),
    "outcome": Both("outcome", "结果"),
    "contender": Both("replies by", "回复来自"),
    "stratum": Both("part of test", "测试集的一部分"),
    "conversations": Both("conversations", "对话数"),
    "groups": Both("groups", "组数"),
    "change": Both("change", "变化"),
    "interval": Both("interval", "区间"),
    "verdict": Both("verdict", "结论"),
    "label": Both("label", "标签"),
    "replied": Both("replied", "回复成"),
    "times": Both("times", "次数"),
    "fate": Both("fate", "去向"),
    "what": Both("what", "项目"),
    "value": Both("value", "值"),
    "step": Both("step", "步"),
    "loss": Both("loss, nats a token", "损失（nat/token）"),
    "training": Both("training", "训练"),
    "train": Both("train", "训练"),
    "validation": Both("validation", "验证"),
    "base": Both("base", "基座模型"),
    "tuned": Both("tuned", "微调后"),
}

BROWSER = {
    "search": Both("Search", "搜索"),
    "search_hint": Both("Words in prompts, replies, ids", "提示、回复或 id 里的词"),
    "filter_label": Both("Label", "标签"),
    "filter_language": Both("Language", "语言"),
    "filter_source": Both("Source", "来源"),
    "filter_fault": Both("Faults", "毛病"),
    "sort": Both("Order", "排序"),
    "all": Both("all", "全部"),
    "no_label": Both("(none)", "（无）"),
    "fault_new": Both("new when tuned", "微调后新出现"),
    "fault_gone": Both("gone when tuned", "微调后消失"),
    "fault_tuned": Both("tuned has one", "微调模型有"),
    "fault_base": Both("base has one", "基座模型有"),
    "sort_loss": Both("largest loss first (chrF)", "先看变差最多的（chrF）"),
    "sort_win": Both("largest win first (chrF)", "先看变好最多的（chrF）"),
    "sort_less_likely": Both("reference less likely first", "先看参考回复变得更不可能的"),
    "sort_more_likely": Both("reference more likely first", "先看参考回复变得更可能的"),
    "sort_id": Both("by id", "按 id"),
    "found": Both("{number} of {all} replies", "共 {all} 条回复，符合的有 {number} 条"),
    "page": Both("Page {page} of {pages}", "第 {page} 页，共 {pages} 页"),
    "previous": Both("Previous", "上一页"),
    "next": Both("Next", "下一页"),
    "prompt": Both("Prompt", "提示"),
    "reference": Both("Reference", "参考回复"),
    "base": Both("Base", "基座模型"),
    "tuned": Both("Tuned", "微调后"),
    "earlier": Both("Earlier turns ({number})", "之前的对话（{number} 条）"),
    "empty": Both("(empty)", "（空白）"),
    "unanswered": Both("(no reply: not scored)", "（没有回复，不计分）"),
    "hidden": Both(
        "Text not shown. To show it, add the source {source} to report.show_text in params.yaml and run dvc repro.",
        "文本未显示。要显示，请把来源 {source} 加进 params.yaml 的 report.show_text，再执行 dvc repro。",
    ),
    "likelihood": Both("loss on the references: {change} nats a token", "参考回复的损失变化：每 token {change} nat"),
    "turn": Both("message {turn}", "第 {turn} 条消息"),
    "user": Both("User", "用户"),
    "assistant": Both("Assistant", "助手"),
    "system": Both("System", "系统"),
    "tool": Both("Tool", "工具"),
}

FAULTS = {
    "looping": Both("loop", "循环"),
    "runaway": Both("endless", "不停"),
    "empty": Both("empty", "空白"),
    "wrong_language": Both("wrong language", "语言不对"),
    "prompt_copy": Both("copy of the prompt", "重复提示"),
}

VOTING = {
    "vote_how": Both(
        "You see two replies and not which model wrote which. Vote, save the votes, add the file's lines to data/votes.jsonl and "
        "run dvc repro: the win rate then stands among the claims. A vote counts only for the two replies that it was given to.",
        "您会看到两条回复，但看不到各是哪个模型写的。投票、保存，把文件里的各行加进 data/votes.jsonl，再执行 dvc repro，"
        "胜率就会列入结论。一票只对当时那两条回复有效。",
    ),
    "vote_begin": Both("Begin", "开始"),
    "vote_begin_at": Both("Go on", "继续"),
    "vote_left": Both("Pairs to vote on: {number}. Equal replies are left out.", "可投票的回复共 {number} 对，内容相同的不算。"),
    "vote_nothing": Both(
        "Nothing to vote on: no two different replies whose texts may be shown (report.show_text).",
        "没有可投票的回复：没有内容不同、又允许显示文本（report.show_text）的两条回复。",
    ),
    "vote_progress": Both("Pair {number} of {all}", "第 {number} 对，共 {all} 对"),
    "vote_first": Both("Reply A", "回复 A"),
    "vote_second": Both("Reply B", "回复 B"),
    "vote_a": Both("A is better", "A 更好"),
    "vote_b": Both("B is better", "B 更好"),
    "vote_tie": Both("As good", "一样好"),
    "vote_bad": Both("Both bad", "都不好"),
    "vote_back": Both("Back", "退回"),
    "vote_end": Both("End and reveal", "结束并揭晓"),
    "vote_close": Both("Close", "关闭"),
    "vote_save": Both("Save votes", "保存投票"),
    "vote_result": Both("Your votes", "您的投票"),
    "vote_none": Both("You have not voted yet.", "您还没有投票。"),
    "won_tuned": Both("tuned was better", "微调模型更好"),
    "won_base": Both("base was better", "基座模型更好"),
    "won_tie": Both("as good", "一样好"),
    "won_bad": Both("both bad", "都不好"),
    "vote_revealed": Both("What was what", "各是谁写的"),
    "vote_was": Both("A: {first}, B: {second}", "A：{first}，B：{second}"),
}
