"""The order of a conversation's messages by a column: numbers, times as exports write them, or texts."""

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from stages.lib.errors import ReprotuneError
from stages.lib.raw_messages import shorten

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = rf"(?P<name{{0}}>{'|'.join(MONTHS)})[a-z]*\.?"
YEAR_FIRST = r"(?P<year0>\d{4})\s?[-/.年]\s?(?P<month0>\d{1,2})\s?[-/.月]\s?(?P<day0>\d{1,2})日?"
YEAR_LAST = r"(?P<one>\d{1,2})(?P<sign>[-/.])(?P<two>\d{1,2})(?P=sign)(?P<year1>\d{4}|\d\d(?=,?\s+\d{1,2}:))"
MONTH_FIRST = MONTH.format(2) + r"\s+(?P<day2>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<year2>\d{4})"
DAY_FIRST = r"(?P<day3>\d{1,2})(?:st|nd|rd|th)?[\s-]+" + MONTH.format(3) + r",?[\s-]+(?P<year3>\d{4})"
TIME = re.compile(
    rf"\s*(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?(?:{YEAR_FIRST}|{YEAR_LAST}|{MONTH_FIRST}|{DAY_FIRST})"
    r"(?:(?:,?\s*T?\s*|\s+at\s+)(?P<chinese>上午|下午)?\s?(?P<hour>\d{1,2}):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?(?:\s?(?:Z|UTC|GMT)?(?P<offset>[+-]\d\d:?\d\d)?)(?:\s?\([A-Z]+\))?)?\s*",
    re.IGNORECASE,
)
YEAR_LAST_BEGINS = re.compile(r"\s*\d{1,2}[-/.]")
MOST_CHARACTERS = 80  # of a time
DIGITS = re.compile(r"(\d+)")

Time = tuple[datetime, float]


class Reading(NamedTuple):
    """How a source's column is read. `day_first`: 3/4/2024 is in April. `newest_first`: what is alike stands in reverse."""

    day_first: bool
    newest_first: bool


def find_reading(conversations: Sequence[Sequence[str]]) -> Reading:
    """From the column's texts, conversation by conversation, in the order of the file.

    Raises:
        ReprotuneError: days and months can't be told apart, and the order depends on it.
    """
    day_first = _find_day_first(conversations)
    rising = falling = 0
    for texts in conversations:
        keys = _sort_keys(texts, day_first) or []
        rising += sum(one < other for one, other in pairwise(keys))
        falling += sum(one > other for one, other in pairwise(keys))
    return Reading(day_first, falling > 10 * rising)


def sort_positions(texts: Sequence[str], reading: Reading) -> list[int]:
    """The positions of a conversation's messages, in their order.

    Raises:
        ReprotuneError: some are times and some are not.

    >>> sort_positions(["a10", "b1", "a9"], Reading(day_first=False, newest_first=False))
    [2, 0, 1]
    """
    keys = _sort_keys(texts, reading.day_first)
    if keys is None:
        time = next(text for text in texts if read_time(text, reading.day_first))
        other = next(text for text in texts if not read_time(text, reading.day_first))
        raise ReprotuneError(f"{shorten(repr(other))} is no time, as {shorten(repr(time))} is; its messages can't be sorted")
    positions = list(range(len(texts)))
    if reading.newest_first:
        positions.reverse()
    return sorted(positions, key=keys.__getitem__)


def is_order(texts: Sequence[str]) -> bool:
    """Whether all are numbers, or all are times.

    >>> is_order(["1", "2.5"]), is_order(["3/24/2024 9:50 PM", "3/25/2024 10:00 AM"]), is_order(["1", "Mar 1, 2024"])
    (True, True, False)
    """
    return None not in map(_number, texts) or None not in [read_time(text, False) or read_time(text, True) for text in texts]


def _find_day_first(conversations: Sequence[Sequence[str]]) -> bool:
    """Whether 3/4/2024 is in April: told by days above 12, else by dots; else it must not matter."""
    either: str | None = None
    told: dict[bool, str] = {}
    for text in (text for texts in conversations for text in texts if YEAR_LAST_BEGINS.match(text)):
        readings = [day_first for day_first in (False, True) if read_time(text, day_first)]
        if len(readings) == 2 and "." not in text[:3]:  # 3.4.2024 is the third of April wherever dots are written
            either = either or text
        elif readings:
            told.setdefault(readings[-1], text)
    if len(told) == 2:
        raise ReprotuneError(f"{told[True]!r} has the day first, {told[False]!r} the month; write them all with the year first")
    if either and not told and any(_positions(texts, False) != _positions(texts, True) for texts in conversations):
        raise ReprotuneError(
            f"{either!r} has the day or the month first, and the order depends on it; write the year first, or leave `order` "
            "out where the file is in order"
        )
    return True in told


def _positions(texts: Sequence[str], day_first: bool) -> list[int]:
    """In their order, what is alike as in the file; none where some are times and some are not."""
    keys = _sort_keys(texts, day_first) or []
    return sorted(range(len(keys)), key=keys.__getitem__)


def _sort_keys(texts: Sequence[str], day_first: bool) -> list[Any] | None:
    """Numbers if all are, times if all are, else texts whose numbers count as numbers (b9 before b10). None: some are times."""
    numbers = [_number(text) for text in texts]
    if None not in numbers:
        return numbers
    times = [read_time(text, day_first) for text in texts]
    if None not in times:
        return times
    if any(times):
        return None
    return [[(int(part), "") if part.isdecimal() else (math.inf, part) for part in DIGITS.split(text)] for text in texts]


def _number(text: str) -> int | float | None:
    """The number; whole ones exactly, since 18-digit message ids differ in their last digit.

    >>> _number("12"), _number("1e3"), _number("2026-01-01"), _number("nan")
    (12, 1000.0, None, None)
    """
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


def read_time(text: str, day_first: bool) -> Time | None:
    """(time in UTC up to its second, fraction of the second), or None if the text is no date with or without a time.

    >>> read_time("2024-03-01T10:00:00.5+02:00", False)
    (datetime.datetime(2024, 3, 1, 8, 0), 0.5)
    >>> read_time("3/4/2024 12:05 AM", False), read_time("3/4/2024 0:05", True)
    ((datetime.datetime(2024, 3, 4, 0, 5), 0.0), (datetime.datetime(2024, 4, 3, 0, 5), 0.0))
    """
    found = TIME.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    if found is None:
        return None
    hour, half = int(found["hour"] or 0), (found["half"] or "").lower()
    if half or found["chinese"]:
        hour = hour % 12 + 12 * (half == "p" or found["chinese"] == "下午")
    try:
        time = datetime(*_date(found, day_first), hour, int(found["minute"] or 0), int(found["second"] or 0))
        if offset := found["offset"]:
            away = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
            time += away if offset[0] == "-" else -away
    except (ValueError, OverflowError):
        return None
    return time, float(f"0.{found['fraction'] or 0}")


def _date(found: re.Match[str], day_first: bool) -> tuple[int, int, int]:
    """Year, month, day."""
    if found["year0"]:
        return int(found["year0"]), int(found["month0"]), int(found["day0"])
    if found["year1"]:
        day, month = (found["one"], found["two"]) if day_first else (found["two"], found["one"])
        year = int(found["year1"])
        return year if len(found["year1"]) == 4 else 2000 + year, int(month), int(day)
    number = "2" if found["year2"] else "3"
    return int(found["year" + number]), MONTHS.index(found["name" + number].lower()) + 1, int(found["day" + number])
