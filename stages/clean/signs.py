"""A quick no: substrings of which a text holds one wherever a slow pattern finds something. Looking for them costs a tenth."""

import re
from collections.abc import Sequence

ASCII_WORD = re.compile("[a-z]{2}")


def has_sign(text: str, english: Sequence[str], chinese: Sequence[str]) -> bool:
    """Whether the text holds one of the signs, whatever its case. English ones hold two letters in a row, Chinese ones no ASCII.

    >>> has_sign("Sorry!", ["sorry"], []), has_sign("抱歉", ["sorry"], ["抱歉"]), has_sign("好的", ["sorry"], ["抱歉"])
    (True, True, False)
    """
    lower = text.lower()
    if ASCII_WORD.search(lower) and any(map(lower.__contains__, english)):
        return True
    return not lower.isascii() and any(map(lower.__contains__, chinese))
