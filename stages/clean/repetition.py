"""Is a message stuck: the same words over and over? Rather no: a message wrongly called bad is lost."""

import re
import zlib

from stages.lib.scripts import HAN, HANGUL, KANA

CODE_OR_TABLE = re.compile(r"```.*?(?:```|\Z)|^(?:\s*\|[^\n]*|[^\n]*\t[^\n]*|[ ]{4}[^\n]*)$", re.DOTALL | re.MULTILINE)
TOKEN = re.compile(rf"[{HAN}{KANA}{HANGUL}]|[^\W\d_{HAN}{KANA}{HANGUL}]+")
LETTER = re.compile(r"[^\W\d_]")

SHORTEST_REPETITIVE = 100  # characters; below that "no no no" and 哈哈哈 are how people write
LONG = 500  # characters, from which on n-grams and compression tell more than chance
MOST_COMPRESSION = 10.0  # bytes in for bytes out; prose has 1.3 to 3, a song 4, stuck output 15 and more
LEAST_DISTINCT = 0.2  # of the 4-grams; prose has 0.95 and more, songs 0.4


def is_repetitive(text: str) -> bool:
    """Whether the text is stuck: the same words over and over, for most of a text of 100 characters or more.

    Code, tables and columns of numbers repeat by their nature and are not looked at.

    >>> is_repetitive("I am sorry for the delay. " * 8), is_repetitive("no " * 30), is_repetitive("哈" * 60)
    (True, False, False)
    """
    if len(text) < SHORTEST_REPETITIVE:
        return False
    middle = len(text) // 2
    if len(text) < LONG and text.count(text[-9:]) < 4 and text.count(text[middle : middle + 9]) < 4:
        return False
    prose = CODE_OR_TABLE.sub("", text).strip()
    return len(prose) >= SHORTEST_REPETITIVE and (_ends_in_a_loop(prose) or _repeats_itself(prose))


def _repeats_itself(text: str) -> bool:
    tokens = TOKEN.findall(text.lower())
    if len(text) >= 2 * LONG and sum(map(len, tokens)) >= len(text) / 2:
        raw = text.encode("utf-8", "replace")
        if len(raw) > MOST_COMPRESSION * len(zlib.compress(raw, 1)):
            return True
    # One or two words again and again are shouting or laughing, up to a length that nobody types.
    if len(tokens) < 40 or (len(set(tokens)) <= 2 and len(text) < 3 * SHORTEST_REPETITIVE):
        return False
    grams = set(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
    return len(grams) < LEAST_DISTINCT * (len(tokens) - 3)


def _ends_in_a_loop(text: str) -> bool:
    """Whether the last part, at least half of the text, is one piece four times and more. What cuts the loop off is no matter."""
    tail = text[-12:]
    period = len(text) - 12 - text.rfind(tail, 0, len(text) - 1)
    unit = text[-period:]
    if period > len(text) // 4 or len(LETTER.findall(unit)) < (period + 1) // 2:
        return False
    times = 1
    while text.endswith(unit, 0, len(text) - times * period):
        times += 1
    shortest = SHORTEST_REPETITIVE * 3 // 4 if period > 5 else SHORTEST_REPETITIVE * 3
    return times >= 4 and times * period >= max(shortest, len(text) // 2)
