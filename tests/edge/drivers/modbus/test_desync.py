"""No value on a wrong register, whatever comes over the wire: late, twice, half, from others; in both framings."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import aclosing

import numpy as np
import pytest

from edge.drivers.driver import DriverError
from edge.tags import Tag
from sync.quality import BAD_TIMEOUT, GOOD
from sync.reading import Readings
from tests.contracts.driver_contract import until_lost
from tests.edge.drivers.machines import tag
from tests.edge.drivers.modbus.adversary import Adversary, Asked
from tests.modbus_servers import word

FRAMINGS = ["tcp", "rtu_over_tcp"]
BLOCKS = 6
UNITS = (1, 2)


def tags_of(units: tuple[int, ...] = UNITS) -> list[Tag]:
    """Blocks of four registers far from each other: their answers differ in nothing but the values."""
    return [
        tag(i, f"holding:{address}", type="uint16", device=unit)
        for i, (unit, address) in enumerate(
            (unit, 300 * block + at) for unit in units for block in range(BLOCKS) for at in range(4)
        )
    ]


def right(tags: list[Tag], batch: Readings) -> int:
    """Check that every good value is that of its own register; give how many there are."""
    good = 0
    for index, value, status, _ in batch:
        if status == GOOD:
            good += 1
            of = tags[index]
            assert value == word(int(of.address.split(":")[1]), of.unit), f"{of.address} of unit {of.unit}"
        else:
            assert value is None
    return good


async def watch(server: Adversary, tags: list[Tag], batches: int, **more) -> tuple[int, int]:
    """Poll as the host does, with a new driver after each loss; give how many values were good, and losses."""
    good = losses = seen = 0
    async with asyncio.timeout(50):
        while seen < batches:
            try:
                async with server.driver(tags, **more) as driver, aclosing(driver.readings()) as readings:
                    async for batch in readings:
                        good += right(tags, batch)
                        seen += 1
                        if seen >= batches:
                            break
            except DriverError:
                losses += 1
                seen += 1
    return good, losses


BEHAVIOURS = [
    "silent", "late", "twice", "again later", "truncated", "short", "long", "another function", "another unit",
    "another transaction", "transaction 0", "broadcast first", "noise first", "spoiled", "in pieces", "refused",
]  # fmt: skip


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("what", BEHAVIOURS)
async def test_one_wrong_answer_in_seventeen_puts_no_value_on_a_wrong_tag(framing, what) -> None:
    turns = iter(range(10**9))
    async with Adversary(framing, lambda _: what if next(turns) % 17 == 3 else "right") as server:
        tags = tags_of()
        good, _ = await watch(server, tags, 8, breaker_fails=100)
    assert good


def mixture(seed: int, share: float) -> Iterator[str]:
    chance = random.Random(seed)
    while True:
        yield chance.choice(BEHAVIOURS) if chance.random() < share else "right"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("deaf", [False, True])
async def test_a_line_full_of_wrong_answers_puts_no_value_on_a_wrong_tag(framing, deaf, seed) -> None:
    """deaf: the units take no notice of pings, so only time can settle what they owe."""
    answers = mixture(seed, 0.15)
    # RTU frames have no number. Nobody can tell an answer given a second time, after the next request, when that one's
    # own never comes; nor, of a unit that is deaf, an answer held back beyond every timeout.
    beyond = {"again later", "late"} if deaf else {"again later"}
    answers = ("silent" if framing != "tcp" and what in beyond else what for what in answers)
    async with Adversary(framing, lambda _: next(answers), deaf=deaf) as server:
        await watch(server, tags_of(), 30, breaker_fails=100, timeout_s=0.05)


async def test_late_answers_that_outlive_the_connection_land_on_no_tag_of_the_next() -> None:
    # A socket-to-serial box hands whatever the line says to whoever is connected now.
    late = iter([False] * 3 + [True] * 3)
    async with Adversary("rtu_over_tcp", lambda _: "late" if next(late, False) else "right") as server:
        tags = tags_of((1,))
        good, losses = await watch(server, tags, 6, retries=0, breaker_fails=1)
    assert losses
    assert good


async def test_after_a_timeout_on_a_line_the_unit_proves_itself_before_it_is_read_again() -> None:
    silent = iter([False] * 2 + [True])
    async with Adversary("rtu_over_tcp", lambda _: "silent" if next(silent, False) else "right") as server:
        tags = tags_of((1,))
        good, _ = await watch(server, tags, 2)
    assert good == 2 * len(tags)  # asked again in the same scan
    assert server.pings == 2  # when the unit was met, and after the timeout
    assert len(server.asked) == 2 * BLOCKS + 1


async def test_a_stream_that_is_no_modbus_ends_the_connection() -> None:
    async with Adversary("rtu_over_tcp") as server:
        tags = tags_of((1,))
        driver = server.driver(tags, transport="tcp", timeout_s=0.5)
        async with asyncio.timeout(10), driver:
            with pytest.raises(DriverError, match="check"):
                await until_lost(driver)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_request_that_is_given_up_on_the_way_leaves_its_answer_to_nobody(framing) -> None:
    """Whoever asks may be cancelled (a poll, a write); the answer comes all the same, and others are asked meanwhile."""
    tags = tags_of((1,))
    given_up = 0
    script = lambda _: "late" if len(server.asked) == given_up else "right"  # noqa: E731
    async with Adversary(framing, script) as server, server.driver(tags, timeout_s=2.0) as driver:
        for turn in range(20):
            given_up = len(server.asked) + turn % BLOCKS + 1
            polling = asyncio.create_task(anext(driver.readings()))
            while len(server.asked) < given_up:
                await asyncio.sleep(0)
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling
            async with aclosing(driver.readings()) as readings:
                for batch in [await anext(readings) for _ in range(2)]:
                    assert right(tags, batch) == len(tags)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_writes_among_polls_disturb_neither(framing) -> None:
    tags = [*tags_of((1, 2)), tag(48, "holding:7", type="uint16", writable=True, device=1)]

    class Taking(Adversary):
        @staticmethod
        def right(asked: Asked) -> bytes:
            echo = bytes([6]) + asked.address.to_bytes(2, "big") + asked.count.to_bytes(2, "big")
            return echo if asked.function == 6 else Adversary.right(asked)

    async with Taking(framing) as server, server.driver(tags, timeout_s=2.0) as driver:

        async def keep_writing() -> None:
            for value in range(30):
                assert (await driver.write(tags[48], value)).found == word(7)

        writing = asyncio.create_task(keep_writing())
        async with asyncio.timeout(30), aclosing(driver.readings()) as readings:
            async for batch in readings:
                assert right(tags, batch) == len(tags)
                if writing.done():
                    break
        await writing


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_answers_that_stay_away_are_a_status_and_never_the_value_before(framing) -> None:
    quiet = False
    async with Adversary(framing, lambda asked: "silent" if quiet and asked.address < 300 else "right") as server:
        tags = tags_of((1,))
        driver = server.driver(tags, breaker_fails=100)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            assert right(tags, await anext(readings)) == len(tags)
            quiet = True
            async for batch in readings:
                right(tags, batch)
                if batch.status[0] == BAD_TIMEOUT:
                    assert np.isnan(batch.value[:4]).all()
                    break
