"""What happened on a line within some time, read from base rows: states, silences, plans."""

from __future__ import annotations

from typing import Final

from cloud.database import Connection
from cloud.marts.measure import State
from cloud.plant import Place

NS: Final = 1_000_000
LARGEST_ORDER: Final = 10**9
"""More pieces than this no order plans; such a one takes part in no figure."""
MILLION: Final = 1_000_000


def states(connection: Connection, place: Place, start_ms: int, end_ms: int) -> list[State]:
    """Give the states that hold in [start, end): the one in force at its begin, and those that begin within."""
    sql = (
        "select s.at, s.state, s.reason, s.product from equipment_state s join incarnation i on i.id = s.inc"
        " where s.tenant=? and s.site=? and s.work_unit=?"
    )
    # Of equal times the one recorded later holds: a later start of the gateway, then a later record.
    before = connection.execute(
        f"{sql} and s.at<? order by s.at desc, i.ord desc, s.inc desc, s.seq desc limit 1", (*place, start_ms * NS)
    )
    within = connection.execute(
        f"{sql} and s.at>=? and s.at<? order by s.at, i.ord, s.inc, s.seq", (*place, start_ms * NS, end_ms * NS)
    )
    return [State(at // NS, state, reason, product or "") for at, state, reason, product in (*before, *within)]


def gaps(connection: Connection, place: Place, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Give the known silences that overlap [start, end), ms."""
    return [
        (start // NS, at // NS)
        for start, at in connection.execute(
            "select start, at from gap where tenant=? and site=? and work_unit=? and at>? and start<?",
            (*place, start_ms * NS, end_ms * NS),
        )
    ]


def planned_micro(quantity: int, start: int, end: int, until: int) -> int:
    """Give the millionths of pieces that an order of [start, end) plans before an instant; all in one unit of time.

    The parts of neighbouring stretches add up to the whole order, to the millionth.
    """
    return quantity * MILLION * (min(max(until, start), end) - start) // (end - start)


def planned(connection: Connection, place: Place, start_ms: int, end_ms: int) -> dict[str, int]:
    """Give what job orders plan for [start, end): product → millionths of pieces, by overlap in time."""
    begin, stop = start_ms * NS, end_ms * NS
    found: dict[str, int] = {}
    for product, quantity, start, end in connection.execute(
        # `start+0`: by index on the end, few orders end after a shift of late begins.
        "select product, quantity, start, end_at from job_order where tenant=? and site=? and work_unit=?"
        " and end_at>? and start+0<? and state<>'cancelled'",
        (*place, begin, stop),
    ):
        if 0 < quantity <= LARGEST_ORDER and start < end:
            part = planned_micro(quantity, start, end, stop) - planned_micro(quantity, start, end, begin)
            found[product] = found.get(product, 0) + part
    return found
