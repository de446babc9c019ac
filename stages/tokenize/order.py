"""An order of ids that does not depend on their number or on where they come from."""

import hashlib


def spread(id: str) -> bytes:
    """To sort by: ids that begin alike come to stand far apart, and one less moves no other."""
    return hashlib.sha256(id.encode()).digest()
