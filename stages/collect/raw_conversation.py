"""A conversation as its rows say it, before it has an id."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stages.lib.records.conversation import Message, Tool


class RawConversation(NamedTuple):
    """`place`: file and line, for the ledger. `key`: the source's own id, if it has one.

    `further`: the numbers, in the file, of the rows that it is made of besides the one at `place`. `left_out_rows`,
    `left_out_messages`: the numbers of its rows, or of the messages in its list, that the source's `leave_out` leaves out.
    `rejected`: whole conversations that were not preferred to it.
    """

    place: str
    key: str | None
    label: str | None
    language: str | None
    group: str | None
    messages: list[Message]
    further: tuple[int, ...] = ()
    left_out_rows: tuple[int, ...] = ()
    left_out_messages: tuple[int, ...] = ()
    tools: list[Tool] | None = None
    rejected: Sequence[list[Message]] = ()

    @property
    def rows(self) -> int:
        return 1 + len(self.further) + len(self.left_out_rows)


def numbers_of(places: Iterable[str]) -> tuple[int, ...]:
    """Of the rows, in the file: what their places end with."""
    return tuple(int(place.rpartition(":")[2].rpartition(" ")[2]) for place in places)
