"""Marts of a plant that ran an older Triflow; and what spoils one bucket, or comes from two processes at once."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest
from sqlalchemy import make_url

from cloud.bus import Bus
from cloud.config import Settings
from cloud.database import Database, Postgresql, TryAgainError, migrate, open_database
from cloud.marts import refresh as refresher
from cloud.marts.compute import COLUMNS, TABLES
from cloud.plant import Plants
from sync.facts import AnyFact
from tests.cloud.marts.test_figures import HOUR, MORNING, NOW, Hall, made
from tests.cloud.marts.test_star import history
from tests.cloud.older import set_back

ALL = [name for names in TABLES.values() for name in names]
OLD = ("gateway", "incarnation", "fact", "work_unit", "equipment_state", "production", "production_defect", "judgment")
LATE = ("gap", "alarm_change", "job_order", "product", "tag", "dictionary")


async def dump(database: Database) -> dict[str, list[tuple]]:
    def read(connection) -> dict[str, list[tuple]]:
        rows = {name: connection.execute(f"select {','.join(COLUMNS[name])} from {name}") for name in ALL}
        return {name: sorted(found, key=repr) for name, found in rows.items()}

    return await database.read(read)


async def test_an_older_database_comes_to_the_same_marts(settings: Settings, plants: Plants) -> None:
    """What was kept whole gets its columns, and every bucket is computed anew."""
    async with open_database(settings.database_url) as database:
        hall = Hall(database, plants)
        facts: list[AnyFact] = history(random.Random(5), NOW - 90 * HOUR, NOW - 1)
        for at in range(0, len(facts), 20):
            await hall.tell(*facts[at : at + 20])
        await hall.settle()
        before = await dump(database)
        assert all(before[name] for name in ALL)
    set_back(settings.database_url, "0007", (*OLD, *LATE))
    migrate(settings.database_url)
    async with open_database(settings.database_url) as database:
        hall = Hall(database, plants)
        await hall.settle()
        hall.now_ms += 1_000  # a shift that lasts is waited for a moment
        await hall.settle()
        after = await dump(database)
        for name in ALL:
            assert after[name] == before[name], name
        assert len(await hall.rows("select 1 from dim_kpi")) == 11


@pytest.fixture
def two(database_url: str):
    """Give two connections to one PostgreSQL."""
    url = make_url(database_url.replace("postgresql://", "postgresql+psycopg://"))
    opened = [Postgresql(url, writer=True) for _ in range(2)]
    yield opened
    for one in opened:
        one.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_processes_that_refresh_at_once_lose_no_sum(database: Database, plants: Plants, two) -> None:
    """Two shifts of one day, each recomputed by another process: the day is the sum of both."""
    hall = Hall(database, plants)
    await hall.tell(*[made(MORNING + hours * HOUR, 10, 9) for hours in (1, 9, 17, 25, 33)])
    for turn in range(6):
        await hall.tell(*[made(MORNING + n * HOUR + turn * 77_000, 1, 1) for n in (1, 9, 17, 25, 33)])

        def work(connection: Postgresql) -> None:
            for _ in range(12):
                try:
                    with connection.transaction():
                        refresher.Refresh(connection, plants, NOW + 4_000).run(1)
                except TryAgainError:
                    continue

        threads = [threading.Thread(target=work, args=(one,)) for one in two]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    await hall.settle()
    sums = "select business_date, sum(produced) from {} group by business_date order by business_date"
    days, shifts = [await hall.rows(sums.format(table)) for table in ("mart_day", "mart_shift")]
    assert days == shifts
    assert sum(row[1] for row in days) == 5 * 16
    assert await hall.rows("select count(*) from dirty_bucket where due_ms<=?", NOW) == [(0,)]


async def test_a_bucket_that_cannot_be_stored_is_put_off_and_no_other_waits_for_it(
    database: Database, plants: Plants
) -> None:
    hall = Hall(database, plants)
    await hall.tell(made(MORNING + HOUR, 10, 9), made(MORNING + 9 * HOUR, 20, 19))
    # A number that no column holds, out of nothing that was told: what a bug of ours would come to.
    await database.write(
        lambda c: c.execute("update production set ideal_us=null, produced=? where produced=10", (2**62,))
    )
    await database.write(
        lambda c: c.execute(
            "insert into production select inc, stream, seq+1000, tenant, site, work_unit, start, at, counted_ms, produced,"
            " good, scrap, rework, ideal_us, ideal_good_us, energy_wh, job_order, 'P2', lot from production where produced>20"
        )
    )
    task = asyncio.create_task(refresher.run_refresher(database, plants, Bus()))
    async with asyncio.timeout(20):
        while (20,) not in await hall.rows("select produced from mart_shift"):
            await asyncio.sleep(0.02)
        while not await hall.rows("select 1 from mart_version where mart='mart_shift' and error<>''"):
            await asyncio.sleep(0.02)
    task.cancel()
    left = await hall.rows("select mart, start_ms from dirty_bucket where due_ms>?", time.time_ns() // 10**6)
    assert left == [("shift", MORNING)]
