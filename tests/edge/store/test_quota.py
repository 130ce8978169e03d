"""Quotas: a running store stays within them, what goes is declared, audit and events only raise an alarm."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from edge.config import Gateway
from edge.store import Quota
from edge.store.shed import held_bytes
from sync.facts import Aggregated, Audited, HealthReported, Stream
from sync.frames import Watermark
from tests.edge.store.test_disk import held, losses
from tests.edge.stores import MB, batch, dictionary, state, store_in

CHUNK = 256 * 1024


def file_bytes(folder: Path) -> int:
    """What the database has in pages, without its log."""
    connection = apsw.Connection(str(folder / "edge.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.pragma("page_count") * 4096
    finally:
        connection.close()


@pytest.mark.parametrize("seed_", range(3))
async def test_a_running_store_never_grows_beyond_its_quota_and_a_chunk(tmp_path: Path, seed_: int):
    dice = random.Random(seed_)
    quota = 600_000
    async with store_in(tmp_path, quota=quota, ring_bytes=MB) as store:
        await store.commit(dictionary=dictionary())
        stored: dict[Stream, int] = {}
        for i in range(150):
            await store.commit(
                facts=[
                    *[HealthReported(at=i, values={"a": dice.random()})] * dice.randrange(3),
                    *[Aggregated(at=i, tag="t", start=0, count=1, bad=0)] * dice.randrange(3),
                ],
                readings=[batch(dice.randrange(1, 4_000), noise=True, start=i)],
            )
            if dice.random() < 0.2:
                for stream, last in store.last.items():
                    stored[stream] = max(stored.get(stream, 0), dice.choice([0, last // 2, last]))
                marks = [Watermark(inc=store.incarnation, stream=s, stored=n, safe=0) for s, n in stored.items()]
                await store.apply(marks)
            counts = store.counts()
            assert counts.used_bytes <= quota + CHUNK
            assert file_bytes(tmp_path) <= quota + CHUNK
            confirmed = sum(stored.values())
            assert counts.produced - counts.waiting - counts.lost <= confirmed
        assert counts.lost > 0


async def test_a_lane_keeps_to_its_own_share_and_takes_nothing_of_the_others(tmp_path: Path):
    quotas = {Stream.DIAG: Quota(most_bytes=50_000), Stream.FACT: Quota(most_bytes=200_000)}
    async with store_in(tmp_path, quotas=quotas) as store:
        await store.commit(dictionary=dictionary())
        for i in range(100):
            values = {str(n): random.random() for n in range(100)}
            await store.commit(
                facts=[
                    HealthReported(at=i, values=values),
                    Aggregated(at=i, tag="t", start=0, count=1, bad=0),
                    state(i),
                ],
                readings=[batch(1000, noise=True, start=i)],
            )
        books = store._writer._outbox.books
        assert held_bytes(books, Stream.DIAG) <= 50_000
        assert held_bytes(books, Stream.FACT) <= 200_000
        assert await held(store, Stream.AGG) == [(1, 100)]
        assert {(stream, reason) for stream, _, _, reason in await losses(store)} == {(3, "shed"), (5, "shed")}
        lanes = store.counts().lanes
        assert lanes[Stream.FACT].lost + lanes[Stream.DIAG].lost == store.counts().lost
        assert store.counts().alarms == {}


async def test_audit_over_its_limit_is_kept_and_an_alarm_says_so_until_the_cloud_has_it(tmp_path: Path, caplog):
    async with store_in(tmp_path, quotas={Stream.AUDIT: Quota(most_bytes=20_000)}) as store:
        for i in range(200):
            await store.commit(facts=[Audited(at=i, actor="a", action="b", detail={"x": f"{random.random()}" * 9})])
        (alarm,) = store.counts().alarms.values()
        assert alarm.startswith("lane audit holds")
        assert "check the uplink" in alarm
        assert await held(store, Stream.AUDIT) == [(1, 200)]
        await store.apply([Watermark(inc=store.incarnation, stream=1, stored=200, safe=200)])
        await store.commit(facts=[Audited(at=1, actor="a", action="b")])
        assert store.counts().alarms == {}
    assert caplog.text.count("over its limit") == 1
    assert "well again" in caplog.text


async def test_hours_of_autonomy_come_from_real_rates_and_the_tightest_limit(tmp_path: Path):
    quotas = {Stream.FACT: Quota(most_bytes=40 * MB), Stream.DIAG: Quota(most_ns=3_600 * 10**9)}
    async with store_in(tmp_path, quota=256 * MB, quotas=quotas) as store:
        await store.commit(dictionary=dictionary())
        assert store.counts().autonomy_hours is None
        for i in range(30):
            await store.commit(readings=[batch(1000, noise=True, start=i)], facts=[HealthReported(at=i, values={})])
        seen = store._autonomy._seen
        seen.appendleft((seen[0][0] - 3600 * 10**9, {}))  # as if it had taken an hour
        counts = store.counts()
        fact = counts.lanes[Stream.FACT]
        assert fact.autonomy_hours == pytest.approx((40 * MB - fact.waiting_bytes) / fact.bytes_per_hour, rel=0.01)
        assert 0.9 < counts.lanes[Stream.DIAG].autonomy_hours <= 1.0
        assert counts.autonomy_hours == counts.lanes[Stream.DIAG].autonomy_hours
        await store.apply([Watermark(inc=store.incarnation, stream=3, stored=30_001, safe=0)])
        assert store.counts().lanes[Stream.FACT].autonomy_hours > fact.autonomy_hours  # what is stored gives way


def test_the_site_file_names_shares_by_lane():
    told = {"id": "a", "tenant": "b", "site": "c", "quota": {"fact": {"mb": 100, "hours": 72}, "audit": {"mb": 5}}}
    gateway = Gateway.model_validate(told)
    assert (gateway.quota.fact.mb, gateway.quota.fact.hours, gateway.quota.audit.mb) == (100, 72, 5)
    assert (gateway.ring_mb, gateway.group_ms, gateway.quota.diag.mb) == (256, 100, None)
    with pytest.raises(ValueError, match="hours"):
        Gateway.model_validate(told | {"quota": {"audit": {"hours": 1}}})
