"""What all lines of some sites have done since a moment: one statement for all, where `marts.history` asks line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cloud.database import Connection
from cloud.marts.history import NS
from cloud.marts.measure import State

Line = tuple[str, str]
"""(site, work unit)."""

# `cross join`: SQLite begins with the lines then, and finds the few rows of each by index.
_OF_LINES: Final = """
select s.site, s.work_unit, s.at, s.state, s.reason, s.product, i.ord, s.inc, s.seq from work_unit w
cross join equipment_state s cross join incarnation i
where {when} and s.tenant=w.tenant and s.site=w.site and s.work_unit=w.work_unit and i.id=s.inc
  and w.tenant=? and w.site in ({sites})"""
_NEWEST_BEFORE: Final = """s.at = (select max(e.at) from equipment_state e
  where e.tenant=w.tenant and e.site=w.site and e.work_unit=w.work_unit and e.at<?)"""
_GAPS: Final = """
select w.site, w.work_unit, g.start, g.at from work_unit w cross join gap g
where g.tenant=w.tenant and g.site=w.site and g.work_unit=w.work_unit and g.at>? and g.start<? and w.tenant=? and w.site in ({sites})"""


def states(
    connection: Connection, tenant: str, sites: Sequence[str], start_ms: int, end_ms: int
) -> dict[Line, list[State]]:
    """Give by line what `history.states` gives: the state in force at the begin, and those that begin within."""
    marks, start = _marks(sites), start_ms * NS
    before = _OF_LINES.format(when=_NEWEST_BEFORE, sites=marks)
    within = _OF_LINES.format(when="s.at>=? and s.at<?", sites=marks)
    found: dict[Line, list[State]] = {}
    # Of equal times the one recorded later holds: a later start of the gateway, then a later record.
    for site, unit, at, state, reason, product, *_ in connection.execute(
        f"{before} union all {within} order by 3, 7, 8, 9",
        (start, tenant, *sites, start, end_ms * NS, tenant, *sites),
    ):
        own = found.setdefault((site, unit), [])
        if at < start:
            own.clear()
        own.append(State(at // NS, state, reason, product or ""))
    return found


def gaps(
    connection: Connection, tenant: str, sites: Sequence[str], start_ms: int, end_ms: int
) -> dict[Line, list[tuple[int, int]]]:
    """Give by line the known silences that overlap [start, end), ms."""
    found: dict[Line, list[tuple[int, int]]] = {}
    for site, unit, start, at in connection.execute(
        _GAPS.format(sites=_marks(sites)), (start_ms * NS, end_ms * NS, tenant, *sites)
    ):
        found.setdefault((site, unit), []).append((start // NS, at // NS))
    return found


def _marks(sites: Sequence[str]) -> str:
    return ",".join("?" * len(sites))
