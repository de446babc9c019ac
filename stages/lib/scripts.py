"""Ranges of characters by script, to stand between the brackets of a regular expression."""

HAN = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = r"\u3041-\u3096\u30a1-\u30fc\uff66-\uff9d"
HANGUL = r"\uac00-\ud7a3"
# Scripts that write without spaces: Thai to Tibetan, Myanmar, Khmer, and from the radicals on all that Chinese and Japanese use.
UNSPACED = r"\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
