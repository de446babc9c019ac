"""Messages in their order: numbers, times as exports write them, texts; what can't be told is an error."""

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.errors import ReprotuneError
from stages.lib.message_order import find_reading, is_order, read_time, sort_positions

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)).map(lambda time: time.replace(microsecond=0))
FORMATS = [
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.000+00:00", "%Y/%m/%d %H:%M:%S", "%Y年%m月%d日 %H:%M:%S",
    "%b %d, %Y %H:%M:%S", "%d %B %Y at %H:%M:%S", "%a, %d %b %Y %H:%M:%S +0000", "%A, %B %d, %Y %I:%M:%S %p", "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y, %I:%M:%S %p", "%d-%b-%Y %H:%M:%S", "%Y.%m.%d %H:%M:%S UTC",
]  # fmt: skip


def in_order(*texts: str) -> list[str]:
    return [texts[position] for position in sort_positions(texts, find_reading([texts]))]


@pytest.mark.parametrize("form", FORMATS)
@given(time=TIMES)
def test_times_are_read_as_they_were_written(form: str, time: datetime) -> None:
    assert read_time(time.strftime(form), day_first="%d.%m" in form) == (time, 0.0)


@pytest.mark.parametrize("form", FORMATS)
@given(times=st.lists(TIMES, min_size=2, max_size=8, unique=True))
def test_any_order_of_the_file_becomes_that_of_the_times(form: str, times: list[datetime]) -> None:
    decided = [*times, datetime(2024, 12, 31)]  # a day above 12
    texts = [time.strftime(form) for time in decided]
    assert in_order(*random.Random(0).sample(texts, len(texts))) == [time.strftime(form) for time in sorted(decided)]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2024-03-01 9:50", "2024-03-01 10:05"),
        ("2024-03-01T10:00:00Z", "2024-03-01T10:00:00.5Z"),
        ("2024-03-01T10:00:00.45Z", "2024-03-01T10:00:00.5Z"),
        ("2024-03-01T10:00:00.123456788Z", "2024-03-01T10:00:00.123456789Z"),
        ("2024-03-01T10:00:00+02:00", "2024-03-01T09:30:00+01:00"),
        ("2024-03-01T10:00:00-0500", "2024-03-01T16:00:00Z"),
        ("3/24/24, 11:59 AM", "3/24/24, 12:01 PM"),
        ("3/24/2024 12:30 a.m.", "3/24/2024 1:00 a.m."),
        ("2024年3月1日 上午11:05", "2024年3月1日 下午1:05"),
        ("2024-3-9", "2024-3-10"),
        ("24/3/2024 10:00", "2/4/2024 10:00"),
        ("9", "10"),
        ("msg-9", "msg-10"),
        ("9:50", "10:05"),
    ],
)
def test_the_earlier_one_comes_first(earlier: str, later: str) -> None:
    assert in_order(earlier, later) == in_order(later, earlier) == [earlier, later]


@pytest.mark.parametrize(
    "text", ["soon", "2024-13-01", "2024-02-30", "1.2.10", "10:05", "May", "", "1" * 10_000, "3" + " " * 10_000]
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_time(text, False) is None


def test_what_is_alike_keeps_the_order_of_the_file_or_the_reverse_where_the_newest_is_first() -> None:
    reading = find_reading([["10:05 x", "10:05 x"], ["1", "2", "2"]])
    assert sort_positions(["1", "1", "0"], reading) == [2, 0, 1]
    reading = find_reading([["10:06", "10:05"], ["3", "2", "2"]])
    assert sort_positions(["1", "1", "0"], reading) == [2, 1, 0]


def test_days_and_months_are_told_apart_by_days_above_12_and_by_dots() -> None:
    assert not find_reading([["3/4/2024", "3/24/2024"]]).day_first
    assert find_reading([["3/4/2024", "24/3/2024"]]).day_first
    assert find_reading([["3.4.2024", "4.3.2024"]]).day_first
    assert not find_reading([["2024-3-4", "2024-4-3"]]).day_first
    with pytest.raises(ReprotuneError, match="'24/3/2024' has the day first, '3/24/2024' the month"):
        find_reading([["24/3/2024"], ["3/24/2024"]])


def test_days_and_months_that_can_t_be_told_apart_matter_only_where_the_order_does() -> None:
    find_reading([["3/4/2024 10:05", "3/4/2024 9:00"], ["1/1/2024", "2/2/2024"]])
    with pytest.raises(ReprotuneError, match="'3/4/2024' has the day or the month first, and the order depends on it"):
        find_reading([["3/4/2024", "4/3/2024"]])


def test_times_among_other_texts_can_t_be_sorted_but_spoil_no_other_conversation() -> None:
    mixed, good = ["2024-03-01", "unknown"], ["2024-03-02", "2024-03-01"]
    reading = find_reading([mixed, good])
    assert sort_positions(good, reading) == [1, 0]
    with pytest.raises(ReprotuneError, match="'unknown' is no time, as '2024-03-01' is"):
        sort_positions(mixed, reading)


def test_many_times_are_all_times_and_one_stranger_is_seen() -> None:
    times = [(datetime(2024, 1, 1) + timedelta(hours=hour)).isoformat() for hour in range(100)]
    assert is_order(times)
    assert not is_order([*times, "5"])
