"""By what messages may be sorted, and whether they run backwards."""

from collections.abc import Sequence

from stages.collect.order import Reading, find_reading, is_numbers, is_order, sort_positions
from stages.lib.core.errors import ReprotuneError
from tools.preview.usual_names import USUAL_NAMES, key_of


def names_an_order(name: str) -> bool:
    """Whether a column's name has a word for a time or a place in a row.

    >>> names_an_order("timestamp_ms"), names_an_order("sentDate"), names_an_order("rating"), names_an_order("发送时间")
    (True, True, False, True)
    """
    key = key_of(name)
    words = USUAL_NAMES["order_words"]
    return bool(set(key.split("_")) & set(words)) or any(word in key for word in words if not word.isascii())


def read_orders(conversations: Sequence[Sequence[str]]) -> Reading | None:
    """How a column's texts are read; None where they are no order, or can't be told."""
    texts = [text for texts in conversations for text in texts]
    if not texts or "" in texts or not is_order(texts):
        return None
    try:
        return find_reading(conversations)
    except ReprotuneError:
        return None


def runs_backwards(conversations: Sequence[Sequence[str]]) -> bool:
    """Whether the texts are an order, and the file has the last one first."""
    reading = read_orders(conversations)
    return bool(reading and reading.newest_first)


def runs_forwards(conversations: Sequence[Sequence[str]]) -> bool:
    """Whether sorting by the texts would change nothing."""
    reading = read_orders(conversations)
    return bool(reading) and all(in_order(texts, reading) == list(range(len(texts))) for texts in conversations)


def in_order(texts: Sequence[str], reading: Reading | None) -> list[int]:
    """The positions in their order; as they stand where that can't be told."""
    try:
        return sort_positions(texts, reading) if reading else list(range(len(texts)))
    except ReprotuneError:
        return list(range(len(texts)))


def may_be_order(name: str, conversations: Sequence[Sequence[str]]) -> bool:
    """Whether a column is an order: by its name, or as times that run backwards."""
    if read_orders(conversations) is None:
        return False
    times = not is_numbers([text for texts in conversations for text in texts])
    return names_an_order(name) or (times and runs_backwards(conversations))
