"""A cloud with verdicts of a real judge in it, on either database, and its API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync.facts import Fact
from tests.cloud.gateway import Start


@dataclass
class Fleet:
    """The cloud of one test, and the pen of its gateway."""

    database: Database
    plants: Plants
    answers: Answers
    web: httpx.AsyncClient
    start: Start = field(default_factory=Start)

    async def say(self, *facts: Fact, start: Start | None = None) -> None:
        """Store facts as a gateway's chunk."""
        start = start or self.start
        items = [Item(start.address, start.resume()), Item(start.address, *start.facts(*facts))]
        await self.database.write(lambda c: Ingest(self.plants).store(c, items))

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.web.get(f"/api/v1{path}")
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, said: Any, status: int = 200) -> Any:
        answer = await self.web.post(f"/api/v1{path}", json=said)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda c: c.execute(sql, values))


@pytest.fixture
async def fleet(database: Database, plants: Plants) -> AsyncIterator[Fleet]:
    answers = Answers(database, plants, Bus())
    transport = httpx.ASGITransport(create_app(answers, CollectorRegistry()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud", timeout=120) as web:
        yield Fleet(database, plants, answers, web)
