"""How ids and labels, which come from people's own files, are named in what git tracks."""

import hashlib
import re

from stages.lib.personal_data.kinds import is_personal

SEPARATORS = re.compile(r"[\s_/|#:-]+")
STRATUM_SEPARATOR = " / "
NO_MARKUP = str.maketrans("<>", "‹›")  # `dvc plots` writes names into a script, where `</script>` would end it
FORMULA_SIGNS = tuple("=+-@＝＋－＠")  # what a spreadsheet that opens a CSV takes for a formula


def shown_name(name: str) -> str:
    """An id or label as it stands; where it holds personal data, its source and a hash, the same one for the same name.

    >>> shown_name("chats/order 17"), shown_name("chats/ann.lee@firm.io_2")
    ('chats/order 17', 'chats/fdb4197fc1aa')
    """
    if not _is_personal(name):
        return name
    source, slash, _ = name.partition("/")
    return f"{source}/{_digest(name)}" if slash and not _is_personal(source) else _digest(name)


def shown_label(label: str) -> str:
    """A label, or a stratum, which holds one, for tables and pages: one line, each part as `shown_name` has it, no formula.

    >>> shown_label("billing / en"), shown_label("ann.lee@firm.io / en"), shown_label("=1+1 <b>")
    ('billing / en', 'dbad57cea6a4 / en', "'=1+1 ‹b›")
    """
    name = STRATUM_SEPARATOR.join(map(shown_name, label.split(STRATUM_SEPARATOR)))
    if _is_personal(name):
        name = _digest(label)
    name = re.sub(r"\s+", " ", name).translate(NO_MARKUP)
    return f"'{name}" if name.lstrip().startswith(FORMULA_SIGNS) else name


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _is_personal(name: str) -> bool:
    """Apart from the source and each piece of the id too, since in a text a slash or underscore says that it is no number."""
    return is_personal(name) or is_personal(SEPARATORS.sub(" ", name))
