from __future__ import annotations

from contextlib import aclosing

import numpy as np

from edge.connections import Simulated
from edge.drivers import open_driver
from edge.drivers.driver import Driver
from sync.equipment import PackML
from sync.quality import GOOD
from sync.reading import Readings, concatenate
from tests.edge.drivers.machines import AROUND, tag


class FreeClock:
    """A clock on which sleeping takes no time at all."""

    def __init__(self) -> None:
        self.ns = 1_767_225_600 * 10**9

    def now(self) -> int:
        return self.ns

    def monotonic(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


TAGS = [
    tag(0, "temperature", low=20, high=80, scale=0.5, offset=10),
    tag(1, "state", type="int32", role="state"),
    tag(2, "produced", type="uint16", role="counter", counter="produced", rollover=100),
    tag(3, "product", name="product", type="string", role="context", context="product"),
    tag(4, "reason", type="int32", role="reason"),
]


def machine(seed: int) -> Driver:
    return open_driver(
        Simulated(driver="simulated", name="machine", seed=seed, period_ms=100), TAGS, FreeClock(), AROUND
    )


async def scans(seed: int, count: int) -> Readings:
    batches: list[Readings] = []
    async with machine(seed) as driver, aclosing(driver.readings()) as readings:
        async for batch in readings:
            batches.append(batch)
            if len(batches) == count:
                break
    return concatenate(batches)


async def test_the_same_seed_gives_the_same_day() -> None:
    one, two, other = await scans(1, 50), await scans(1, 50), await scans(2, 50)
    assert np.array_equal(one.value, two.value, equal_nan=True)
    assert not np.array_equal(one.value, other.value, equal_nan=True)


async def test_values_are_good_within_range_and_of_their_role() -> None:
    batch = await scans(1, 300)
    assert batch.tag.tolist() == [0, 1, 2, 3, 4] * 300
    assert (batch.status == GOOD).all()
    temperature = batch.value[batch.tag == 0]
    assert ((temperature >= 20) & (temperature <= 80)).all()
    assert set(batch.value[batch.tag == 1]) == {PackML.EXECUTE}
    gained = np.diff(batch.value[batch.tag == 2]) % 100
    assert (gained >= 0).all()
    assert gained.sum() > 100
    assert batch.scalar(3) == "product-1"
