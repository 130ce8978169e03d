"""An offer over a real broker: from a row of the cloud's database to the gateway's session, with an end of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import paho.mqtt.client as paho

from cloud.ingest.door import OFFER_S
from cloud.packages import offers
from cloud.packages.offers import Package
from sync.frames import Offer, open_down
from tests.cloud.gateway import KEY
from tests.edge.cloud_end import ADDRESS, Cloud, uplink
from tests.edge.stores import store_in, until
from tests.servers import Broker

DIGEST = "d" * 64


async def test_a_row_becomes_an_offer_that_the_broker_does_not_keep(tmp_path: Path, broker: Broker):
    ends: list[int] = []

    def note(_client: paho.Client, _what: object, message: paho.MQTTMessage) -> None:
        if isinstance(open_down(message.payload, KEY), Offer):
            ends.append(getattr(message.properties, "MessageExpiryInterval", 0))

    observer = paho.Client(paho.CallbackAPIVersion.VERSION2, "observer", protocol=paho.MQTTv5)
    observer.on_message = note
    observer.on_connect = lambda *_: observer.subscribe(ADDRESS.down("#"))
    observer.connect(broker.host, broker.port)
    observer.loop_start()
    heard: list[Offer] = []
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
        uplink(store, broker.host, broker.port, on_offer=heard.append) as seen,
    ):
        await until(lambda: seen.state == "streaming", "the session stands")
        package = Package(DIGEST, 10, time.time_ns() // 1_000_000 + 3_600_000)
        await cloud.database.write(lambda c: offers.make(c, [ADDRESS], package, name="x", by="kim", now_ms=1))
        await until(lambda: heard, "the gateway hears of it")
        await until(lambda: ends, "and so does who listens")
        sent = await cloud.query("select state, sent_ms is not null from offer")
    await asyncio.to_thread(observer.loop_stop)
    observer.disconnect()
    assert [(one.digest, one.size, one.path, one.expires) for one in heard] == [
        (DIGEST, 10, f"/packages/{DIGEST}", package.expires_ms * 1_000_000)
    ]
    assert [0 < end <= OFFER_S for end in ends] == [True]
    assert sent == [("offered", 1)]
