"""A gateway that booted in 1970 judges all the same; once it knows the time, the cloud dates what came before anew."""

from __future__ import annotations

import time

import numpy as np

from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import facts as f
from sync.chunk import encode_facts, encode_readings
from sync.reading import Readings
from sync.timing import ClockState
from tests.cloud.gateway import LINE, S, Start, produced, state, verdict

NOW = time.time_ns() // S * S
BOOT = 40 * S
STEP = NOW - (BOOT + 600 * S)
"""The clock was set ten minutes after 00:00:40 on the first of January 1970."""
UNSET, SYNCED = ClockState("unset", 7 * S), ClockState("synced", 607 * S, 3)


class Hall:
    def __init__(self, database: Database, plants: Plants) -> None:
        self.database, self.ingest = database, Ingest(plants)

    async def store(self, start: Start, *chunks) -> None:
        items = [Item(start.address, *chunk) for chunk in chunks]
        await self.database.write(lambda c: self.ingest.store(c, items))

    async def rows(self, sql: str, *values):
        return [tuple(row) for row in await self.database.read(lambda c: c.execute(sql, values))]


def told(start: Start, *facts: f.Fact, clock: ClockState = UNSET, stream: f.Stream = f.Stream.EVENT):
    return start.chunk(encode_facts(facts, clock), len(facts), int(stream))


def measured(start: Start, at: int, n: int = 3, clock: ClockState = UNSET):
    times = at + np.arange(n, dtype=np.int64) * S
    batch = Readings(
        tag=np.zeros(n, np.int32),
        value=np.arange(1.0, n + 1),
        status=np.zeros(n, np.uint32),
        source_time=times,
        server_time=times + 1,
        received=at,
    )
    return start.chunk(encode_readings(batch, "0123456789abcdef", clock), n, int(f.Stream.FACT))


def stepped(*starts: Start, was: str = "unset") -> f.ClockStepped:
    return f.ClockStepped(
        at=NOW, step=STEP, uptime=607 * S, was=was, sync="synced", incarnations=[one.inc for one in starts]
    )


async def lived_in_1970(hall: Hall, start: Start) -> None:
    tags = start.dictionary([f"{LINE}/temperature"], at=BOOT)
    await hall.store(start, (start.resume(),), told(start, tags, stream=f.Stream.FACT))
    await hall.store(start, measured(start, BOOT + 60 * S))
    facts = [state(BOOT, "EXECUTE"), produced(BOOT, BOOT + 60 * S, 10, 9), verdict(BOOT + 60 * S)]
    await hall.store(start, told(start, *facts))
    await hall.store(start, told(start, f.Audited(at=BOOT, actor="a", action="b"), stream=f.Stream.AUDIT))


async def expect_redated(hall: Hall) -> None:
    assert await hall.rows("select start, at, produced, good from production") == [
        (BOOT + STEP, BOOT + 60 * S + STEP, 10, 9)
    ]
    assert await hall.rows("select at, state from equipment_state") == [(BOOT + STEP, "EXECUTE")]
    assert await hall.rows("select at, decision from judgment") == [(BOOT + 60 * S + STEP, "normal")]
    first = BOOT + 60 * S + STEP
    assert await hall.rows("select source_time, server_time, value from reading order by seq") == [
        (first + i * S, first + i * S + 1, i + 1.0) for i in range(3)
    ]
    minutes = await hall.rows("select minute, good, total from tag_minute order by minute")
    assert sum(good for _, good, _ in minutes) == 3
    assert sum(total for _, _, total in minutes) == 6.0
    assert all(minute >= (BOOT + STEP) // (60 * S) for minute, _, _ in minutes)
    assert await hall.rows("select count(*) from fact where at < 1700000000000000000 and kind <> 'audit'") == [(0,)]
    touched = await hall.rows("select count(*) from dirty_bucket")
    assert touched != [(0,)]


async def test_what_was_dated_in_1970_counts_once_the_clock_is_set(database: Database, plants: Plants) -> None:
    hall, start = Hall(database, plants), Start()
    await lived_in_1970(hall, start)
    assert await hall.rows("select count(*) from production") == [(0,)]  # nobody knows when: it counts nowhere yet
    assert await hall.rows("select count(*) from tag_minute") == [(0,)]
    assert await hall.rows("select count(*) from fact where kind='production'") == [(1,)]
    bodies = await hall.rows("select body from fact order by stream, seq")
    await hall.store(start, told(start, stepped(start), clock=SYNCED))
    await expect_redated(hall)
    assert bodies
    assert set(bodies) <= set(await hall.rows("select body from fact"))  # what came stays as it came
    assert await hall.rows("select at from fact where kind='audit'") == [(BOOT,)]  # chained with the date it has


async def test_what_comes_after_the_step_but_was_dated_before_it_is_put_right_on_arrival(
    database: Database, plants: Plants
) -> None:
    hall, start = Hall(database, plants), Start()
    tags = start.dictionary([f"{LINE}/temperature"], at=BOOT)
    first = told(start, tags, stream=f.Stream.FACT)
    late = measured(start, BOOT + 60 * S)  # the backlog comes behind the events
    events = told(start, state(BOOT, "EXECUTE"), produced(BOOT, BOOT + 60 * S, 10, 9), verdict(BOOT + 60 * S))
    await hall.store(start, (start.resume(),), first, events, told(start, stepped(start), clock=SYNCED))
    await hall.store(start, late)
    await expect_redated(hall)


async def test_all_in_one_transaction_comes_to_the_same(database: Database, plants: Plants) -> None:
    hall, start = Hall(database, plants), Start()
    tags = start.dictionary([f"{LINE}/temperature"], at=BOOT)
    await hall.store(
        start,
        (start.resume(),),
        told(start, tags, stream=f.Stream.FACT),
        measured(start, BOOT + 60 * S),
        told(start, state(BOOT, "EXECUTE"), produced(BOOT, BOOT + 60 * S, 10, 9), verdict(BOOT + 60 * S)),
        told(start, stepped(start), clock=SYNCED),
    )
    await expect_redated(hall)


async def test_earlier_starts_of_the_same_boot_are_put_right_and_other_gateways_are_not(
    database: Database, plants: Plants
) -> None:
    hall, before, start = Hall(database, plants), Start(ord=1, closed=True), Start(ord=2)
    await hall.store(before, (before.resume(),), told(before, produced(BOOT, BOOT + 30 * S, 4, 4)))
    other_boot = Start(ord=0, closed=True)
    await hall.store(other_boot, (other_boot.resume(),), told(other_boot, produced(BOOT, BOOT + 30 * S, 7, 7)))
    await hall.store(start, (start.resume(other_boot, before),), told(start, stepped(before, start), clock=SYNCED))
    assert await hall.rows("select at, produced from production") == [(BOOT + 30 * S + STEP, 4)]


async def test_a_clock_that_was_set_and_jumps_moves_no_date(database: Database, plants: Plants) -> None:
    hall, start = Hall(database, plants), Start()
    await hall.store(start, (start.resume(),), told(start, produced(NOW - 60 * S, NOW, 5, 5), clock=SYNCED))
    await hall.store(start, told(start, stepped(start, was="synced"), clock=SYNCED))
    assert await hall.rows("select at, produced from production") == [(NOW, 5)]
    assert await hall.rows("select unset_step from incarnation") == [(None,)]


async def test_a_count_across_the_moment_is_whole_before_and_after_the_step_is_told(
    database: Database, plants: Plants
) -> None:
    hall, start = Hall(database, plants), Start()
    before, after = BOOT + 599 * S, NOW + S
    just_before = told(start, state(BOOT + 580 * S, "EXECUTE"), clock=UNSET)
    tags = told(start, start.dictionary([f"{LINE}/temperature"], at=BOOT), stream=f.Stream.FACT)
    measured_before = measured(start, BOOT + 590 * S)
    committed_after = measured(start, BOOT + 598 * S, clock=SYNCED)
    early = told(start, produced(before, after, 6, 6), clock=SYNCED)
    step = told(start, stepped(start), clock=SYNCED)
    late = told(start, produced(before, after + S, 3, 3), clock=SYNCED)
    measured_late = measured(start, BOOT + 599 * S, clock=SYNCED)
    await hall.store(start, (start.resume(),), just_before, tags, measured_before, committed_after, early)
    assert await hall.rows("select count(*) from production") == [(0,)]
    await hall.store(start, step)
    await hall.store(start, late, measured_late)
    assert await hall.rows("select start, at, produced from production order by seq") == [
        (before + STEP, after, 6),
        (before + STEP, after + S, 3),
    ]
    assert await hall.rows("select at from equipment_state") == [(BOOT + 580 * S + STEP,)]
    assert await hall.rows("select count(*) from reading where source_time < ?", NOW - 3600 * S) == [(0,)]
    assert await hall.rows("select sum(good) from tag_minute") == [(9,)]


async def test_a_second_step_does_not_move_again(database: Database, plants: Plants) -> None:
    hall, start = Hall(database, plants), Start()
    await lived_in_1970(hall, start)
    await hall.store(start, told(start, stepped(start), clock=SYNCED))
    await hall.store(start, told(start, stepped(start), clock=SYNCED))
    await expect_redated(hall)
