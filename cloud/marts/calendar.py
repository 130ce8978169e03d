"""The site's shift calendar: which shift instance an instant belongs to. Pure; every bucket key is made here.

SQLite knows no time zones, so keys are computed in Python and both databases agree. Instances are half-open
[start, end) in ms UTC, follow each other without a hole, and belong to the business date on which they start: a night
shift is the day's that it began. Time outside every shift is an instance too, with an empty code, cut at midnight.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cloud.config import Shift, Site

HOUR_MS = 3_600_000
QUARTER_MS = 900_000


@dataclass(frozen=True, slots=True)
class Instance:
    """One shift on one day."""

    start_ms: int
    end_ms: int
    business_date: str
    """ISO date."""
    shift: str
    """Code; empty outside every shift."""
    breaks: tuple[tuple[int, int], ...] = ()
    """Planned breaks in ms, in order."""

    @property
    def scheduled(self) -> bool:
        return bool(self.shift)


class Calendar:
    """Shift instances of one site."""

    def __init__(self, site: Site) -> None:
        self.zone = ZoneInfo(site.timezone)
        self._shifts = tuple(site.shifts)
        self._day = lru_cache(maxsize=800)(self._make_day)
        self._hour = lru_cache(maxsize=4_000)(self._make_hour)

    def at(self, ms: int) -> Instance:
        """Give the instance that an instant (ms UTC) lies in."""
        day = self.local(ms).date()
        for candidate in (day, day - timedelta(days=1), day + timedelta(days=1)):
            for instance in self._day(candidate):
                if instance.start_ms <= ms < instance.end_ms:
                    return instance
        raise ValueError(f"no instance holds {ms}: the calendar of {self.zone} has a hole")

    def between(self, start_ms: int, end_ms: int) -> list[Instance]:
        """Give every instance that overlaps [start, end), in order."""
        if end_ms <= start_ms:
            return []
        day, last = self.local(start_ms).date() - timedelta(days=1), self.local(end_ms).date()
        found: list[Instance] = []
        while day <= last:
            found += [i for i in self._day(day) if i.start_ms < end_ms and start_ms < i.end_ms]
            day += timedelta(days=1)
        return found

    def day(self, business_date: str) -> tuple[Instance, ...]:
        """Give the instances of a business date (ISO), in order; none where one of the day before covers it all."""
        return self._day(date.fromisoformat(business_date))

    def hour(self, ms: int) -> int:
        """Give the begin (ms UTC) of the local clock hour that an instant lies in; a change of the clocks begins one."""
        return self._hour(ms // QUARTER_MS)

    def hour_end(self, start_ms: int) -> int:
        """Give where an hour ends that begins here: 60 minutes later at most, and where the clocks change."""
        return next(
            at
            for at in range(start_ms // QUARTER_MS * QUARTER_MS + QUARTER_MS, start_ms + 2 * HOUR_MS, QUARTER_MS)
            if self.hour(at) != start_ms
        )

    def _make_hour(self, quarter: int) -> int:
        """Clocks change at quarters of an hour UTC, everywhere, since long before anything here was recorded."""
        offset = self._offset(quarter * QUARTER_MS)
        start = (quarter * QUARTER_MS + offset) // HOUR_MS * HOUR_MS - offset
        while self._offset(start) != offset:
            start = start // QUARTER_MS * QUARTER_MS + QUARTER_MS
        return start

    def _offset(self, ms: int) -> int:
        return int((self.local(ms).utcoffset() or timedelta()).total_seconds() * 1000)

    def local(self, ms: int) -> datetime:
        """Give the site's local time of an instant."""
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone(self.zone)

    def _instant(self, day: date, at: time) -> int:
        # A time that the clocks skip or repeat is taken with the offset before the change.
        return int(datetime.combine(day, at, self.zone).timestamp()) * 1000

    def _shift(self, day: date, shift: Shift) -> Instance | None:
        end_day = day + timedelta(days=1) if shift.end <= shift.start else day
        start, end = self._instant(day, shift.start), self._instant(end_day, shift.end)
        if start >= end:  # swallowed whole by a change of the clocks
            return None
        breaks: list[tuple[int, int]] = []
        for first, last in shift.breaks:
            begin = self._instant(day if first >= shift.start else day + timedelta(days=1), first)
            stop = self._instant(day if last >= shift.start else day + timedelta(days=1), last)
            begin, stop = max(begin, start), min(stop, end)
            if begin < stop:
                breaks.append((begin, stop))
        return Instance(start, end, day.isoformat(), shift.code, tuple(sorted(breaks)))

    def _scheduled(self, day: date) -> list[Instance]:
        made = [self._shift(day, shift) for shift in self._shifts if day.isoweekday() in shift.days]
        return sorted((i for i in made if i is not None), key=lambda i: i.start_ms)

    def _make_day(self, day: date) -> tuple[Instance, ...]:
        """Give the instances that start on a local date: its shifts, and what no shift covers."""
        midnight, end = self._instant(day, time()), self._instant(day + timedelta(days=1), time())
        shifts = self._scheduled(day)
        cover = [i for i in self._scheduled(day - timedelta(days=1)) if i.end_ms > midnight] + shifts
        found = list(shifts)
        free_from = midnight
        for instance in [*cover, Instance(end, end, "", "")]:
            if instance.start_ms > free_from:
                found.append(Instance(free_from, min(instance.start_ms, end), day.isoformat(), ""))
            free_from = max(free_from, instance.end_ms)
        return tuple(sorted(found, key=lambda i: i.start_ms))
