"""Personal data in a text: one function a kind, text -> text with a placeholder in place of what it found.

A number counts only with proof beside its length: a checksum, an issuer, a country's numbering plan, the way it is grouped; where
numbers are counted with, the word for it. Names and addresses are not looked for: no pattern tells them from other words.
Full-width digits count; `\\b` is of no use between Chinese characters and digits, so look-arounds name what may not stand there.
"""

from collections.abc import Callable
from typing import Literal

from stages.lib.personal_data.account_numbers import mask_ibans, mask_id_cards, mask_payment_cards
from stages.lib.personal_data.internet_addresses import mask_emails, mask_ip_addresses
from stages.lib.personal_data.phones import mask_phone_numbers
from stages.lib.personal_data.secrets import mask_secrets

Kind = Literal["secret", "iban", "payment_card", "id_card", "email", "ip_address", "phone"]

COUNTABLE: frozenset[Kind] = frozenset(["payment_card", "phone"])  # their functions take `in_sums`

# In this order: a password before an "@" looks like a mail address, which holds digits of any kind; an account number holds
# groups that look like a card's; an identity number can begin like a card; what is left with gaps may be a telephone number.
PERSONAL_DATA: dict[Kind, Callable[[str], str]] = {
    "secret": mask_secrets,
    "email": mask_emails,
    "iban": mask_ibans,
    "id_card": mask_id_cards,
    "payment_card": mask_payment_cards,
    "ip_address": mask_ip_addresses,
    "phone": mask_phone_numbers,
}
MASKS = (*PERSONAL_DATA, "presidio", "urls")  # steps of cleaning that put a mark in a text's place


def is_personal(text: str) -> bool:
    """Whether any kind is found.

    >>> is_personal("ann.lee@firm.io"), is_personal("order 20240115123456")
    (True, False)
    """
    return any(mask(text) != text for mask in PERSONAL_DATA.values())
