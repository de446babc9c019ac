"""The names of metrics, contenders, parts of the test set and the like, as the page has them."""

from stages.report.page.texts import Both, same

METRICS = {
    "perplexity": Both("perplexity", "困惑度"),
    "bits_per_byte": Both("bits per byte", "每字节比特数"),
    "accuracy": Both("accuracy", "正确率"),
    "macro_f1": Both("macro-F1", "宏平均 F1"),
    "invalid_reply": Both("no label", "不是标签"),
    "chrf": same("chrF"),
    "embedding_similarity": Both("similarity in meaning", "语义相似度"),
    "length_ratio": Both("length ratio", "长度比"),
    "distinct_2": same("distinct-2"),
    "broken": Both("broken", "有毛病"),
}
CONTENDERS = {
    "base": Both("base", "基座模型"),
    "tuned": Both("tuned", "微调后"),
    "reference": Both("the references", "参考回复"),
    "floor_echo": Both("floor: the prompt again", "底线：重复提示"),
    "floor_constant": Both("floor: the most frequent reply", "底线：最常见的回复"),
    "floor_random": Both("floor: a random train reply", "底线：随机一条训练回复"),
}
ORDER = ("base", "tuned", "reference", "floor_echo", "floor_constant", "floor_random")
KNOWN = {
    "verbatim": Both("long train replies that it would write word for word", "会一字不差写出的长训练回复"),
    "verbatim_repeated": Both(
        "the same, of replies that stand in several training conversations", "同上，限于在多段训练对话里出现过的回复"
    ),
}
STRATA = {
    "label": Both("label", "标签"),
    "language": Both("language", "语言"),
    "turns": Both("turns", "轮数"),
    "length": Both("characters", "字符数"),
    "source": Both("source", "来源"),
}
VERDICTS = {
    "better": Both("better", "更好"),
    "worse": Both("worse", "更差"),
    "can't tell": Both("can't tell", "无法判断"),
    "too few to tell": Both("too few to tell", "样本太少"),
    "not measured": Both("not measured", "未测量"),
    "changed": Both("changed", "有变化"),
}
TONES = {"better": "good", "worse": "bad"}
COUNTS = {
    "rows_read": Both("rows read", "读取的行"),
    "collected": Both("conversations collected", "收集到的对话"),
    "kept": Both("kept as they were", "原样保留"),
    "repaired": Both("repaired", "修复"),
    "dropped": Both("dropped", "丢弃"),
    "train": Both("train", "训练集"),
    "validation": Both("validation", "验证集"),
    "test": Both("test", "测试集"),
    "leaked": Both("test rows still alike one in train", "与训练集仍相似的测试行"),
    "test_with_twin_at_50": Both(
        "share of test rows with a train row at Jaccard 0.5", "与某条训练行 Jaccard 达 0.5 的测试行比例"
    ),
    "train_tokens": Both("tokens to train on", "训练的 token"),
    "train_labels": Both("of them to learn", "其中要学的"),
}
FATES = {
    "test": Both("test", "测试集"),
    "validation": Both("validation", "验证集"),
    "train": Both("train", "训练集"),
    "split: left out": Both("split: left out", "split：未采用"),
    "collect: rows unreadable": Both("collect: rows unreadable", "collect：无法读取的行"),
    "collect: rows over limit": Both("collect: rows over the limit", "collect：超出数量上限的行"),
    "collect: rows left out": Both("collect: rows left out", "collect：来源自带的排除"),
    "clean: dropped, exact duplicate": Both("clean: exact duplicate", "clean：完全重复"),
    "clean: dropped, near duplicate": Both("clean: near duplicate", "clean：近似重复"),
    "clean: dropped, boilerplate": Both("clean: automatic message", "clean：自动消息"),
    "clean: dropped, empty": Both("clean: empty", "clean：空白"),
    "clean: dropped, language": Both("clean: another language", "clean：其他语言"),
    "clean: dropped, length": Both("clean: too short or too long", "clean：太短或太长"),
    "clean: dropped, no assistant message": Both("clean: no reply of the assistant", "clean：没有助手的回复"),
    "clean: dropped, no reply": Both("clean: no reply left", "clean：没有剩下回复"),
    "clean: dropped, no user message": Both("clean: nothing from the user", "clean：没有用户的消息"),
    "clean: dropped, refusal": Both("clean: refusal", "clean：拒绝回答"),
    "clean: dropped, repetition": Both("clean: reply stuck in a loop", "clean：回复陷入循环"),
    "clean: dropped, tool messages": Both("clean: nothing left without calls of tools", "clean：去掉工具调用后没有剩下内容"),
    "tokenize: cut": Both("tokenize: cut", "tokenize：截短"),
    "tokenize: too long": Both("tokenize: too long", "tokenize：太长"),
    "tokenize: template misfit": Both("tokenize: template misfit", "tokenize：与对话模板不合"),
    "tokenize: identical replies": Both("tokenize: identical replies", "tokenize：回复相同的太多"),
    "tokenize: no labels": Both("tokenize: nothing to learn", "tokenize：没有可学的内容"),
}
POOLED = {"other": "其他", "none": "无"}  # of strata and labels: what has too few conversations, what has no value
ENVIRONMENT = {
    "cpu capability": Both("CPU instructions", "CPU 指令集"),
    "cpu threads": Both("CPU threads", "CPU 线程数"),
    "deterministic algorithms": Both("deterministic algorithms", "确定性算法"),
    "device": Both("device", "设备"),
    "device count": Both("devices", "设备数"),
    "device name": Both("name of the device", "设备名称"),
    "packed documents": Both("conversations computed in packs", "对话打包计算"),
    "precision": Both("precision", "精度"),
    "processes": Both("processes", "进程数"),
}
COMPARABILITY = {
    "test": Both("test conversations and their groups", "测试对话及其分组"),
    "metrics": Both("how scores are computed", "得分的算法"),
    "base_model": Both("base model", "基座模型"),
    "tokenizer": Both("tokenizer", "分词器"),
    "chat_template": Both("chat template", "对话模板"),
    "base_decoding": Both("decoding, base", "解码（基座模型）"),
    "tuned_decoding": Both("decoding, tuned", "解码（微调后）"),
    "base_precision": Both("precision, base", "精度（基座模型）"),
    "tuned_precision": Both("precision, tuned", "精度（微调后）"),
    "base_device": Both("device, base", "设备（基座模型）"),
    "tuned_device": Both("device, tuned", "设备（微调后）"),
    "base_versions": Both("versions and hardware, base", "版本与硬件（基座模型）"),
    "tuned_versions": Both("versions and hardware, tuned", "版本与硬件（微调后）"),
}


def pooled(name: str) -> Both:
    """`(other)` and `(none)`, in whatever brackets keep them apart from people's own.

    >>> pooled("((other))").zh
    '((其他))'
    """
    word = name.strip("()")
    return Both(name, name.replace(word, POOLED[word]))


def named(names: dict[str, Both], key: str) -> Both:
    """What has no name of its own here is named by its key."""
    return names.get(key, same(key.replace("_", " ")))
