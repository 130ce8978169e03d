"""Job orders: the newest plan holds, and the shifts that an older one or the new one touches are computed anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from cloud.database import Connection
from cloud.marts.ledger import Ledger
from cloud.plant import Place
from sync.operations import JobOrderPlanned

NS: Final = 1_000_000
_KEY: Final = "tenant=? and site=? and work_unit=? and job_order=?"
_UPSERT: Final = (
    "insert into {table}(tenant, site, work_unit, job_order, changed_at, product, lot, quantity, start, end_at, state{more})"
    " values(?,?,?,?,?,?,?,?,?,?,?{marks}) on conflict(tenant, site, work_unit, job_order) do update set"
    " changed_at=excluded.changed_at, product=excluded.product, lot=excluded.lot, quantity=excluded.quantity,"
    " start=excluded.start, end_at=excluded.end_at, state=excluded.state{sets}"
    " where {table}.changed_at<=excluded.changed_at"
)
_UPSERT_ORDER: Final = _UPSERT.format(
    table="job_order", more=", ideal_cycle_ms", marks=",?", sets=", ideal_cycle_ms=excluded.ideal_cycle_ms"
)
_UPSERT_DIMENSION: Final = _UPSERT.format(table="dim_order", more=", inferred", marks=",0", sets=", inferred=0")

Row = tuple[Any, ...]
"""(tenant, site, work unit, order, changed at, product, lot, quantity, start, end, state, ideal cycle)."""


def row(place: Place, fact: JobOrderPlanned) -> Row:
    """Give the row of an order."""
    plan = (fact.product, fact.lot, fact.quantity, fact.start, fact.end, fact.state, fact.ideal_cycle_ms)
    return (*place, fact.order, fact.at, *plan)


def write(connection: Connection, ledger: Ledger, rows: Iterable[Row]) -> None:
    """Write the newest plan of every order, and mark what it changes."""
    wanted = sorted(rows, key=lambda one: one[:4])
    for new in wanted:
        old = connection.one(
            f"select changed_at, product, quantity, start, end_at, state from job_order where {_KEY}",  # noqa: S608 - above
            new[:4],
        )
        told = (new[5], *new[7:11])
        if old is not None and (old[0] > new[4] or tuple(old[1:]) == told):
            continue
        place: Place = new[:3]
        for start, end in [(new[8], new[9])] + ([(old[3], old[4])] if old is not None else []):
            ledger.plan(place, start // NS, -(-end // NS))
    connection.many(_UPSERT_ORDER, wanted)
    connection.many(_UPSERT_DIMENSION, [one[:11] for one in wanted])
