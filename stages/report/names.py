"""How ids and labels, which come from people's own files, are named in what git tracks."""

import hashlib
import re

from stages.lib.personal_data.kinds import is_personal

SEPARATORS = re.compile(r"[_/|#:-]+")


def shown_name(name: str) -> str:
    """An id or label as it stands; where it holds personal data, its source and a hash, the same one for the same name.

    >>> shown_name("chats/order 17"), shown_name("chats/ann.lee@firm.io_2")
    ('chats/order 17', 'chats/fdb4197fc1aa')
    """
    if not _is_personal(name):
        return name
    source, slash, _ = name.partition("/")
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{source}/{digest}" if slash and not _is_personal(source) else digest


def _is_personal(name: str) -> bool:
    """Apart from the source and each piece of the id too, since in a text a slash or underscore says that it is no number."""
    return is_personal(name) or is_personal(SEPARATORS.sub(" ", name))
