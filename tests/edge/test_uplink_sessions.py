"""What a session of the real gateway does beside carrying chunks: turn, sign, pin a key, be asked again, meet strangers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge.cloud_key import CHECKPOINT
from sync.chain import follow, genesis, statement
from sync.frames import Batch, Hello, Offer, Stale, Wanted, open_up, seal
from sync.mqtt import Mqtt
from sync.signing import Signer, genuine
from sync.topics import EVERYTHING_UP
from tests.cloud.gateway import KEY
from tests.edge.cloud_end import ADDRESS, Cloud, uplink
from tests.edge.stores import batch, dictionary, state, store_in, until
from tests.servers import Broker

BOX, CLOUD, OTHER = Signer(b"b" * 32), Signer(b"c" * 32), Signer(b"o" * 32)


async def test_what_is_read_now_does_not_wait_behind_a_long_backlog(tmp_path: Path, broker: Broker):
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
    ):
        first = store.incarnation
        await store.commit(dictionary=dictionary())
        for i in range(21):
            await store.commit(readings=[batch(1000, start=i * 1000)])
        # With a byte a second of backlog it would take days: what is made now arrives all the same.
        async with uplink(store, broker.host, broker.port, backlog_bytes_s=1) as seen:
            await until(lambda: seen.state == "streaming" and store.incarnation != first, "a new incarnation")
            await store.commit(readings=[batch(10, start=10**6)], facts=[state(1)])
            live = "select count(*) from reading r join incarnation i on i.id = r.inc where i.inc = '{}'"
            while (await cloud.query(live.format(store.incarnation)))[0][0] < 10:
                pass
            assert store.counts().waiting > 19_000
            assert seen.counters.turns == 1
        async with uplink(store, broker.host, broker.port):
            await until(lambda: store.counts().waiting == 0, "the backlog, too")
        behind = await cloud.query(f"select value from reading r join incarnation i on i.id = r.inc where i.inc = '{first}' order by seq")  # fmt: skip
        assert [value for (value,) in behind] == [float(i) for i in range(21_000)]
        assert await cloud.records() == store.counts().produced
        assert [row[0] for row in await cloud.query("select identity from gateway")] == ["ok"]


async def test_a_short_backlog_is_no_reason_to_begin_anew(tmp_path: Path, broker: Broker):
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port),
    ):
        first = store.incarnation
        await store.commit(dictionary=dictionary(), readings=[batch(19_000)])
        async with uplink(store, broker.host, broker.port) as seen:
            await until(lambda: store.counts().waiting == 0, "all confirmed")
            assert (store.incarnation, seen.counters.turns) == (first, 0)


async def test_every_chunk_is_signed_over_the_chain_and_the_cloud_keeps_both(tmp_path: Path, broker: Broker):
    watching = Mqtt(broker.host, broker.port, client_id="watch", subscriptions=[EVERYTHING_UP])
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port, signer=CLOUD) as cloud,
        watching as watch,
    ):
        for i in range(3):
            await store.commit(facts=[state(i)])
        async with uplink(store, broker.host, broker.port, signer=BOX, box="e" * 32):
            await until(lambda: store.counts().waiting == 0, "all confirmed")
            link, seen = genesis(store.incarnation, 2), 0
            async for message in watch.messages():
                if message.topic.endswith("/state"):
                    continue
                frame = open_up(message.payload, KEY)[0]
                if isinstance(frame, Hello):
                    assert (frame.box, frame.public_key) == ("e" * 32, BOX.public_key.hex())
                if not isinstance(frame, Batch) or frame.stream != 2:
                    continue
                assert frame.before == link.hex()
                link = follow(link, bytes.fromhex(frame.digest))
                told = statement(str(ADDRESS), (store.incarnation, 2), frame.first + frame.count - 1, link)
                assert genuine(BOX.public_key, told, bytes.fromhex(frame.signature))
                seen += frame.count
                if seen == 3:
                    break
        kept = await cloud.query("select link, signature from ingest_chunk where stream = 2 order by first")
        assert bytes(kept[-1][0]) == link
        assert all(signature for _, signature in kept)


async def test_the_clouds_first_key_is_kept_and_another_one_is_on_record_and_shown(tmp_path: Path, broker: Broker):
    cloud = Cloud(tmp_path / "cloud")
    async with (
        store_in(tmp_path / "edge") as store,
        cloud.running(broker.host, broker.port, signer=CLOUD),
        uplink(store, broker.host, broker.port) as seen,
    ):
        await until(lambda: seen.cloud_key == CLOUD.public_key.hex(), "the key is known")
        await until(lambda: store.counts().produced == 1, "and on record")
        assert not seen.cloud_key_changed
    for _ in range(2):  # put on record once, however often it is met
        async with store_in(tmp_path / "edge") as store:
            kept = store.checkpoint(CHECKPOINT)
            assert kept is not None
            assert msgspec.json.decode(kept)["kept"] == CLOUD.public_key.hex()
            async with (
                cloud.running(broker.host, broker.port, signer=OTHER) as there,
                uplink(store, broker.host, broker.port) as seen,
            ):
                await until(lambda: seen.state == "streaming" and seen.cloud_key_changed, "the other key is seen")
                await store.commit(facts=[state(1)])
                await until(lambda: store.counts().waiting == 0, "receipts count all the same")
                sql = "select body from fact where kind = 'audit' and body like '%uplink.cloud_key%' order by at"
                assert ["changed" in body for (body,) in await there.query(sql)] == [False, True]


async def test_what_the_cloud_asks_for_again_comes_again(tmp_path: Path, broker: Broker):
    """A person in the cloud asks for records that were lost there: the gateway still has them, or says that it has not."""
    watching = Mqtt(broker.host, broker.port, client_id="watch", subscriptions=[EVERYTHING_UP])
    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
    ):
        for i in range(4):
            await store.commit(facts=[state(i)])
        async with uplink(store, broker.host, broker.port) as seen, watching as watch:
            await until(lambda: store.counts().waiting == 0, "all confirmed")
            nonce = await nonce_of(watch)
            async with Mqtt(broker.host, broker.port, client_id="asks", subscriptions=[]) as asks:
                wanted = Wanted(nonce=nonce, inc=store.incarnation, stream=2, first=1, last=4)
                await asks.publish(ADDRESS.down("ctl"), seal(wanted, KEY))
            told: set[int] = set()
            async for message in watch.messages():
                frame = None if message.topic.endswith("/state") else open_up(message.payload, KEY)[0]
                if isinstance(frame, Batch) and frame.again:
                    told |= set(range(frame.first, frame.first + frame.count))
                    told |= {n for loss in frame.losses for n in range(loss.first, loss.last + 1)}
                    if told == {1, 2, 3, 4}:
                        break
            assert seen.state == "streaming"
        assert await cloud.records() == 4
        assert await cloud.query("select * from loss") == []  # what is a row is not lost for that


async def nonce_of(watch: Mqtt) -> str:
    async for message in watch.messages():
        if message.topic.endswith("/hb"):
            return open_up(message.payload, KEY)[0].nonce
    raise AssertionError


async def test_strangers_frames_and_newer_ones_are_counted_and_the_session_goes_on(
    tmp_path: Path, broker: Broker, caplog: pytest.LogCaptureFixture
):
    class Dream(msgspec.Struct, tag="dream"):
        of: str

    async with (
        store_in(tmp_path / "edge") as store,
        Cloud(tmp_path / "cloud").running(broker.host, broker.port) as cloud,
        Mqtt(broker.host, broker.port, client_id="stranger", subscriptions=[]) as stranger,
    ):
        offers: list[Offer] = []
        async with uplink(store, broker.host, broker.port, on_offer=offers.append) as seen:
            await until(lambda: seen.state == "streaming", "the session stands")
            await stranger.publish(ADDRESS.down("ctl"), seal(Dream(of="sheep"), KEY))
            await until(lambda: seen.unknown == 1, "a frame of a newer cloud")
            other = Stale(why="for the other box", nonce="e" * 32)
            await stranger.publish(ADDRESS.down("ctl"), seal(other, KEY))
            offer = Offer(nonce="e" * 32, digest="a" * 64, size=1, path="/packages/a", expires=0)
            await stranger.publish(ADDRESS.down("ctl"), seal(offer, KEY))
            await until(lambda: seen.counters.ignored >= 2, "what is not for us")
            await store.commit(facts=[state(1)])
            await until(lambda: store.counts().waiting == 0, "the session goes on")
            assert (seen.counters.hellos, seen.foreign, offers) == (1, 0, [])
            assert await cloud.records() == 1
    assert "update this gateway" in caplog.text


async def test_the_clouds_clock_is_handed_on_at_every_session(tmp_path: Path, broker: Broker):
    offsets: list[int] = []
    async with store_in(tmp_path / "edge") as store, Cloud(tmp_path / "cloud").running(broker.host, broker.port):
        async with uplink(store, broker.host, broker.port, on_offset=offsets.append) as seen:
            await until(lambda: seen.state == "streaming", "the session stands")
        assert len(offsets) == 1
        assert abs(offsets[0]) < 60_000
