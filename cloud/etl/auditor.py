"""The auditor: recomputes buckets by chance, for ever, and says where a mart is not what its records come to.

It reads beside ingest and never holds it up; while buckets wait to be refreshed it rests. A difference is looked at
twice before it counts, is named figure by figure, and stays until somebody mends it: a mart that was wrong once may be
wrong elsewhere, and who only saw it mended would never know.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import Final

from cloud.bus import Bus
from cloud.database import Connection, Database, DatabaseError
from cloud.etl import mismatches
from cloud.etl.recompute import Difference, any_bucket, differences
from cloud.marts import ledger
from cloud.marts.ledger import Bucket
from cloud.plant import Plants

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
AGAIN_S: Final = 0.3
"""Before a difference is looked at a second time."""
BUSY: Final = 64
"""Buckets that wait: ingest has much to do, and does not need us."""
AT_ONCE: Final = 32
"""Buckets with open findings that are looked at again at one time."""
FLUSH_S: Final = 30.0
RECHECK_S: Final = 10.0


@dataclass(slots=True)
class Count:
    """What was looked at since it was last written down."""

    checked: int = 0
    differing: int = 0


class Auditor:
    """Looks for every tenant in turn."""

    def __init__(
        self, database: Database, plants: Plants, chance: random.Random | None = None, *, again_s: float = AGAIN_S
    ) -> None:
        self._database = database
        self._plants = plants
        self._chance = chance or random.Random()  # noqa: S311 - which bucket is looked at is no secret
        self._again_s = again_s
        self._turn = 0
        self._counts: dict[str, Count] = {}
        self._flushed = self._rechecked = 0.0

    async def look(self, now_ms: int) -> list[Difference]:
        """Look at one bucket of the next tenant; gives what is wrong with it, which is then on record."""
        tenants = self._plants.tenants
        if not tenants:
            return []
        tenant = tenants[self._turn % len(tenants)]
        self._turn += 1

        def one(connection: Connection) -> tuple[Bucket | None, list[Difference] | None]:
            if ledger.pending(connection, now_ms) > BUSY:
                return None, None
            bucket = any_bucket(connection, self._plants, tenant, self._chance, now_ms)
            return bucket, None if bucket is None else differences(connection, self._plants, bucket, now_ms)

        bucket, found = await self._database.read(one)
        if bucket is None or found is None:
            return []
        return await self.settle(bucket, found, now_ms)

    async def settle(self, bucket: Bucket, found: list[Difference], now_ms: int) -> list[Difference]:
        """Count a bucket that was looked at; what seems wrong is looked at again, and then put on record."""
        tenant = bucket[0][0]
        count = self._counts.setdefault(tenant, Count())
        count.checked += 1
        if not found:
            return []
        await asyncio.sleep(self._again_s)
        again = await self._database.read(lambda c: differences(c, self._plants, bucket, now_ms))
        if not again:
            return []
        count.differing += 1
        await self._database.write(lambda c: mismatches.note(c, again, now_ms))
        first = again[0]
        log.error(
            "a mart is not what its records come to: %s of %s, bucket %d %s, %s: stored %s, recomputed %s (%d figures)",
            first.mart, "/".join(bucket[0]), first.start_ms, first.line, first.measure, first.stored, first.recomputed,
            len(again),
        )  # fmt: skip
        await self.flush(now_ms, tenant)
        return again

    async def recheck(self, now_ms: int) -> int:
        """Look again at some of what was found wrong; gives how many figures are right by now.

        A few at a time, by chance, on a reader: a rebuild may have found thousands, and ingest needs the writer.
        """

        def righted(connection: Connection) -> list[Bucket]:
            stand = [one for tenant in self._plants.tenants for one in mismatches.open_buckets(connection, tenant)]
            some = self._chance.sample(stand, min(len(stand), AT_ONCE))
            return [one for one in some if mismatches.righted(connection, self._plants, one, now_ms)]

        buckets = await self._database.read(righted)
        if not buckets:
            return 0
        return await self._database.write(lambda c: mismatches.mended(c, self._plants, buckets, now_ms))

    async def flush(self, now_ms: int, mismatch_of: str = "") -> None:
        """Write the counts down."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        rows = [
            (tenant, one.checked, one.differing, now_ms, now_ms if tenant == mismatch_of else None)
            for tenant, one in sorted(counts.items())
        ]
        await self._database.write(lambda c: c.many(_COUNT, rows))

    def unwritten(self, tenant: str) -> Count:
        """Give what was looked at and is not written down yet."""
        return self._counts.get(tenant, Count())

    async def turn(self, now_ms: int) -> None:
        """One turn: a bucket, and now and then what else is due."""
        await self.look(now_ms)
        if time.monotonic() - self._rechecked > RECHECK_S:
            self._rechecked = time.monotonic()
            await self.recheck(now_ms)
        if time.monotonic() - self._flushed > FLUSH_S:
            self._flushed = time.monotonic()
            await self.flush(now_ms)


_COUNT: Final = (
    "insert into mart_audit(tenant, checked, differing, last_ms, mismatch_ms) values(?,?,?,?,?) on conflict(tenant)"
    " do update set checked=mart_audit.checked+excluded.checked, differing=mart_audit.differing+excluded.differing,"
    " last_ms=excluded.last_ms, mismatch_ms=coalesce(excluded.mismatch_ms, mart_audit.mismatch_ms)"
)


async def run_auditor(auditor: Auditor, bus: Bus) -> None:
    """Look for ever."""
    while not bus.closing.is_set():
        await asyncio.sleep(EVERY_S)
        try:
            await auditor.turn(time.time_ns() // 1_000_000)
        except DatabaseError as error:  # the refresher says so
            log.debug("the auditor waits for the database: %s", error)
