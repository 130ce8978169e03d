"""A gateway's store with millions of records that wait, as an outage leaves it: for the benches of its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.store import open_store
from sync import facts as f
from sync.clock import WallClock
from sync.reading import Readings

TAGS, PER_CHUNK, AT_ONCE = 1_000, 1_000, 16
SECOND = 1_000_000_000


def fill(data: Path, records: int, work_unit: str, *, mixed: bool = False) -> None:
    """Leave so many records in the store of a data folder, a second between scans, the newest an hour old.

    mixed: every tenth chunk holds states, production and verdicts, of which marts are made; otherwise readings only.
    """
    asyncio.run(_fill(data, records // PER_CHUNK, work_unit, mixed=mixed))


async def _fill(data: Path, chunks: int, work_unit: str, *, mixed: bool) -> None:
    entries = [f.TagEntry(id=f"{work_unit}/t{i}") for i in range(TAGS)]
    begin = time.time_ns() - (chunks + 3600) * SECOND
    dictionary = f.TagDictionary(at=begin, version="backlog", tags=entries)
    scans = list(_scans(64))
    async with open_store(data, clock=WallClock(), quota_bytes=2**33, ballast_bytes=0, software="bench") as store:
        await store.commit(dictionary=dictionary)
        waiting: set[asyncio.Task[None]] = set()
        for number in range(chunks):
            at = begin + number * SECOND
            if mixed and number % 10 == 0:
                work = store.commit(facts=list(_facts(at, work_unit)))
            else:
                work = store.commit(readings=[_readings(scans[number % len(scans)], at)])
            waiting.add(asyncio.create_task(work))
            if len(waiting) >= AT_ONCE:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting)
        assert store.counts().waiting >= chunks * PER_CHUNK, store.counts()


def _scans(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield rng.normal(50, 3, PER_CHUNK).round(2)


def _readings(values: np.ndarray, at: int) -> Readings:
    times = np.full(PER_CHUNK, at, np.int64)
    return Readings(
        tag=np.arange(PER_CHUNK, dtype=np.int32),
        value=values,
        status=np.zeros(PER_CHUNK, np.uint32),
        source_time=times,
        server_time=times,
        received=at,
    )


def _facts(at: int, work_unit: str) -> Iterator[f.Fact]:
    """Ten seconds of a busy line: production every 20 ms, states and verdicts in between."""
    made = f.Context(order="O-1", product="P-1")
    for i in range(PER_CHUNK):
        now = at + i * SECOND // 100
        if i % 10 == 8:
            state, reason = ("HELD", "jam") if i % 100 == 8 else ("EXECUTE", None)
            yield f.StateChanged(at=now, work_unit=work_unit, state=state, reason=reason, context=made)
        elif i % 10 == 9:
            yield f.Judged(
                at=now, work_unit=work_unit, verdict_id=f"{at}-{i}", start=now - SECOND, ruleset="r",
                ruleset_version="1", ruleset_hash="0", decision="normal", severity="info", confidence=0.9,
                policy="rule_only", source="rule", summary={"ko": "정상", "en": "normal"}, context=made,
            )  # fmt: skip
        else:
            yield f.Produced(
                at=now,
                work_unit=work_unit,
                start=now - SECOND // 100,
                produced=1,
                good=1,
                ideal_cycle_ms=9.0,
                context=made,
            )
