"""Numbers with a check digit: bank accounts (IBAN), payment cards, Chinese resident identity cards."""

import re
from functools import partial

from stdnum import ean, iban, luhn
from stdnum.cn import ric

from stages.lib.personal_data.search import DIGIT, LETTER, mask, matches
from stages.lib.personal_data.sums import LONG_NUMBER, is_counted, speaks_of_sums

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
CARD_BEFORE = re.compile(r"card|visa|amex|debit|credit|account|acct|pay|卡|银行|账[号户]|帐[号户]|付款", re.IGNORECASE)


def mask_ibans(text: str) -> str:
    """`[IBAN]`: country, length, structure and check digits are right.

    >>> mask_ibans("DE89 3704 0044 0532 0130 00 bitte, not DE88370400440532013000")
    '[IBAN] bitte, not DE88370400440532013000'
    """
    if not DIGIT.search(text):
        return text
    return mask(text, lambda plain: matches(IBAN, plain, _iban_end), "[IBAN]")


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
    return mask(text, lambda plain: matches(ID_CARD, plain, lambda match: match.end() if _is_id(match[0]) else None), "[ID]")


def _is_id(number: str) -> bool:
    return ric.is_valid(number.replace(" ", "").replace("-", ""))


def mask_payment_cards(text: str, in_sums: bool = False) -> str:
    """`[CARD]`: 13 to 19 digits, in one or in the groups that cards show, of a known issuer and with Luhn's check digit.

    Digits without groups need a word such as card before them where numbers are counted with (`in_sums`, or the text shows it),
    and where they are thirteen, as of old Visa cards alone.

    >>> mask_payment_cards("4111 1111 1111 1111, not 4111 1111 1111 1112, not order 20240115123454")
    '[CARD], not 4111 1111 1111 1112, not order 20240115123454'
    """
    if not DIGIT.search(text):
        return text
    in_sums = in_sums or (bool(LONG_NUMBER.search(text)) and speaks_of_sums([text]))
    return mask(text, lambda plain: matches(PAYMENT_CARD, plain, partial(_card_end, in_sums=in_sums)), "[CARD]")


def _card_end(match: re.Match[str], in_sums: bool) -> int | None:
    number = match[0].replace(" ", "").replace("-", "")
    if number == match[0]:
        named = CARD_BEFORE.search(match.string[max(0, match.start() - 24) : match.start()])
        if is_counted(match) or (not named and (in_sums or len(number) == 13)):
            return None
    barcode = len(number) == 13 and ean.is_valid(number)  # a tenth of the barcodes that begin with a 4 pass for an old Visa
    return match.end() if ISSUER.fullmatch(number) and luhn.is_valid(number) and not barcode else None
