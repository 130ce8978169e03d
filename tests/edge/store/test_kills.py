"""kill -9 of a real process while it turns, fills the ring and sheds: at every place that has a name, and at any moment."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from edge.store import Store
from edge.store.ring import records
from sync.chunk import decode
from sync.facts import StateChanged, Stream
from tests.edge.stores import store_in
from tests.servers import ROOT

LIFE = """
import asyncio, os, sys
from pathlib import Path
from sync.facts import HealthReported, Stream
from sync.frames import Watermark
from tests.edge.stores import MB, batch, dictionary, state, store_in
async def main():
    async with store_in(Path(sys.argv[1]), quota=400_000, ring_bytes=MB, group_ms=1) as store:
        tags, n = dictionary(), 0
        while True:
            await store.commit(dictionary=tags)
            for _ in range(6):
                n += 1
                inc = store.incarnation
                await store.commit(facts=[state(n), HealthReported(at=n, values={})], readings=[batch(900, noise=True, start=n)])
                os.write(1, f"{inc} {n}\\n".encode())
            for one in (await store.holdings())[0]:  # a cloud without backups takes events, and some readings
                marks = []
                for number, lane in one.streams.items():
                    if number == "2" or (number == "3" and n % 2):
                        marks.append(Watermark(inc=one.inc, stream=int(number), stored=lane.last, safe=lane.last))
                for mark in marks:
                    os.write(1, f"S {mark.inc} {mark.stream} {mark.stored}\\n".encode())
                await store.apply(marks)
            await store.turn("test")
asyncio.run(main())
"""


async def life(folder: Path, seconds: float, failpoint: str = "") -> str:
    """Run the process until it dies at its failpoint, or is killed; give what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LIFE, str(folder), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env=os.environ | ({"TRIFLOW_FAILPOINT": failpoint} if failpoint else {}),
    )  # fmt: skip
    assert child.stdout is not None
    said = bytearray()
    if not failpoint:
        said += await child.stdout.readline()
        await asyncio.sleep(seconds)
        child.kill()
    said += await child.stdout.read()
    await child.wait()
    assert child.returncode == -signal.SIGKILL
    return said.decode()


async def account(store: Store, folder: Path, said: str) -> None:
    """Every event that was acknowledged is held, or in the ring once the cloud had it; nothing is in two places by number."""
    assert store.recovered is None
    kept: dict[tuple[str, Stream], dict[int, bytes]] = {}
    for path in sorted((folder / "ring").glob("*.seg")):
        for _, chunk, _ in records(path):
            known = kept.setdefault((chunk.inc, chunk.stream), {})
            assert known.setdefault(chunk.first, chunk.digest) == chunk.digest
    reasons: set[str] = set()
    for one in (await store.holdings(1000))[0]:
        for number, lane in one.streams.items():
            after, stream = 0, Stream(int(number))
            while (chunk := (await store.next_chunk(one.inc, stream, after)).chunk) is not None:
                decode(chunk.body, chunk.count)
                assert kept.get((one.inc, stream), {}).get(chunk.first, chunk.digest) == chunk.digest
                after = chunk.first + chunk.count - 1
            places = sorted([*lane.held, *((x.first, x.last) for x in lane.losses)])
            assert all(a[1] < b[0] for a, b in itertools.pairwise(places)), places
            assert all(x.reason == "shed" for x in lane.losses)
            assert not (stream is Stream.EVENT and lane.losses)
    acknowledged = {line.split()[1] for line in said.splitlines() if not line.startswith("S")}
    incs = {line.split()[0] for line in said.splitlines() if not line.startswith("S")}
    for inc in incs:
        for chunk in await store.kept(inc, Stream.EVENT, 1, 10**9, limit=1_000):
            for fact in decode(chunk.body, chunk.count):
                if isinstance(fact, StateChanged):
                    reasons.add(f"{inc} {fact.reason}")
    assert {
        f"{line.split()[0]} r{line.split()[1]}" for line in said.splitlines() if not line.startswith("S")
    } <= reasons
    assert acknowledged


PLACES = ("edge.before_turn", "edge.after_turn", "edge.before_apply", "edge.after_apply", "edge.before_prune", "edge.ring",
          "edge.before_begin", "edge.after_begin", "edge.before_checkpoint")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_killed_where_it_turns_prunes_or_copies_nothing_acknowledged_is_missing(tmp_path: Path, place: str):
    said = ""
    for count in (3, 1) if "begin" not in place else (1, 1):
        said += await life(tmp_path, 0, f"{place}:{count}")
    said += await life(tmp_path, 0.2)
    async with store_in(tmp_path, ring_bytes=1 << 20) as store:
        await account(store, tmp_path, said)
        counts = store.counts()
        assert counts.used_bytes <= 400_000 + 256 * 1024


async def test_killed_at_any_moment_nothing_acknowledged_is_missing(tmp_path: Path):
    said = ""
    for _ in range(8):
        said += await life(tmp_path, random.uniform(0, 0.6))
    assert said, "nothing was acknowledged in any of the lives"
    async with store_in(tmp_path, ring_bytes=1 << 20) as store:
        await account(store, tmp_path, said)
