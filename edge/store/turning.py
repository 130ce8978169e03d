"""From one incarnation to the next: the hour that ends with the old one, and the record of a turn."""

from __future__ import annotations

from typing import Any

import apsw

from edge.store import rows
from edge.store.lanes import Books, Start
from edge.store.tally import HOUR_NS, ended, tally
from sync.facts import Audited, Tallied


def cut_short(connection: apsw.Connection, books: Books) -> list[Tallied]:
    """Give the tallies of earlier starts' last hours, which their ends cut short."""
    told = [tally(start, _newest(connection, start)) for start in books.starts.values() if start.hour]
    return [one for one in told if one is not None]


def _newest(connection: apsw.Connection, start: Start) -> int:
    """Give the commit time of a start's newest chunk that is still here, else the end of its hour."""
    found = [
        connection.execute(
            "SELECT at FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? ORDER BY first DESC LIMIT 1",
            (start.ord, lane.stream),
        ).fetchone()
        for lane in start.lanes.values()
    ]
    return max((int(row[0]) for row in found if row is not None), default=start.hour + HOUR_NS)


def end_hours(connection: apsw.Connection, books: Books) -> None:
    """Note, inside the present transaction, that everything committed so far is tallied."""
    for start in books.starts.values():
        if start.hour:
            ended(start, 0)
            for lane in start.lanes.values():
                rows.save_lane(connection, lane)


def turned(current: Start, incarnation: str, why: str, at: int, *, forked: bool) -> Audited:
    """Give the audit record of a turn; when a copy of the box shares the numbers, it names what was put aside."""
    detail: dict[str, Any] = {"why": why, "from": current.inc, "to": incarnation}
    if forked:
        detail["aside"] = {
            lane.stream.name.lower(): [lane.stored + 1, lane.last]
            for lane in current.lanes.values()
            if lane.last > lane.stored
        }
    return Audited(at=at, actor="gateway", action="store.turned", target="edge.db", detail=detail)
