"""What goes wrong between a gateway and a server, against servers of two and three makes.

Each time the host's part is played: a new driver after every loss. Every value says which tag it is of and which count
it has, so that a value on a wrong tag, an invented one and a missing one show.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from edge.drivers.driver import DriverError
from sync.quality import BAD_NODE_ID_UNKNOWN, OVERFLOW
from sync.reading import Readings
from tests.edge.drivers.machines import URI, tag
from tests.edge.drivers.opcua.plants import MILLION, Plant

TAGS = 4


class Watch:
    """Reads a plant for as long as a test lasts, as the host does."""

    def __init__(self, plant: Plant, **config) -> None:
        self.plant = plant
        self.config = {"queue_size": 100, **config}
        self.connections: list[list[tuple[int, float | None, int]]] = []
        """Of each connection (tag, value, status), in order."""
        self.resumed: list[bool] = []
        self.losses: list[str] = []
        self.driver = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                self.driver = self.plant.driver(retry_s=0.2, **self.config)
                async with self.driver as driver, aclosing(driver.readings()) as readings:
                    self.connections.append([])
                    self.resumed.append(driver.health.resumed)
                    async for batch in readings:
                        self.take(batch)
            except DriverError as error:
                self.losses.append(str(error))
                self._news.set()
            await asyncio.sleep(0.1)

    def take(self, batch: Readings) -> None:
        self.connections[-1] += [(index, value, status) for index, value, status, _ in batch]
        self._news.set()

    async def until(self, true: Callable[[], object], what: str) -> None:
        """Return once `true()` is; looked at whenever something came or was lost."""
        try:
            async with asyncio.timeout(40):
                while not true():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within 40 s: {what}; losses: {self.losses}") from None

    def newest(self) -> dict[int, tuple[float | None, int]]:
        return {index: (value, status) for index, value, status in self.connections[-1]} if self.connections else {}

    def count(self) -> int:
        """Give how many values of this connection are good."""
        return sum(status & 0x8000_0000 == 0 for _, _, status in self.connections[-1]) if self.connections else 0

    async def on(self, more: int = 60) -> None:
        """Return when so many more values came on the newest connection, and every tag has one."""
        connections, before = len(self.connections), self.count()
        await self.until(
            lambda: (
                (self.count() > before + more if len(self.connections) == connections else self.count() > more)
                and len({index for index, value, _ in self.connections[-1] if value is not None}) == TAGS
            ),
            "values come",
        )

    async def new_connection(self, after: int) -> None:
        await self.until(lambda: len(self.connections) > after and self.count() > 60, "a new connection brings values")

    def check(self) -> None:
        """Each value is on its own tag, was really there, and in order."""
        for connection in self.connections:
            last: dict[int, float] = {}
            for index, value, status in connection:
                if value is None:
                    continue
                assert status in {0, OVERFLOW}
                if self.plant.make == "open62541":  # count + tag / 1000
                    assert round(value % 1 * 1000) == index
                    count = value // 1
                else:
                    assert value // MILLION == index
                    count = value % MILLION
                    assert count == int(count)
                assert count >= last.get(index, count)
                last[index] = count


def plant_of(folder: Path, make: str) -> Plant:
    named = "urn:open62541:bench" if make == "open62541" else URI
    return Plant(folder, [tag(i, f"nsu={named};s=t{i}") for i in range(TAGS)], make=make)


@pytest.fixture(scope="module")
def plants(tmp_path_factory) -> Iterator[Callable[[str], Plant]]:
    """Give a running plant of a make, the same for all tests that do not kill it."""
    running: dict[str, Plant] = {}

    def plant(make: str) -> Plant:
        if make not in running:
            running[make] = plant_of(tmp_path_factory.mktemp(make), make)
        return running[make]

    yield plant
    for each in running.values():
        each.kill()


@contextlib.asynccontextmanager
async def watched(plant: Plant, **config) -> AsyncIterator[Watch]:
    """Watch a plant until the block ends, then look at everything it said."""
    await plant.start()
    watch = Watch(plant, **config)
    task = asyncio.create_task(watch.run())
    try:
        await watch.on()
        yield watch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        plant.line.swallows, plant.line.cut = False, None
        await plant.stop()
    watch.check()


BOTH = pytest.mark.parametrize("make", ["asyncua", "node-opcua"])


@BOTH
async def test_a_pause_of_two_and_a_half_seconds_is_sat_out(plants, make) -> None:
    plant = plants(make)
    async with watched(plant) as watch:
        plant.signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)  # the pause itself
        plant.signal(signal.SIGCONT)
        await watch.on()
        assert watch.losses == []


@pytest.mark.parametrize(("make", "acquire"), [("asyncua", "subscribe"), ("node-opcua", "subscribe"), ("node-opcua", "poll")])  # fmt: skip
async def test_a_half_open_link_is_noticed_and_left(plants, make, acquire) -> None:
    plant = plants(make)
    async with watched(plant, acquire=acquire, poll_ms=100) as watch:
        plant.line.swallows = True
        await watch.until(lambda: watch.losses, "the loss is noticed")
        assert ("silent for 5 s" if acquire == "subscribe" else "no answer within 4") in watch.losses[0]
        plant.line.swallows = False
        plant.line.hang_up()  # an attempt that began meanwhile
        await watch.new_connection(1)


async def test_a_pause_that_is_too_long_is_left_and_the_server_taken_up_anew(plants) -> None:
    plant = plants("node-opcua")
    async with watched(plant) as watch:
        plant.signal(signal.SIGSTOP)
        await watch.until(lambda: watch.losses, "the loss is noticed")
        plant.signal(signal.SIGCONT)
        await watch.new_connection(1)
        assert not any(watch.resumed)  # its queues ran over: what they held is no whole account


@BOTH
async def test_a_restart_with_a_node_missing_and_namespaces_in_another_order(tmp_path, make) -> None:
    plant = plant_of(tmp_path, make)
    try:
        async with watched(plant) as watch:
            plant.kill()
            await watch.until(lambda: watch.losses, "the loss is noticed")
            await asyncio.to_thread(plant.launch, missing=[1], namespaces=["urn:another", "urn:yet:another"])
            await watch.new_connection(1)
            assert watch.newest()[1] == (None, BAD_NODE_ID_UNKNOWN)
            assert "BadNodeIdUnknown" in watch.driver.health.bad_items[1]
            plant.signal(signal.SIGUSR1)
            await watch.on()
            assert watch.newest()[1][0] // MILLION == 1
            assert watch.driver.health.bad_items == {}
            assert not any(watch.resumed)
    finally:
        plant.kill()


@BOTH
async def test_a_frame_that_breaks_off_anywhere_brings_no_value(plants, make) -> None:
    plant = plants(make)
    async with watched(plant, queue_size=1) as watch:
        for cut in (1, 7, 8, 60, 129, 1000):
            connections = len(watch.connections)
            plant.line.cut = cut
            await watch.new_connection(connections)
        assert len(watch.connections) >= 7
        watch.check()  # half a frame would make a value that was never there


@pytest.mark.parametrize("make", ["asyncua", "node-opcua", "open62541"])
async def test_a_link_that_breaks_for_a_moment_loses_nothing(plants, make) -> None:
    plant = plants(make)
    async with watched(plant, sampling_ms=10, queue_size=1000) as watch:
        for _ in range(3):
            connections = len(watch.connections)
            plant.line.hang_up()
            await watch.new_connection(connections)
        assert watch.resumed == [False, True, True, True], watch.losses
        for index in range(TAGS):
            values = [value for connection in watch.connections for i, value, _ in connection if i == index]
            steps = {round(b - a, 6) for a, b in itertools.pairwise(values)}
            # 0: what did not change was read once more. 2 to 4: a server that samples by a timer skips some when it is
            # busy; what a link of a tenth of a second takes along is more than that.
            assert steps <= ({0.0, 1.0} if make == "asyncua" else {0.0, 1.0, 2.0, 3.0, 4.0})


@BOTH
async def test_an_outage_longer_than_the_servers_queues_hold_begins_anew(plants, make) -> None:
    plant = plants(make)
    async with watched(plant, queue_size=2, sampling_ms=50) as watch:
        await plant.line.close()
        await watch.until(lambda: len(watch.losses) > 2, "it is tried again")
        await plant.line.open()
        await watch.new_connection(1)
        assert not any(watch.resumed)


@BOTH
async def test_a_message_that_nobody_has_any_more_ends_the_connection_and_says_so(plants, make) -> None:
    async with watched(plants(make)) as watch:
        for subscription in watch.driver.subscriptions.open_ones.values():
            subscription.sequence -= (
                3  # as if the next three had never come; they are acknowledged, so the server forgot
            )
        await watch.until(lambda: watch.losses, "the loss is noticed")
        assert "messages of a subscription are lost" in watch.losses[0]
        await watch.new_connection(1)
        assert watch.resumed == [False, False]
