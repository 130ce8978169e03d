from __future__ import annotations

import dataclasses

import pytest

from cloud.config import Settings
from cloud.database import Database
from cloud.ingest import orphans, safe
from cloud.ingest.items import Committed
from cloud.plant import Plants
from tests.cloud.gateway import S, Start, state
from tests.cloud.ingest.conftest import Hall, answer

NOW = 1_790_000_000 * S


@pytest.fixture
def guarded(database: Database, settings: Settings) -> Hall:
    file = settings.file.model_copy(update={"safe": "backup"})
    return Hall(database, Plants(dataclasses.replace(settings, file=file)))


async def back_up(hall: Hall, made_ms: int = 1) -> int:
    marks = await hall.database.read(safe.watermarks)
    verified = safe.Verified(made_ms, f"/backups/{made_ms}.db", f"{made_ms:064x}", 9, marks)
    return await hall.database.write(lambda c: safe.raise_safe(c, verified, made_ms))


def marks(done: Committed, nonce: str) -> list[tuple[int, int]]:
    return [(mark.stored, mark.safe) for mark in answer(done, nonce).watermarks.values()]


async def test_what_is_stored_is_not_safe_until_a_backup_holds_it(guarded: Hall) -> None:
    start = Start()
    await guarded.resume(start)
    assert marks(await guarded.store(start, start.facts(state(NOW, "EXECUTE"))), "") == [(1, 0)]
    assert await back_up(guarded) == 1
    assert marks(await guarded.store(start, start.facts(state(NOW, "EXECUTE"))), "") == [(2, 1)]
    assert await guarded.database.read(safe.newest) == (1, "/backups/1.db")


async def test_a_gateway_that_sends_nothing_hears_of_the_backup_by_its_heartbeat(guarded: Hall) -> None:
    start = Start()
    await guarded.resume(start)
    await guarded.store(start, start.facts(state(NOW, "EXECUTE")))
    assert not answer(await guarded.store(start, (start.heartbeat(),))).receipt
    await back_up(guarded)
    done = await guarded.store(start, (start.heartbeat(),))
    assert answer(done).receipt
    assert marks(done, "n") == [(1, 1)]
    assert not answer(await guarded.store(start, (start.heartbeat(),))).receipt
    assert marks(await guarded.resume(start), "n") == [(1, 1)]


async def test_a_backup_noted_twice_or_late_changes_nothing(guarded: Hall) -> None:
    start = Start()
    await guarded.resume(start)
    await guarded.store(start, start.facts(*(state(NOW, "EXECUTE"),) * 5))
    early = await guarded.database.read(safe.watermarks)
    await guarded.store(start, start.facts(state(NOW, "EXECUTE")))
    assert await back_up(guarded, 2) == 1
    assert await back_up(guarded, 2) == 0
    late = safe.Verified(1, "/backups/1.db", "1" * 64, 9, early)
    assert await guarded.database.write(lambda c: safe.raise_safe(c, late, 3)) == 0
    assert await guarded.rows("select safe from ingest_stream") == [(6,)]
    # It may hold more than we have now: then the database was restored meanwhile, and it is not ours to believe.
    beyond = [(*early[0][:-1], 99), ("demo", "seoul", "gw-9", "0" * 32, 2, 0, 5)]
    foreign = safe.Verified(5, "/backups/5.db", "5" * 64, 9, beyond)
    assert await guarded.database.write(lambda c: safe.raise_safe(c, foreign, 5)) == 0


async def test_a_backup_that_holds_a_loss_makes_nothing_safe_that_came_after_all(guarded: Hall) -> None:
    start = Start()
    chunk = start.facts(*(state(NOW, "EXECUTE"),) * 3)
    await guarded.resume(start)
    await guarded.database.write(
        lambda c: orphans.close(c, start.address, start.inc, by="somebody in a hurry", now_ms=1)
    )
    early = await guarded.database.read(safe.watermarks)
    await guarded.resume(start)
    await guarded.store(start, chunk)
    verified = safe.Verified(1, "/backups/1.db", "1" * 64, 9, early)
    assert await guarded.database.write(lambda c: safe.raise_safe(c, verified, 3)) == 0
    assert await guarded.rows("select stored, safe, corrected from ingest_stream") == [(3, 0, 3)]


async def test_what_is_stored_is_safe_where_that_was_chosen(hall: Hall) -> None:
    start = Start()
    await hall.resume(start)
    assert marks(await hall.store(start, start.facts(state(NOW, "EXECUTE"))), "") == [(1, 1)]
