"""Traditional Chinese characters to simplified ones."""

import re
from functools import cache
from typing import Protocol

from stages.lib.scripts import KANA

JAPANESE = re.compile(rf"(?![のー])[{KANA}]")  # but for の and ー, which Chinese uses as ornaments


class Simplifier(Protocol):
    """What is used of an `opencc.OpenCC`."""

    def convert(self, text: str, /) -> str: ...


def to_simplified(text: str) -> str:
    """Traditional Chinese characters to simplified ones (OpenCC's t2s). Text with kana is Japanese and stays.

    >>> to_simplified("漢語與頭髮")
    '汉语与头发'
    """
    if text.isascii() or JAPANESE.search(text):
        return text
    while (simplified := _simplifier().convert(text)) != text:  # 乾安縣 becomes 乾安县 as a word, 干安县 by its characters
        text = simplified
    return text


@cache
def _simplifier() -> Simplifier:
    import opencc

    return opencc.OpenCC("t2s")
