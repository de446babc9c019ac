"""How a reply fails whatever its reference says: stuck in a loop, never ending, empty, in another language, the prompt again."""

from typing import TypedDict

from stages.evaluate.words import words
from stages.lib.languages import detect_language
from stages.lib.records.conversation import normalize

LOOP_WORDS = 12  # that one piece repeated takes up at least
SINGLE_WORDS = 24  # the same where the piece is one word or two: people write "no no no" and 哈哈哈
LOOP_TIMES = 3
LONGEST_PIECE = 200  # words
REPETITIVE_WORDS = 40  # from which on one in two 4-grams seen before is a loop too
RUNAWAY = 2.0  # times the reference's characters, from which on a reply that did not end is endless rather than long
COPIED = 0.5  # of the reply
COPIED_CHARACTERS = 20
# Codes of one written language, as a detector may give them.
ALIKE = [set(codes.split()) for codes in ("zh yue wuu lzh", "no nb nn da", "hr sr bs sh", "id ms", "tl fil", "fa prs")]


class Behaviour(TypedDict):
    looping: bool
    runaway: bool
    empty: bool
    wrong_language: bool
    prompt_copy: bool


def describe_reply(reply: str, stopped: bool, prompt: str, reference: str, language: str) -> Behaviour:
    return {
        "looping": is_looping(reply),
        "runaway": not stopped and len(reply) >= RUNAWAY * len(reference),
        "empty": not reply.strip(),
        "wrong_language": is_in_another_language(reply, reference, language),
        "prompt_copy": copies_prompt(reply, prompt, reference),
    }


def is_looping(reply: str) -> bool:
    """Whether the reply's end says one piece over and over, cut anywhere, or half of a long one has been said before.

    >>> is_looping("I like it. " * 5 + "I li"), is_looping("no " * 5), is_looping("a b c d e")
    (True, False, False)
    """
    tokens = words(reply)
    number = len(tokens)
    for period in range(1, min(LONGEST_PIECE, number // LOOP_TIMES) + 1):
        least = max(LOOP_WORDS if period > 2 else SINGLE_WORDS, LOOP_TIMES * period)
        if number >= least and _repeats(tokens, period, least):
            return True
    grams = list(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
    return number >= REPETITIVE_WORDS and len(set(grams)) < len(grams) / 2


def _repeats(tokens: list[str], period: int, length: int) -> bool:
    """Whether each of the last `length` tokens, but for the last `period` of the reply, which may be cut, is as one before."""
    for cut in (0, 1):  # of the last word perhaps only a part
        tail = tokens[len(tokens) - length - cut : len(tokens) - cut]
        if len(tail) == length and tail[period:] == tail[:-period]:
            return True
    return False


def is_in_another_language(reply: str, reference: str, language: str) -> bool:
    """Whether the reply's language is known, and neither its conversation's nor its reference's; scripts and long words tell."""
    found = _primary(detect_language(reply))
    expected = {_primary(language), _primary(detect_language(reference))} - {"und"}
    if found == "und" or not expected:
        return False
    return not any(found == one or any({found, one} <= alike for alike in ALIKE) for one in expected)


def _primary(code: str) -> str:
    return code.lower().partition("-")[0]


def copies_prompt(reply: str, prompt: str, reference: str) -> bool:
    """Whether the reply is its prompt again, or a long prompt makes half of it, and the reference is no copy."""
    asked, said, right = normalize(prompt), normalize(reply), normalize(reference)
    if not asked or asked in right:
        return False
    return said == asked or (len(asked) >= COPIED_CHARACTERS and asked in said and len(asked) >= COPIED * len(said))
