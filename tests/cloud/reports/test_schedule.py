"""Which report is due when: pure, by the calendar of a site and a schedule."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from cloud.outgoing.config import Report
from cloud.plant import Plant
from cloud.reports.schedule import due
from tests.cloud.bi.semantic.test_periods import BERLIN, SEOUL, ms

SET_UP = ms("2026-11-01T00:00:00+09:00")


def told(plant: Plant, report: Report, now: str, since_ms: int = SET_UP) -> list[tuple[str, str, str]]:
    """Give (business date, shift, local time at which it is due) of what had to be made by now."""
    return [
        (one.business_date, one.shift, f"{plant.calendar.local(one.due_ms):%d %H:%M}")
        for one in due(plant, report, ms(now), since_ms)
    ]


@pytest.mark.parametrize("day", range(1, 8))
def test_a_weeks_report_is_of_the_week_before_whatever_day_it_is_made_on(day: int) -> None:
    report = Report(id="w", kind="week", at=time(7), day=day)
    made = told(SEOUL, report, "2026-11-22T07:00:00+09:00")  # the Sunday of the week that begins on the 16th
    assert made[-1] == ("2026-11-09", "", f"{15 + day} 07:00")
    assert [one[0] for one in made][-3:] == ["2026-10-26", "2026-11-02", "2026-11-09"]
    assert told(SEOUL, report, "2026-11-15T06:59:59+09:00")[-1][0] == ("2026-10-26" if day == 7 else "2026-11-02")


def test_a_shift_is_reported_once_its_late_records_had_their_time() -> None:
    report = Report(id="s", kind="shift", after_min=15)
    assert told(SEOUL, report, "2026-11-22T14:14:59+09:00")[-1] == ("2026-11-21", "C", "22 06:15")
    assert told(SEOUL, report, "2026-11-22T14:15:00+09:00")[-1] == ("2026-11-22", "A", "22 14:15")
    night = Report(id="n", kind="shift", shifts=["C"], at=time(7))
    assert [one[:2] for one in told(SEOUL, night, "2026-11-22T12:00:00+09:00")] == [
        (f"2026-11-{day}", "C") for day in range(15, 22)
    ]
    assert told(SEOUL, night, "2026-11-22T12:00:00+09:00")[-1][2] == "22 07:00"
    on_the_stroke = Report(id="n", kind="shift", shifts=["C"], at=time(6))
    assert told(SEOUL, on_the_stroke, "2026-11-22T06:00:00+09:00")[-1] == ("2026-11-21", "C", "22 06:00")


def test_nothing_is_made_of_what_was_due_before_the_schedule_was_set_up() -> None:
    report = Report(id="s", kind="shift", after_min=15)
    since = ms("2026-11-22T06:15:00+09:00")
    assert told(SEOUL, report, "2026-11-22T20:00:00+09:00", since) == [
        ("2026-11-21", "C", "22 06:15"),
        ("2026-11-22", "A", "22 14:15"),
    ]
    assert told(SEOUL, report, "2026-11-22T20:00:00+09:00", since + 1)[0][1] == "A"


def test_times_that_the_clocks_skip_or_repeat_have_one_report() -> None:
    """Berlin, 29 March 2026: 02:30 does not exist; 25 October: it comes twice, and the first one counts."""
    report = Report(id="n", kind="shift", shifts=["N"], at=time(2, 30), timezone="Europe/Berlin")
    for day, now, at in (
        ("2026-03-27", "2026-03-29T12:00:00+02:00", "2026-03-29T03:30:00+02:00"),
        ("2026-10-23", "2026-10-25T12:00:00+01:00", "2026-10-25T02:30:00+02:00"),
    ):
        (one,) = [one for one in due(BERLIN, report, ms(now), 0) if one.business_date == day]
        assert datetime.fromtimestamp(one.due_ms / 1000, ZoneInfo("Europe/Berlin")).isoformat() == at
