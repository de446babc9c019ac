"""Repair of texts that were read in a wrong encoding. Text -> text.

Each function first asks a cheap question that says no for almost every message, is idempotent, takes linear time on
hostile input, and leaves alone what it is not sure about.
"""

import re
import unicodedata

import ftfy
from ftfy.badness import MOJIBAKE_CATEGORIES

from stages.lib.scripts import HAN

# ftfy's defaults rewrite full-width Chinese punctuation, typographic quotes, entities and ligatures: all meant as they stand.
FTFY = ftfy.TextFixerConfig(
    fix_character_width=False,
    uncurl_quotes=False,
    unescape_html=False,
    fix_latin_ligatures=False,
    remove_terminal_escapes=False,
    remove_control_chars=False,
    fix_line_breaks=False,
    explain=False,
)
# Whatever ftfy takes for mojibake holds one of these: a test proves it on ftfy's regular expression. The quotes, dashes and
# dots that Chinese and typographic English are full of are not among them.
MOJIBAKE_SIGN = re.compile(
    "[\ud800-\udfffŒœØÙЂВГРСΒΓΞΟ‚"
    + "".join(
        MOJIBAKE_CATEGORIES[name]
        for name in ("c1", "bad", "law", "currency", "numeric", "upper_accented", "lower_accented", "box")
    )
    + "]"
)

# Lead bytes of what UTF-8 writes in three bytes (punctuation, kana, Chinese, full-width forms) and, as GBK reads it, the
# character that such a lead byte and its next byte make; F0 9F begins an emoji.
UTF8_LEADS = [*range(0xE2, 0xEA), 0xEF]
GBK_SIGN = re.compile(
    "["
    + "".join(bytes([lead, trail]).decode("gb18030") for lead in UTF8_LEADS for trail in range(0x80, 0xC0))
    + b"\xf0\x9f".decode("gb18030")
    + "]"
)
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# GB2312's first level: the 3,755 characters that make up 99% of running Chinese. Rows end early in the last lead byte.
COMMON_CHINESE = frozenset("".join(bytes([lead, trail]).decode("gb2312", "ignore") for lead in range(0xB0, 0xD8)
                                   for trail in range(0xA1, 0xFF)))  # fmt: skip
COMMON_OTHER = re.compile(
    r"[\x20-\x7e\n\u00a0-\u00ff\u2010-\u203f\u20ac\u2103\u2122\u2190-\u21ff\u2460-\u24ff\u2500-\u27bf\u3000-\u30ff\ufe0f"
    r"\uff01-\uff65\uffe5\U0001f300-\U0001faff]"
)
OTHER_CHINESE = re.compile(f"[{HAN}]")


def fix_unicode(text: str) -> str:
    """Undo mojibake and compose characters (NFC).

    >>> fix_unicode("cafÃ© — schÃ¶n")
    'café — schön'
    >>> fix_unicode("你好，世界！ “quoted” &lt;b&gt;")
    '你好，世界！ “quoted” &lt;b&gt;'
    """
    if text.isascii() or (not MOJIBAKE_SIGN.search(text) and unicodedata.is_normalized("NFC", text)):
        return text
    return ftfy.fix_text(text, FTFY)


def fix_gbk_mojibake(text: str) -> str:
    """Undo UTF-8 that was read as GBK, run by run of characters beyond ASCII.

    A run changes only where all of it turns into bytes that are UTF-8, half of its characters (of a long run a third) are
    ones that Chinese seldom uses, and three quarters of the result (of a long one none) are common. What lost a byte (锟斤拷)
    stays.

    >>> fix_gbk_mojibake("浣犲ソ, it鈥檚 me")
    '你好, it’s me'
    >>> fix_gbk_mojibake("浣熊和涓涓细流")
    '浣熊和涓涓细流'
    """
    if text.isascii():
        return text
    while GBK_SIGN.search(text):  # what a repair leaves may be repaired again; each makes the text shorter in UTF-8
        fixed = NOT_ASCII.sub(_fix_gbk_run, text)
        if fixed == text:
            break
        text = fixed
    return text


def _fix_gbk_run(match: re.Match[str]) -> str:
    run = match[0]
    if not GBK_SIGN.search(run):
        return run
    try:
        # Windows reads a lone byte 0x80 as the euro sign: "涓€" was "一".
        fixed = b"\x80".join(part.encode("gb18030") for part in run.split("€")).decode("utf-8")
    except UnicodeError:
        return run
    # The apostrophe and one ASCII letter come out as two characters for two: 鈥, in no other text, is evidence enough.
    if len(fixed) >= len(run) and "鈥" not in run:
        return run
    rare = sum(character not in COMMON_CHINESE for character in run)
    common = sum(character in COMMON_CHINESE or bool(COMMON_OTHER.match(character)) for character in fixed)
    known = common + sum(bool(OTHER_CHINESE.match(character)) for character in fixed if character not in COMMON_CHINESE)
    enough_rare = (3 if len(run) >= 6 else 2) * rare >= len(run)
    # Eight characters of valid UTF-8 are no accident, whatever they are; traditional Chinese has few of the common ones.
    enough_common = len(fixed) >= 8 or 4 * common >= 3 * len(fixed)
    return fixed if enough_rare and enough_common and known == len(fixed) else run
