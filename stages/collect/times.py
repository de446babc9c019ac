"""One time as exports write it, in English, Chinese, Japanese, Korean and digits -> a time that can be compared.

It asks no clock: a text without a date is no time. Why not dateparser, strict: it reads 2024-13-01 as the 13th of January,
v1.2.2024 as a date and 晚上12:30 as noon, misses Apache's and PostgreSQL's form, drops what is finer than a microsecond, and
takes over a hundred times as long.
"""

import re
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAME = rf"(?:{'|'.join(MONTHS)})[a-z]*\.?"
WEEKDAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
YEAR_FIRST = r"(?P<year0>\d{4})\s?[-/.年년]\s?(?P<month0>\d{1,2})\s?[-/.月월]\s?(?P<day0>\d{1,2})(?:\s?[日일.])?"
NUMERIC = r"(?P<one>\d{1,2})(?P<sign>[-/.])(?P<two>\d{1,2})(?P=sign)(?P<three>\d{4}|\d\d)"
NAMED = rf"(?P<name2>{NAME})\s+(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year2>\d{{4}})"
DAY_NAMED = rf"(?P<day3>\d{{1,2}})(?:st|nd|rd|th|\.)?[\s/-]*(?P<name3>{NAME}),?[\s/-]+(?P<year3>\d{{4}}|\d\d)"
CLOCK = (
    r"(?P<part>凌晨|早上|上午|中午|下午|晚上|午前|午後|오전|오후)?\s?(?P<hour>\d{1,2})[:.h时時](?P<minute>\d\d)分?"
    r"(?:[:.]?(?P<second>\d\d)秒?(?:[.,](?P<fraction>\d{1,18}))?)?(?:\s?(?P<half>[ap])\.?\s?m\.?)?"
)
ZONE = r"(?P<zone>Z|(?:UTC|GMT)?(?P<offset>[+-]\d{1,2}(?::?\d\d)?)|[A-Z]{3,5})(?:\s?\([^()]{1,40}\))?"
TIME = re.compile(
    rf"(?:{WEEKDAY}\.?,?\s+)?(?:{YEAR_FIRST}|{NUMERIC}|{NAMED}|{DAY_NAMED})"
    rf"(?:(?:[,T:]?\s*|\s+(?:at|um|à)\s+)(?:\(?(?:星期|周|週).\)?\s?|\(?[月火水木金土日]\)\s?)?{CLOCK}(?:\s?{ZONE})?)?",
    re.IGNORECASE,
)
YEAR_AT_THE_END = re.compile(
    rf"(?:{WEEKDAY}\s+)?(?P<name>{NAME})\s+(?P<day>\d{{1,2}})\s+(?P<clock>\d\d:\d\d:\d\d(?:\s\+\d{{4}})?)\s+(?P<year>\d{{4}})",
    re.IGNORECASE,
)
MOST_CHARACTERS = 100

DateOrder = Literal["mdy", "dmy", "ymd"]
DATE_ORDERS: tuple[DateOrder, ...] = ("mdy", "dmy", "ymd")


class Time(NamedTuple):
    """In UTC where there is a zone; `fraction` of a second. `zone`: offset, a name, or nothing."""

    second: datetime
    fraction: float
    zone: str


def read_time(text: str, date_order: DateOrder) -> Time | None:
    """None if the text is no date, with or without a time, or if there is no such day.

    >>> read_time("2024-03-01T10:00:00.5+02:00", "mdy")
    Time(second=datetime.datetime(2024, 3, 1, 8, 0), fraction=0.5, zone='offset')
    >>> read_time("3/4/2024 12:05 AM", "mdy").second, read_time("3/4/24 0:05", "dmy").second
    (datetime.datetime(2024, 3, 4, 0, 5), datetime.datetime(2024, 4, 3, 0, 5))
    """
    found = match_time(text)
    if found is None:
        return None
    try:
        time = datetime(*_date(found, date_order), _hour(found), int(found["minute"] or 0), int(found["second"] or 0))
        if offset := found["offset"]:
            digits = offset[1:].replace(":", "")
            hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, 0)
            away = timedelta(hours=int(hours), minutes=int(minutes))
            time += away if offset[0] == "-" else -away
    except (ValueError, OverflowError):
        return None
    zone = (found["zone"] or "").upper()
    return Time(time, float(f"0.{found['fraction'] or 0}"), "offset" if found["offset"] or zone in ("Z", "UTC", "GMT") else zone)


def is_time(text: str) -> bool:
    """Whether it is a time in some order of day and month."""
    return any(read_time(text, order) for order in DATE_ORDERS)


def match_time(text: str) -> re.Match[str] | None:
    """Its parts, by their names in the patterns above; `one`, `two` and `three` are day, month and year in some order."""
    if len(text) > MOST_CHARACTERS:
        return None
    text = " ".join(text.strip(" []").split())  # iOS and browsers write a narrow no-break space before PM
    if text[:1].isalpha() and (turned := YEAR_AT_THE_END.fullmatch(text)):
        text = turned.expand(r"\g<day> \g<name> \g<year> \g<clock>")
    return TIME.fullmatch(text)


def _hour(found: re.Match[str]) -> int:
    """Of the day; 24 and more, which is an error further on, where the clock of twelve hours has no such hour."""
    hour, half, part = int(found["hour"] or 0), (found["half"] or "").lower(), found["part"]
    if not half and not part:
        return hour
    if hour > 12 or (part == "晚上" and hour == 12):
        return 24
    if part == "中午":
        return hour if hour >= 11 else hour + 12
    return hour % 12 + 12 * (half == "p" or part in ("下午", "晚上", "午後", "오후"))


def _date(found: re.Match[str], order: DateOrder) -> tuple[int, int, int]:
    """Year, month, day."""
    if found["year0"]:
        return int(found["year0"]), int(found["month0"]), int(found["day0"])
    if found["one"]:
        part = dict(zip(order, (found["one"], found["two"], found["three"]), strict=True))
        if len(part["d"]) > 2:
            raise ValueError(part["d"])
        return _year(part["y"]), int(part["m"]), int(part["d"])
    number = "2" if found["year2"] else "3"
    return _year(found["year" + number]), MONTHS.index(found["name" + number][:3].lower()) + 1, int(found["day" + number])


def _year(text: str) -> int:
    return int(text) + (2000 if len(text) <= 2 else 0)
