from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from cloud.wording import formats
from cloud.wording.texts import Words

SEOUL = ZoneInfo("Asia/Seoul")


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    assert {formats.number(None), formats.percent(None), formats.measured(None), formats.size(None)} == {"–"}
    assert formats.duration(None, Words("en")) == "–"
    assert formats.clock(None, SEOUL) == "–"
    assert formats.number(0) == "0"
    assert formats.percent(0.0) == "0.0%"


@pytest.mark.parametrize(
    ("seconds", "english", "korean"),
    [
        (0, "0 s", "0초"),
        (59.9, "59 s", "59초"),
        (60, "1 min", "1분"),
        (750, "12 min 30 s", "12분 30초"),
        (3600, "1 h", "1시간"),
        (11_520, "3 h 12 min", "3시간 12분"),
        (86_400 * 17 + 14_400 + 59, "17 d 4 h", "17일 4시간"),
        (-3, "0 s", "0초"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, english: str, korean: str) -> None:
    assert formats.duration(seconds, Words("en")) == english
    assert formats.duration(seconds, Words("ko")) == korean


def test_times_are_the_plants_and_another_day_carries_its_date() -> None:
    assert formats.clock("2026-11-22T23:00:05.250Z", SEOUL) == "08:00:05"
    assert formats.clock("2026-11-22T23:00:05Z", SEOUL, now="2026-11-23T03:00:00Z") == "08:00:05"
    assert formats.clock("2026-11-22T14:59:59Z", SEOUL, now="2026-11-23T03:00:00Z") == "11-22 23:59:59"


def test_data_grows_late_and_then_stale() -> None:
    assert [formats.freshness(s) for s in (0, 15, 16, 60, 61)] == ["fresh", "fresh", "late", "late", "stale"]
    assert formats.freshness(None) == "never"


@pytest.mark.parametrize(
    ("value", "text"),
    [(61.5234, "61.52"), (0.00312, "0.00312"), (12345.6, "12,346"), (4210.0, "4210"), (-3.5, "−3.5"), ("on", "on")],
)
def test_measured_values_have_four_digits_that_matter(value: float | str, text: str) -> None:
    assert formats.measured(value) == text


def test_segments_are_cut_to_the_strip_they_are_drawn_on() -> None:
    def part(start: str, end: str) -> dict[str, str | None]:
        return {"state": "EXECUTE", "reason": None, "time_element": "production", "start": start, "end": end}

    day = "2026-11-23T0"
    laid = formats.spans(
        [
            part(f"{day}0:00:00Z", f"{day}2:00:00Z"),
            part(f"{day}2:00:00Z", f"{day}3:00:00Z"),
            part(f"{day}8:00:00Z", f"{day}9:00:00Z"),
        ],
        f"{day}1:00:00Z",
        f"{day}5:00:00Z",
    )
    assert [(span.x, span.width) for span in laid] == [(0.0, 250.0), (250.0, 250.0)]
    assert formats.spans([], f"{day}1:00:00Z", f"{day}1:00:00Z") == []
