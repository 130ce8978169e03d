"""The end of an outage: millions of waiting records leave the gateway's disk for the cloud's, everything real.

Gateway, mosquitto and cloud are processes on the same cores. A record has arrived when the gateway has its receipt,
which is when the cloud's database has committed it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from bench.backlog import fill
from bench.stand import WORK_UNIT, Stand, cpu_seconds, stand
from bench.table import Row
from tests.postgresql import PostgreSQL
from tests.servers import wait_until

WAITING, LIVE, SECONDS, SETTLE_S = 10_000_000, 500, 30, 5
MOVED = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How a backlog left."""

    per_s: float
    gateway: float
    """CPU seconds per million records."""
    cloud: float
    rss_mb: float
    """Of the gateway, at most."""
    fresh_s: float = 0.0
    """From the last receipt until every mart was computed."""

    def __str__(self) -> str:
        return f"{self.per_s:,.0f}/s (gateway {self.gateway:.1f}, cloud {self.cloud:.1f} CPU-s/M)"


def run() -> list[Row]:
    return [*_beside_live(), *_end_to_end()]


# --- ten million wait, and a line goes on ---


def _beside_live() -> list[Row]:
    with stand() as bench:
        tags = "".join(f'[[tag]]\nname = "t{i}"\naddress = "x{i}"\nlow = 0\nhigh = 100\n' for i in range(LIVE))
        bench.configure(source='driver = "simulated"\nperiod_ms = 1000', tags=tags, rules=10)
        fill(bench.folder / "data", WAITING, WORK_UNIT)
        began = time.monotonic()
        gateway = bench.start_gateway()
        opened = time.monotonic() - began
        time.sleep(SETTLE_S)
        cloud = bench.start_cloud()
        wait_until(lambda: _status(bench)["uplink"]["state"] == "streaming", "a session", 60)
        time.sleep(SETTLE_S)
        since = time.time()
        end = time.monotonic() + SECONDS
        drain = _watch(bench, gateway, cloud, lambda: time.monotonic() > end)
        bench.stop()
        ages = _ages(bench.folder / "cloud.db", since)
    p99 = ages[int(0.99 * len(ages))] if ages else float("inf")
    waiting = f"{WAITING / 1e6:.0f} million records waiting"
    return [
        Row(measure=f"gateway RSS with {waiting}, at rest and draining", goal="< 200 MB", figure=f"{drain.rss_mb:.0f} MB (started in {opened:.1f} s)", ok=drain.rss_mb < 200),
        Row(measure=f"drain beside a live rate of {LIVE}/s", goal=f"≥ 20 x live ({20 * LIVE:,}/s)", figure=str(drain), alternative=f"live: {LIVE}/s", ratio=f"{drain.per_s / LIVE:.0f}x", ok=drain.per_s >= 20 * LIVE),
        Row(measure="live readings meanwhile, machine → committed in the cloud", goal="p99 < 2 s", figure=f"p50 {statistics.median(ages or [0]):.2f} s, p99 {p99:.2f} s ({len(ages):,})", ok=p99 < 2 and len(ages) > LIVE * SECONDS / 2),
    ]  # fmt: skip


def _ages(cloud: Path, since: float) -> list[float]:
    """Give how old each reading of the gateway's present life was when its chunk was committed, s, in order."""
    with contextlib.closing(sqlite3.connect(f"file:{cloud}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "select c.stored_ms / 1000.0 - r.source_time / 1e9 from ingest_chunk c join reading r"
            " on r.inc = c.inc and r.stream = c.stream and r.seq between c.first and c.first + c.count - 1"
            " where r.source_time > ? order by 1",
            (int(since * 1e9),),
        ).fetchall()
    return [age for (age,) in rows]


# --- end to end on these cores ---


def _end_to_end() -> list[Row]:
    rows: list[Row] = []
    for name, mixed, goals in (("without marts", False, (50_000, 30_000)), ("with marts kept fresh", True, (20_000, 15_000))):  # fmt: skip
        sqlite = _moved("sqlite:///cloud.db", mixed=mixed)
        with PostgreSQL() as server:
            with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
                connection.execute("create database triflow")
            postgresql = _moved(f"{server.url}/triflow", mixed=mixed)
        what = "readings" if not mixed else "records, one in ten a state, a production or a verdict"
        for kind, drain, goal in (("SQLite", sqlite, goals[0]), ("PostgreSQL", postgresql, goals[1])):
            fresh = f", marts fresh {drain.fresh_s:.1f} s later" if mixed else ""
            rows.append(Row(measure=f"end to end, {kind}, {name}: {what}", goal=f"≥ {goal:,}/s", figure=f"{drain}{fresh}", ok=drain.per_s >= goal))  # fmt: skip
    return rows


def _moved(url: str, *, mixed: bool) -> Drain:
    """Move MOVED records from a gateway's disk into the cloud's database."""
    with stand() as bench:
        tag = '[[tag]]\nname = "t0"\naddress = "x"\n'
        bench.configure(source='driver = "simulated"\nperiod_ms = 60000', tags=tag, rules=1, database=url)
        fill(bench.folder / "data", MOVED, WORK_UNIT, mixed=mixed)
        cloud = bench.start_cloud()
        gateway = bench.start_gateway()
        drain = _watch(bench, gateway, cloud, lambda: _status(bench)["store"]["waiting"] < 100)
        if not mixed:
            return drain
        done, cpu = time.monotonic(), cpu_seconds(cloud)
        while _dirty(bench, url):
            time.sleep(0.1)
            if time.monotonic() - done > 120:
                break
        fresh = time.monotonic() - done
        spent = drain.cloud + (cpu_seconds(cloud) - cpu) / MOVED * 1e6
        whole = MOVED / (MOVED / drain.per_s + fresh)
        return Drain(per_s=whole, gateway=drain.gateway, cloud=spent, rss_mb=drain.rss_mb, fresh_s=fresh)


def _dirty(bench: Stand, url: str) -> int:
    """Count the buckets that are due and not computed yet."""
    sql, now = "select count(*) from dirty_bucket where due_ms <= {}", int(time.time() * 1000)
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(f"file:{bench.folder / 'cloud.db'}?mode=ro", uri=True)) as database:
            return int(database.execute(sql.format(now)).fetchone()[0])
    with psycopg.connect(url) as connection:
        found = connection.execute(sql.format(now).encode()).fetchone()
        return int(found[0]) if found else 0


# --- both ---


def _status(bench: Stand) -> dict:
    return bench.get(bench.edge, "/api/status")


def _watch(bench: Stand, gateway: psutil.Process, cloud: psutil.Process, done: Callable[[], object]) -> Drain:
    """Measure from here until `done`; the clock starts with the first record that leaves."""
    first = _status(bench)["store"]["waiting"]
    while (left := _status(bench)["store"]["waiting"]) >= first:
        first = max(first, left)
        time.sleep(0.01)
    began, before = time.monotonic(), left
    cpu, cloud_cpu, most = cpu_seconds(gateway), cpu_seconds(cloud), gateway.memory_info().rss
    while not done():
        most = max(most, gateway.memory_info().rss)
        time.sleep(0.1)
        if time.monotonic() - began > 300:
            break
    wall, gone = time.monotonic() - began, before - _status(bench)["store"]["waiting"]
    return Drain(
        per_s=gone / wall,
        gateway=(cpu_seconds(gateway) - cpu) / gone * 1e6,
        cloud=(cpu_seconds(cloud) - cloud_cpu) / gone * 1e6,
        rss_mb=most / 1e6,
    )
