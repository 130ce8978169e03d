from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cloud.config import Label, Shift, Site
from cloud.marts.calendar import Calendar

HOUR = 3_600_000
THREE = [
    Shift(code="A", start=time(6), end=time(14), breaks=[(time(10), time(10, 15))]),
    Shift(code="B", start=time(14), end=time(22)),
    Shift(code="C", start=time(22), end=time(6), breaks=[(time(0, 30), time(1))]),
]


def calendar(zone: str = "Asia/Seoul", shifts: list[Shift] | None = None) -> Calendar:
    label = Label(ko="공장", en="Plant")
    return Calendar(Site(tenant="t", id="s", name=label, timezone=zone, shift=THREE if shifts is None else shifts))


def ms(zone: str, *parts: int) -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_a_night_shift_belongs_to_the_day_it_began():
    for hour, day in ((23, 4), (2, 5), (5, 5)):
        instance = calendar().at(ms("Asia/Seoul", 2026, 3, day, hour))
        assert (instance.shift, instance.business_date) == ("C", "2026-03-04")
        assert instance.end_ms - instance.start_ms == 8 * HOUR
    begin = ms("Asia/Seoul", 2026, 3, 5, 0, 30)
    assert instance.breaks == ((begin, begin + HOUR // 2),)


def test_boundaries_belong_to_what_begins():
    at = ms("Asia/Seoul", 2026, 3, 4, 14)
    assert calendar().at(at).shift == "B"
    assert calendar().at(at - 1).shift == "A"


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 28), 7),
        ("Europe/Berlin", (2026, 10, 24), 9),
        ("America/New_York", (2026, 3, 7), 7),
        ("America/New_York", (2026, 10, 31), 9),
        ("Australia/Lord_Howe", (2026, 4, 4), 8.5),
        ("Australia/Lord_Howe", (2026, 10, 3), 7.5),
    ],
)
def test_a_night_shift_across_a_change_of_the_clocks_is_as_long_as_it_was(
    zone: str, day: tuple[int, ...], hours: float
):
    instance = calendar(zone).at(ms(zone, *day, 23))
    assert instance.shift == "C"
    assert instance.end_ms - instance.start_ms == hours * HOUR


@pytest.mark.parametrize("zone", ["Asia/Seoul", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    "shifts",
    [THREE, THREE[:1], [], [Shift(code="N", start=time(22), end=time(6), days=[1, 2, 3, 4, 5])]],
    ids=["three", "one", "none", "week nights"],
)
def test_instances_follow_each_other_without_a_hole_for_a_year(zone: str, shifts: list[Shift]):
    plan = calendar(zone, shifts)
    begin = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    instances = plan.between(begin, begin + 366 * 24 * HOUR)
    for one, following in pairwise(instances):
        assert one.end_ms == following.start_ms
        assert one.start_ms < one.end_ms
    for instance in instances[::7]:
        for at in (instance.start_ms, instance.end_ms - 1):
            assert plan.at(at) == instance


def test_without_a_shift_nothing_is_scheduled_and_days_are_cut_at_midnight():
    instance = calendar(shifts=[]).at(ms("Asia/Seoul", 2026, 3, 4, 12))
    assert not instance.scheduled
    assert instance.business_date == "2026-03-04"
    assert instance.start_ms == ms("Asia/Seoul", 2026, 3, 4)


def test_hours_are_those_of_the_clock_on_the_wall():
    plan = calendar("Asia/Kolkata")  # half an hour beside UTC's
    at = ms("Asia/Kolkata", 2026, 3, 4, 12, 10)
    assert plan.hour(at) == ms("Asia/Kolkata", 2026, 3, 4, 12)


def test_every_hour_of_a_day_of_25_hours_is_its_own():
    plan = calendar("Europe/Berlin")
    begin = ms("Europe/Berlin", 2026, 10, 25)
    hours = {plan.hour(begin + minutes * 60_000) for minutes in range(0, 25 * 60, 10)}
    assert len(hours) == 25
    assert timedelta(milliseconds=max(hours) - min(hours)) == timedelta(hours=24)


@pytest.mark.parametrize(
    "zone", ["Asia/Seoul", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
)
def test_hours_follow_each_other_without_a_hole_for_a_year(zone: str):
    plan, year = calendar(zone), int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    at = plan.hour(year)
    while at < year + 366 * 24 * HOUR:
        end = plan.hour_end(at)
        assert plan.hour(at) == plan.hour(end - 1) == at
        assert 0 < end - at <= HOUR
        assert plan.local(at).hour == plan.local(end - 1).hour
        at = end
