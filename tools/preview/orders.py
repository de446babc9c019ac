"""By what messages may be sorted, and whether they run backwards."""

from collections.abc import Sequence

from stages.collect.messages import field_text
from stages.collect.order import Reading, find_reading, is_numbers, is_order, sort_positions
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from tools.preview.message_lists import keys_of, lists_of_messages, texts_of
from tools.preview.sample import Sample, file_of
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


def cells_of_conversations(sample: Sample, columns: dict[str, str], name: str) -> list[list[str]]:
    """A column's cells that hold something, conversation by conversation."""
    conversations: dict[str, list[str]] = {}
    for row in sample.rows:
        key, text = field_text(row.values, columns["conversation"]), field_text(row.values, name)
        if key is not None and text is not None:
            conversations.setdefault(f"{file_of(row)} {key}", []).append(text)
    return list(conversations.values())


def orders(sample: Sample, columns: dict[str, str], name: str) -> bool:
    """Whether a column may order the rows: each has something there, by which they can be sorted."""
    cells = cells_of_conversations(sample, columns, name)
    return sum(map(len, cells)) == len(sample.rows) and may_be_order(name, cells)


def tell_order(sample: Sample, mapping: Columns) -> str | None:
    """What there is to say where the newest message stands first: that they are sorted, or by what they could be."""
    inner: dict[str, list[list[str]]] = {}
    if mapping.conversation:
        columns = {"conversation": mapping.conversation}
        names = [mapping.order] if mapping.order else [key for key in sample.keys if orders(sample, columns, key)]
        inner = {name: cells_of_conversations(sample, columns, name) for name in names}
    elif mapping.messages:
        lists = lists_of_messages(sample, mapping)
        inner = {name: texts_of(lists, name) for name in ([mapping.order] if mapping.order else keys_of(lists))}
        inner = {name: texts for name, texts in inner.items() if mapping.order or may_be_order(name, texts)}
    name = next((name for name, texts in inner.items() if runs_backwards(texts)), None)
    if name is None:
        return None
    if mapping.order:
        return f"by {name!r} the newest message stands first; they are turned around"
    return f"by {name!r} the newest message stands first, so that replies come before their questions: map it too, order={name}"
