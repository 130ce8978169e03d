from __future__ import annotations

import logging
from pathlib import Path

from sync.facts import Audited, HealthReported
from sync.frames import Hello, open_up
from sync.mqtt import Mqtt
from sync.topics import EVERYTHING_UP
from tests.cloud.gateway import KEY
from tests.edge.cloud_end import ADDRESS, Cloud, uplink
from tests.edge.stores import batch, dictionary, state, store_in, until
from tests.servers import Broker, free_port


async def test_everything_committed_arrives_once_and_leaves_the_disk(tmp_path: Path, broker: Broker):
    async with store_in(tmp_path / "edge") as store:
        await store.commit(dictionary=dictionary(), readings=[batch(2500)])
        await store.commit(
            facts=[state(1), Audited(at=1, actor="me", action="x"), HealthReported(at=1, values={"a": 1.0})]
        )
        async with Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud:
            async with uplink(store, broker.host, broker.port) as seen:
                await until(lambda: store.counts().waiting == 0, "all confirmed")
                await store.commit(readings=[batch(10, start=2500)])  # live, within the same session
                await until(lambda: store.counts().waiting == 0, "the live ones, too")
                assert await cloud.records() == 1 + 2500 + 3 + 10 == store.counts().produced
                assert await cloud.values() == [float(i) for i in range(2510)]
                assert seen.state == "streaming"
                assert seen.last_receipt_at
                assert seen.counters.resent == 0
                assert seen.in_flight == 0
            assert store.counts().waiting_bytes == 0
            assert [one for held, _ in [await store.holdings()] for one in held if one.streams["3"].held] == []


async def test_what_was_made_while_the_broker_was_down_arrives_when_it_is_back(tmp_path: Path, broker: Broker):
    cloud_end = Cloud(tmp_path / "cloud").running(broker.host, broker.port)
    async with store_in(tmp_path / "edge") as store, cloud_end as cloud:
        await store.commit(dictionary=dictionary())
        made = 0
        async with uplink(store, broker.host, broker.port) as seen:
            for round_ in range(3):
                await until(lambda: seen.state == "streaming", "the session stands")
                await store.commit(readings=[batch(500, start=made)], facts=[state(round_)])
                made += 500
                broker.kill()
                await until(lambda: seen.state == "offline", "the loss is noticed")
                assert "check" in seen.why or "connection lost" in seen.why
                await store.commit(readings=[batch(500, start=made)], facts=[state(round_)])
                made += 500
                broker.start()
            await until(lambda: store.counts().waiting == 0, "all confirmed", 50)
            assert await cloud.values() == [float(i) for i in range(made)]
            assert await cloud.records() == store.counts().produced


async def test_the_cloud_may_end_and_start_again_at_any_time(tmp_path: Path, broker: Broker):
    cloud = Cloud(tmp_path / "cloud")
    made = 0
    async with store_in(tmp_path / "edge") as store, uplink(store, broker.host, broker.port) as seen:
        await store.commit(dictionary=dictionary())
        for _ in range(4):
            async with cloud.running(broker.host, broker.port):
                await until(lambda: seen.state == "streaming", "the session stands")
                for _ in range(20):  # ends somewhere in the middle of these
                    await store.commit(readings=[batch(50, start=made)], facts=[state(made)])
                    made += 50
            await until(lambda: seen.state != "streaming", "the gateway notices", 20)
        assert "check that the cloud is running" in seen.why
        async with cloud.running(broker.host, broker.port):
            await until(lambda: store.counts().waiting == 0, "all confirmed", 50)
            assert await cloud.values() == [float(i) for i in range(made)]
            assert await cloud.records() == store.counts().produced


async def test_what_an_earlier_start_left_behind_is_sent_first(tmp_path: Path, broker: Broker):
    made = 0
    for _ in range(5):
        async with store_in(tmp_path / "edge") as store:
            await store.commit(dictionary=dictionary(), readings=[batch(300, start=made)])
            made += 300
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
    ):
        await store.commit(dictionary=dictionary(), readings=[batch(300, start=made)])
        async with uplink(store, broker.host, broker.port):
            await until(lambda: store.counts().waiting == 0, "all confirmed")
            incs = await cloud.query("select ord, inc from incarnation order by ord")
            assert [ord_ for ord_, _ in incs] == [1, 2, 3, 4, 5, 6]
            assert incs[-1][1] == store.incarnation
            values = [v for ord_, _ in incs for (v,) in await cloud.query(
                f"select value from reading r join incarnation i on i.id = r.inc where ord = {ord_} order by seq")]  # fmt: skip
            assert values == [float(i) for i in range(1800)]
        held, complete = await store.holdings()
        assert [one.ord for one in held] == [6]  # the closed ones are done and forgotten
        assert complete
        assert store.counts().produced == 1806 + 5  # each of the five ended in order, with its tally


async def test_hundreds_of_restarts_offline_all_arrive(tmp_path: Path, broker: Broker):
    for number in range(150):
        async with store_in(tmp_path / "edge") as store:
            await store.commit(facts=[state(number)])
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
    ):
        assert len((await store.holdings())[0]) == 128
        async with uplink(store, broker.host, broker.port):
            await until(lambda: store.counts().waiting == 0, "all confirmed", 50)
            assert await cloud.records() == 2 * 150  # each with the tally of its orderly end


async def test_losses_of_a_full_outbox_reach_the_cloud_and_the_books_balance(tmp_path: Path, broker: Broker):
    async with store_in(tmp_path / "edge", quota=600_000) as store:
        await store.commit(dictionary=dictionary())
        for i in range(150):
            await store.commit(readings=[batch(1000, noise=True, start=i)], facts=[state(i)])
        counts = store.counts()
        assert counts.lost > 0
        assert counts.produced == 1 + 150 * 1001 == counts.waiting + counts.lost
        async with Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud:
            async with uplink(store, broker.host, broker.port):
                await until(lambda: store.counts().waiting == 0, "all confirmed")
                await store.commit(facts=[state(151)])
                await until(lambda: store.counts().waiting == 0, "the next as well")
            lost = (await cloud.query("select sum(last - first + 1) from loss"))[0][0]
            assert lost == counts.lost
            assert await cloud.records() + lost == store.counts().produced
            assert (await cloud.query("select count(*) from equipment_state"))[0][0] == 151  # events are never shed


async def test_a_wrong_key_is_said_and_nothing_is_lost(tmp_path: Path, broker: Broker, caplog):
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
    ):
        await store.commit(facts=[state(1)])
        async with uplink(store, broker.host, broker.port, key=b"x" * 32) as seen:
            await until(lambda: seen.counters.hellos >= 2, "it asks again")
            assert seen.state == "waiting for the cloud"
        assert "check that both sides have the same key" in caplog.text
        assert store.counts().waiting == 1
        async with uplink(store, broker.host, broker.port):
            await until(lambda: store.counts().waiting == 0, "with the right key it goes")
            assert await cloud.records() == 1


async def test_foreign_messages_are_counted_and_said_once(tmp_path: Path, broker: Broker, caplog):
    cloud_end = Cloud(tmp_path / "cloud").running(broker.host, broker.port)
    async with store_in(tmp_path / "edge") as store, cloud_end:
        link = uplink(store, broker.host, broker.port)
        async with link as seen:
            await until(lambda: seen.state == "streaming", "the session stands")
            async with Mqtt(broker.host, broker.port, client_id="stranger", subscriptions=[]) as stranger:
                for junk in (b"", b"TFW1", b"{}", b"TFW1" + b"\xff" * 200, b"x" * 200_000):
                    await stranger.publish(ADDRESS.down("ack"), junk)
            await until(lambda: seen.foreign == 5, "all five are noticed")
            await store.commit(facts=[state(1)])
            await until(lambda: store.counts().waiting == 0, "the session goes on")
    assert caplog.text.count("foreign message on") == 1


async def test_an_unreachable_broker_is_said_once_and_the_store_goes_on(tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    async with store_in(tmp_path / "edge") as store, uplink(store, "127.0.0.1", free_port()) as seen:
        await until(lambda: seen.state == "offline" and seen.why, "no broker")
        assert "check uplink.host and uplink.port" in seen.why
        await store.commit(facts=[state(1)])
        tried = seen.attempts
        await until(lambda: seen.attempts >= tried + 2, "it tries again")
        assert caplog.text.count("uplink down") == 1
        assert store.counts().waiting == 1


async def test_a_broker_without_a_cloud_is_waited_for_without_reconnecting(tmp_path: Path, broker: Broker):
    async with store_in(tmp_path / "edge") as store, uplink(store, broker.host, broker.port) as seen:
        await store.commit(facts=[state(1)])
        await until(lambda: seen.counters.hellos >= 2, "it asks again", 20)
        assert seen.state == "waiting for the cloud"
        assert "nobody listens" in seen.why
        assert seen.connects == 1


async def test_the_embedded_broker_carries_it_as_well(tmp_path: Path, embedded: tuple[str, int]):
    async with store_in(tmp_path / "edge") as store, Cloud(tmp_path / "cloud").running(*embedded) as cloud:
        await store.commit(dictionary=dictionary(), readings=[batch(5000)])
        async with uplink(store, *embedded):
            await until(lambda: store.counts().waiting == 0, "all confirmed")
            assert await cloud.values() == [float(i) for i in range(5000)]


async def test_the_first_word_is_a_sealed_hello(tmp_path: Path, broker: Broker):
    watching = Mqtt(broker.host, broker.port, client_id="watch", subscriptions=[EVERYTHING_UP])
    async with store_in(tmp_path / "edge") as store, watching as watch, uplink(store, broker.host, broker.port):
        message = await anext(watch.messages())
        frame, body = open_up(message.payload, KEY)
        assert isinstance(frame, Hello)
        assert frame.inc == store.incarnation
        assert body == b""
