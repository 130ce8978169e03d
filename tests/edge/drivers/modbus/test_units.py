"""Several units on one connection: a dead one costs its siblings one wait, then a probe now and then; each has its rate."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import aclosing

import numpy as np
import pytest

from edge.connections import Modbus
from edge.drivers.modbus.units import Unit
from sync.clock import WallClock
from sync.quality import BAD_NO_COMMUNICATION, BAD_TIMEOUT, GOOD, is_bad
from sync.reading import Readings
from tests.edge.drivers.machines import tag
from tests.edge.drivers.modbus.adversary import Adversary, Asked
from tests.edge.drivers.modbus.test_desync import FRAMINGS, right, tags_of
from tests.modbus_servers import SILENT, OtherMachine

DEAD = 2


def of_unit(batch: Readings, tags, unit: int) -> np.ndarray:
    """Give the rows of a batch that are a unit's."""
    return np.array([row for row, index in enumerate(batch.tag.tolist()) if tags[index].unit == unit], np.intp)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_dead_unit_is_asked_until_its_breaker_opens_and_its_siblings_stay_good(framing) -> None:
    tags = tags_of((1, DEAD, 3))
    async with Adversary(framing) as server:
        server.dead.add(DEAD)
        driver = server.driver(tags, timeout_s=0.4, breaker_fails=3, breaker_probe_s=3600, retries=1)
        seen: set[int] = set()
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            async for batch in readings:
                right(tags, batch)
                dead = of_unit(batch, tags, DEAD)
                assert is_bad(batch.status[dead]).all()
                assert not is_bad(np.delete(batch.status, dead)).any()
                seen |= set(batch.status[dead].tolist())
                if BAD_NO_COMMUNICATION in batch.status[dead] and len(batch) == len(tags):
                    break
            before = Counter(asked.unit for asked in server.asked)
            for _ in range(5):
                batch = await anext(readings)
                assert set(batch.status[of_unit(batch, tags, DEAD)].tolist()) == {BAD_NO_COMMUNICATION}
            after = Counter(asked.unit for asked in server.asked)
        assert seen == {BAD_TIMEOUT, BAD_NO_COMMUNICATION}
        assert "silent since" in driver.health.notes[f"unit {DEAD}"]
        assert "check" in driver.health.notes[f"unit {DEAD}"]
    assert after[DEAD] == before[DEAD] <= 3  # no more than the breaker allows, and none afterwards
    assert after[1] >= before[1] + 5
    assert after[3] >= before[3] + 5


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_between_two_waits_for_dead_units_the_living_have_their_turn(framing) -> None:
    dead = {2, 3, 4}
    tags = tags_of((1, 2, 3, 4))
    async with Adversary(framing) as server:
        server.dead |= dead
        driver = server.driver(tags, breaker_fails=3, breaker_probe_s=3600, retries=2, period_ms=20)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            async for batch in readings:
                right(tags, batch)
                if all(f"unit {unit}" in driver.health.notes for unit in dead):
                    break
    asked = [asked.unit for asked in server.asked]
    waits = [at for at, unit in enumerate(asked) if unit in dead]
    turns = sum(1 in asked[one:other] for one, other in itertools.pairwise(waits))
    assert turns >= len(waits) - 1 - len(dead), "waits in a row while a sibling was due"


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_unit_that_comes_back_is_found_by_the_next_probe(framing) -> None:
    tags = tags_of((1, DEAD))
    async with Adversary(framing) as server:
        server.dead.add(DEAD)
        driver = server.driver(tags, breaker_fails=1, breaker_probe_s=0.05)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            async for _ in readings:
                if f"unit {DEAD}" in driver.health.notes:
                    break
            server.dead.clear()
            async for batch in readings:
                if right(tags, batch) and (batch.status[of_unit(batch, tags, DEAD)] == GOOD).any():
                    break
        assert f"unit {DEAD}" not in driver.health.notes


async def test_a_unit_dead_from_the_start_harms_no_sibling_on_a_server_of_another_make() -> None:
    tags = [tag(i, f"holding:{i}", type="uint16", device=unit) for i, unit in enumerate((1, 2, SILENT, 3))]
    machine = OtherMachine("node", tags, breaker_fails=2, breaker_probe_s=3600)
    await machine.start()
    try:
        driver = machine.driver()
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            async for batch in readings:
                right(tags, batch)
                if len(batch) == 4 and batch.status.tolist() == [GOOD, GOOD, GOOD, BAD_NO_COMMUNICATION]:
                    break
                if len(batch) == 4 and batch.status[batch.tag == 2].tolist() == [BAD_NO_COMMUNICATION]:
                    assert not is_bad(batch.status[batch.tag != 2]).any()
                    break
    finally:
        await machine.stop()


async def test_a_gateway_that_says_nobody_is_there_is_believed_and_asked_now_and_then() -> None:
    # It says so after a wait of its own, so every such answer costs the siblings as much as a timeout.
    tags = tags_of((1, DEAD))
    async with Adversary("tcp", lambda asked: "nobody there" if asked.unit == DEAD else "right") as server:
        driver = server.driver(tags, breaker_fails=2, breaker_probe_s=3600, timeout_s=2.0)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            for _ in range(6):
                batch = await anext(readings)
                right(tags, batch)
                assert set(batch.status[of_unit(batch, tags, DEAD)].tolist()) <= {BAD_NO_COMMUNICATION}
        assert sum(asked.unit == DEAD for asked in server.asked) == 2
        assert "silent since" in driver.health.notes[f"unit {DEAD}"]


async def test_a_gateway_alone_with_a_dead_unit_is_no_lost_connection() -> None:
    tags = tags_of((DEAD,))
    async with Adversary("tcp", lambda _: "nobody there") as server:
        driver = server.driver(tags, breaker_fails=1, breaker_probe_s=0.05, timeout_s=2.0)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            for _ in range(5):
                assert set((await anext(readings)).status.tolist()) == {BAD_NO_COMMUNICATION}


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_registers_that_a_living_unit_takes_no_notice_of_are_left_alone_too(framing) -> None:
    tags = tags_of((1,))
    async with Adversary(framing, lambda asked: "silent" if asked.address == 600 else "right") as server:
        driver = server.driver(tags, breaker_fails=2, breaker_probe_s=3600, retries=0, timeout_s=0.3)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            async for batch in readings:
                right(tags, batch)
                if driver.health.bad_items:
                    break
            before = sum(asked.address == 600 for asked in server.asked)
            for _ in range(3):
                batch = await anext(readings)
                assert right(tags, batch) == len(tags) - 4
                assert set(batch.status[8:12].tolist()) == {BAD_TIMEOUT}
        assert sum(asked.address == 600 for asked in server.asked) == before
        assert "check the address" in driver.health.bad_items[8]
        assert sorted(driver.health.bad_items) == [8, 9, 10, 11]


async def test_several_requests_are_on_their_way_only_where_the_connection_says_so() -> None:
    # Answers wait until four requests are there: with fewer on their way nothing would ever come.
    together = asyncio.Event()
    tags = tags_of((1,))
    waiting = 0

    def script(_: Asked) -> str:
        nonlocal waiting
        waiting += 1
        if waiting == 4:
            together.set()
        return "late" if waiting < 4 else "right"

    async with Adversary("tcp", script) as server:
        driver = server.driver(tags, in_flight=4, timeout_s=5.0)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            assert right(tags, await anext(readings)) == len(tags)
        assert together.is_set()
        assert driver.health.requests == len(server.asked) == 6


async def test_a_line_never_has_more_than_one_request() -> None:
    with pytest.raises(ValueError, match="one request at a time"):
        Modbus(driver="modbus", name="m", transport="rtu_over_tcp", host="h", in_flight=2)


async def test_every_rate_has_its_own_batches_and_a_fast_one_does_not_wait_for_a_slow_one() -> None:
    tags = [
        tag(0, "holding:0", type="uint16", period_ms=20, device=1),
        tag(1, "holding:1", type="uint16", period_ms=20, device=1),
        tag(2, "holding:2", type="uint16", period_ms=3_600_000, device=1),
    ]
    async with Adversary("tcp") as server:
        driver = server.driver(tags, timeout_s=2.0)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            first = await anext(readings)
            rest = [await anext(readings) for _ in range(5)]
    assert sorted(first.tag.tolist()) == [0, 1, 2]
    assert all(batch.tag.tolist() == [0, 1] for batch in rest)
    assert [(asked.address, asked.count) for asked in server.asked] == [(0, 2), (2, 1), *[(0, 2)] * 5]


async def test_a_clock_read_at_another_rate_is_read_along_with_what_it_tells_the_time_of() -> None:
    tags = [
        tag(0, "holding:0", type="uint16", period_ms=20, device=1),
        tag(1, "holding:1", type="uint64", role="clock", scale=1e-6, offset=1_767_225_600_000, device=1),
    ]
    async with Adversary("tcp") as server:
        driver = server.driver(tags, timeout_s=2.0, period_ms=3_600_000)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            await anext(readings)
            second = await anext(readings)
    assert second.tag.tolist() == [0]
    assert second.source_time[0] != second.server_time[0]
    assert [asked.count for asked in server.asked] == [5, 4, 5]


class SlowClock(WallClock):
    """A clock that runs ten times as fast as the machines do."""

    def monotonic(self) -> int:
        return super().monotonic() * 10

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


async def test_a_scan_that_takes_longer_than_its_period_skips_beats_and_counts_them() -> None:
    tags = tags_of((1,))
    async with Adversary("tcp", lambda _: "in pieces") as server:
        driver = server.driver(tags, timeout_s=5.0, period_ms=20, pause_ms=10)
        driver._clock = SlowClock()
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            for _ in range(3):
                assert right(tags, await anext(readings)) == len(tags)
        assert len(server.asked) == 3 * 6  # one scan after the other, never two at once
        assert driver.health.overruns > 0


def test_a_breaker_opens_probes_and_closes() -> None:
    unit = Unit(7, Modbus(driver="modbus", name="m", host="h", breaker_fails=2, breaker_probe_s=10))
    assert unit.may_be_asked(0)
    unit.unanswered(now=5, wall=1_700_000_000_000_000_000)
    assert not unit.open
    unit.unanswered(now=6, wall=1_700_000_001_000_000_000)
    assert unit.open
    assert not unit.may_be_asked(9_999_999_999)
    assert unit.may_be_asked(10_000_000_006)
    assert unit.said().startswith("silent since 2023-11-14 22:13:20 UTC")
    unit.unanswered(now=10_000_000_006, wall=0)
    assert not unit.may_be_asked(10_000_000_007)
    assert unit.answered()
    assert not unit.answered()
    assert unit.may_be_asked(10_000_000_008)
