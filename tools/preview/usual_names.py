"""Which names columns and roles usually have, in usual_names.yaml, and which of a file's names are among them."""

import re
from collections.abc import Collection, Sequence
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


def find_column(field: str, keys: Sequence[str], only_exact: bool = False) -> tuple[str, bool] | None:
    """(the column that a field is likely in, whether its name is a usual one), or None.

    >>> find_column("user", ["id", "Question"]), find_column("user", ["user_id", "customer_message"]), find_column("user", ["x"])
    (('Question', True), ('customer_message', False), None)
    """
    by_key = {key_of(name): name for name in reversed(keys)}
    usual_names = USUAL_NAMES["columns"][field]
    for usual in usual_names:
        if usual in by_key:
            return by_key[usual], True
    if only_exact:
        return None
    no_text = {"user", "assistant", "content"} & {field} and {*USUAL_NAMES["no_text"], *USUAL_NAMES["not_preferred"]}
    for usual in usual_names:
        if (field, usual) == ("role", "user"):  # user_id may be a customer's, in each row
            continue
        found = [key for key in by_key if len(usual) > 1 and has_word(key, [usual]) and not (no_text and has_word(key, no_text))]
        if field == "assistant" and len(found) > 1:  # which of them is the reply, the order of columns must not decide
            found = [key for key in found if has_word(key, USUAL_NAMES["preferred"])]
            if len(found) != 1:
                return None
        if found:
            return by_key[found[0]], False
    return None


def has_word(key: str, words: Collection[str]) -> bool:
    """Whether one of the words is in a name; of those that are written without spaces, a part of it.

    >>> has_word("bad_answer", ["bad"]), has_word("badge", ["bad"]), has_word("拒绝的回答", ["拒绝"])
    (True, False, True)
    """
    return not {*key.split("_")}.isdisjoint(words) or any(word in key for word in words if not word.isascii())
