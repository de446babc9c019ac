"""What the page of two runs says in its own words; the rest it has in common with the page of one."""

from stages.report.page.texts import BROWSER, PAGE, Both

OF_BOTH_PAGES = (
    "language", "contents", "skip", "verdict", "worst_how", "script", "training", "losses_table", "gates_how", "all_of_it",
)  # fmt: skip
WORDS = {name: PAGE[name] for name in OF_BOTH_PAGES} | {
    "title": Both("What changed from A to B", "从 A 到 B 改变了什么"),
    "names": Both("A: {a}. B: {b}.", "A 是 {a}，B 是 {b}。"),
    "worktree": Both("the work tree", "工作区"),
    "own": Both("B against its base model", "B 与它的基座模型相比"),
    "own_how": Both("As its own report has it, without A.", "出自它自己的报告，与 A 无关。"),
    "own_none": Both(
        "B's run has no claims in metrics/details/claims.json.", "B 的运行在 metrics/details/claims.json 里没有结论。"
    ),
    "worst": Both("Replies that lost most", "变差最多的回复"),
    "comparable": Both("Measured alike?", "测量方式相同吗？"),
    "comparable_yes": Both("All of it: test set, decoding, precision, machine.", "完全相同：测试集、解码、精度、机器。"),
    "comparable_but": Both("Comparable; these differ:", "可以比较，不同的有："),
    "comparable_partly": Both("Comparable in part. These differ:", "部分可比。不同的有："),
    "comparable_withheld": Both("Comparable in part: {why}.", "部分可比：{why}。"),
    "comparable_no": Both("Not comparable. These differ:", "无法比较。不同的有："),
    "comparable_none": Both("There is no run to compare with.", "没有可以比较的运行。"),
    "changes": Both("What was done otherwise", "做法有何不同"),
    "no_changes": Both("Params, conversations and stages are the same.", "参数、对话和各阶段都相同。"),
    "params": Both("Params", "参数"),
    "data": Both("Conversations", "对话"),
    "data_unknown": Both("What became of them can't be told: {why}.", "无法得知它们的去向：{why}。"),
    "stages": Both("Stages that ran again", "重新运行的阶段"),
    "metrics": Both("Metrics that changed", "改变的指标"),
    "metrics_of": Both("{file}: {number} changed", "{file}：{number} 个改变"),
    "others": Both("Other models and votes", "其他模型与投票"),
    "others_how": Both(
        "Each tuned model less, or over, another model's replies. What A and B differ in beside it, they differ in themselves.",
        "两个微调模型各自与另一个模型的回复相比。与它相比时 A 和 B 的差别，就是 A 和 B 本身的差别。",
    ),
    "others_not_same": Both("other replies in B", "B 里是别的回复"),
    "others_only": Both("Only {run} has replies by {name}.", "只有 {run} 有 {name} 的回复。"),
    "votes_said": Both(
        "People preferred A's tuned model to base in {a} of {votes_a} votes, B's in {b} of {votes_b} (ties split), a difference "
        "of {change}.",
        "A 的微调模型在 {votes_a} 票中赢过基座 {a}，B 的在 {votes_b} 票中赢过 {b}（平局各算一半），相差 {change}。",
    ),
    "replies": Both("All replies on test, side by side", "测试集上的全部回复，并排对照"),
    "replies_none": Both("No replies to show: {why}.", "没有可显示的回复：{why}。"),
    "replies_apart": Both(
        "Scores of A's and B's replies can't be held against each other: {why}.", "A 和 B 的回复得分不能相互比较：{why}。"
    ),
    "training_none": Both("Neither run has a loss history in metrics/plots.", "两次运行在 metrics/plots 里都没有损失记录。"),
    "missing": Both("Out of reach", "取不到的文件"),
    "missing_how": Both("Without these, what stands above is from git alone.", "没有这些文件，以上内容只来自 git。"),
    "filter_changed": Both("Replies", "回复"),
    "changed": Both("changed", "有变化的"),
    "unchanged": Both("the same in both", "两边相同的"),
    "column_run": Both("run", "运行"),
    "column_file": Both("file", "文件"),
    "column_why": Both("why", "原因"),
    "column_param": Both("param", "参数"),
    "column_kind": Both("kind", "类别"),
    "column_such_as": Both("such as", "例如"),
    "column_stage": Both("stage", "阶段"),
    "column_for": Both("for", "因为"),
    "column_outcome": Both("outcome", "结果"),
    "column_metric": Both("metric", "指标"),
    "column_against": Both("against", "对照"),
    "column_same": Both("its replies", "它的回复"),
    "column_a": Both("A", "A"),
    "column_b": Both("B", "B"),
    "column_train_a": Both("A, train", "A，训练"),
    "column_train_b": Both("B, train", "B，训练"),
    "column_validation_a": Both("A, validation", "A，验证"),
    "column_validation_b": Both("B, validation", "B，验证"),
}
OF_SCRIPTS = BROWSER | {
    "base": Both("A, tuned", "A，微调后"),
    "tuned": Both("B, tuned", "B，微调后"),
    "beside": Both("Base of both", "两边的基座模型"),
    "beside_a": Both("Base of A", "A 的基座模型"),
    "beside_b": Both("Base of B", "B 的基座模型"),
    "fault_new": Both("new in B", "B 新出现"),
    "fault_gone": Both("gone in B", "B 已消失"),
    "fault_tuned": Both("B has one", "B 有"),
    "fault_base": Both("A has one", "A 有"),
    "hidden": Both(
        "Text not shown: the source {source} is not in report.show_text of both revisions.",
        "文本未显示：来源 {source} 不在两个版本的 report.show_text 里。",
    ),
    "likelihood": Both(
        "loss on the references, B less A: {change} nats a token", "参考回复的损失，B 减 A：每 token {change} nat"
    ),
}
STAGE_PARTS = {
    "params": Both("params", "参数"), "data": Both("data", "数据"), "code": Both("code", "代码"),
    "packages": Both("packages", "软件包"), "command": Both("its command", "命令"),
}  # fmt: skip
NOTHING_RECORDED = Both("nothing that DVC records", "DVC 没有记录的原因")
MORE = Both("{number} more", "另外 {number} 个")
MEASURES = {
    "accuracy_difference": Both("accuracy, difference", "正确率之差"),
    "chrf_difference": Both("chrF, difference", "chrF 之差"),
    "broken_difference": Both("broken replies, difference", "有毛病的回复比例之差"),
    "length_ratio": Both("length, ratio", "长度之比"),
}
