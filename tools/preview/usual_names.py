"""Which names columns and roles usually have, in usual_names.yaml."""

import re
from pathlib import Path

import yaml

USUAL_NAMES = yaml.safe_load(Path(__file__).with_name("usual_names.yaml").read_text(encoding="utf-8"))


def key_of(name: str) -> str:
    """A column's or role's name as it stands in usual_names.yaml.

    >>> key_of("Ticket ID"), key_of("senderType"), key_of(" 客户-问题 ")
    ('ticket_id', 'sender_type', '客户_问题')
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return "_".join(re.findall(r"[^\W_]+", parted.casefold()))
