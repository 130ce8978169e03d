"""Figures at the desk: what a question costs in the database, over HTTP and from memory, however many facts there are.

In one run and on the same facts: raw SQL, a PostgreSQL materialised view with its full refresh, and our marts; of all
three the OEE by line and day is held against each other's.
`python -m bench bi` takes 0.1 and 1 million facts on both databases, in about two minutes; `python -m bench bi_long` 0.1, 1 and 10 million.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from bench import bi_raw
from bench.bi_http import Served, p95, served
from bench.bi_plant import DAY_MS, LINES, SITE, TENANT, Filled, fill, settings_of, today
from bench.table import Row
from cloud.api.answers import Answers
from cloud.bi.analyses.look import Look
from cloud.bi.overview import overview
from cloud.bi.semantic.plan import Filter, Period
from cloud.bi.semantic.scope import Scope
from cloud.bus import Bus
from cloud.database import Connection, Database, open_database
from cloud.plant import Plants
from tests.postgresql import PostgreSQL
from tests.servers import free_port

SHORT_DAYS = 45
TIMES = 120
MONTH = Period(relative="last_30_days")
LINE = (Filter(dimension="line", values=(LINES[0],)),)

QUERIES: dict[str, Callable[[Look], Any]] = {
    "OEE by line and day, 30 d": lambda look: look.table(("oee",), period=MONTH, dimensions=("line",), grain="day"),
    "scrap by day of a line, 30 d": lambda look: look.table(("defect_rate",), period=MONTH, filters=LINE, grain="day"),
    "lines ranked, 30 d": lambda look: look.table(("oee", "defect_rate"), period=MONTH, dimensions=("line",)),
    "stops by reason, 30 d": lambda look: look.table(("stop_time", "stops"), period=MONTH, dimensions=("stop_reason",)),
    "defects by type, 30 d": lambda look: look.table(("defects",), period=MONTH, dimensions=("defect",)),
    "output by hour, yesterday": lambda look: look.table(
        ("produced",), period=Period(relative="yesterday"), filters=LINE, grain="hour"
    ),
    "stock and its coverage by material, by day, 30 d": lambda look: look.table(
        ("inventory", "inventory_coverage"), period=MONTH, dimensions=("material",), grain="day"
    ),
    "first-pass yield by product, 30 d": lambda look: look.table(
        ("first_pass_yield",), period=MONTH, dimensions=("product",)
    ),
    "measured values by characteristic and day, 30 d": lambda look: look.table(
        ("measured_mean", "quality_failed_ratio"), period=MONTH, dimensions=("characteristic",), grain="day"
    ),
}
"""What a dashboard asks, one answer each."""


def run(sizes: tuple[int, ...] = (100_000, 1_000_000), days: int = SHORT_DAYS) -> list[Row]:
    """Measure every size on both databases."""
    rows: list[Row] = []
    for facts in sizes:
        with tempfile.TemporaryDirectory(prefix="triflow-bench-") as name:
            rows += asyncio.run(_measure(Path(name), "sqlite:///cloud.db", facts, days))
        with tempfile.TemporaryDirectory(prefix="triflow-bench-") as name, PostgreSQL() as server:
            with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
                connection.execute("create database triflow")
            rows += asyncio.run(_measure(Path(name), f"{server.url}/triflow", facts, days))
    return rows


async def _measure(folder: Path, url: str, facts: int, days: int) -> list[Row]:
    port = free_port()
    settings = settings_of(folder, url, port)
    plants = Plants(settings)
    async with open_database(settings.database_url) as database:
        filled = await fill(database, plants, facts, days)
        kind = "PostgreSQL" if database.postgresql else "SQLite"
        what = f"{kind}, {filled.facts / 1e6:.1f} M facts"
        if database.postgresql:
            _analyse(url)
        gc.collect()
        gc.freeze()  # what filling left in this process is no part of the cloud's
        answers = Answers(database, plants, Bus())
        timed = {name: await _timed(answers, work) for name, work in QUERIES.items()}
        timed["the hall: every line now"] = await _hall(answers, database, plants)
        raw, view = await _alternatives(answers, url, plants, days)
        over_http = await served(folder, database, plants, port)
    return [*_in_the_database(what, timed, raw, view, filled), *_over_http(what, over_http)]


def _analyse(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


async def _timed(answers: Answers, work: Callable[[Look], Any]) -> list[float]:
    """Give the ms of one question, uncached, measured where it reads."""
    spent: list[float] = []

    def measured(look: Look) -> None:
        began = time.perf_counter()
        table = work(look)
        spent.append((time.perf_counter() - began) * 1e3)
        if not table.rows:
            raise RuntimeError("nothing was found")

    for _ in range(TIMES):
        await answers.bi.look(Scope(TENANT), measured)
    return spent[TIMES // 8 :]  # the first ones plan and warm


async def _hall(answers: Answers, database: Database, plants: Plants) -> list[float]:
    """Give the ms of the hall's overview, uncached, measured where it reads."""
    spent: list[float] = []
    link = await answers.link.state()

    def ask(connection: Connection) -> None:
        began = time.perf_counter()
        said = overview(connection, plants, TENANT, now_ms=time.time_ns() // 1_000_000, link=link)
        spent.append((time.perf_counter() - began) * 1e3)
        if not said["lines"]:
            raise RuntimeError("no line was found")

    for _ in range(TIMES):
        await database.read(ask)
    return spent[TIMES // 8 :]


async def _alternatives(
    answers: Answers, url: str, plants: Plants, days: int
) -> tuple[float, tuple[float, float] | None]:
    """Give the ms of raw SQL, and of a materialised view ms and its refresh in s; all say the OEE that our marts say."""
    last = today(plants).date() - timedelta(days=2)  # whole days, long over
    first = last - timedelta(days=29)
    start_ms = plants[TENANT, SITE].calendar.day(first.isoformat())[0].start_ms
    period = Period(first=first, last=last)
    ours = await answers.bi.table(Scope(TENANT), ("oee",), period=period, dimensions=("line",), grain="day")
    raw_ms, said = await answers.database.read(lambda connection: bi_raw.asked(connection, start_ms, 30))
    bi_raw.compare(ours, said, "raw SQL")
    if not answers.database.postgresql:
        return raw_ms, None
    view_ms, refresh_s, said = bi_raw.viewed(url, start_ms - (days - 33) * DAY_MS, days, start_ms, 30)
    bi_raw.compare(ours, said, "the materialised view")
    return raw_ms, (view_ms, refresh_s)


def _in_the_database(
    what: str, timed: dict[str, list[float]], raw: float, view: tuple[float, float] | None, filled: Filled
) -> list[Row]:
    rows = [
        Row(
            measure=f"bi, {what}: {name}",
            goal="p95 < 10 ms in the database",
            figure=f"p50 {statistics.median(spent):.1f} ms, p95 {p95(spent):.1f} ms",
            alternative=f"raw SQL {raw:,.0f} ms, the same OEE" if name.startswith("OEE") else "–",
            ratio=f"{raw / statistics.median(spent):,.0f} ×" if name.startswith("OEE") else "–",
            ok=p95(spent) < 10,
        )
        for name, spent in timed.items()
    ]
    each_ms = filled.marts_s / max(1, filled.buckets) * 1e3
    rows.append(
        Row(
            measure=f"bi, {what}: keeping figures current",
            goal="one bucket, not everything",
            figure=f"{each_ms:.1f} ms a bucket ({filled.buckets:,} in {filled.marts_s:.0f} s; facts in {filled.fill_s:.0f} s)",
            alternative="–"
            if view is None
            else f"full refresh of a view {view[1] * 1e3:,.0f} ms, then {view[0]:.1f} ms, the same OEE",
            ratio="–" if view is None else f"{view[1] * 1e3 / each_ms:,.0f} ×",
            ok=each_ms < 100,
        )
    )
    return rows


def _over_http(what: str, found: Served) -> list[Row]:
    def row(measure: str, goal: str, figure: str, *, ok: bool) -> Row:
        return Row(measure=f"bi, {what}: {measure}", goal=goal, figure=figure, ok=ok)

    late = max(found.late)
    return [
        row(
            "HTTP, 8 readers, never asked before",
            "p95 < 25 ms",
            f"p95 {p95(found.asked):.1f} ms",
            ok=p95(found.asked) < 25,
        ),
        row("HTTP, 8 readers, from memory", "p95 < 5 ms", f"p95 {p95(found.cached):.1f} ms", ok=p95(found.cached) < 5),
        row(
            "a late fact in its KPI, 500 streams open",
            "≤ 2 s, one bucket of shifts each",
            f"{late:.0f} ms at most of {len(found.late)}, {found.buckets} buckets",
            ok=late <= 2_000 and found.buckets <= 2 * len(found.late),
        ),
        row(
            "500 streams: from the first to the last that has the hall's new picture",
            "p95 < 100 ms",
            f"p95 {p95(found.streamed):.0f} ms, pictures of {found.picture_kb:.0f} kB; the question from memory meanwhile p95 {p95(found.busy):.1f} ms",
            ok=p95(found.streamed) < 100,
        ),
        row("RSS of the cloud's process, after all that", "< 400 MB", f"{found.rss_mb:.0f} MB", ok=found.rss_mb < 400),
    ]
