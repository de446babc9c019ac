"""A source -> conversations: a list of messages in a row, a row a pair, or a row a message."""

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter

from stages.collect.chains import join_chains
from stages.collect.contexts import TextsAbove
from stages.collect.conversation_rows import convert_rows
from stages.collect.layouts import find_columns, names_to_read, note_keys, watch_keys, with_inner_values
from stages.collect.lists import order_texts
from stages.collect.mapping import SourceMapping, mapping_of
from stages.collect.message_rows import join_messages
from stages.collect.order import Reading, read_order
from stages.collect.raw_conversation import RawConversation
from stages.collect.readers import one_a_file, read_keys, read_rows
from stages.collect.rows import Row, UnreadableRow
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError


def read_source(source: Source) -> Iterator[RawConversation | UnreadableRow]:
    """The source's conversations in file order; where a row is a message, after the unreadable rows.

    Raises:
        ReprotuneError: the file is missing, unreadable, or lacks what was mapped; what is wrong with one row is an UnreadableRow.
    """
    mapping, parts, above = mapping_of(source), [], TextsAbove(source)
    for one in one_a_file(source):
        keys = read_keys(one)
        if keys is None:
            parts.append((read_rows(one), mapping))
        else:
            columns = find_columns(keys, mapping.columns, one)
            only = {*names_to_read(keys, columns), *mapping.leave_out, *mapping.marks}
            only |= {key.partition(".")[0] for key in only}  # which may lead into a column's objects
            inner = tuple(name for name in mapping.required if name not in keys)
            parts.append((read_rows(one, only), mapping._replace(columns=columns, required=inner)))
    unmarked = {key for key, meaning in mapping.marks.items() if meaning != "ignore"}
    any_read = False
    for told, group in groupby(parts, key=itemgetter(1)):
        rows = watch_keys(chain.from_iterable(rows for rows, _ in group), told.columns, told.leave_out, source.path)
        for conversation in to_conversations(note_keys(rows, unmarked), told):
            if isinstance(conversation, RawConversation):
                any_read = True
                above.hear(message["content"] for message in conversation.messages)
            yield conversation
    above.check()
    if unmarked and any_read:  # misspelt: what it should keep from being learned would be learned
        names = ", ".join(map(repr, sorted(unmarked)))
        raise ReprotuneError(f"{source.path}: no row or message has the key {names} (see the source's `marks`)")


def to_conversations(rows: Iterable[Row | UnreadableRow], mapping: SourceMapping) -> Iterator[RawConversation | UnreadableRow]:
    """The rows' conversations, in their order; where a row is a message, after the unreadable rows."""
    columns = mapping.columns
    rows = with_inner_values(rows, columns)
    if columns and columns.conversation and not columns.parent:
        return join_messages(rows, columns, mapping)
    if columns and columns.messages and columns.order:
        held = list(rows)
        rows, mapping = held, mapping._replace(order=_order_of_lists(held, columns.messages, columns.order, mapping))
    return join_chains(convert_rows(rows, mapping))


def _order_of_lists(rows: list[Row | UnreadableRow], name: str, key: str, mapping: SourceMapping) -> Reading | None:
    """How the order of the messages in all lists is read; lists without one are unreadable, each by itself."""
    texts = []
    for row in rows:
        with contextlib.suppress(ReprotuneError):
            if isinstance(row, Row):
                texts.append(order_texts(row.values.get(name), key))
    return read_order(texts, key, mapping.path)
