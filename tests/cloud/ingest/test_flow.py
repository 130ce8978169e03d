from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from cloud.bus import Bus
from cloud.database import Database
from cloud.ingest.flow import Flow
from cloud.ingest.metrics import Metrics
from cloud.plant import Plants
from sync.facts import StateChanged
from sync.farewell import farewell
from sync.frames import Challenge, Hello
from sync.mqtt import Mqtt
from sync.topics import EVERYTHING_UP, Address
from tests.cloud.gateway import KEY, LINE, S, Start, produced, state
from tests.cloud.peer import peer
from tests.servers import Broker

NOW = 1_790_000_000 * S


class Running:
    def __init__(self, database: Database, flow: Flow, registry: CollectorRegistry) -> None:
        self.database, self.flow, self.registry = database, flow, registry

    async def count(self, table: str) -> int:
        return (await self.database.read(lambda c: c.execute(f"select count(*) from {table}")))[0][0]

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def cloud(database: Database, plants: Plants, broker: Broker) -> AsyncIterator[Running]:
    registry = CollectorRegistry()
    flow = Flow(database, plants, Bus(), Metrics(registry))
    numbers = iter(range(1_000))

    def connect() -> Mqtt:
        return Mqtt("127.0.0.1", broker.port, client_id=f"cloud-{next(numbers)}", subscriptions=[EVERYTHING_UP])

    running = asyncio.create_task(flow.run(connect))
    try:
        yield Running(database, flow, registry)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_receipt_comes_after_the_commit_and_says_how_far(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        welcome = await gateway.resume(start)
        assert welcome.watermarks == []
        await gateway.send(start.facts(state(NOW, "EXECUTE"), produced(NOW, NOW + S, 3, 3)))
        receipt = await gateway.receipt()
        (mark,) = receipt.watermarks
        assert (mark.inc, mark.stream, mark.stored, mark.safe, receipt.number) == (start.inc, 2, 2, 2, 1)
        assert await cloud.count("fact") == 2


async def test_a_session_of_before_the_restart_is_stale(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        gateway.nonce = "0" * 32
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        assert "hello" in (await gateway.stale()).why
        assert await cloud.count("fact") == 0
        welcome = await gateway.resume(start)
        assert welcome.watermarks[0].stored == 0
        await gateway.send(start.chunks[0])
        assert (await gateway.receipt()).watermarks[0].stored == 1


async def test_only_the_newest_challenge_counts(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.say("ctl", Hello(session="01" * 8, inc=start.inc))
        old = await gateway.hear(Challenge)
        await gateway.say("ctl", Hello(session="02" * 8, inc=start.inc))
        await gateway.hear(Challenge)
        await gateway.say("ctl", start.resume(nonce=old.nonce))
        assert "newest" in (await gateway.stale()).why


async def test_a_gap_is_answered_with_the_present_watermark(cloud: Running, broker: Broker) -> None:
    start = Start()
    one, two, three = (start.facts(state(NOW + i, "EXECUTE")) for i in range(3))
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.send(one)
        await gateway.receipt()
        await gateway.send(three)
        assert (await gateway.receipt()).watermarks[0].stored == 1
        await gateway.send(two)
        await gateway.send(three)
        while (await gateway.receipt()).watermarks[0].stored < 3:
            pass
        assert await cloud.count("fact") == 3


async def test_foreign_messages_are_counted_said_once_and_store_nothing(
    cloud: Running, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stranger = Address("demo", "seoul", "gw-unknown")
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        known = gateway.address
        for _ in range(3):
            await gateway.transport.publish(known.up("ctl"), b"not a frame at all")
            await gateway.transport.publish(known.up("b/2"), b"TFW1\xff\xff\xff\xff" + bytes(64))
            await gateway.transport.publish("triflow/v1/demo/seoul/gw-1/up/x y", b"?")
            await gateway.transport.publish(stranger.up("ctl"), b"?")
        impossible = start.facts(state(NOW, "EXECUTE"))
        await gateway.send((type(impossible[0])(nonce="", inc=start.inc, stream=2, first=5, count=9, last=3), b""))
        await gateway.send(impossible)
        await gateway.receipt()
    assert cloud.metric("triflow_ingest_foreign_messages_total", kind="frame") == 6
    assert cloud.metric("triflow_ingest_foreign_messages_total", kind="stranger") == 3
    assert cloud.metric("triflow_ingest_foreign_messages_total", kind="topic") == 3
    assert cloud.metric("triflow_ingest_foreign_messages_total", kind="header") == 1
    said = [record.getMessage() for record in caplog.records if "foreign" in record.getMessage()]
    assert sum("not enrolled" in text for text in said) == 1
    assert sum("no Triflow frame" in text or "not a Triflow frame" in text for text in said) == 1
    assert await cloud.count("fact") == 1
    assert await cloud.count("gateway") == 1


async def test_a_frame_sealed_with_another_key_is_foreign(cloud: Running, broker: Broker) -> None:
    async with peer(broker.port) as honest:
        await honest.resume(Start())
        async with peer(broker.port, Address("demo", "seoul", "gw-2"), key=bytes(32)) as thief:
            await thief.say("ctl", Hello(session="ab" * 8, inc="0" * 32))
            start = Start()
            await honest.resume(start)  # all before it has been looked at by now
    assert cloud.metric("triflow_ingest_foreign_messages_total", kind="frame") == 1


async def test_what_the_database_cannot_hold_is_set_aside_and_the_rest_goes_on(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.send(start.facts(StateChanged(at=NOW, work_unit=LINE, state="EXECUTE", status=2**63)))
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        rejected = []
        while True:
            receipt = await gateway.receipt()
            rejected += receipt.rejected
            if receipt.watermarks[0].stored == 2:
                break
    assert [(r.first, r.count) for r in rejected] == [(1, 1)]
    assert await cloud.count("dead_letter") == 1
    assert await cloud.count("equipment_state") == 1


async def test_the_broker_dies_and_comes_back(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await gateway.receipt()
    broker.kill()
    broker.start()
    async with peer(broker.port) as gateway:
        welcome = await gateway.resume(start)
        assert welcome.watermarks[0].stored == 1
        await gateway.send(start.facts(state(NOW + S, "HELD", "jam", line=LINE)))
        assert (await gateway.receipt()).watermarks[0].stored == 2


async def test_a_will_marks_the_gateway_as_gone_until_it_speaks_again(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.transport.publish(gateway.address.up("state"), farewell(KEY, gateway.address, start.inc))
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await gateway.receipt()
        ((gone,),) = await cloud.database.read(lambda c: c.execute("select gone_ms from gateway"))
        assert gone is not None
        await gateway.say("hb", start.heartbeat(nonce=gateway.nonce))
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await gateway.receipt()
        rows = await cloud.database.read(
            lambda c: c.execute("select gone_ms, autonomy_hours, sources, software from gateway")
        )
        assert rows == [(None, 120.5, '{"plc":"connected"}', "test 1.0")]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_lost_database_connection_costs_nothing_but_a_resend(cloud: Running, broker: Broker) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await gateway.receipt()
        await cloud.database.read(
            lambda c: c.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname=current_database()"
                " and pid<>pg_backend_pid()"
            )
        )
        chunk = start.facts(state(NOW + S, "HELD", "jam"))

        async def again_and_again() -> None:  # as the gateway's timer does
            while True:
                await gateway.send(chunk)
                await asyncio.sleep(0.3)

        sending = asyncio.create_task(again_and_again())
        while (await gateway.receipt()).watermarks[0].stored < 2:
            pass
        sending.cancel()
    assert await cloud.count("fact") == 2
