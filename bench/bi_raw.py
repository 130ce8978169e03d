"""OEE by line and day without marts, the whole of it: the time of states by window functions, pieces by a sum.

The same text is asked as raw SQL on both databases, and stands in a PostgreSQL materialised view. It is simpler than
what marts hold: one site in one zone without breaks, silences or planned downtime, as the bench's plant is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

import psycopg

from bench.bi_plant import DAY_MS, NS, SITE, TENANT
from cloud.bi.semantic.table import Table
from cloud.database import Connection, Row

OEE = """
with recursive days(day, start_ms) as (
  select 0, cast(? as bigint) union all select day + 1, start_ms + 86400000 from days where day < ?
), held as (
  select work_unit, state, at / 1000000 as begun,
    coalesce(lead(at) over (partition by work_unit order by at), 9000000000000000000) / 1000000 as ends
  from equipment_state where tenant=? and site=? and at>=? and at<?
), cut as (
  select h.work_unit, d.day, h.state, least(h.ends, d.start_ms + 86400000) - greatest(h.begun, d.start_ms) as ms
  from held h join days d on h.begun < d.start_ms + 86400000 and h.ends > d.start_ms
), spent as (
  select work_unit, day, sum(ms) as busy_ms, sum(case when state='EXECUTE' then ms else 0 end) as apt_ms
  from cut group by work_unit, day
), made as (
  select work_unit, (counted_ms - ?) / 86400000 as day, sum(produced) as produced, sum(good) as good,
    sum(ideal_us) as ideal_us, sum(ideal_good_us) as ideal_good_us
  from production where tenant=? and site=? and counted_ms>=? and counted_ms<? group by 1, 2
)
select s.work_unit, s.day, cast(s.busy_ms as bigint) as busy_ms, cast(s.apt_ms as bigint) as apt_ms,
  cast(m.ideal_us as bigint) as ideal_us, cast(m.ideal_good_us as bigint) as ideal_good_us, m.produced, m.good
from spent s join made m on m.work_unit = s.work_unit and m.day = s.day"""

Figures = dict[tuple[str, int], float]
"""(line, day of the window) → OEE."""


def values(start_ms: int, days: int) -> tuple[int | str, ...]:
    """Give what OEE's marks stand for: whole days from a moment on; the state in force then began a day before at most."""
    end = start_ms + days * DAY_MS
    states = (TENANT, SITE, (start_ms - DAY_MS) * NS, end * NS)
    return (start_ms, days - 1, *states, start_ms, TENANT, SITE, start_ms, end)


def asked(connection: Connection, start_ms: int, days: int) -> tuple[float, Figures]:
    """Give how long raw SQL takes, ms, and what it says."""
    spent: list[float] = []
    rows: list[Row] = []
    for _ in range(3):
        began = time.perf_counter()
        rows = connection.execute(OEE, values(start_ms, days))
        spent.append((time.perf_counter() - began) * 1e3)
    return statistics.median(spent), _figures(rows)


def _figures(rows: Iterable[Row]) -> Figures:
    return {(row[0], int(row[1])): row[5] / 1000 / row[2] for row in rows}


def viewed(url: str, first_ms: int, days: int, start_ms: int, window: int) -> tuple[float, float, Figures]:
    """Give ms of a question to a materialised view (p95), seconds of its full refresh, and what it says of the window.

    first_ms, days: all that is recorded, which a refresh computes anew; start_ms, window: of the question.
    """
    text = OEE
    for value in values(first_ms, days):
        text = text.replace("?", f"'{value}'" if isinstance(value, str) else str(value), 1)
    before = (start_ms - first_ms) // DAY_MS
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create materialized view bench_daily as {text}".encode())
        began = time.perf_counter()
        connection.execute("refresh materialized view bench_daily")
        refreshed = time.perf_counter() - began
        spent: list[float] = []
        rows: list[Row] = []
        for _ in range(40):
            began = time.perf_counter()
            rows = connection.execute("select * from bench_daily where day>=%s", (before,)).fetchall()
            spent.append((time.perf_counter() - began) * 1e3)
        connection.execute("drop materialized view bench_daily")
    shifted = {(line, day - before): value for (line, day), value in _figures(rows).items() if day < before + window}
    return statistics.quantiles(spent, n=20)[-1], refreshed, shifted


def compare(ours: Table, theirs: Figures, what: str) -> None:
    """Hold our OEE by line and day against another way's. Raises RuntimeError where they differ by more than 1e-9."""
    days = sorted({row.label for row in ours.rows})
    mine = {(row.keys[0], days.index(row.label)): row.cells[0].value for row in ours.rows}
    if mine.keys() != theirs.keys():
        raise RuntimeError(f"{what}: {len(theirs)} figures, ours {len(mine)}")
    for key, value in mine.items():
        if value is None or abs(value - theirs[key]) > 1e-9:
            raise RuntimeError(f"{what} says {theirs[key]} of {key}, our marts {value}")
