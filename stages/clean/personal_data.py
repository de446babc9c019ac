"""Personal data in a text: one function a kind, text -> text with a placeholder in place of what it found.

A number counts only with proof beside its length: a checksum, an issuer, a country's numbering plan, the way it is grouped.
Names, addresses and passwords are not looked for. Full-width digits count; `\\b` is of no use between Chinese characters
and digits, so look-arounds name what may not stand beside a number.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator

import phonenumbers
from stdnum import ean, iban, luhn
from stdnum.cn import ric

DIGIT = re.compile(r"[0-9０-９]")
FULL_WIDTH = re.compile(r"[０-９＠＋（]")
# Of full-width characters those that stand in numbers and addresses; one for one, so that positions stay.
TO_ASCII = str.maketrans(
    {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1B), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
    | dict(zip(map(ord, "＠＋－．（）＿　"), "@+-.()_ ", strict=True))
)
LETTER = "A-Za-z0-9"

# Starts only where a name starts, takes it whole: linear time on a long run without an "@".
EMAIL = re.compile(
    rf"(?<![{LETTER}À-ɏ._%+-])[{LETTER}À-ɏ_%+-][{LETTER}À-ɏ._%+-]{{0,63}}+@(?:[{LETTER}À-ɏ](?:[{LETTER}À-ɏ-]{{0,62}})\.){{1,8}}"
    rf"(?!(?:png|jpe?g|gif|svg|webp|js|ts|json|css)(?![{LETTER}]))[A-Za-z]{{2,24}}(?![{LETTER}_@-])(?!:[\w.-]+/)",
    re.IGNORECASE,
)
IBAN = re.compile(
    rf"(?<![{LETTER}])[A-Z]{{2}}[0-9]{{2}}(?:[ -]?[A-Z0-9]{{4}}){{2,7}}(?:[ -]?[A-Z0-9]{{1,3}})?(?![{LETTER}])", re.IGNORECASE
)
ID_CARD = re.compile(
    rf"(?<![{LETTER}])[1-9][0-9]{{5}}(?P<gap>[ -]?)(?:18|19|20)[0-9]{{6}}(?P=gap)[0-9]{{3}}[0-9Xx](?![{LETTER}])"
)
PAYMENT_CARD = re.compile(
    rf"(?<![{LETTER}+])(?<![0-9]\.)(?:[0-9]{{13,19}}"
    r"|[0-9]{4}(?P<four>[ -])[0-9]{4}(?P=four)[0-9]{4}(?P=four)[0-9]{1,4}(?:(?P=four)[0-9]{1,3})?"
    r"|[0-9]{4}(?P<six>[ -])[0-9]{6}(?P=six)[0-9]{4,5}"
    r"|[0-9]{6}(?P<union>[ -])[0-9]{13})"
    rf"(?![{LETTER}])(?!\.[0-9])"
)
# Issuer's prefix and the lengths that it uses: American Express, Diners, JCB, Mir, Mastercard, Visa, Discover, UnionPay
# (with ICBC's 9558), Maestro.
ISSUER = re.compile(
    r"3[47][0-9]{13}|(?:30[0-59]|36[0-9]|38[0-9]|39[0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}|220[0-4][0-9]{12}"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}(?:[0-9]{3})?|62[0-9]{14,17}|9558[0-9]{15}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{9,15}"
)
IPV4 = re.compile(rf"(?<![{LETTER}_-])(?<![0-9]\.)(?<![A-Za-z]/)(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?![{LETTER}_-]|\.[0-9])")
IPV6 = re.compile(rf"(?<![{LETTER}_:.])(?=[0-9A-Fa-f]{{1,4}}:)[0-9A-Fa-f:]{{3,39}}+(?![{LETTER}_:])")
VERSION_BEFORE = re.compile(
    r"(?:\bv|\bver|version|release|build|firmware|section|chapter|clause|版本|第|章节|固件)[\s.:：是为号]{0,3}\Z", re.IGNORECASE
)

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


def _to_ascii(text: str) -> str:
    """The text with full-width digits and the signs that go with them as ASCII, of the same length."""
    return text if text.isascii() or not FULL_WIDTH.search(text) else text.translate(TO_ASCII)


def _mask(text: str, find: Callable[[str], Iterator[tuple[int, int]]], placeholder: str) -> str:
    """Put the placeholder where `find` finds something, until it finds nothing: what is masked no longer hides its neighbour."""
    while spans := list(find(_to_ascii(text))):
        parts, position = [], 0
        for start, end in spans:
            parts += [text[position:start], placeholder]
            position = end
        text = "".join([*parts, text[position:]])
    return text


def _matches(pattern: re.Pattern[str], text: str, found_end: Callable[[re.Match[str]], int | None]) -> Iterator[tuple[int, int]]:
    """Spans of the matches for which `found_end` has an end; a match refused is tried again one character on."""
    position = 0
    while match := pattern.search(text, position):
        end = found_end(match)
        if end is not None:
            yield match.start(), end
        position = match.start() + 1 if end is None else end


def mask_emails(text: str) -> str:
    """`[EMAIL]`; the domains that RFC 2606 keeps for examples are nobody's.

    >>> mask_emails("邮箱是ann.lee@c-d.io，@ann git@github.com:a/b.git icon@2x.png ann@example.com")
    '邮箱是[EMAIL]，@ann git@github.com:a/b.git icon@2x.png ann@example.com'
    """
    if "@" not in text and "＠" not in text:
        return text
    return _mask(text, lambda plain: _matches(EMAIL, plain, _email_end), "[EMAIL]")


def _email_end(match: re.Match[str]) -> int | None:
    *_, domain, top = match[0].lower().rpartition("@")[2].split(".")
    nobody = top == "example" or (domain == "example" and top in ("com", "net", "org"))
    return None if nobody else match.end()


def mask_ibans(text: str) -> str:
    """`[IBAN]`: country, length, structure and check digits are right.

    >>> mask_ibans("DE89 3704 0044 0532 0130 00 bitte, not DE88370400440532013000")
    '[IBAN] bitte, not DE88370400440532013000'
    """
    if not DIGIT.search(text):
        return text
    return _mask(text, lambda plain: _matches(IBAN, plain, _iban_end), "[IBAN]")


def _iban_end(match: re.Match[str]) -> int | None:
    number = match[0]
    while len(number) >= 15:  # the shortest is Norway's
        if iban.is_valid(number):
            return match.start() + len(number)
        gap = max(number.rfind(" "), number.rfind("-"))
        number = number[: max(gap, 0)]  # a word behind the number looks like its last group
    return None


def mask_id_cards(text: str) -> str:
    """`[ID]`: Chinese resident identity numbers of 18 digits with a known place, a date and the right check digit.

    >>> mask_id_cards("身份证11010519491231002X，订单110105194912310021")
    '身份证[ID]，订单110105194912310021'
    """
    if not DIGIT.search(text):
        return text
    return _mask(text, lambda plain: _matches(ID_CARD, plain, lambda match: match.end() if _is_id(match[0]) else None), "[ID]")


def _is_id(number: str) -> bool:
    return ric.is_valid(number.replace(" ", "").replace("-", ""))


def mask_payment_cards(text: str) -> str:
    """`[CARD]`: 13 to 19 digits, in one or in the groups that cards show, of a known issuer and with Luhn's check digit.

    >>> mask_payment_cards("4111 1111 1111 1111, not 4111 1111 1111 1112, not order 20240115123454")
    '[CARD], not 4111 1111 1111 1112, not order 20240115123454'
    """
    if not DIGIT.search(text):
        return text
    return _mask(text, lambda plain: _matches(PAYMENT_CARD, plain, _card_end), "[CARD]")


def _card_end(match: re.Match[str]) -> int | None:
    number = match[0].replace(" ", "").replace("-", "")
    barcode = len(number) == 13 and ean.is_valid(number)  # a tenth of the barcodes that begin with a 4 pass for an old Visa
    return match.end() if ISSUER.fullmatch(number) and luhn.is_valid(number) and not barcode else None


def mask_ip_addresses(text: str) -> str:
    """`[IP]`, version 4 and 6; a port or prefix length behind it stays.

    Four numbers may be a version: they are one after a word that says so, after a letter and a slash (Chrome/120.0.0.0), and
    where all are single digits (1.2.3.4) but not the same (8.8.8.8). Loopback, netmasks and 0.0.0.0 are nobody's. Version 6
    in short (2001:db8::1) needs a first group of three or four digits with a figure in it: `a::b` is code.

    >>> mask_ip_addresses("192.168.0.1:80 and 2001:db8::1, not v10.0.0.1, std::vector or 12:30:45")
    '[IP]:80 and [IP], not v10.0.0.1, std::vector or 12:30:45'
    """
    if not DIGIT.search(text):
        return text
    plain = _to_ascii(text)
    if plain.count(":") >= 2:
        text = _mask(text, lambda plain: _matches(IPV6, plain, _ipv6_end), "[IP]")
    if plain.count(".") >= 3:
        text = _mask(text, lambda plain: _matches(IPV4, plain, _ipv4_end), "[IP]")
    return text


def _ipv4_end(match: re.Match[str]) -> int | None:
    numbers = match[0].split(".")
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return None
    one_digit = all(len(number) == 1 for number in numbers) and len(set(numbers)) > 1
    version = VERSION_BEFORE.search(match.string[max(0, match.start() - 12) : match.start()])
    nobody = address.is_loopback or address.is_unspecified or numbers[0] == "255"
    return None if one_digit or version or nobody else match.end()


def _ipv6_end(match: re.Match[str]) -> int | None:
    number = match[0]
    if number.endswith(":") and not number.endswith("::"):
        number = number[:-1]
    try:
        ipaddress.IPv6Address(number)
    except ValueError:
        return None
    first = number.partition(":")[0]
    short = "::" in number and (len(first) < 3 or not re.search("[0-9]", number))
    return None if short else match.start() + len(number)


def mask_phone_numbers(text: str) -> str:
    """`[PHONE]`: international numbers, Chinese ones, and national ones that are written with gaps or brackets.

    Eleven digits from 13 to 19 on are a Chinese mobile number even without a gap: an order number of that shape goes too.

    >>> mask_phone_numbers("打13812345678或+1 (415) 555-2671, not 2024-01-15, 1.2.3 or 20240115123456")
    '打[PHONE]或[PHONE], not 2024-01-15, 1.2.3 or 20240115123456'
    """
    if not DIGIT.search(text) or not SEVEN_DIGITS.search(text):
        return text
    return _mask(text, lambda plain: _matches(PHONE, plain, _phone_end), "[PHONE]")


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


# In this order: an address holds digits of any kind; an account number holds groups that look like a card's; an identity
# number can begin like a card; what is left of digits with gaps may be a telephone number.
PERSONAL_DATA: dict[str, Callable[[str], str]] = {
    "email": mask_emails,
    "iban": mask_ibans,
    "id_card": mask_id_cards,
    "payment_card": mask_payment_cards,
    "ip_address": mask_ip_addresses,
    "phone": mask_phone_numbers,
}
