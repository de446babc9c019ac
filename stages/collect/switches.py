"""What is true or false in a row, the objects in which such a thing may stand, and the words of a key's name."""

import re

METADATA = ("metadata", "meta", "meta_data", "extra", "info", "attributes", "properties", "元数据")
SWITCHES = {
    "0": False, "0.0": False, "false": False, "no": False, "否": False, "1": True, "1.0": True, "true": True, "yes": True,
    "是": True,
}  # fmt: skip


def read_switch(value: object) -> bool | None:
    """
    >>> read_switch("yes"), read_switch(0), read_switch("maybe")
    (True, False, None)
    """
    return SWITCHES.get(str(value).strip().lower()) if isinstance(value, (bool, int, float, str)) else None


def words_of(key: str) -> list[str]:
    """
    >>> words_of("trainOnInputs"), words_of("do not-train")
    (['train', 'on', 'inputs'], ['do', 'not', 'train'])
    """
    return re.split("[^a-z0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", key).lower())


def key_of(name: str) -> str:
    """A column's or role's name in lower case, its words joined by one underscore.

    >>> key_of("Ticket ID"), key_of("senderType"), key_of(" 客户-问题 ")
    ('ticket_id', 'sender_type', '客户_问题')
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return "_".join(re.findall(r"[^\W_]+", parted.casefold()))
