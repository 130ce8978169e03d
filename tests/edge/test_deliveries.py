"""Offers seen through: on record what became of each, whatever happened on the way. Real store, real HTTPS."""

# ruff: noqa: F811, SIM117 - fixtures come from next door; the outer block is the world, the inner one the subject

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.deliveries import CHECKPOINT, NO_ADDRESS, OPEN, Deliveries
from edge.packages import PackageFolder
from edge.store import Store
from sync.chunk import decode
from sync.clock import WallClock
from sync.facts import Audited, Stream
from sync.frames import Offer
from tests.edge.stores import store_in, until
from tests.edge.test_packages import GATEWAY, KEY, QUICK, Cloud, Rationed, ca, cloud, package  # noqa: F401
from tests.servers import free_port

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
DAY = 86_400 * 10**9


def offer(digest: str, size: int, *, ends_in: int = DAY, path: str = "") -> Offer:
    at = time.time_ns() + ends_in
    return Offer(nonce="n", digest=digest, size=size, path=path or f"/packages/{digest}", expires=at)


async def audited(store: Store) -> list[tuple[str, str, str]]:
    """Give (action, digest, why) of what is on record about packages."""
    found = await store.kept(store.incarnation, Stream.AUDIT, 1, 10_000, 10_000)
    facts = [fact for chunk in found for fact in decode(chunk.body, chunk.count)]
    about = [fact for fact in facts if isinstance(fact, Audited) and fact.action.startswith("package.")]
    return [(fact.action, fact.target, fact.detail.get("why", "")) for fact in about]


@contextlib.asynccontextmanager
async def running(store: Store, packages: PackageFolder | str, url: str, *, ahead_ms: int | None = 0, **more):
    made = Deliveries(store, packages, url, WallClock(), lambda: ahead_ms, again_s=0.01, **more)
    task = asyncio.create_task(made.run(), name="packages")
    try:
        yield made
    finally:
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(end, Exception):
            raise end


async def answers(store: Store, count: int) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found = await audited(store)
            await asyncio.sleep(0.02)
    return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with store_in(tmp_path / "data", clock=WallClock()) as opened:
        yield opened


def folder(tmp_path: Path, cloud: Cloud, **more) -> PackageFolder:
    return PackageFolder(tmp_path / "data" / "packages", GATEWAY, KEY, WallClock(), tls=cloud.tls, patience=replace(QUICK, **more))  # fmt: skip


def there(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "data" / "packages").iterdir())


async def test_an_offer_arrives_and_is_answered_once(cloud: Cloud, store: Store, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 300_000)
    one = offer(digest, len(content))
    async with running(store, folder(tmp_path, cloud), f"https://localhost:{cloud.port}") as deliveries:
        deliveries.offered(one)
        assert await answers(store, 1) == [("package.received", digest, "")]
        deliveries.offered(one)  # said again in the next session
        again = offer(digest, len(content), ends_in=2 * DAY)
        deliveries.offered(again)  # offered anew: has an answer of its own
        assert await answers(store, 2) == 2 * [("package.received", digest, "")]
    assert (tmp_path / "data" / "packages" / digest).read_bytes() == content
    assert len(cloud.requests) == 1


async def test_without_an_address_an_offer_is_refused(store: Store):
    async with running(store, NO_ADDRESS, "") as deliveries:
        deliveries.offered(offer("a" * 64, 10))
        ((action, digest, why),) = await answers(store, 1)
    assert (action, digest) == ("package.refused", "a" * 64)
    assert "no address" in why
    assert "[uplink]" in why


async def test_an_expired_offer_is_left(cloud: Cloud, store: Store, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    async with running(store, folder(tmp_path, cloud), f"https://localhost:{cloud.port}") as deliveries:
        deliveries.offered(offer(digest, len(content), ends_in=-1))
        assert await answers(store, 1) == [("package.refused", digest, "it expired before it was here")]
    assert cloud.requests == []


@pytest.mark.parametrize(("ahead_ms", "action"), [(None, "received"), (3_600_000, "received"), (-3_600_000, "refused")])
async def test_the_clouds_clock_decides_what_is_expired(cloud: Cloud, store: Store, tmp_path: Path, ahead_ms, action):
    """A clock an hour ahead of the cloud's expires nothing too early; one that nobody compared expires nothing."""
    digest, content = package(cloud, tmp_path, 1000)
    minutes = (-30 if action == "received" else 30) * 60 * 10**9
    url = f"https://localhost:{cloud.port}"
    async with running(store, folder(tmp_path, cloud), url, ahead_ms=ahead_ms) as deliveries:
        deliveries.offered(offer(digest, len(content), ends_in=minutes))
        assert [(a, d) for a, d, _ in await answers(store, 1)] == [(f"package.{action}", digest)]


async def test_a_package_that_expires_while_it_is_fetched_is_given_up(store: Store, tmp_path: Path, cloud: Cloud):
    digest, content = package(cloud, tmp_path, 2_000_000)
    async with Rationed(cloud.port, 1_000_000, cuts=False) as way:
        async with running(store, folder(tmp_path, cloud), f"https://localhost:{way.port}") as deliveries:
            deliveries.offered(offer(digest, len(content), ends_in=2 * 10**9))
            assert [(a, d) for a, d, _ in await answers(store, 1)] == [("package.refused", digest)]
    assert digest not in there(tmp_path)


async def test_one_that_never_could_be_fetched_says_why_when_it_expires(store: Store, tmp_path: Path, cloud: Cloud):
    digest, content = package(cloud, tmp_path, 1000)
    async with running(store, folder(tmp_path, cloud, attempts=1), f"https://localhost:{free_port()}") as deliveries:
        deliveries.offered(offer(digest, len(content), ends_in=10**9))
        ((action, _, why),) = await answers(store, 1)
    assert action == "package.refused"
    assert why.startswith("it expired before it was here; before: ")
    assert "given up at 0 of 1000 bytes" in why
    assert "check the network" in why


async def test_a_wrong_size_is_refused(cloud: Cloud, store: Store, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    async with running(store, folder(tmp_path, cloud), f"https://localhost:{cloud.port}") as deliveries:
        deliveries.offered(offer(digest, len(content) + 1))
        ((action, _, why),) = await answers(store, 1)
    assert action == "package.refused"
    assert "is 1000 bytes; 1001 were announced" in why


async def test_without_room_on_the_disk_it_is_refused(cloud: Cloud, store: Store, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 1000)
    packages = folder(tmp_path, cloud, reserve_bytes=1 << 60)
    async with running(store, packages, f"https://localhost:{cloud.port}") as deliveries:
        deliveries.offered(offer(digest, len(content)))
        ((action, _, why),) = await answers(store, 1)
    assert action == "package.refused"
    assert "make room on the disk" in why


async def test_one_larger_than_all_that_may_be_kept_drives_nothing_out(cloud: Cloud, store: Store, tmp_path: Path):
    small, content = package(cloud, tmp_path, 400)
    large, more = package(cloud, tmp_path, 1001)
    url = f"https://localhost:{cloud.port}"
    async with running(store, folder(tmp_path, cloud), url, most_bytes=1000) as deliveries:
        deliveries.offered(offer(small, len(content)))
        await answers(store, 1)
        deliveries.offered(offer(large, len(more)))
        (_, (action, _, why)) = await answers(store, 2)
    assert action == "package.refused"
    assert "there is no room for 1001 bytes" in why
    assert there(tmp_path) == [small]


async def test_the_oldest_give_way_and_that_is_on_record(cloud: Cloud, store: Store, tmp_path: Path):
    made = [package(cloud, tmp_path, 300) for _ in range(4)]
    digests = [digest for digest, _ in made]
    url = f"https://localhost:{cloud.port}"
    async with running(store, folder(tmp_path, cloud), url, most=3, most_bytes=700) as deliveries:
        for number, (digest, content) in enumerate(made):
            deliveries.offered(offer(digest, len(content)))
            await until(lambda d=digest: (tmp_path / "data" / "packages" / d).exists(), "it is there")
            os.utime(tmp_path / "data" / "packages" / digest, (number, number))
            await answers(store, number + 1 + max(0, number - 1))
        said = await audited(store)
    assert there(tmp_path) == sorted(digests[2:])
    assert [digest for action, digest, _ in said if action == "package.dropped"] == digests[:2]


async def test_one_begun_before_a_restart_goes_on_although_nobody_offers_it_again(cloud: Cloud, tmp_path: Path):
    digest, content = package(cloud, tmp_path, 2_000_000)
    async with (
        Rationed(cloud.port, 1_500_000, cuts=False) as way,
        store_in(tmp_path / "data", clock=WallClock()) as store,
    ):
        async with running(store, folder(tmp_path, cloud), f"https://localhost:{way.port}") as deliveries:
            deliveries.offered(offer(digest, len(content)))
            await way.still.wait()
    assert there(tmp_path) == [f"{digest}.part"]
    async with store_in(tmp_path / "data", clock=WallClock()) as store:
        async with running(store, folder(tmp_path, cloud), f"https://localhost:{cloud.port}", ahead_ms=None):
            assert await answers(store, 1) == [("package.received", digest, "")]
    assert (tmp_path / "data" / "packages" / digest).read_bytes() == content
    assert cloud.requests[-1][0].startswith("bytes=")


async def test_a_cloud_that_is_away_is_waited_for_and_others_get_their_turn(cloud: Cloud, store: Store, tmp_path: Path):
    one, content = package(cloud, tmp_path, 700_000)
    other, more = package(cloud, tmp_path, 700_000)
    async with Rationed(cloud.port, 20_000) as way:  # hardly more than what TLS says to itself
        async with running(store, folder(tmp_path, cloud, attempts=1), f"https://localhost:{way.port}") as deliveries:
            deliveries.offered(offer(one, len(content)))
            deliveries.offered(offer(other, len(more)))
            await until(lambda: way.connections > 6, "it tries again and again")
            way.ration = 10_000_000
            assert {(a, d) for a, d, _ in await answers(store, 2)} == {("package.received", one), ("package.received", other)}  # fmt: skip


async def test_offers_that_cannot_be_and_too_many_are_passed_over(store: Store):
    deliveries = Deliveries(store, NO_ADDRESS, "", WallClock(), lambda: 0)
    for bad in (
        offer("x", 1),
        offer("A" * 64, 1),
        offer("a" * 64, -1),
        offer("a" * 64, 1 << 40),
        offer("a" * 64, 1, path="/packages/../secret"),
        offer("a" * 64, 1, ends_in=1 << 70),
    ):
        deliveries.offered(bad)
    assert deliveries._open == []
    for number in range(OPEN + 5):
        deliveries.offered(offer(f"{number:064x}", 1))
    assert len(deliveries._open) == OPEN


@pytest.mark.parametrize("damage", [b"", b"{", b'{"open":3}', b'{"open":[["a"]]}'])
async def test_a_damaged_checkpoint_is_an_empty_one(tmp_path: Path, damage: bytes):
    async with store_in(tmp_path / "data") as store:
        await store.commit(checkpoints={CHECKPOINT: damage})
    async with store_in(tmp_path / "data") as store:
        assert Deliveries(store, NO_ADDRESS, "", WallClock(), lambda: 0)._open == []
