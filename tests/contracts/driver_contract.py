"""The driver contract, as plain functions over a real machine; a driver's test calls each of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Protocol

import numpy as np
import pytest

from edge.drivers.driver import Driver, DriverError
from edge.tags import Tag
from sync.quality import is_bad
from sync.reading import Readings


class Machine(Protocol):
    """A real server with some tags, which a test can stop, start and spoil."""

    tags: list[Tag]

    def driver(self) -> Driver:
        """Give a new driver of all tags."""
        ...

    def absent(self) -> Driver:
        """Give a driver of an address where nobody listens."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def spoil(self) -> int:
        """Make one tag bad on the running machine; give its index."""
        ...

    def connections(self) -> int:
        """Count the connections that are open at the server."""
        ...


async def until_all(driver: Driver, tags: list[Tag]) -> list[Readings]:
    """Give the batches until every tag was in one."""
    missing = {tag.index for tag in tags}
    batches: list[Readings] = []
    async with aclosing(driver.readings()) as readings:
        async for batch in readings:
            batches.append(batch)
            missing -= set(batch.tag.tolist())
            if not missing:
                return batches
    raise AssertionError("readings ended without an error")


async def until(condition, what: str) -> None:
    """Return once `condition()` is true; fail after ten seconds. For what happens in somebody else's code."""
    try:
        async with asyncio.timeout(10):
            while not condition():  # a server's own bookkeeping has no event to wait on
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 10 s: {what}") from None


async def every_tag_comes_once_before_any_comes_again(machine: Machine) -> None:
    await machine.start()
    try:
        async with machine.driver() as driver:
            batches = await until_all(driver, machine.tags)
        first = np.concatenate([batch.tag for batch in batches])
        assert sorted(first.tolist()) == sorted(tag.index for tag in machine.tags)
        for batch in batches:
            columns = (batch.value, batch.status, batch.source_time, batch.server_time)
            assert {len(column) for column in columns} == {len(batch.tag)}
            assert batch.tag.dtype == np.int32
            assert batch.status.dtype == np.uint32
            assert batch.source_time.dtype == np.int64
    finally:
        await machine.stop()


async def a_bad_value_is_a_status_and_no_number(machine: Machine) -> None:
    await machine.start()
    try:
        async with machine.driver() as driver, asyncio.timeout(20), aclosing(driver.readings()) as readings:
            await anext(readings)
            spoiled = await machine.spoil()
            async for batch in readings:
                rows = np.flatnonzero((batch.tag == spoiled) & is_bad(batch.status))
                if rows.size:
                    assert np.isnan(batch.value[rows]).all()
                    assert batch.scalar(int(rows[0])) is None
                    break
    finally:
        await machine.stop()


async def a_new_driver_reads_again_after_the_machine_was_away(machine: Machine) -> None:
    await machine.start()
    try:
        async with machine.driver() as driver:
            await until_all(driver, machine.tags)
            await machine.stop()
            with pytest.raises(DriverError, match="check"):
                async with asyncio.timeout(15):
                    await until_lost(driver)
        with pytest.raises(DriverError, match="check"):
            async with asyncio.timeout(5), machine.driver():
                pass
        await machine.start()
        async with machine.driver() as driver:
            await until_all(driver, machine.tags)
    finally:
        await machine.stop()


async def until_lost(driver: Driver) -> None:
    """Take batches until the driver raises."""
    async with aclosing(driver.readings()) as readings:
        async for _ in readings:
            pass


async def cancelling_leaves_nothing_open(machine: Machine) -> None:
    await machine.start()
    try:
        before = asyncio.all_tasks()
        reading = asyncio.Event()

        async def watch() -> None:
            async with machine.driver() as driver, aclosing(driver.readings()) as readings:
                async for _ in readings:
                    reading.set()

        watcher = asyncio.create_task(watch())
        async with asyncio.timeout(10):
            await reading.wait()
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher
        await until(lambda: machine.connections() == 0, "the driver's connection is closed")
        await until(lambda: not [t for t in asyncio.all_tasks() - before if not t.done()], "the driver's tasks ended")
    finally:
        await machine.stop()


async def leaving_closes_the_connection(machine: Machine) -> None:
    await machine.start()
    try:
        async with machine.driver() as driver:
            await until_all(driver, machine.tags)
            assert machine.connections() == 1
        await until(lambda: machine.connections() == 0, "the driver's connection is closed")
    finally:
        await machine.stop()


async def where_nobody_listens_the_error_comes_in_time_and_says_what_to_check(machine: Machine) -> None:
    with pytest.raises(DriverError, match="check"):
        async with asyncio.timeout(5), machine.absent():
            pass


CONTRACT = [
    every_tag_comes_once_before_any_comes_again,
    a_bad_value_is_a_status_and_no_number,
    a_new_driver_reads_again_after_the_machine_was_away,
    cancelling_leaves_nothing_open,
    leaving_closes_the_connection,
    where_nobody_listens_the_error_comes_in_time_and_says_what_to_check,
]
"""All of it, for `pytest.mark.parametrize`."""
