"""Numbers that are counted with: sums, products, amounts. By length or check digit many pass for a card's or a telephone's."""

import re
from collections.abc import Iterable

LONG_NUMBER = re.compile(r"[0-9]{11}")
# Digits joined by a sign, or words that ask for a result. A hyphen, a slash and a plus sign stand in telephone numbers too.
SUM = re.compile(
    r"[0-9)]\s?[*×·÷^=≈]\s?\(?[0-9]|[0-9)]\s[+/%−]\s?\(?[0-9]|[0-9]\+[0-9]"
    r"|(?<![0-9])(?!1[3-9][0-9]{9}(?![0-9]))[0-9]{5,}\s[-–]\s(?!1[3-9][0-9]{9}(?![0-9]))[0-9]{5,}"
    r"|[0-9]\s?(?:times|plus|minus|multiplied by|divided by|mod(?:ulo)?|加上?|减去?|乘以?|除以|等于)\s?[0-9]"
    r"|\b(?:comput(?:e|ing)|calculat(?:e|ion|ing)|evaluate|simplify|multiply|multiplication|subtract(?:ion)?|square root"
    r"|divide|cube root|remainder|factorial|prime (?:number|factor)s?|fibonacci|arithmetic|integers?|sums?"
    r"|(?:sum|product|difference|quotient) of)\b[^\n]{0,40}[0-9]"
    r"|\badd\s[0-9.,]+\s(?:and|to|plus)\s[0-9]"
    r"|(?:计算|求|算一下|算出)\s?[:：]?\s?[0-9(]|(?:之和|之积|之差|质数|阶乘|平方根|余数)",
    re.IGNORECASE,
)
RESULT_BEFORE = re.compile(r"(?:[$€£¥￥₹×*^]|[0-9)\s]=)\s?\Z")
UNIT_BEHIND = re.compile(
    r"\s?(?:元|美元|美金|欧元|日元|万|亿|字节|公里|吨|%|(?:usd|eur|rmb|cny|dollars?|euros?|yuan|yen|bytes?|people|users|kg|km|miles"
    r"|meters?|metres?|tons?|years?|seconds?|units?|items?)\b)",
    re.IGNORECASE,
)
OPERATOR_BEHIND = re.compile(r"\s?[*×÷^=≈]|\s[+/%−]\s")


def speaks_of_sums(texts: Iterable[str]) -> bool:
    """Whether one of a conversation's texts counts with numbers: then a long number in any of them may be a result.

    >>> speaks_of_sums(["What is 2106441506498 + 2106441506498?"]), speaks_of_sums(["call +1 415 555 2671 or 0755-87654321/2"])
    (True, False)
    """
    return any(SUM.search(text) for text in texts)


def is_counted(match: re.Match[str]) -> bool:
    """Whether the number is an amount or a part of a sum, by what stands beside it."""
    text, (start, end) = match.string, match.span()
    return bool(
        RESULT_BEFORE.search(text[max(0, start - 4) : start]) or UNIT_BEHIND.match(text, end) or OPERATOR_BEHIND.match(text, end)
    )
