"""Who a frame is from is proved by its seal, whatever the broker lets through."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from cloud.bus import Bus
from cloud.config import load
from cloud.database import open_database
from cloud.ingest.flow import Flow
from cloud.ingest.metrics import Metrics
from cloud.plant import Plants
from sync.farewell import farewell
from sync.frames import Hello, seal
from sync.mqtt import Mqtt
from sync.topics import EVERYTHING_UP, Address
from sync.transport import Message, NobodyListensError
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import KEY, S, Start, produced, state
from tests.cloud.ingest.test_flow import Running
from tests.cloud.peer import Peer, peer
from tests.deploy.broker import Production, authority
from tests.servers import Broker
from tests.sync.conftest import embedded  # noqa: F401 - the broker, as a fixture

NOW = 1_790_000_000 * S
THIEFS_KEY = bytes(range(1, 33))
HONEST, THIEF = Address("demo", "seoul", "gw-1"), Address("demo", "seoul", "gw-2")


@pytest.fixture
def plants(tmp_path: Path, sqlite_template: Path) -> Plants:
    """Give gw-1 and gw-2, each with a key of its own."""
    shutil.copy(sqlite_template, tmp_path / "cloud.db")
    file = write_cloud_toml(tmp_path, f"sqlite:///{tmp_path / 'cloud.db'}")
    (tmp_path / "credentials" / "gw-2.key").write_text(THIEFS_KEY.hex())
    return Plants(load(file))


@asynccontextmanager
async def ingest(plants: Plants, connect) -> AsyncIterator[Running]:
    registry = CollectorRegistry()
    async with open_database(plants.settings.database_url) as database:
        flow = Flow(database, plants, Bus(), Metrics(registry))
        running = asyncio.create_task(flow.run(connect), name="ingest")
        try:
            yield Running(database, flow, registry)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.fixture
async def cloud(plants: Plants, broker: Broker) -> AsyncIterator[Running]:
    """Behind a broker with neither certificates nor access lists, as the demo's embedded one is."""
    connections = iter(range(100))

    def connect() -> Mqtt:
        return Mqtt(
            "127.0.0.1", broker.port, client_id=f"cloud-{next(connections)}", subscriptions=["triflow/v1/+/+/+/up/#"]
        )

    async with ingest(plants, connect) as running:
        yield running


def foreign(cloud: Running, kind: str) -> float:
    return cloud.metric("triflow_ingest_foreign_messages_total", kind=kind)


async def test_a_valid_certificate_gives_nobody_anothers_name(tmp_path: Path, plants: Plants):
    """TLS and certificates, but no access list: what gw-2 says in gw-1's name is not believed."""
    ca = authority(tmp_path / "ca", "demo/seoul/gw-1", "demo/seoul/gw-2")
    broker = Production(tmp_path / "broker", ca)
    (broker.place / "acl").write_text("pattern readwrite #\n")
    broker.start()
    try:
        async with ingest(plants, lambda: broker.client("cloud", EVERYTHING_UP)) as cloud:
            async with (
                broker.client("demo_seoul_gw-1", HONEST.down("#")) as own,
                broker.client("demo_seoul_gw-2", HONEST.down("#")) as posing,
            ):
                honest, start = Peer(own, HONEST, KEY), Start()
                await honest.resume(start)
                thief = Peer(posing, HONEST, THIEFS_KEY)
                stolen = Start(inc=start.inc)
                batch, body = stolen.facts(produced(NOW, NOW + S, 999, 0))
                thief.nonce = honest.nonce  # even what it could overhear here does not help
                await thief.say("ctl", Hello(session="cd" * 8, inc="0" * 32))
                await thief.say("ctl", stolen.resume(nonce=honest.nonce))
                await thief.send((batch, body))
                await thief.say("hb", stolen.heartbeat(nonce=honest.nonce))
                await posing.publish(HONEST.up("state"), farewell(THIEFS_KEY, HONEST, start.inc))
                await posing.publish(HONEST.up("state"), b'{"online": false}')
                await honest.send(start.facts(state(NOW, "EXECUTE")))
                assert (await honest.receipt()).watermarks[0].stored == 1
            assert foreign(cloud, "frame") == 4
            assert foreign(cloud, "state") == 2
            assert await cloud.count("production") == 0
            assert await cloud.database.read(lambda c: c.execute("select name, gone_ms from gateway")) == [
                ("gw-1", None)
            ]
    finally:
        broker.stop()


async def test_what_was_overheard_and_is_said_again_changes_nothing(cloud: Running, broker: Broker):
    """Every genuine frame of a whole session, played again during the session, in the next one and after it."""
    heard: list[Message] = []

    async def listen(ear: Mqtt) -> None:
        async with aclosing(ear.messages()) as messages:
            async for message in messages:
                heard.append(message)  # noqa: PERF401 - it is looked at while it grows

    async with Mqtt("127.0.0.1", broker.port, client_id="ear", subscriptions=[EVERYTHING_UP]) as ear:
        listening = asyncio.create_task(listen(ear), name="ear")
        start = Start()
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            await gateway.send(start.facts(produced(NOW, NOW + S, 3, 0)))
            await gateway.receipt()
            await gateway.say("hb", start.heartbeat(nonce=gateway.nonce))
            while not any(message.topic.endswith("/hb") for message in heard):
                await asyncio.sleep(0.005)
            recorded = list(heard)

            async def replay() -> None:
                for message in recorded:
                    await ear.publish(message.topic, message.payload)

            await replay()
            await gateway.send(start.facts(state(NOW, "EXECUTE")))
            while (await gateway.receipt()).watermarks[0].stored != 2:
                pass
        second = Start(ord=2)
        start.closed = True
        async with peer(broker.port) as gateway:
            await gateway.resume(start, second)
            await replay()
            await gateway.send(second.facts(state(NOW + S, "HELD")))
            await gateway.receipt()
        await replay()
        async with peer(broker.port) as gateway:
            await gateway.resume(second)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    assert await cloud.count("fact") == 3
    assert await cloud.count("production") == 1
    assert await cloud.count("conflict") == 0


async def test_a_retained_frame_is_not_even_given_to_the_cloud(plants: Plants, broker: Broker):
    """Somebody leaves frames at the broker, genuine ones too, before the cloud comes."""
    start = Start()
    async with Mqtt("127.0.0.1", broker.port, client_id="before", subscriptions=[]) as before:
        for what, payload in (
            ("ctl", seal(Hello(session="ab" * 8, inc=start.inc), KEY)),
            ("b/2", b"rubbish"),
            ("state", farewell(KEY, HONEST, start.inc)),
        ):
            with suppress(NobodyListensError):
                await before.publish(HONEST.up(what), payload, retain=True)
    numbers = iter(range(100))

    def connect() -> Mqtt:
        return Mqtt("127.0.0.1", broker.port, client_id=f"cloud-{next(numbers)}", subscriptions=[EVERYTHING_UP])

    async with ingest(plants, connect) as cloud:
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            await gateway.send(start.facts(state(NOW, "EXECUTE")))
            await gateway.receipt()
        assert foreign(cloud, "frame") == foreign(cloud, "state") == 0
        assert await cloud.database.read(lambda c: c.execute("select gone_ms from gateway")) == [(None,)]


async def test_a_retained_frame_is_dropped_where_the_broker_gives_it_all_the_same(
    plants: Plants,
    embedded: tuple[str, int],  # noqa: F811
):
    """As the embedded broker does, whatever one asks for."""
    start = Start()
    port = embedded[1]
    async with Mqtt("127.0.0.1", port, client_id="before", subscriptions=[]) as before:
        await before.publish(HONEST.up("state"), farewell(KEY, HONEST, start.inc), retain=True)
        await before.publish(HONEST.up("ctl"), seal(Hello(session="ab" * 8, inc=start.inc), KEY), retain=True)
    numbers = iter(range(100))

    def connect() -> Mqtt:
        return Mqtt("127.0.0.1", port, client_id=f"cloud-{next(numbers)}", subscriptions=[EVERYTHING_UP])

    async with ingest(plants, connect) as cloud, asyncio.timeout(20):
        while foreign(cloud, "retained") < 2:
            await asyncio.sleep(0.01)
        assert await cloud.count("gateway") == 0


async def test_a_will_of_an_earlier_start_says_nothing_about_this_one(cloud: Running, broker: Broker):
    old, new = Start(), Start(ord=2)
    async with peer(broker.port) as gateway:
        await gateway.resume(new)
        await gateway.transport.publish(HONEST.up("state"), farewell(KEY, HONEST, old.inc))
        await gateway.send(new.facts(state(NOW, "EXECUTE")))
        await gateway.receipt()
    assert await cloud.database.read(lambda c: c.execute("select gone_ms from gateway")) == [(None,)]


async def test_a_frame_of_the_cloud_is_none_of_a_gateway(cloud: Running, broker: Broker):
    """What the cloud sealed for a gateway, sent back up, is no message of that gateway."""
    start = Start()
    async with (
        Mqtt("127.0.0.1", broker.port, client_id="ear", subscriptions=[HONEST.down("#")]) as ear,
        peer(broker.port) as gateway,
    ):
        await gateway.resume(start)
        async with asyncio.timeout(10), aclosing(ear.messages()) as messages:
            async for message in messages:
                await ear.publish(HONEST.up("ctl"), message.payload)
                if message.payload.find(b'"welcome"') > 0:
                    break
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await gateway.receipt()
    assert foreign(cloud, "frame") == 2
