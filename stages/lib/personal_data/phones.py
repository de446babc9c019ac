"""Telephone numbers, international and as their countries write them."""

import re

import phonenumbers

from stages.lib.personal_data.search import DIGIT, LETTER, mask, matches

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
    r"|(?P<trunk>(?<![0-9] )0[0-9]{1,5}(?:(?: [/-] |[ ./-]|/ )[0-9]{2,8}){1,4})"
    # Another mobile number may follow behind a slash or hyphen; other digits there mean that this is part of something longer.
    rf"){EXTENSION}(?![{LETTER}_])(?![.-](?!1[3-9][0-9]{{9}})[0-9])(?!/[0-9]{{1,4}}(?![0-9]))",
    re.IGNORECASE,
)
# Countries whose national numbers begin with a 0 and are written with gaps; tried one after the other.
TRUNK_REGIONS = ("GB", "DE", "FR", "JP", "KR", "AU", "TW", "CH", "IT", "NL", "AT", "BE", "SE", "NZ", "IN", "ZA", "TH", "MY", "CN")
DATE = re.compile(r"[0-3]?[0-9]([./ -])[0-3]?[0-9]\1(?:[12][0-9]{3}|[0-9]{2})(?![0-9])")
EXTENSION_AT_END = re.compile(r"[ ,]{0,2}(?:ext\.?|extension|x|转|分机).*", re.IGNORECASE)
LAST_GROUP = re.compile(r"[ ().\-/]+[0-9]+\Z")


def mask_phone_numbers(text: str) -> str:
    """`[PHONE]`: international numbers, Chinese ones, and national ones that are written with gaps or brackets.

    Eleven digits from 13 to 19 on are a Chinese mobile number even without a gap: an order number of that shape goes too.

    >>> mask_phone_numbers("打13812345678或+1 (415) 555-2671, not 2024-01-15, 1.2.3 or 20240115123456")
    '打[PHONE]或[PHONE], not 2024-01-15, 1.2.3 or 20240115123456'
    """
    if not DIGIT.search(text) or not SEVEN_DIGITS.search(text):
        return text
    return mask(text, lambda plain: matches(PHONE, plain, _phone_end), "[PHONE]")


def _phone_end(match: re.Match[str]) -> int | None:
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
