"""What a report is about: a shift or a week of a site, and the shift instances that it holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from cloud.bi.semantic.plan import Period
from cloud.marts.calendar import Instance
from cloud.plant import Plant

Kind = Literal["shift", "week"]
EARLIEST: Final = 2000
LATEST: Final = 2100
"""Years of business dates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a report is about."""

    tenant: str
    site: str
    kind: Kind
    business_date: str
    """ISO; of a week its Monday."""
    shift: str = ""

    @property
    def period(self) -> Period:
        first = date.fromisoformat(self.business_date)
        if self.kind == "week":
            return Period(first=first, last=first + timedelta(days=6))
        return Period(first=first, last=first, shift=self.shift)

    @property
    def before(self) -> Period:
        """Give what it is held against: the same shift of the day before, the week before."""
        back = timedelta(days=7 if self.kind == "week" else 1)
        mine = self.period
        assert mine.first is not None and mine.last is not None  # noqa: S101, PT018 - made above
        return Period(first=mine.first - back, last=mine.last - back, shift=mine.shift)


class NoSuchShiftError(Exception):
    """The site has no such shift on that date, or it has not begun."""


def instances(plant: Plant, subject: Subject) -> list[Instance]:
    """Give the shift instances that a report is about, in order. Raises NoSuchShiftError."""
    first = date.fromisoformat(subject.business_date)
    if not EARLIEST <= first.year < LATEST:
        raise NoSuchShiftError(
            f"{subject.business_date} is no date of a plant; ask for one between {EARLIEST} and {LATEST}"
        )
    if subject.kind == "week" and first.isoweekday() != 1:
        raise NoSuchShiftError(f"{subject.business_date} is no Monday; a week's report is named by its Monday")
    days = [first + timedelta(days=k) for k in range(7 if subject.kind == "week" else 1)]
    found = [one for day in days for one in plant.calendar.day(day.isoformat())]
    if subject.kind == "shift":
        codes = [one.shift for one in found if one.scheduled]
        found = [one for one in found if one.scheduled and one.shift == subject.shift]
        if not found:
            there = ", ".join(codes) or "none"
            raise NoSuchShiftError(f"there is no shift {subject.shift!r} on {subject.business_date}; it has {there}")
    return found
