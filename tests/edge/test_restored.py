"""A gateway whose store was put back from a backup, against the real broker and the real cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.store.backup import back_up, restore
from sync.facts import Stream
from tests.edge.cloud_end import Cloud, uplink
from tests.edge.stores import batch, dictionary, state, store_in, until
from tests.servers import Broker


@pytest.mark.timeout(120)
async def test_what_the_disk_forgot_is_declared_nothing_comes_twice_and_it_goes_on(tmp_path: Path, broker: Broker):
    data, place = tmp_path / "edge", (broker.host, broker.port)
    async with Cloud(tmp_path / "cloud").running(*place) as cloud:
        async with store_in(data) as store:
            lived = store.incarnation
            await store.commit(dictionary=dictionary(), readings=[batch(500)])
            async with uplink(store, *place):
                await until(lambda: store.counts().waiting == 0, "all confirmed")
            backup, manifest = await asyncio.to_thread(
                back_up, data, tmp_path / "safe", at=10**18, gateway="demo/seoul/gw-1", software="test"
            )
            for i in range(40):
                await store.commit(readings=[batch(1000, start=500 + 1000 * i, noise=False)])
            announced = store.last[Stream.FACT]
            async with uplink(store, *place):  # … announces all of it, and is cut when a part has arrived
                while await cloud.records() < 5_000:
                    await asyncio.sleep(0.005)
        arrived = await cloud.records()
        restore(backup, data, at=10**18, gateway="demo/seoul/gw-1")
        async with store_in(data) as store:
            assert store.incarnation != lived
            assert manifest.waiting == 0
            await store.commit(facts=[state(1)])
            async with uplink(store, *place):
                await until(lambda: store.counts().waiting == 0, "what is new is confirmed")
                lost: list[tuple] = []
                while not lost:
                    lost = await cloud.query(
                        "select loss.first, loss.last, loss.reason from loss join incarnation on incarnation.id = loss.inc "
                        f"where incarnation.inc = '{lived}' and loss.stream = 3"
                    )
                    await asyncio.sleep(0.02)
        values = await cloud.values()
        assert values == [float(i) for i in range(len(values))], "nothing twice, nothing changed, no hole"
        stored = 1 + len(values)
        assert stored >= 501
        assert stored < announced
        assert lost == [(stored + 1, announced, "rollback")]
        assert arrived > 5_000
