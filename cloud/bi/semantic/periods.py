"""What a period means at each site: business dates, and the shift instances and hours they hold. Pure.

A word such as `today` is read on each site's own calendar and clock. A business date holds the instances that begin
on it, so a night shift is the day's that it began; hours are those that begin within those instances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Against, Period
from cloud.marts.calendar import Calendar, Instance
from cloud.plant import Plant

LONGEST_DAYS: Final = 5 * 366
EARLIEST, LATEST = date(1990, 1, 1), date(2199, 12, 31)
_DAY: Final = timedelta(days=1)
_BACK: Final = {"last_7_days": 6, "last_30_days": 29, "last_90_days": 89}


@dataclass(frozen=True, slots=True)
class Span:
    """A period at one site."""

    first: str
    last: str
    """Business dates, both included."""
    start_ms: int
    end_ms: int
    """[start, end) of its instances."""
    instances: tuple[int, ...] = ()
    """Begins of the only instances meant, ms; empty for all of the dates."""
    hours: tuple[int, int] = (0, 0)
    """[first, end) of the begins of its hours."""
    shift: str | None = None
    """Code, where a period is of one shift."""


def span(period: Period, plant: Plant, now_ms: int) -> Span:
    """Give what a period means at a site. Raises PlanError for what cannot be meant."""
    calendar = plant.calendar
    if period.relative in {"this_shift", "last_shift"}:
        here = calendar.at(now_ms)
        return _instance(calendar, here if period.relative == "this_shift" else _before(calendar, here))
    first, last = _dates(period, calendar, now_ms)
    begun = [one for day in (first, last) for one in calendar.day(day.isoformat())]
    start = min((one.start_ms for one in begun), default=midnight(calendar, first))
    end = max((one.end_ms for one in begun), default=midnight(calendar, last + _DAY))
    found = Span(first.isoformat(), last.isoformat(), start, end, (), (calendar.hour(start), end))
    if period.shift is None:
        return found
    meant = [
        one
        for offset in range((last - first).days + 1)
        for one in calendar.day((first + offset * _DAY).isoformat())
        if one.shift == period.shift
    ]
    if len(meant) == 1:
        return _instance(calendar, meant[0])
    return Span(found.first, found.last, start, end, (), (0, 0), period.shift)


def midnight(calendar: Calendar, day: date) -> int:
    """Give the begin of a local date, ms: of a date on which no instance begins."""
    return int(datetime.combine(day, time(), calendar.zone).timestamp()) * 1000


def _instance(calendar: Calendar, one: Instance) -> Span:
    hours = (calendar.hour(one.start_ms), one.end_ms)
    return Span(one.business_date, one.business_date, one.start_ms, one.end_ms, (one.start_ms,), hours, one.shift)


def _before(calendar: Calendar, here: Instance) -> Instance:
    """Give the last shift that ended before this instance."""
    day = date.fromisoformat(here.business_date)
    for back in range(15):
        begun = [
            one
            for one in calendar.day((day - back * _DAY).isoformat())
            if one.scheduled and one.end_ms <= here.start_ms
        ]
        if begun:
            return begun[-1]
    raise PlanError("there was no shift in the last two weeks", "ask for dates, or look at the site's shifts")


def _dates(period: Period, calendar: Calendar, now_ms: int) -> tuple[date, date]:
    today = date.fromisoformat(calendar.at(now_ms).business_date)
    if period.relative is None:
        first, last = period.first or today, period.last or today  # the plan holds both or neither
        if first < EARLIEST or last > LATEST:
            raise PlanError(f"no plant's records are of {first} to {last}", f"give dates from {EARLIEST} to {LATEST}")
        if (last - first).days >= LONGEST_DAYS:
            raise PlanError(f"{first} to {last} is longer than five years", "ask for a shorter period")
        if first > today:
            raise PlanError(f"{first} lies in the future", f"today is {today} there; a forecast is a plan of PREDICT")
        return first, last
    word = period.relative
    monday, first_of_month = today - (today.isoweekday() - 1) * _DAY, today.replace(day=1)
    if word in _BACK:
        return today - _BACK[word] * _DAY, today
    if word == "yesterday":
        return today - _DAY, today - _DAY
    if word == "this_week":
        return monday, today
    if word == "last_week":
        return monday - 7 * _DAY, monday - _DAY
    if word == "this_month":
        return first_of_month, today
    if word == "last_month":
        return (first_of_month - _DAY).replace(day=1), first_of_month - _DAY
    return today, today


def spans(period: Period, plants: Mapping[str, Plant], now_ms: int) -> dict[str, Span]:
    """Give what a period means at each site. Raises PlanError; a date that is future at one site only is none there."""
    found: dict[str, Span] = {}
    refused: PlanError | None = None
    for site, plant in plants.items():
        try:
            found[site] = span(period, plant, now_ms)
        except PlanError as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return found


def dated(period: Period, plant: Plant, now_ms: int) -> Period:
    """Give a period by its dates, as a site reads them; one shift stays one shift."""
    meant = span(period, plant, now_ms)
    return Period(first=date.fromisoformat(meant.first), last=date.fromisoformat(meant.last), shift=meant.shift)


def against(period: Period, other: Against | Period, plant: Plant, now_ms: int) -> Period:
    """Give the dated period that another is held against.

    One shift is held against the shift before it, or the same shift of an earlier day.
    """
    if isinstance(other, Period):
        return dated(other, plant, now_ms)
    meant = dated(period, plant, now_ms)
    if meant.first is None or meant.last is None:
        raise PlanError("this period has no dates", "give `first` and `last`")
    try:
        if other == "previous":
            if meant.shift and meant.first == meant.last:
                here = plant.calendar.at(span(period, plant, now_ms).start_ms)
                before = _before(plant.calendar, here)
                day = date.fromisoformat(before.business_date)
                return Period(first=day, last=day, shift=before.shift)
            length = meant.last - meant.first + _DAY
            return Period(first=meant.first - length, last=meant.last - length, shift=meant.shift)
        # The same weekdays: 52 weeks back, not the same date.
        back = 7 * _DAY if other == "same_last_week" else 364 * _DAY
        return Period(first=meant.first - back, last=meant.last - back, shift=meant.shift)
    except OverflowError as error:
        raise PlanError(f"there is nothing before {meant.first}", "give later dates") from error
