"""The order of a conversation's messages by a column: numbers, times, or texts.

What a column holds is decided once for a source. A wrong order teaches wrong replies and shows nowhere, so what can't be told
is an error.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from stages.collect.times import DATE_ORDERS, NAME, WEEKDAY, DateOrder, is_time, match_time, read_time
from stages.collect.values import shorten
from stages.lib.core.errors import ReprotuneError

MAY_BE_NUMERIC = re.compile(r"[\s\[]*(?:[a-z]+\.?,?\s+)?\d{1,2}[-/.]\d", re.IGNORECASE)
CLOCK_ALONE = re.compile(r"\d{1,2}(:\d\d){1,2}")
LIKE_A_TIME = re.compile(
    rf"\d[:h时時]\d\d|\d{{1,4}}\s?[-/.]\s?\d{{1,2}}\s?[-/.]\s?\d{{1,4}}|\d\s?[年月日년월일]|\d,\d|[ap]\.?\s?m\.?\b|\b{WEEKDAY}\b|\b{NAME}(?!\w)"
    r"|[上下]午|[昨今]天|오[전후]|\d\.?\s+(?:de\s+)?[^\W\d_]{3,}\.?\s+(?:de\s+)?\d{4}",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?(e[+-]?\d{1,3})?", re.IGNORECASE)
DIGITS = re.compile(r"([0-9]+)")
MILLISECONDS = 1e11  # numbers above are no seconds since 1970, but milliseconds
REMEDY = "write it so, or leave `order` out where the file is in order"


class Reading(NamedTuple):
    """How a source's column is read. `date_order`: of dates such as 3/4/24. `newest_first`: what is alike stands in reverse."""

    kind: Literal["numbers", "times", "texts"]
    date_order: DateOrder
    newest_first: bool


def find_reading(conversations: Sequence[Sequence[str]]) -> Reading:
    """From the column's texts, conversation by conversation, in the order of the file.

    Raises:
        ReprotuneError: what the texts are, or which part of a date is the day, can't be told, and the order depends on it.
    """
    texts = [text for texts in conversations for text in texts]
    if is_numbers(texts):
        _check_unit(texts)
        reading = Reading("numbers", "mdy", False)
    elif any(is_time(text) for text in texts):
        reading = Reading("times", _find_date_order(conversations), False)
    else:
        _check_texts(texts)
        reading = Reading("texts", "mdy", False)
    return reading._replace(newest_first=_is_newest_first(conversations, reading))


def read_order(conversations: list[list[str]], column: str, path: str) -> Reading:
    """How the column's texts are read.

    Raises:
        ReprotuneError: that can't be told; the message has the place.
    """
    try:
        return find_reading(conversations)
    except ReprotuneError as error:
        raise ReprotuneError(f"{path}: column {column!r}: {error}") from None


def sort_positions(texts: Sequence[str], reading: Reading) -> list[int]:
    """The positions of a conversation's messages, in their order.

    Raises:
        ReprotuneError: one is no time, while the column holds times.

    >>> sort_positions(["a10", "b1", "a9"], Reading("texts", "mdy", newest_first=False))
    [2, 0, 1]
    """
    keys = _sort_keys(texts, reading)
    if keys is None:
        other = next(text for text in texts if read_time(text, reading.date_order) is None)
        raise ReprotuneError(f"{shorten(repr(other))} is no time that can be read, as others in its column are")
    positions = list(range(len(texts)))
    if reading.newest_first:
        positions.reverse()
    return sorted(positions, key=keys.__getitem__)


def is_order(texts: Sequence[str]) -> bool:
    """Whether all are numbers, or all are times.

    >>> is_order(["1", "2.5"]), is_order(["3/24/2024 9:50 PM", "3/25/2024 10:00 AM"]), is_order(["1", "Mar 1, 2024"])
    (True, True, False)
    """
    return is_numbers(texts) or all(map(is_time, texts))


def is_numbers(texts: Sequence[str]) -> bool:
    return all(NUMBER.fullmatch(text) for text in texts)


def _sort_keys(texts: Sequence[str], reading: Reading) -> list[Any] | None:
    """What to compare; None where one is no time, while the column holds times."""
    if reading.kind == "numbers":
        return list(map(_number, texts))
    if reading.kind == "times":
        times = [read_time(text, reading.date_order) for text in texts]
        return None if None in times else times
    return list(map(_text_key, texts))


def _number(text: str) -> int | float:
    """Whole ones exactly, since 18-digit message ids differ in their last digit."""
    return float(text) if set(text) & set(".eE") else int(text)


def _text_key(text: str) -> list[tuple[float, str]]:
    """Runs of digits count as numbers: b9 before b10."""
    parts = DIGITS.split(text)
    numbers = [part.lstrip("0") for part in parts[1::2]]
    key: list[tuple[float, str]] = [(float("inf"), part) for part in parts]
    key[1::2] = [(len(number), number) for number in numbers]
    return key


def _is_newest_first(conversations: Sequence[Sequence[str]], reading: Reading) -> bool:
    """Whether conversations fall in the file, not a few of them alone, and next to none rises.

    Raises:
        ReprotuneError: the times are of several zones.
    """
    rising = falling = longer = 0
    zones: dict[str, str] = {}
    for texts in conversations:
        keys = _sort_keys(texts, reading) or []
        if reading.kind == "times":
            zones = {time.zone: text for time, text in zip(keys, texts, strict=False)} | zones  # no keys, or as many
        if len(zones) > 1:
            one, other, *_ = zones.values()
            raise ReprotuneError(f"{one!r} and {other!r} are not of one time zone; expected all with an offset (+00:00), or none")
        rises = any(one < other for one, other in pairwise(keys))
        rising += rises
        falling += not rises and any(one > other for one, other in pairwise(keys))
        longer += len(keys) > 1
    return falling > 10 * rising and 10 * falling > longer


# What a column holds


def _check_unit(texts: Sequence[str]) -> None:
    numbers = list(map(_number, texts))
    if numbers and min(numbers) >= 1e9 and min(numbers) < MILLISECONDS <= max(numbers):
        raise ReprotuneError(f"seconds ({min(numbers)}) and milliseconds ({max(numbers)}) in one column; expected one unit")


def _check_texts(texts: Sequence[str]) -> None:
    """Texts are compared as such only where they are no times and numbers of a form that is unknown here."""
    clocks = {text.count(":") for text in texts if CLOCK_ALONE.fullmatch(text)}
    strange = [text for text in texts if re.search(r"\d", text) and LIKE_A_TIME.search(text) and not CLOCK_ALONE.fullmatch(text)]
    if strange or len(clocks) > 1:
        text = (strange or texts)[0]
        raise ReprotuneError(
            f"{shorten(repr(text))} looks like a time or a number, of a form that is not known; expected one such as "
            f"2024-03-01 10:05, 3/24/2024 1:05 PM, Mar 1, 2024, or 3; {REMEDY}"
        )


def _find_date_order(conversations: Sequence[Sequence[str]]) -> DateOrder:
    """The one in which all dates of the form 3/4/24 exist; of several, one for which the order in conversations is the same."""
    left, last = set(DATE_ORDERS), ""
    two_digits = False
    for text, found in _numeric_dates(conversations):
        able = {order for order in DATE_ORDERS if read_time(text, order)}
        if found["sign"] == "." and "dmy" in able:
            able.discard("mdy")  # 3.4.2024 is the third of April wherever dots are written
        if able and not left & able:
            raise ReprotuneError(f"{last!r} and {text!r} have day and month in different places; write them all as 2024-03-31")
        left, last = left & able or left, text if able else last
        two_digits = two_digits or len(found["three"]) == 2
    possible = [order for order in DATE_ORDERS if order in left]
    if last and len(possible) > 1 and _orders_differ(conversations, possible):
        if two_digits and (narrow := _find_narrow(conversations, possible)):
            return narrow
        raise ReprotuneError(
            f"which part of {last!r} is the day can't be told, and the order depends on it; expected 2024-03-31; {REMEDY}"
        )
    return possible[0]


def _numeric_dates(conversations: Sequence[Sequence[str]]) -> Iterator[tuple[str, re.Match[str]]]:
    for texts in conversations:
        for text in texts:
            found = match_time(text) if MAY_BE_NUMERIC.match(text) else None
            if found and found["one"]:
                yield text, found


def _orders_differ(conversations: Sequence[Sequence[str]], orders: Sequence[DateOrder]) -> bool:
    def positions(texts: Sequence[str], order: DateOrder) -> list[int]:
        keys = _sort_keys(texts, Reading("times", order, False)) or []
        return sorted(range(len(keys)), key=keys.__getitem__)

    return any(positions(texts, orders[0]) != positions(texts, other) for texts in conversations for other in orders[1:])


def _find_narrow(conversations: Sequence[Sequence[str]], orders: Sequence[DateOrder]) -> DateOrder | None:
    """Of years with two digits: the reading whose dates lie much closer together than all others' do, if there is one."""
    texts = [text for text, _ in _numeric_dates(conversations)]
    spans = []
    for order in orders:
        seconds = [time.second for text in texts if (time := read_time(text, order))]
        spans.append((max(seconds) - min(seconds), order))
    (least, narrow), (next_least, _), *_ = sorted(spans)
    return narrow if 4 * least < next_least else None
