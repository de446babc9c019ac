"""What the doctor says of one thing."""

from typing import NamedTuple


class Finding(NamedTuple):
    """`remedy`: the command that mends it, as it is typed into a shell; where there is none, what to do."""

    place: str
    found: str
    remedy: str
