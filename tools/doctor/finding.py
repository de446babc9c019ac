"""What the doctor says of one thing."""

from typing import NamedTuple


class Finding(NamedTuple):
    """`remedy`: the command that mends it, or what to do."""

    place: str
    found: str
    remedy: str
