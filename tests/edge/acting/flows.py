"""A whole gateway's flow in the test's own process, with its page as an HTTP client sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from edge.flow import Flow
from edge.health import Health
from edge.page.api import page_app
from edge.site import load
from edge.store import open_store
from sync.clock import WallClock
from tests.edge.acting.gateway import LINE, verdict_of
from tests.edge.stores import until

PAGE = {"X-Triflow": "page"}


@dataclass
class Running:
    """A flow, and clients of its page."""

    flow: Flow
    facts: list

    @property
    def acting(self):
        return self.flow.acting

    def of(self, kind: type) -> list:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def judge(self, verdict: str, *actions, decision: str = "critical") -> None:
        await self.flow.recording.commit([], [verdict_of(verdict, *actions, decision=decision)])

    def client(self, host: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(page_app(Health(self.flow, None)), client=(host, 50_000))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8090", headers=headers)


@contextlib.asynccontextmanager
async def flowing(site: Path) -> AsyncIterator[Running]:
    """Run the flow of a site until the block ends; its machine is read when the block begins."""
    loaded = load(site)
    async with open_store(
        loaded.data, clock=WallClock(), quota_bytes=2**26, ballast_bytes=0, software="test", group_ms=1
    ) as store:
        flow = Flow(loaded, store, WallClock())
        running = Running(flow, [])
        flow.recording.after.append(lambda facts: (running.facts.extend(facts), ([], {}))[1])
        task = asyncio.create_task(flow.run(), name="flow")
        try:

            def read() -> bool:
                assert not task.done(), task.exception()
                window = flow.pipelines[LINE].now(flow.recording.steady.now())
                return window is not None and all(tag.last is not None for tag in window.tags.values())

            await until(read, "the machine is read")
            yield running
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
