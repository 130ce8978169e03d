"""The dirty-bucket ledger: which buckets of which marts a fact touches, noted in the transaction that stores it.

A set of buckets, never a range of time: one late fact costs one bucket, not everything since.
"""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple

from cloud.database import Connection
from cloud.marts.calendar import QUARTER_MS
from cloud.plant import Place, Plants

DEBOUNCE_MS: Final = 500
"""A bucket that still changes is recomputed at most this often."""
CLOCK_MS: Final = 3_000
"""… and this often when only time went by."""
MAX_SPAN_MS: Final = 400 * 86_400_000

DAY_MS: Final = 86_400_000
AFTERWARDS: Final = 6
"""Days whose moving figures a day is part of."""

SHIFT: Final = "shift"
"""A shift instance of a line: what it made, how its time was spent, verdicts, orders."""
HOUR: Final = "hour"
"""A local clock hour of a line."""
QUALITY: Final = "quality"
"""The quality results of a shift instance of a line."""
DAY: Final = "day"
"""A business date of a line, summed up from its shifts."""
TREND: Final = "trend"
"""A business date of a line, held against the six before it."""
SITE: Final = "site"
"""A business date of all lines of a site."""
STOCK: Final = "stock"
"""The stock of a site on a business date."""
ALL: Final = "all"
"""Stands for every bucket of a line, or of a site where the line is empty; its `start_ms` is 0."""


class Bucket(NamedTuple):
    """What is recomputed as one."""

    place: Place
    """The line is empty for a bucket of the whole site."""
    kind: str
    start_ms: int
    """Begin; of a business date its midnight as if it were UTC."""


def date_ms(day: str) -> int:
    """Give the number by which a business date (ISO) is known in the ledger."""
    return (date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS


def day_of(ms: int) -> str:
    """Give the business date (ISO) of such a number."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + ms // DAY_MS).isoformat()


class Ledger:
    """Collects what one transaction touches, then writes it."""

    def __init__(self, plants: Plants, now_ms: int) -> None:
        self._plants = plants
        self._now_ms = now_ms
        self._due: dict[Bucket, int] = {}
        self._shift: dict[Place, tuple[int, int]] = {}
        self._quarter: dict[Place, int] = {}
        """Where the latest fact of a line fell: it is marked."""

    def touch(self, place: Place, ms: int) -> None:
        """A measure of the shift that holds this instant changed."""
        start_ms, end_ms = self._shift.get(place, (0, 0))
        if start_ms <= ms < end_ms:  # as the fact before it, most often
            return
        instance = self._plants[place[:2]].calendar.at(ms)
        self._shift[place] = (instance.start_ms, instance.end_ms)
        self._mark(Bucket(place, SHIFT, instance.start_ms), instance.end_ms, DEBOUNCE_MS)

    def touch_hour(self, place: Place, ms: int) -> None:
        """Pieces of the hour that holds this instant changed."""
        quarter = ms // QUARTER_MS
        if self._quarter.get(place) == quarter:
            return
        self._quarter[place] = quarter
        hour = self._plants[place[:2]].calendar.hour(ms)
        self._mark(Bucket(place, HOUR, hour), hour + 3_600_000, DEBOUNCE_MS)

    def span(self, place: Place, start_ms: int, end_ms: int, *, clock: bool = False) -> None:
        """Time elements between two instants changed; `clock` when only the newest data moved on."""
        end_ms = max(start_ms + 1, min(end_ms, self._now_ms + DAY_MS))
        start_ms = max(start_ms, end_ms - MAX_SPAN_MS)
        for instance in self._plants[place[:2]].calendar.between(start_ms, end_ms):
            self._mark(Bucket(place, SHIFT, instance.start_ms), instance.end_ms, CLOCK_MS if clock else DEBOUNCE_MS)

    def plan(self, place: Place, start_ms: int, end_ms: int) -> None:
        """What is to be made between two instants changed, also in shifts to come."""
        for instance in self._plants[place[:2]].calendar.between(start_ms, min(end_ms, start_ms + MAX_SPAN_MS)):
            self._mark(Bucket(place, SHIFT, instance.start_ms), instance.end_ms, DEBOUNCE_MS)

    def touch_quality(self, place: Place, ms: int) -> None:
        """The quality results of the shift that holds this instant changed."""
        instance = self._plants[place[:2]].calendar.at(ms)
        self._mark(Bucket(place, QUALITY, instance.start_ms), instance.end_ms, DEBOUNCE_MS)

    def touch_site(self, tenant: str, site: str, ms: int) -> None:
        """Something of the site's day that holds this instant changed which no shift bucket covers."""
        self._mark_date((tenant, site, ""), SITE, ms)

    def touch_stock(self, tenant: str, site: str, ms: int) -> None:
        """The stock of the day that holds this instant was counted."""
        self._mark_date((tenant, site, ""), STOCK, ms)

    def touch_sums(self, place: Place, ms: int) -> None:
        """What is summed up of a line's day is to be computed anew, though its shifts may not change."""
        start = date_ms(self._plants[place[:2]].calendar.at(ms).business_date)
        for where, kind in ((place, DAY), (place, TREND), ((*place[:2], ""), SITE)):
            self._due.setdefault(Bucket(where, kind, start), self._now_ms + 1)  # after the shifts

    def _mark_date(self, place: Place, kind: str, ms: int) -> None:
        instance = self._plants[place[:2]].calendar.at(ms)
        self._mark(Bucket(place, kind, date_ms(instance.business_date)), instance.end_ms, DEBOUNCE_MS)

    def _mark(self, bucket: Bucket, end_ms: int, wait_ms: int) -> None:
        due = self._now_ms + wait_ms if end_ms > self._now_ms else self._now_ms
        known = self._due.get(bucket)
        self._due[bucket] = due if known is None else min(known, due)

    @property
    def touched(self) -> int:
        return len(self._due)

    def write(self, connection: Connection) -> None:
        """Note everything; sorted, so that two writers never wait for each other in a circle."""
        connection.merge(
            "insert into dirty_bucket(tenant, site, work_unit, mart, start_ms, gen, due_ms) {rows}"
            " on conflict(tenant, site, work_unit, mart, start_ms) do update set gen=dirty_bucket.gen+1,"
            " due_ms=least(dirty_bucket.due_ms, excluded.due_ms)",
            ("text", "text", "text", "text", "bigint", "bigint", "bigint"),
            sorted((*place, kind, start_ms, 1, due) for (place, kind, start_ms), due in self._due.items()),
        )


def pending(connection: Connection, now_ms: int) -> int:
    """Count the buckets that should have been recomputed by now."""
    return int(connection.execute("select count(*) from dirty_bucket where due_ms<=?", (now_ms,))[0][0])
