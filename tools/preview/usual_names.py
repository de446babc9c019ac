"""Which names columns and roles usually have, in usual_names.yaml, and which of a file's names are among them."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from stages.collect.contexts import NO_TEXT, SYSTEM, has_word
from stages.collect.several_talks import NAMES
from stages.collect.switches import key_of

USUAL_NAMES = yaml.safe_load(Path(__file__).with_name("usual_names.yaml").read_text(encoding="utf-8"))
USUAL_NAMES["columns"]["system"] = [*SYSTEM]
USUAL_NAMES["columns"]["conversation"] = [*NAMES]


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
    no_text = {"user", "assistant", "content"} & {field} and {*NO_TEXT, *USUAL_NAMES["not_preferred"]}
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
