"""Marking buckets other than by a fact that came: of a span of time, or all there are.

Marking too much does no harm: a bucket that nothing is recorded of has no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from cloud.database import Connection
from cloud.marts.ledger import DAY_MS, Ledger
from cloud.plant import Place, Plants

NS: Final = 1_000_000
QUARTER_MS: Final = 900_000


def span(connection: Connection, plants: Plants, place: Place, period: tuple[int, int], now_ms: int) -> int:
    """Mark every bucket that overlaps a period [start, end) in ms, also what is summed up from it; gives how many.

    With a line: its own. With an empty one: the site's stock and the results that no line is named for.
    """
    ledger = Ledger(plants, now_ms)
    _mark(ledger, plants, place, *period)
    ledger.write(connection)
    return ledger.touched


def everything(connection: Connection, plants: Plants, place: Place, now_ms: int) -> int:
    """Mark every bucket that some record touches, also what is summed up from it; gives how many."""
    ledger = Ledger(plants, now_ms)
    for start, end in _recorded(connection, place):
        _mark(ledger, plants, place, start, end)
    for start, end in _counted(connection, place):
        _mark_shifts(ledger, plants, place, start, end)
    ledger.write(connection)
    return ledger.touched


def _mark(ledger: Ledger, plants: Plants, place: Place, start_ms: int, end_ms: int) -> None:
    _mark_shifts(ledger, plants, place, start_ms, end_ms)
    if place[2]:
        for at in (*range(start_ms, end_ms, 2 * QUARTER_MS), end_ms - 1):
            ledger.touch_hour(place, at)


def _mark_shifts(ledger: Ledger, plants: Plants, place: Place, start_ms: int, end_ms: int) -> None:
    for instance in plants[place[:2]].calendar.between(start_ms, end_ms):
        ledger.touch_quality(place, instance.start_ms)
        if place[2]:
            ledger.touch(place, instance.start_ms)
            ledger.touch_sums(place, instance.start_ms)
        else:
            ledger.touch_stock(*place[:2], instance.start_ms)
            ledger.touch_site(*place[:2], instance.start_ms)


def _counted(connection: Connection, place: Place) -> Iterator[tuple[int, int]]:
    """Give the span (ms) in which a line counts, also where nothing is recorded of it."""
    yield from connection.execute(
        "select first_ms, closed_ms from work_unit where tenant=? and site=? and work_unit=? and first_ms<closed_ms",
        place,
    )  # fmt: skip


def _recorded(connection: Connection, place: Place) -> Iterator[tuple[int, int]]:
    """Give spans of time (ms) that hold all that is recorded of a line, or of a site as a whole."""
    line = "tenant=? and site=? and work_unit=?"
    quarters = [("quality_measurement", f"at/{NS}")]
    quarters += (
        [("production", "counted_ms"), ("judgment", f"(at-1)/{NS}")] if place[2] else [("inventory", f"at/{NS}")]
    )
    for table, ms in quarters:
        where, values = ("tenant=? and site=?", place[:2]) if table == "inventory" else (line, place)
        yield from _joined(
            int(number) * QUARTER_MS
            for (number,) in connection.execute(
                f"select distinct ({ms})/{QUARTER_MS} as quarter from {table} where {where} order by quarter",  # noqa: S608
                values,
            )
        )
    if not place[2]:
        return
    days: list[int] = [
        int(day) * DAY_MS
        for (day,) in connection.execute(
            f"select distinct at/{DAY_MS * NS} as day from equipment_state where {line} order by day",  # noqa: S608 - ours
            place,
        )
    ]
    row = connection.one(f"select data_at from work_unit where {line}", place)  # noqa: S608 - ours
    known: int = 0 if row is None or row[0] is None else row[0] // NS + 1
    for start, end in pairwise([*days, known] if days and known > days[-1] else days):
        yield start, end + DAY_MS
    for day in days:
        yield day, day + DAY_MS
    for table, end in (("gap", "at"), ("job_order", "end_at")):
        for begin, stop in connection.execute(f"select start, {end} from {table} where {line}", place):  # noqa: S608 - ours
            yield begin // NS, min(stop // NS, begin // NS + 400 * DAY_MS)


def _joined(quarters: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Join quarters of an hour that follow each other to spans."""
    start = end = 0
    for at in quarters:
        if at != end:
            if end > start:
                yield start, end
            start = at
        end = at + QUARTER_MS
    if end > start:
        yield start, end
