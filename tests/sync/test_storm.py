"""A hall of gateways that loses its broker at one moment does not come back at one moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from sync.clock import backoff
from tests.raw_mqtt import Raw
from tests.servers import Broker

GATEWAYS = 300


def returns(waits: list[Iterator[float]], away_s: float) -> list[float]:
    """Give when each is back at a broker that was away for so long; an attempt before that fails at once."""
    back: list[float] = []
    for one in waits:
        at = 0.0
        while at < away_s or at == 0.0:
            at += next(one)
        back.append(at)
    return sorted(back)


def busiest(back: list[float], window_s: float = 0.1) -> int:
    """Give the most that arrive within a window anywhere."""
    most, first = 0, 0
    for last, at in enumerate(back):
        while at - back[first] > window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize(("away_s", "most"), [(0.0, 160), (1.0, 90), (10.0, 40), (60.0, 25), (600.0, 25)])
def test_no_tenth_of_a_second_takes_them_all(away_s: float, most: int):
    """Without jitter it would be 300 every time. The bound holds for sixty seeds."""
    for seed in range(60):
        random.seed(seed)
        assert busiest(returns([backoff(0.5, 10.0) for _ in range(GATEWAYS)], away_s)) <= most, seed


def test_nobody_waits_longer_than_the_longest_wait_once_the_broker_is_back():
    for seed in range(10):
        random.seed(seed)
        assert returns([backoff(0.5, 10.0) for _ in range(GATEWAYS)], 3600.0)[-1] <= 3610.0


async def test_three_hundred_connections_all_come_back_to_a_real_broker(broker: Broker):
    links = await asyncio.gather(*(Raw.connect(broker.port, f"gw-{i}") for i in range(GATEWAYS)))
    broker.kill()
    broker.start()

    async def come_back(i: int) -> Raw:
        assert await links[i].reader.read() == b""
        await links[i].close()
        for wait in backoff(0.05, 1.0):
            await asyncio.sleep(wait)
            try:
                return await Raw.connect(broker.port, f"gw-{i}")
            except (OSError, asyncio.IncompleteReadError):
                continue
        raise AssertionError

    async with asyncio.timeout(30):
        back = await asyncio.gather(*(come_back(i) for i in range(GATEWAYS)))
    listening = back[0]
    await listening.subscribe("t")
    assert await back[-1].publish("t", b"x", 10) == 10
    assert await listening.take(count=10) == 10
    for link in back:
        await link.close()
