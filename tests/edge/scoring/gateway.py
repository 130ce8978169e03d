"""A gateway's models on a real store: site file, packages, Scoring running; everything but the machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from edge import bundles
from edge.scoring import Scorer, Scoring
from edge.scoring.orders import Answer, Order, order_id
from edge.site import Site, load
from edge.store import Store
from sync.chunk import decode
from sync.clock import Clock, WallClock
from sync.facts import Fact, Stream
from tests.edge.scoring import moody
from tests.edge.stores import store_in, until

WORK_UNIT = "hall/line-1/press"
OTHER = "hall/line-2/press"
SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[models]
trusted = ["{key}"]
[[connection]]
name = "sim"
driver = "simulated"
[[line]]
work_unit = "hall/line-1/press"
connection = "sim"
book = "press.toml"
rules = "press.rules.toml"
{model}
[[line]]
work_unit = "hall/line-2/press"
connection = "sim"
book = "press.toml"
"""
BOOK = """
title = "Press"
[[tag]]
name = "load"
address = "load"
low = 0
high = 1
"""
RULES = """
[ruleset]
name = "press"
version = "1.0.0"
title = { ko = "프레스", en = "Press" }
policy = "ml_fallback"
[model]
name = "moody"
[[limit]]
name = "load"
title = { ko = "부하", en = "Load" }
value = "load.mean"
warning_high = 0.8
"""
KINDS = ["model", "alarm", "drift"]


def lay_out(folder: Path, *, model: str = "moody-1.0.0.tfm", key: str = moody.TRUSTED) -> Path:
    """Write a site with its book, rules and, under that name, package 1.0.0; gives the site file."""
    (folder / "site.toml").write_text(SITE.format(key=key, model=f'model = "{model}"' if model else ""))
    (folder / "press.toml").write_text(BOOK)
    (folder / "press.rules.toml").write_text(RULES)
    (folder / "moody-1.0.0.tfm").write_bytes(moody.package())
    return folder / "site.toml"


@dataclass
class Gateway:
    """A running one."""

    site: Site
    store: Store
    scoring: Scoring
    scorer: Scorer

    async def facts(self) -> list[Fact]:
        """What was recorded since the start of this process, and, but for the audit, before."""
        kept = await self.store.kept(self.store.incarnation, Stream.AUDIT, 1, 10_000, 10_000)
        audited = [fact for chunk in kept for fact in decode(chunk.body, chunk.count)]
        return [*await self.store.recent(KINDS, 200), *audited]

    async def order(self, what: str, package: bytes | None = None, line: str = WORK_UNIT, **more) -> Answer:
        digest = ""
        if package is not None:
            digest = hashlib.sha256(package).hexdigest()
            bundles.keep(self.site.data, digest, package)
        return await self.scoring.obey(
            Order(order=order_id(1), at=1, actor="kim", what=what, line=line, package=digest, **more)
        )

    async def active(self) -> None:
        await until(lambda: self.scorer.state == "active", "the model is active")


@contextlib.asynccontextmanager
async def running(folder: Path, *, clock: Clock | None = None, **more) -> AsyncIterator[Gateway]:
    site = load(folder / "site.toml")
    clock = clock or WallClock()
    async with store_in(site.data, clock=clock) as store:
        scoring = Scoring(site, store, clock, **more)
        task = asyncio.create_task(scoring.run())
        try:
            yield Gateway(site, store, scoring, scoring.scorer(WORK_UNIT))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
