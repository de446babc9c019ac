"""Words: Chinese with spaces between them, and texts without their most frequent words.

Both suit classification, search and statistics, where a text is a bag of words. A generative model learns to write what it is
shown: trained on such texts it writes spaces into Chinese and leaves out "the" and "not to". Leave both off for fine-tuning.
"""

import logging
import re
import tempfile
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Protocol

from stages.lib.scripts import HAN

CHINESE_RUN = re.compile(rf"[{HAN}]+")
# Between Chinese and a Latin word or number there is no space: a word's end all the same.
MIXED_EDGE = re.compile(rf"(?<=[{HAN}])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[{HAN}])")

# No negation and no question word: "not" and "why" tell texts apart.
ENGLISH_STOP_WORDS = """
    a about all also am an and any are as at be because been being both but by can could did do does doing for from had has have
    having he her hers him his i if in into is it its itself just me my of off on or our ours out over own same she should so some
    such than that the their theirs them then there these they this those through to too under up very was we were will with would
    you your yours i'm i've i'll i'd you're you've you'll he's she's it's we're we've they're they've that's there's
""".split()  # noqa: SIM905
CHINESE_STOP_WORDS = """
    的 了 着 过 地 得 是 在 有 和 与 及 或 而 且 并 并且 而且 以及 我 我们 你 你们 您 他 他们 她 她们 它 它们 咱们 自己
    这 那 这个 那个 这些 那些 这里 那里 这样 那样 一个 一些 一种 也 都 就 还 又 再 才 只 很 太 更 最 非常
    把 被 让 给 对 对于 关于 从 向 往 于 由 以 为 为了 因为 所以 因此 但 但是 可是 不过 然后 如果 虽然 之 其 其中 所 等 等等
    吗 呢 吧 啊 呀 哦 嗯 啦 嘛 哈 上 下 中 里 会 能 可以 要 想 去 来 到 说 请
""".split()  # noqa: SIM905
ENGLISH_STOP_WORD = re.compile(
    r"(?<![\w'’.@/-])(?:"
    + "|".join(word.replace("'", "['’]") for word in sorted(ENGLISH_STOP_WORDS, key=lambda word: (-len(word), word)))
    + r")(?![\w'’@/-]|\.\w)[ \t]*",
    re.IGNORECASE,
)


CHINESE_STOP_SET = frozenset(CHINESE_STOP_WORDS)


class Segmenter(Protocol):
    """What is used of a `jieba.Tokenizer`."""

    def cut(self, sentence: str, *, HMM: bool) -> Iterable[str]: ...  # noqa: N803


def segment_words(text: str) -> str:
    """One space between Chinese words, and between Chinese and Latin words; all other text stays as it is.

    Only by jieba's dictionary: its guesses at unknown words depend on what stands around, and a second pass would differ.

    >>> segment_words("我昨天用Python写了一个机器人，跑得很快")
    '我 昨天 用 Python 写 了 一个 机器人，跑 得 很快'
    """
    if text.isascii() or not CHINESE_RUN.search(text):
        return text
    return CHINESE_RUN.sub(lambda run: " ".join(_chinese_words(run[0])), MIXED_EDGE.sub(" ", text))


def remove_stop_words(text: str) -> str:
    """The text without the English and Chinese words of the two lists above, and the spaces behind them.

    Chinese is segmented to find them, and put together again: 的 goes, the 的 in 目的 stays.

    >>> remove_stop_words("This is the link to my order."), remove_stop_words("我的目的是学习")
    ('link order.', '目的学习')
    """
    while (shorter := _remove_stop_words_once(text)) != text:  # what is left may make new words
        text = shorter
    return text


def _remove_stop_words_once(text: str) -> str:
    shorter = ENGLISH_STOP_WORD.sub("", text)
    if not text.isascii():
        shorter = CHINESE_RUN.sub(_remove_chinese_stop_words, shorter)
    if shorter == text:
        return text
    return re.sub(r"(?<=\S)[ \t]+(?=[ \t\n])|^[ \t]+(?=\S)|[ \t]+\Z", "", shorter)


def _remove_chinese_stop_words(run: re.Match[str]) -> str:
    return "".join(word for word in _chinese_words(run[0]) if word not in CHINESE_STOP_SET)


def _chinese_words(run: str) -> list[str]:
    return list(_segmenter().cut(run, HMM=False))


@cache
def _segmenter() -> Segmenter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba's regular expressions hold escapes that Python warns of
        import jieba
    jieba.setLogLevel(logging.CRITICAL)
    segmenter = jieba.Tokenizer()
    # Its cache in the machine's temporary folder may be another user's or another version's: made anew, and thrown away.
    with tempfile.TemporaryDirectory() as folder:
        segmenter.tmp_dir = folder
        segmenter.initialize()
    return segmenter
