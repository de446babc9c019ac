"""Text -> words, for metrics that count words in any script."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

from stages.lib.scripts import HANGUL, UNSPACED

VARIATION_SELECTORS = "\ufe0e\ufe0f"  # how an emoji is drawn, not which one it is
JOINER = "\u200d"
WITH_SIGNS = list(chain(range(0x3400), range(0xA000, 0xAC00), range(0xF900, 0x20000)))  # all but where only letters are


def _characters(*categories: str) -> str:
    """Of these Unicode categories, as ranges between the brackets of a regular expression."""
    kept = (code for code in WITH_SIGNS if unicodedata.category(chr(code)) in categories)
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in _runs(kept))


def _runs(codes: Iterable[int]) -> list[tuple[int, int]]:
    """
    >>> _runs([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    runs: list[tuple[int, int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], code)
        else:
            runs.append((code, code))
    return runs


MARKS = _characters("Mn", "Mc", "Me")  # vowel signs of Hindi, tone marks of Thai: part of the letter before them
PICTURES = _characters("So")  # emoji among them
MODIFIERS = "\U0001f3fb-\U0001f3ff"  # skin tones
FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
MONEY = "\xa2-\xa5\u20a0-\u20cf"  # not the dollar, which rouge-score drops
MATHEMATICS = _characters("Sm") + re.escape("^")
UNSPACED_CHARACTER = rf"(?=[{UNSPACED}{HANGUL}])[^\W_]"
# A picture with what is joined to it; one character of a script without spaces; a run of letters and digits; signs of which one
# is an operator (`!=` is not `==`); operators that prose has at the edge of words, between two words or standing alone.
WORDS = re.compile(
    rf"{FLAG}|[{PICTURES}][{MODIFIERS}{MARKS}]*(?:{JOINER}[{PICTURES}{MODIFIERS}{MARKS}]+)*"
    rf"|{UNSPACED_CHARACTER}[{MARKS}]*"
    rf"|(?:(?!{UNSPACED_CHARACTER})[^\W_])(?:(?!{UNSPACED_CHARACTER})[^\W_]|[{MARKS}])*"
    rf"|[{MONEY}]"
    rf"|[^\w\s{PICTURES}{MARKS}]*[{MATHEMATICS}](?:(?![{PICTURES}])[^\w\s])*"
    r"|&&|(?<=\w)[*%](?=\w)|(?<!\S)(?:[*/%&]|//|\*\*)(?!\S)"
)
SIGNS = re.compile(r"[^\w\s]+")


def words(text: str) -> list[str]:
    """Lower-case words with their marks; characters where the script has no spaces; emoji and operators one by one.

    English prose gives the words that rouge-score takes. Other signs count where there is nothing else.

    >>> words("Don't panic, 你好!"), words("a != b"), words("👍🏽 दिन"), words("?!")
    (['don', 't', 'panic', '你', '好'], ['a', '!=', 'b'], ['👍🏽', 'दिन'], ['?!'])
    """
    return list(_find_words(text))


@lru_cache(maxsize=2**15)  # each metric asks for the same texts
def _find_words(text: str) -> tuple[str, ...]:
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(dict.fromkeys(map(ord, VARIATION_SELECTORS)))
    return tuple(WORDS.findall(text) or SIGNS.findall(text))
