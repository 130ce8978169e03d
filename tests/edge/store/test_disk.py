"""No room: the outbox's quota, a full disk (ENOSPC), a file size limit (EFBIG). Nothing silent, never audit or events."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.store import StoreError
from sync.facts import Aggregated, Audited, HealthReported, Stream
from sync.frames import Watermark
from tests.edge.stores import MB, batch, dictionary, state, store_in, until
from tests.servers import ROOT


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A filesystem of that size; needs the right to mount one."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


needs_mount = pytest.mark.skipif(
    os.getuid() != 0, reason="mounting a small filesystem needs root; EFBIG is tested anyway"
)


async def held(store, stream: Stream) -> list[tuple[int, int]]:
    return [
        r
        for one in (await store.holdings())[0]
        for s, lane in one.streams.items()
        if s == str(int(stream))
        for r in lane.held
    ]


async def losses(store) -> list[tuple[int, int, int, str]]:
    return [
        (int(stream), loss.first, loss.last, loss.reason)
        for one in (await store.holdings())[0]
        for stream, lane in one.streams.items()
        for loss in lane.losses
    ]


async def fill(store, rounds: int) -> None:
    for i in range(rounds):
        await store.commit(
            facts=[
                state(i),
                Audited(at=i, actor="a", action="b"),
                HealthReported(at=i, values={"x": i / 7}),
                Aggregated(at=i, tag="t", start=0, count=1, bad=0, mean=i / 3),
            ],
            readings=[batch(1000, noise=True, start=i)],
        )


async def test_at_its_quota_the_outbox_sheds_diag_then_aggregates_then_the_oldest_readings(tmp_path: Path, caplog):
    async with store_in(tmp_path, quota=MB) as store:
        await store.commit(dictionary=dictionary())
        await fill(store, 200)
        counts = store.counts()
        assert counts.used_bytes <= MB * 1.1
        assert counts.produced == 1 + 200 * 1004 == counts.waiting + counts.lost
        assert await held(store, Stream.AUDIT) == [(1, 200)]
        assert await held(store, Stream.EVENT) == [(1, 200)]
        readings = await held(store, Stream.FACT)
        assert readings[0] == (1, 1)  # the dictionary, without which the rest means nothing
        assert readings[-1][1] == 200_001
        told = await losses(store)
        assert {(stream, reason) for stream, _, _, reason in told} == {(3, "shed"), (4, "shed"), (5, "shed")}
        assert len(told) <= 6  # neighbouring losses grow together
        assert sum(last - first + 1 for _, first, last, _ in told) == counts.lost
    assert caplog.text.count("the outbox is at its quota") == 1
    assert "check the uplink" in caplog.text


async def test_what_the_uplink_may_have_sent_already_is_not_shed(tmp_path: Path):
    async with store_in(tmp_path, quota=400_000) as store:
        await store.commit(dictionary=dictionary())
        for i in range(4):
            await store.commit(readings=[batch(1000, noise=True, start=i)])
        for after in (1, 1001):
            assert (await store.next_chunk(store.incarnation, Stream.FACT, after)).chunk is not None
        for i in range(60):
            await store.commit(readings=[batch(1000, noise=True, start=i)])
        assert (await held(store, Stream.FACT))[0] == (1, 2001)
        assert (await losses(store))[0][1] == 2002


async def test_what_the_cloud_has_goes_before_anything_is_lost(tmp_path: Path):
    async with store_in(tmp_path, quota=600_000) as store:
        await store.commit(dictionary=dictionary())
        for i in range(30):
            await store.commit(readings=[batch(1000, noise=True, start=i)])
        await store.apply([Watermark(inc=store.incarnation, stream=3, stored=30_001, safe=0)])  # no backup yet
        assert store.counts().lost == 0
        for i in range(30):
            await store.commit(readings=[batch(1000, noise=True, start=i)])
        counts = store.counts()
        assert counts.lost == 0
        assert counts.waiting == 30_000


@needs_mount
async def test_a_full_disk_sheds_and_goes_on_and_recovers_alone(tmp_path: Path, caplog):
    with small_disk(tmp_path / "disk", 4) as folder:
        async with store_in(folder, ballast=MB // 2) as store:
            await store.commit(dictionary=dictionary())
            await fill(store, 400)  # 3 MB of readings and more
            counts = store.counts()
            assert counts.produced == 1 + 400 * 1004 == counts.waiting + counts.lost
            assert counts.lost > 0
            assert await held(store, Stream.AUDIT) == [(1, 400)]
            assert await held(store, Stream.EVENT) == [(1, 400)]
            assert counts.blocked is None
        assert "the disk is full" in caplog.text
        assert "check what fills it" in caplog.text
        async with store_in(folder) as store:  # what is on that disk opens and balances
            again = store.counts()
            tally = 1  # the last record of an orderly end
            assert (again.produced, again.waiting, again.lost) == (
                counts.produced + tally,
                counts.waiting + tally,
                counts.lost,
            )
            assert store.recovered is None


@needs_mount
async def test_with_nothing_left_to_shed_commits_wait_and_go_on_when_there_is_room(tmp_path: Path):
    with small_disk(tmp_path / "disk", 3) as folder:
        async with store_in(folder) as store:
            await store.commit(facts=[state(0)])
            hog = folder / "hog"
            with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(os.urandom(4096))
            done = 0

            async def work() -> None:
                nonlocal done
                for i in range(300):
                    await store.commit(
                        facts=[Audited(at=i, actor="a", action="b", detail={"x": os.urandom(2000).hex()})]
                    )
                    done += 1

            working = asyncio.create_task(work())
            await until(lambda: store.counts().blocked, "it waits for room")
            assert "free some space" in (store.counts().blocked or "")
            assert not working.done()
            assert len(await store.recent(["state"], 5)) == 1  # reading goes on
            stuck = done
            hog.unlink()
            await asyncio.wait_for(working, 30)
            assert stuck < done == 300
            assert store.counts().blocked is None
            assert await held(store, Stream.AUDIT) == [(1, 300)]


@needs_mount
@pytest.mark.parametrize("size", [20_000, 1_000], ids=["large records", "small records"])
async def test_a_receipt_frees_a_full_disk(tmp_path: Path, size: int):
    with small_disk(tmp_path / "disk", 3) as folder:
        async with store_in(folder) as store:
            working = asyncio.create_task(store_until_blocked(store, size), name="fill")
            await until(lambda: store.counts().blocked, "it waits for room")
            last = store.last[Stream.AUDIT]
            await asyncio.wait_for(
                store.apply([Watermark(inc=store.incarnation, stream=1, stored=last, safe=last)]), 10
            )
            await until(lambda: store.last[Stream.AUDIT] > last, "it goes on")
            assert store.counts().lost == 0
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def store_until_blocked(store, size: int) -> None:
    while True:
        await store.commit(facts=[Audited(at=1, actor="a", action="b", detail={"x": os.urandom(size).hex()})])


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@needs_mount
async def test_a_read_only_filesystem_is_said_with_what_to_check(tmp_path: Path):
    with small_disk(tmp_path / "disk", 3) as folder:
        make_read_only(folder)
        with pytest.raises(StoreError, match=r"Read-only file system.*check gateway.data.*not mounted read-only"):
            async with store_in(folder / "data"):
                pass


LIMITED = """
import asyncio, logging, resource, sys
from pathlib import Path
from sync.facts import Audited
from tests.edge.stores import batch, dictionary, state, store_in
logging.basicConfig(stream=sys.stdout, level="WARNING")
async def main():
    async with store_in(Path(sys.argv[1])) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, resource.RLIM_INFINITY))
        await store.commit(dictionary=dictionary())
        for i in range(200):
            await store.commit(readings=[batch(1000, noise=True, start=i)], facts=[state(i), Audited(at=i, actor="a", action="b")])
        counts = store.counts()
        print("COUNTS", counts.produced, counts.waiting, counts.lost, counts.last)
asyncio.run(main())
"""


async def test_a_file_size_limit_is_a_full_disk_too(tmp_path: Path):
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LIMITED, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said = (await child.communicate())[0].decode()
    assert child.returncode == 0, said
    _, produced, waiting, lost, *_ = next(x for x in said.splitlines() if x.startswith("COUNTS")).split()
    assert int(produced) == 1 + 200 * 1002 == int(waiting) + int(lost)
    assert int(lost) > 0
    assert "the file size limit" in said
    async with store_in(tmp_path) as store:
        assert store.counts().waiting == int(waiting) + 1  # the tally of the end
        assert await held(store, Stream.EVENT) == [(1, 201)]
