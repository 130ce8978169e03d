"""The cloud's storing side with its marts, for one test on either database; and a plain one beside it, as the truth."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from cloud.database import Connection, Database, Sqlite, blank
from cloud.etl.steps import Work
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.compute import COLUMNS
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from tests.cloud.gateway import Start

MS = 1_000_000
HOUR = 3_600_000


def now_ms() -> int:
    return time.time_ns() // MS


class Cloud:
    """What arrives is stored, what is dirty refreshed, what is asked carried out."""

    def __init__(self, database: Database, plants: Plants) -> None:
        self.database, self.plants = database, plants
        self.ingest = Ingest(plants)
        self.start = Start()

    async def store(self, *chunks, start: Start | None = None):
        origin = start or self.start
        items = [Item(origin.address, *chunk) for chunk in chunks]
        return await self.database.write(lambda c: self.ingest.store(c, items))

    async def begin(self, *others: Start) -> None:
        for one in (self.start, *others):
            await self.store((one.resume(),), start=one)

    async def send(self, *facts: f.Fact):
        return await self.store(self.start.facts(*facts))

    async def refresh(self, at_ms: int | None = None) -> None:
        while await self.database.write(lambda c: refresh(c, self.plants, at_ms or now_ms() + 60_000)):
            pass

    async def rows(self, sql: str, *values):
        return await self.database.read(lambda c: c.execute(sql, values))

    async def do(self, work):
        return await self.database.write(work)

    async def work(self) -> None:
        """Carry out every job."""
        jobs = Work(self.database, self.plants)
        while await jobs.step(now_ms()):
            await self.refresh()

    async def marts(self):
        return await self.database.read(marts)


def marts(connection: Connection):
    """Every row of every mart, without what says when it was computed."""
    found = {}
    for name in COLUMNS:
        rows = connection.execute(f"select {', '.join(COLUMNS[name])} from {name}")
        found[name] = sorted(rows, key=repr)
    return found


@contextlib.contextmanager
def plainly(plants: Plants, facts: Sequence[f.Fact], at_ms: int) -> Iterator[Connection]:
    """A database in which exactly these facts arrived, in the order of their time, and nothing ever went wrong."""
    connection = Sqlite(":memory:", writer=True, image=blank())
    start = Start()
    items = [Item(start.address, start.resume())]
    items += [Item(start.address, *start.facts(*sorted(facts, key=lambda fact: fact.at)))]
    try:
        with connection.transaction():
            Ingest(plants).store(connection, items)
        done = 1
        while done:
            with connection.transaction():
                done = refresh(connection, plants, at_ms)
        yield connection
    finally:
        connection.close()


@pytest.fixture
async def cloud(database: Database, plants: Plants) -> Cloud:
    made = Cloud(database, plants)
    await made.begin()
    return made


def corrected(start: Start, seq: int, rev: int, fact: f.Fact | None, by: str = "kim", stream: int = 2) -> f.Corrected:
    body = None if fact is None else msgspec.to_builtins(fact)
    return f.Corrected(
        at=time.time_ns(), inc=start.inc, stream=stream, seq=seq, rev=rev, replacement=body, by=by, reason="test"
    )
