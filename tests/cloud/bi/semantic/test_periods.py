from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from cloud.bi.semantic.dimensions import month, week, weekday
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.periods import against, dated, span
from cloud.bi.semantic.plan import Period
from cloud.config import Shift, Site
from cloud.database import Database
from cloud.marts.calendar import Calendar
from cloud.plant import Plant, Plants
from sync.settings import Label
from tests.cloud.bi.semantic.conftest import DAYS, FIRST, NOW, Truth, looked, store


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def plant(zone: str, *shifts: tuple[str, str, str]) -> Plant:
    made = [Shift.model_validate({"code": code, "start": start, "end": end}) for code, start, end in shifts]
    site = Site(tenant="t", id="s", name=Label(ko="s", en="s"), timezone=zone, shift=made)  # pyright: ignore[reportCallIssue]
    return Plant(site, Calendar(site), {}, {}, {}, frozenset())


SEOUL = plant("Asia/Seoul", ("A", "06:00", "14:00"), ("B", "14:00", "22:00"), ("C", "22:00", "06:00"))
BERLIN = plant("Europe/Berlin", ("D", "06:00", "18:00"), ("N", "22:00", "06:00"))
NIGHT = ms("2026-11-23T03:00:00+09:00")
"""Monday, 3 in the morning at Seoul: the shift C that Sunday began."""


def dates(word: str, now: int = NIGHT, at: Plant = SEOUL) -> tuple[str, str]:
    found = span(Period(relative=word), at, now)  # pyright: ignore[reportArgumentType]
    return found.first, found.last


def test_a_night_belongs_to_the_day_that_began_it() -> None:
    assert dates("today") == ("2026-11-22", "2026-11-22")
    assert dates("yesterday") == ("2026-11-21", "2026-11-21")
    assert dates("this_shift") == ("2026-11-22", "2026-11-22")
    here = span(Period(relative="this_shift"), SEOUL, NIGHT)
    assert (here.start_ms, here.end_ms, here.shift) == (
        ms("2026-11-22T22:00:00+09:00"),
        ms("2026-11-23T06:00:00+09:00"),
        "C",
    )
    before = span(Period(relative="last_shift"), SEOUL, NIGHT)
    assert (before.start_ms, before.shift) == (ms("2026-11-22T14:00:00+09:00"), "B")


@pytest.mark.parametrize(
    ("word", "first", "last"),
    [
        ("last_7_days", "2026-11-16", "2026-11-22"),
        ("last_30_days", "2026-10-24", "2026-11-22"),
        ("last_90_days", "2026-08-25", "2026-11-22"),
        ("this_week", "2026-11-16", "2026-11-22"),
        ("last_week", "2026-11-09", "2026-11-15"),
        ("this_month", "2026-11-01", "2026-11-22"),
        ("last_month", "2026-10-01", "2026-10-31"),
    ],
)
def test_words(word: str, first: str, last: str) -> None:
    assert dates(word) == (first, last)


def test_a_word_is_read_on_each_sites_own_clock() -> None:
    at = ms("2026-11-22T22:30:00Z")
    assert dates("today", at, SEOUL) == ("2026-11-23", "2026-11-23")
    assert dates("today", at, BERLIN) == ("2026-11-22", "2026-11-22")


def test_days_of_a_clock_change_have_23_and_25_hours() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)):
        whole = span(
            Period(first=date.fromisoformat(day), last=date.fromisoformat(day)),
            plant("Europe/Berlin"),
            ms("2026-12-01T00:00Z"),
        )
        assert whole.end_ms - whole.start_ms == hours * 3_600_000
        assert whole.hours == (whole.start_ms, whole.end_ms)


def test_outside_every_shift_the_present_is_no_shift_and_the_last_is_the_last() -> None:
    evening = ms("2026-11-23T20:00:00+01:00")
    assert span(Period(relative="this_shift"), BERLIN, evening).shift == ""
    assert span(Period(relative="last_shift"), BERLIN, evening).shift == "D"
    with pytest.raises(PlanError, match="no shift in the last two weeks"):
        span(Period(relative="last_shift"), plant("UTC"), evening)


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        ("2027-01-01", "2027-01-02", "lies in the future"),
        ("2020-01-01", "2026-01-01", "longer than five years"),
        ("0001-01-01", "0001-01-02", "no plant's records"),
        ("9999-12-30", "9999-12-31", "no plant's records"),
    ],
)
def test_dates_that_mean_nothing_say_so(first: str, last: str, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        span(Period(first=date.fromisoformat(first), last=date.fromisoformat(last)), SEOUL, NIGHT)


@pytest.mark.parametrize(
    "period",
    [
        {},
        {"first": "2026-11-02", "last": "2026-11-01"},
        {"first": "2026-11-02"},
        {"relative": "today", "first": "2026-11-02", "last": "2026-11-03"},
        {"relative": "today", "shift": "A"},
        {"relative": "tomorrow"},
    ],
)
def test_a_period_is_told_one_way(period: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Period.model_validate(period)


def test_what_a_period_is_held_against() -> None:
    week = Period(relative="last_7_days")
    assert dated(week, SEOUL, NIGHT) == Period(first=date(2026, 11, 16), last=date(2026, 11, 22))
    assert against(week, "previous", SEOUL, NIGHT) == Period(first=date(2026, 11, 9), last=date(2026, 11, 15))
    assert against(Period(relative="today"), "same_last_week", SEOUL, NIGHT) == Period(
        first=date(2026, 11, 15), last=date(2026, 11, 15)
    )
    year = against(Period(relative="today"), "same_last_year", SEOUL, NIGHT)
    assert year.first is not None
    assert year.first.weekday() == date(2026, 11, 22).weekday()
    shift = Period(relative="this_shift")
    assert dated(shift, SEOUL, NIGHT) == Period(first=date(2026, 11, 22), last=date(2026, 11, 22), shift="C")
    assert against(shift, "previous", SEOUL, NIGHT) == Period(
        first=date(2026, 11, 22), last=date(2026, 11, 22), shift="B"
    )
    first = Period(first=date(2026, 11, 22), last=date(2026, 11, 22), shift="A")
    assert against(first, "previous", SEOUL, NIGHT) == Period(
        first=date(2026, 11, 21), last=date(2026, 11, 21), shift="C"
    )
    assert against(shift, "same_last_week", SEOUL, NIGHT).shift == "C"


def test_a_shift_by_its_date_is_that_instance() -> None:
    word = span(Period(relative="this_shift"), SEOUL, NIGHT)
    assert span(dated(Period(relative="this_shift"), SEOUL, NIGHT), SEOUL, NIGHT) == word
    many = span(Period(first=date(2026, 11, 1), last=date(2026, 11, 9), shift="B"), SEOUL, NIGHT)
    assert (many.instances, many.shift) == ((), "B")


def test_time_is_utc_inside() -> None:
    assert datetime.fromtimestamp(NIGHT / 1000, UTC).hour == 18


def test_weeks_are_those_of_iso_8601_also_around_new_year() -> None:
    assert [week(day) for day in ("2027-01-01", "2024-12-30", "2026-03-29", "2026-03-30")] == [
        "2026-W53",
        "2025-W01",
        "2026-W13",
        "2026-W14",
    ]
    assert (month("2026-03-29"), weekday("2026-03-29")) == ("2026-03", "7")


async def test_one_shift_of_several_days_is_that_shift_alone(database: Database, two: Plants, truth: Truth) -> None:
    period = Period(first=FIRST, last=FIRST + timedelta(days=DAYS - 1), shift="A")
    wanted = sum(row["produced"] for row in truth.marts["shift"] if row["shift"] == "A")
    assert 0 < wanted < sum(row["produced"] for row in truth.marts["shift"])
    found = await looked(database, two, lambda look: look.table(("produced",), period=period))
    assert found.rows[0].cells[0].value == wanted


async def test_a_count_of_a_stock_stands_for_the_thirty_days_after_it(database: Database, two: Plants) -> None:
    counted = {"tenant": "demo", "site": "seoul", "material": "sugar", "location": "A1", "business_date": "2026-03-01"}
    row = counted | {"quantity_micro": 5_000_000, "usage_micro": None, "unit": "EA", "at": 0}
    await store(database, Truth({"inventory": [row]}))
    now = NOW + 10 * 86_400_000
    for day, value in ((date(2026, 3, 31), 5), (date(2026, 4, 1), None)):
        period = Period(first=day, last=day)
        told = await looked(database, two, lambda look, p=period: look.table(("inventory",), period=p), now=now)
        assert [one.cells[0].value for one in told.rows] == ([] if value is None else [value]), day
