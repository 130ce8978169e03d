"""Today's figures, kept for a moment for the next reader; what they are held against changes slowly and is kept longer."""

from __future__ import annotations

import time
from typing import Any, Final

from cloud.bi import today
from cloud.database import Connection, Database
from cloud.plant import Plants

FRESH_S: Final = 0.5
BEFORE_S: Final = 60.0
"""The same time yesterday moves with the clock: a minute of it is nothing anybody sees."""

Json = dict[str, Any]


class Today:
    """Reads for the row of cards."""

    def __init__(self, database: Database, plants: Plants) -> None:
        self._database = database
        self._plants = plants
        self._known: dict[str, tuple[float, Json]] = {}
        self._before: dict[str, tuple[float, Json]] = {}

    async def answer(self, tenant: str) -> Json:
        """Give GET /today."""
        known = self._known.get(tenant)
        if known is not None and time.monotonic() - known[0] < FRESH_S:
            return known[1]
        earlier = self._before.get(tenant)
        stale = earlier is None or time.monotonic() - earlier[0] >= BEFORE_S
        now_ms = time.time_ns() // 1_000_000

        def read(connection: Connection) -> tuple[Json, Json | None]:
            past = today.before(connection, self._plants, tenant, now_ms) if stale else None
            return today.today(connection, self._plants, tenant, now_ms), past

        found, past = await self._database.read(read)
        if past is not None:
            self._before[tenant] = earlier = (time.monotonic(), past)
        answer = today.compared(found, {"date": None, "values": {}} if earlier is None else earlier[1])
        self._known[tenant] = (time.monotonic(), answer)
        return answer
