"""One site's past, day by day: every line's shifts, what lies in the stores, and what the machines were measured at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from cloud.config import Site
from cloud.marts.calendar import Calendar, Instance
from cloud.seed import catalogue, stock
from cloud.seed.shift import HOUR_MS, Shift, live
from cloud.seed.tell import Teller
from sync import facts as f

NS: Final = 1_000_000


class Past:
    """One site's past, day by day."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site, self._seed = site, seed
        self._calendar = Calendar(site)
        self._lines = [unit.path for unit in site.work_units]
        self._shift = lru_cache(maxsize=1_000)(self._live)
        self._made = lru_cache(maxsize=100)(self._count)

    def instances(self, day: date) -> list[Instance]:
        """Give the shifts that begin on a date."""
        text = day.isoformat()
        start = self._calendar.at(self._noon(day)).start_ms - 36 * HOUR_MS
        found = self._calendar.between(start, start + 96 * HOUR_MS)
        return [one for one in found if one.scheduled and one.business_date == text]

    def begin_ms(self, day: date) -> int | None:
        """Give when a date's first shift begins; None on a day without any."""
        found = self.instances(day)
        return found[0].start_ms if found else None

    def hours(self, day: date) -> range:
        """Give the hours, by their begin in ms, in which the shifts that begin on a date run."""
        found = self.instances(day)
        if not found:
            return range(0)
        return range(found[0].start_ms // HOUR_MS * HOUR_MS, found[-1].end_ms // HOUR_MS * HOUR_MS, HOUR_MS)

    def around(self, start_ms: int) -> list[list[Shift]]:
        """Give of every line the shifts of an hour, and of the hours after it."""
        near = [one for one in self._calendar.between(start_ms, start_ms + 5 * HOUR_MS) if one.scheduled]
        return [[self._shift(place, one) for one in near] for place in range(len(self._lines))]

    def master_data(self, at_ms: int) -> Iterator[f.Fact]:
        """Give what the MES says before anything else: the products."""
        for product in catalogue.PRODUCTS:
            ideal = {line: float(catalogue.ideal_ms(place, product)) for place, line in enumerate(self._lines)}
            yield f.ProductDefined(at=at_ms * NS, product=product.code, name=product.name, ideal_cycle_ms=ideal)

    def day(self, day: date) -> list[f.Fact]:
        """Give everything of the shifts that begin on a date, in order of time."""
        found: list[f.Fact] = []
        instances = self.instances(day)
        for place, line in enumerate(self._lines):
            for instance in instances:
                found += Teller(
                    self._seed, line, place, self._shift(place, instance), night=self._night(instance)
                ).all()
                if not self._calendar.at(instance.end_ms).scheduled:
                    found.append(_idle(line, instance.end_ms))
        if instances:
            at = instances[0].start_ms * NS
            found += [
                f.InventoryCounted(
                    at=at,
                    material=one.material,
                    location=one.location,
                    quantity=float(one.quantity),
                    unit="H87",
                    daily_usage=round(one.daily_usage, 3),
                )
                for one in stock.counts(day, self._made)
            ]
        return sorted(found, key=lambda fact: (fact.at, fact.work_unit))

    def _live(self, place: int, instance: Instance) -> Shift:
        return live(self._seed, self._lines[place], place, instance, night=self._night(instance))

    def _count(self, day: date) -> dict[str, tuple[int, int]]:
        made = {product.code: (0, 0) for product in catalogue.PRODUCTS}
        for instance in self.instances(day):
            for run in self._shift(0, instance).runs:
                made[run.product.code] = (made[run.product.code][0] + run.produced, made[run.product.code][1])
            for run in self._shift(len(self._lines) - 1, instance).runs:
                made[run.product.code] = (made[run.product.code][0], made[run.product.code][1] + run.good)
        return made

    def _night(self, instance: Instance) -> bool:
        """Tell whether a shift holds three o'clock at night."""
        middle = self._calendar.local(instance.start_ms + (instance.end_ms - instance.start_ms) // 2)
        return middle.hour < 6

    def _noon(self, day: date) -> int:
        return int(datetime.combine(day, time(12), self._calendar.zone).timestamp()) * 1000


def dates(last: date, days: int) -> Iterator[date]:
    """Give `days` dates up to and with the last one, in order."""
    for back in range(days - 1, -1, -1):
        yield last - timedelta(days=back)


def _idle(line: str, at_ms: int) -> f.Fact:
    return f.StateChanged(at=at_ms * NS, work_unit=line, state="IDLE", reason="no_order")
