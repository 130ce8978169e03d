"""A tag that a machine refuses for good is drift, said once; one that fails for a moment is not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from edge.drift import TagDrift
from edge.recording import Recording
from edge.site import load
from edge.store import Store, open_store
from sync.chunk import decode
from sync.clock import WallClock
from sync.facts import SchemaDrifted, Stream

SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[[connection]]
name = "machine"
driver = "simulated"
[[line]]
work_unit = "hall/line-1/filler"
connection = "machine"
book = "book.toml"
"""
BOOK = """
title = "Filler"
[[tag]]
name = "temperature"
address = "t"
[[tag]]
name = "pressure"
address = "p"
"""
PRESSURE = "hall/line-1/filler/pressure"


@contextlib.asynccontextmanager
async def gateway(folder: Path, book: str = BOOK) -> AsyncIterator[tuple[Recording, TagDrift]]:
    (folder / "site.toml").write_text(SITE)
    (folder / "book.toml").write_text(book)
    site = load(folder / "site.toml")
    async with open_store(site.data, clock=WallClock(), quota_bytes=2**26, ballast_bytes=0, software="test") as store:
        recording = Recording(site, store, WallClock())
        recording.sources["machine"].state = "connected"
        yield recording, TagDrift(recording)


async def said(store: Store) -> list[tuple[str, list[str], dict[str, int]]]:
    found = []
    for incarnation in (await store.holdings())[0]:
        after = 0
        while chunk := (await store.next_chunk(incarnation.inc, Stream.EVENT, after)).chunk:
            found += decode(chunk.body, chunk.count)
            after = chunk.first + chunk.count - 1
    return [(f.severity, f.changes, f.counts) for f in found if isinstance(f, SchemaDrifted)]


async def test_a_refusal_that_lasts_is_said_once_and_its_end_too(tmp_path: Path) -> None:
    gone = ("critical", [f"{PRESSURE} is refused: p: no such node"], {"tag_refused": 1})
    async with gateway(tmp_path) as (recording, drift):
        bad = recording.sources["machine"].health.bad_items
        await drift.look()
        bad[1] = "p: no such node"
        await drift.look()
        assert await said(recording.store) == [], "it may be a moment only"
        await drift.look()
        await drift.look()
        assert await said(recording.store) == [gone]
    async with gateway(tmp_path) as (recording, drift):
        bad = recording.sources["machine"].health.bad_items
        bad[1] = "p: no such node"
        for _ in range(3):
            await drift.look()
        assert await said(recording.store) == [gone], "a restart does not say it again"
        bad.pop(1)
        await drift.look()
        assert (await said(recording.store))[1:] == [("info", [f"{PRESSURE} is served again"], {"tag_served": 1})]


async def test_what_a_lost_connection_refuses_is_no_drift(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (recording, drift):
        source = recording.sources["machine"]
        source.health.bad_items |= {0: "t: silent", 1: "p: silent"}
        await drift.look()
        source.state = "down"
        await drift.look()
        source.state = "connected"
        await drift.look()
        source.health.bad_items.clear()
        await drift.look()
        assert await said(recording.store) == []


async def test_many_refusals_are_one_fact_of_bounded_length(tmp_path: Path) -> None:
    tags = "".join(f'[[tag]]\nname = "t{i}"\naddress = "t{i}"\n' for i in range(80))
    async with gateway(tmp_path, f'title = "Filler"\n{tags}') as (recording, drift):
        recording.sources["machine"].health.bad_items |= dict.fromkeys(range(80), "gone")
        await drift.look()
        await drift.look()
        ((severity, changes, counts),) = await said(recording.store)
        assert (severity, len(changes), changes[-1], counts) == ("critical", 50, "and 31 more", {"tag_refused": 80})
