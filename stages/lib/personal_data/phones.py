"""Telephone numbers, international and as their countries write them."""

import re
from functools import partial

import phonenumbers

from stages.lib.personal_data.search import DIGIT, LETTER, mask, matches
from stages.lib.personal_data.sums import LONG_NUMBER, is_counted, speaks_of_sums

SEVEN_DIGITS = re.compile(r"[0-9０-９](?:[ ().\-/（）－　．]{0,3}[0-9０-９]){6}")
EXTENSION = r"(?:[ ,]{0,2}(?:ext\.?|extension|x|转|分机)[ :：]?[0-9]{1,6})?"
PHONE = re.compile(
    rf"(?<![{LETTER}_])(?<![0-9][-./])(?:"
    r"(?P<international>(?:(?<![+0-9(])\+|(?<![0-9(])(?<![0-9] )00(?=[1-9][0-9]{0,3}[ -]))[1-9](?:[ ().\-/]{0,3}[0-9]){6,16})"
    r"|(?P<chinese_mobile>(?:\(?86\)?[ -]?)?1[3-9][0-9](?P<m>[ .-]?)[0-9]{4}(?P=m)[0-9]{4}"
    r"|1[3-9][0-9]{3}(?P<m5>[ -])[0-9]{3}(?P=m5)[0-9]{3})"
    r"|(?P<chinese_landline>(?:\(0(?:10|2[0-9]|[3-9][0-9]{2})\) ?|0(?:10|2[0-9]|[3-9][0-9]{2})(?:-| - | ))"
    r"[2-8][0-9]{3}[ -]?[0-9]{3,4}(?:-[0-9]{1,6})?|[48]00(?P<s>[ -])[0-9]{3}(?P=s)[0-9]{4}|[48]00-[0-9]{4}-[0-9]{3}"
    r"|[48]00[0-9](?P<t>[ -])[0-9]{3}(?P=t)[0-9]{3})"
    r"|(?P<north_american>(?:1[ .-]{1,2})?(?:\([2-9][0-9]{2}\)[ .-]{0,2}[0-9]{3}[ .-]?[0-9]{4}"
    r"|[2-9][0-9]{2}(?P<n>[.-])[0-9]{3}(?P=n)[0-9]{4}))"
    r"|(?P<north_american_spaced>(?<![0-9] )[2-9][0-9]{2} [2-9][0-9]{2}[ -][0-9]{4})"
    r"|(?P<bracketed>\([0-9]{2,5}\)(?:[ -]?[0-9]{2,8}){1,4})"
    r"|(?P<named>[0-9]{7,12}(?![ ./-]?[0-9]))"
    r"|(?P<trunk>(?<![0-9] )0[0-9]{1,5}(?:(?: [/-] |[ ./-]|/ )[0-9]{2,8}){1,4})"
    # Another mobile number may follow behind a slash or hyphen; other digits there mean that this is part of something longer.
    rf"){EXTENSION}(?![{LETTER}_])(?![.-](?!1[3-9][0-9]{{9}})[0-9])(?!/[0-9]{{1,4}}(?![0-9]))",
    re.IGNORECASE,
)
# Countries whose national numbers begin with a 0 and are written with gaps; tried one after the other.
# The word for a telephone, and what may stand between it and its number: 电话号码是：, phone (work): .
PHONE_BEFORE = re.compile(
    r"(?:电话|手机|座机|热线|固话|传真|总机|号码|来电|致电|拨打|联系方式|客服|\b(?:tele)?phone|\btel|\bmobile|\bcell|\bfax|\bhotline|\bwhatsapp"
    r"|\bcall|\bdial)"
    r"(?:号码?|numbers?|no|is|was|at|are|[是为的在有：:（(）)\s.#，,-]|就是){0,5}\Z",
    re.IGNORECASE,
)
LANDLINE = re.compile(r"0(?:10|2[0-9]|[3-9][0-9]{2})[2-8][0-9]{6,7}|[2-8][0-9]{6,7}|[48]00[0-9]{7}|1[3-9][0-9]{9}")
DAY = re.compile(r"20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
TRUNK_REGIONS = ("GB", "DE", "FR", "JP", "KR", "AU", "TW", "CH", "IT", "NL", "AT", "BE", "SE", "NZ", "IN", "ZA", "TH", "MY", "CN")
DATE = re.compile(r"[0-3]?[0-9]([./ -])[0-3]?[0-9]\1(?:[12][0-9]{3}|[0-9]{2})(?![0-9])")
EXTENSION_AT_END = re.compile(r"[ ,]{0,2}(?:ext\.?|extension|x|转|分机).*", re.IGNORECASE)
LAST_GROUP = re.compile(r"[ ().\-/]+[0-9]+\Z")


def mask_phone_numbers(text: str, in_sums: bool = False) -> str:
    """`[PHONE]`: international numbers, Chinese ones, and national ones that are written with gaps or brackets.

    Eleven digits from 13 to 19 on are a Chinese mobile number even without a gap: an order number of that shape goes too. But
    where numbers are counted with (`in_sums`, or the text shows it) they need a word such as phone before them. Behind one,
    Chinese numbers of a landline need no gap either.

    >>> mask_phone_numbers("打13812345678或+1 (415) 555-2671, not 2024-01-15, 1.2.3 or 20240115123456")
    '打[PHONE]或[PHONE], not 2024-01-15, 1.2.3 or 20240115123456'
    """
    if not DIGIT.search(text) or not SEVEN_DIGITS.search(text):
        return text
    in_sums = in_sums or (bool(LONG_NUMBER.search(text)) and speaks_of_sums([text]))
    return mask(text, lambda plain: matches(PHONE, plain, partial(_phone_end, in_sums=in_sums)), "[PHONE]")


def _phone_end(match: re.Match[str], in_sums: bool) -> int | None:
    if match[0].isdigit() and (match["named"] or in_sums or is_counted(match)):
        return match.end() if not is_counted(match) and _is_named(match) else None
    if match["chinese_mobile"] or match["chinese_landline"] or match["north_american"]:
        return match.end()
    number = EXTENSION_AT_END.sub("", match[0])
    digits = re.sub(r"[^0-9]", "", number)
    if match["international"]:
        return _international_end(match, number)
    if DATE.match(number.strip("(")):
        return None
    if match["bracketed"]:
        year = re.match(r"\((?:19|20)[0-9]{2}\)", number)
        return match.end() if 9 <= len(digits) <= 12 and not year else None
    regions = ("US",) if match["north_american_spaced"] else TRUNK_REGIONS
    valid = 9 <= len(digits) <= 12 and any(_is_valid_phone(digits, region) for region in regions)
    return match.end() if valid else None


def _is_named(match: re.Match[str]) -> bool:
    before = PHONE_BEFORE.search(match.string[max(0, match.start() - 24) : match.start()])
    return bool(before and LANDLINE.fullmatch(match[0]) and not DAY.fullmatch(match[0]))


def _international_end(match: re.Match[str], number: str) -> int | None:
    """The end of the longest part that is a number; what follows after a gap may be another one."""
    end = match.end()
    while len(re.sub(r"[^0-9]", "", number)) >= 8:
        if _is_international_phone("+" + number.lstrip("+").removeprefix("00")):
            return end
        shorter = LAST_GROUP.sub("", number)
        if shorter == number:
            return None
        number, end = shorter, match.start() + len(shorter)
    return None


def _is_international_phone(number: str) -> bool:
    """Valid, or of a possible length and written in groups: numbers made up for examples are in no plan."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return False
    grouped = len(re.findall(r"[0-9]+", number)) >= 3
    american = parsed.country_code == 1 and re.fullmatch(r"[2-9][0-9]{2}[2-9][0-9]{6}", str(parsed.national_number))
    return phonenumbers.is_valid_number(parsed) or bool(american) or (grouped and phonenumbers.is_possible_number(parsed))


def _is_valid_phone(digits: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number_for_region(phonenumbers.parse(digits, region), region)
    except phonenumbers.NumberParseException:
        return False
