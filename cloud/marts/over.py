"""Shifts in which a line was silent from begin to end: they get their rows when they are over, all of it unknown.

A line counts from its first record of a state or of pieces (`work_unit.first_ms`) for as long as the configuration
names it. `close` moves on up to where its shifts are over (`closed_ms`) and marks those that have no row; whoever
computes such a shift asks these two columns, so that the same comes out at any time.
"""

from __future__ import annotations

from typing import Final

from cloud.database import Connection
from cloud.marts.ledger import DAY_MS, Ledger
from cloud.plant import Place, Plants

NS: Final = 1_000_000
OLDEST_MS: Final = 400 * DAY_MS
"""A record that is older when it comes makes no line older: one wrong clock would make up years."""
GRACE_MS: Final = 1_000
"""After its end a shift waits for what was on its way."""
LOOK_MS: Final = 30_000
"""A line that was first heard of is looked at within this time."""
AT_ONCE: Final = 4_000
"""Shifts marked in one transaction."""

_LINE: Final = "tenant=? and site=? and work_unit=?"


def close(connection: Connection, plants: Plants, now_ms: int) -> int:
    """Mark the shifts that are over and have no row, of every line; gives when to look again (ms)."""
    ledger, again_ms, left = Ledger(plants, now_ms), now_ms + LOOK_MS, AT_ONCE
    moved: list[tuple[int, str, str, str, int]] = []
    for tenant, site, unit, first, closed in connection.execute(
        "select tenant, site, work_unit, first_ms, closed_ms from work_unit where first_ms is not null"
        " order by tenant, site, work_unit"
    ):
        try:
            plant = plants[tenant, site]
        except KeyError:
            continue
        if plant.names and unit not in plant.names:
            continue  # not in the configuration any more: nothing was to be made on it
        running = plant.calendar.at(now_ms - GRACE_MS)
        again_ms = min(again_ms, running.end_ms + GRACE_MS)
        begin = first if closed is None else max(first, closed)
        if begin >= running.start_ms:
            if closed is None:
                moved.append((running.start_ms, tenant, site, unit, running.start_ms))
            continue
        place: Place = (tenant, site, unit)
        passed = plant.calendar.between(begin, running.start_ms)
        if left <= 0:
            again_ms = now_ms
            break
        passed, rest = passed[:left], passed[left:]
        left -= len(passed)
        again_ms = now_ms if rest else again_ms
        told = {
            start
            for (start,) in connection.execute(
                f"select distinct start_ms from mart_shift where {_LINE} and start_ms>=? and start_ms<?",  # noqa: S608
                (*place, passed[0].start_ms, passed[-1].end_ms),
            )
        }
        for one in passed:
            if one.start_ms not in told:
                ledger.touch(place, one.start_ms)
        moved.append((passed[-1].end_ms, *place, passed[-1].end_ms))
    connection.many(f"update work_unit set closed_ms=? where {_LINE} and coalesce(closed_ms, 0)<?", moved)  # noqa: S608
    ledger.write(connection)
    return again_ms


def begin(connection: Connection, ledger: Ledger, place: Place, first_ms: int) -> None:
    """Let a line count from here on, earlier than it did; marks the shifts that this makes its own."""
    row = connection.one(f"select first_ms, closed_ms from work_unit where {_LINE}", place)  # noqa: S608 - ours
    first, closed = row or (None, None)
    connection.execute(
        f"update work_unit set first_ms=least(coalesce(first_ms, ?), ?) where {_LINE}",  # noqa: S608 - ours
        (first_ms, first_ms, *place),
    )
    until = closed if first is None or closed is None else min(first, closed)
    if until is not None and first_ms < until:
        ledger.span(place, first_ms, until)


def begin_anew(connection: Connection, ledger: Ledger, place: Place) -> None:
    """Look when a line began after records of it were taken back; marks the shifts that were its own before."""
    row = connection.one(f"select first_ms, closed_ms from work_unit where {_LINE}", place)  # noqa: S608 - ours
    if row is None or row[0] is None:
        return
    first, closed = row
    (state,) = connection.execute(
        f"select min(at) from equipment_state where {_LINE} and at>=?",  # noqa: S608 - ours
        (*place, first * NS),
    )[0]
    (pieces,) = connection.execute(
        f"select min(counted_ms) from production where {_LINE} and counted_ms>=?",  # noqa: S608 - ours
        (*place, first),
    )[0]
    left = [at for at in (None if state is None else state // NS, pieces) if at is not None]
    if (now := min(left, default=None)) == first:
        return
    connection.execute(f"update work_unit set first_ms=? where {_LINE}", (now, *place))  # noqa: S608 - ours
    if closed is not None and first < closed:
        ledger.span(place, first, closed if now is None else min(now, closed))
