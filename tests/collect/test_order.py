"""Messages in their order: numbers, times as exports write them, texts; what can't be told is an error."""

import random
import time
from datetime import datetime, timedelta

import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.collect.order import find_reading, is_order, sort_positions
from stages.collect.times import read_time
from stages.lib.core.errors import ReprotuneError

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)).map(lambda moment: moment.replace(microsecond=0))
FORMATS = [
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.000+00:00", "%Y/%m/%d %H:%M:%S", "%Y年%m月%d日 %H:%M:%S",
    "%b %d, %Y %H:%M:%S", "%d %B %Y at %H:%M:%S", "%a, %d %b %Y %H:%M:%S +0000", "%A, %B %d, %Y %I:%M:%S %p", "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y, %I:%M:%S %p", "%d-%b-%Y %H:%M:%S", "%Y.%m.%d %H:%M:%S UTC", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S +0000 %Y",
    "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)", "%d/%b/%Y:%H:%M:%S +0000", "[%d.%m.%Y, %H:%M:%S]",
    "%Y-%m-%d %H:%M:%S+00", "%d.%m.%Y %H:%M:%S Uhr", "%m/%d/%Y %I:%M:%S %p EST",
]  # fmt: skip


def in_order(*texts: str) -> list[str]:
    return [texts[position] for position in sort_positions(texts, find_reading([texts]))]


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(30))
@given(moment=TIMES)
def test_times_are_read_as_they_were_written(form: str, moment: datetime) -> None:
    found = read_time(moment.strftime(form), "dmy" if "%d.%m" in form else "mdy")
    assert found is not None
    assert found[:2] == (moment, 0.0)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(30))
@given(moments=st.lists(TIMES, min_size=2, max_size=8, unique=True))
def test_any_order_of_the_file_becomes_that_of_the_times(form: str, moments: list[datetime]) -> None:
    decided = [*moments, datetime(2024, 12, 31)]  # a day above 12
    texts = [moment.strftime(form) for moment in decided]
    assert in_order(*random.Random(0).sample(texts, len(texts))) == [moment.strftime(form) for moment in sorted(decided)]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2024-03-01 9:50", "2024-03-01 10:05"),
        ("2024-03-01T10:00:00Z", "2024-03-01T10:00:00.5Z"),
        ("2024-03-01T10:00:00.45Z", "2024-03-01T10:00:00.5Z"),
        ("2024-03-01T10:00:00.123456788Z", "2024-03-01T10:00:00.123456789Z"),
        ("2024-03-01 10:05:00.812345+00", "2024-03-01 10:05:00.97+00"),
        ("2024-03-01T10:00:00+02:00", "2024-03-01T09:30:00+01:00"),
        ("2024-03-01T10:00:00-0500", "2024-03-01T16:00:00Z"),
        ("3/31/2024 11:59 AM GMT+1", "3/31/2024 1:05 PM GMT+1"),
        ("3/31/2024 10:08 AM GMT+5:30", "3/31/2024 4:40 AM GMT"),
        ("3/31/2024 4:40 AM GMT", "3/31/2024 10:12 AM GMT+5:30"),
        ("3/24/24, 11:59 AM", "3/24/24, 12:01 PM"),
        ("3/24/2024, 11:59\u202fAM", "3/24/2024, 12:05\u202fPM"),
        ("3/24/2024 12:30 a.m.", "3/24/2024 1:00 a.m."),
        ("3/24/2024 11:30 a. m.", "3/24/2024 1:00 p. m."),
        ("2024年3月1日 上午11:05", "2024年3月1日 下午1:05"),
        ("2024年3月1日 星期五 中午12:30", "2024年3月1日 星期五 下午1:05"),
        ("2024-03-01 凌晨12:30", "2024-03-01 早上9:05"),
        ("2024-03-01 早上9:05", "2024-03-01 晚上8:05"),
        ("2024年3月1日9时05分", "2024年3月1日10时05分"),
        ("2024. 3. 1. 오전 11:30", "2024. 3. 1. 오후 1:05"),
        ("2024/03/01(金) 9:05", "2024/03/01(金) 10:05"),
        ("2024-3-9", "2024-3-10"),
        ("24/3/2024 10:00", "2/4/2024 10:00"),
        ("31. Januar 2024", "1. Februar 2024"),
        ("31/12/2023 23h59", "01/01/2024 0h01"),
        ("29-Feb-24 10:05 AM", "01-Mar-24 10:05 AM"),
        ("31.12.23", "01.01.24"),
        ("[31/12/23, 23:59:01]", "[01/01/24, 00:00:01]"),
        ("24/03/31 10:05", "24/04/01 09:00"),
        ("23/12/31", "24/01/01"),
        ("9", "10"),
        ("1e1", "11"),
        ("-1", "0.5"),
        ("msg-9", "msg-10"),
        ("1_9", "1_10"),
        ("9:50", "10:05"),
        ("1" * 5000 + "a", "2" * 5000 + "a"),
        ("9" * 4999, "1" * 5000),
    ],
)
def test_the_earlier_one_comes_first(earlier: str, later: str) -> None:
    assert in_order(earlier, later) == in_order(later, earlier) == [earlier, later]


@pytest.mark.parametrize(
    "texts",
    [
        ["30 avril 2024", "2 mai 2024"],
        ["29 de fev. de 2024", "1 de mar. de 2024"],
        ["11:50 AM", "1:05 PM"],
        ["59:10", "1:00:05"],
        ["昨天 20:05", "今天 9:05"],
        ["999,999", "1,000,000"],
        ["45351,25", "45351,5"],
        ["31. 3. 2024", "1. 4. 2024"],
        ["Mon 3 May", "Tue 4 May"],
    ],
)
def test_what_looks_like_a_time_of_an_unknown_form_is_not_sorted_as_a_text(texts: list[str]) -> None:
    with pytest.raises(ReprotuneError, match="looks like a time or a number, of a form that is not known"):
        find_reading([texts])


@pytest.mark.parametrize("text", ["soon", "2024-13-01", "2024-02-30", "1.2.3.4", "10:05", "May", "", "0001-01-01T00:00+05:00"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_time(text, "mdy") is None


@pytest.mark.parametrize("part", ["1", " ", "3 ", "mar", "Fri, ", "1/", "12:05:", "2024-01-01 ", "(", "年"])
def test_long_texts_take_no_time(part: str) -> None:
    began = time.process_time()
    assert read_time(part * 1_000_000, "mdy") is None
    assert sort_positions([part * 100_000, "a"], find_reading([["a", "b"]]))
    assert time.process_time() - began < 5


def test_years_of_two_digits_are_of_this_century() -> None:
    assert read_time("3/24/99 10:00", "mdy").second == datetime(2099, 3, 24, 10)


def test_what_is_alike_keeps_the_order_of_the_file_or_the_reverse_where_the_newest_is_first() -> None:
    reading = find_reading([["5", "5"], ["1", "2", "2"]])
    assert sort_positions(["1", "1", "0"], reading) == [2, 0, 1]
    reading = find_reading([["6", "5"], ["3", "2", "2"]])
    assert sort_positions(["1", "1", "0"], reading) == [2, 1, 0]


def test_one_conversation_that_falls_among_many_of_one_day_turns_none_around() -> None:
    assert not find_reading([["2024-01-02"] * 2] * 50 + [["2024-01-03", "2024-01-02"]]).newest_first


def test_days_and_months_are_told_apart_by_days_above_12_by_dots_and_by_short_spans() -> None:
    def date_order(*texts: str) -> str:
        return find_reading([texts]).date_order

    assert date_order("3/4/2024", "3/24/2024") == "mdy"
    assert date_order("3/4/2024", "24/3/2024") == "dmy"
    assert date_order("3.4.2024", "4.3.2024") == "dmy"
    assert date_order("24.03.24, 10:05", "25.03.24, 9:05", "01.04.24, 9:05") == "dmy"
    assert date_order("24.03.24 10:05", "24.03.25 9:05", "24.04.01 9:05") == "ymd"
    with pytest.raises(ReprotuneError, match="'24/3/2024' and '3/24/2024' have day and month in different places"):
        find_reading([["24/3/2024"], ["3/24/2024"]])


def test_days_and_months_that_can_t_be_told_apart_matter_only_where_the_order_does() -> None:
    find_reading([["3/4/2024 10:05", "3/4/2024 9:00"], ["1/1/2024", "2/2/2024"]])
    with pytest.raises(ReprotuneError, match="which part of '4/3/2024' is the day can't be told, and the order depends on it"):
        find_reading([["3/4/2024", "4/3/2024"]])


def test_times_among_other_texts_can_t_be_sorted_but_spoil_no_other_conversation() -> None:
    mixed, none, good = ["2024-03-01", "unknown"], ["30 mrt 2024", "2 mei 2024"], ["2024-03-02", "2024-03-01"]
    reading = find_reading([none, mixed, good])
    assert sort_positions(good, reading) == [1, 0]
    for texts, what in ((mixed, "unknown"), (none, "30 mrt 2024")):
        with pytest.raises(ReprotuneError, match=f"'{what}' is no time that can be read, as others in its column are"):
            sort_positions(texts, reading)


def test_times_of_several_zones_and_numbers_of_several_units_can_t_be_compared() -> None:
    find_reading([["2024-03-01 10:00Z", "2024-03-01 10:00+08:00", "2024-03-01 10:00 UTC"]])
    for texts in (["2024-03-01 10:00", "2024-03-01 10:00Z"], ["3/1/2024 10:00 AM EST", "3/31/2024 10:00 AM EDT"]):
        with pytest.raises(ReprotuneError, match="are not of one time zone"):
            find_reading([texts])
    find_reading([["1709287200", "1709287201"], ["5", "1709287200500"]])
    with pytest.raises(ReprotuneError, match=r"seconds \(1709287200\) and milliseconds \(1709287200500\) in one column"):
        find_reading([["1709287200", "1709287201"], ["1709287200500"]])


def test_many_times_are_all_times_and_one_stranger_is_seen() -> None:
    times = [(datetime(2024, 1, 1) + timedelta(hours=hour)).isoformat() for hour in range(100)]
    assert is_order(times)
    assert not is_order([*times, "5"])
