"""What goes on behind the pages: jobs step by step, and corrections that missed their facts."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from cloud.bus import Bus
from cloud.database import Database, DatabaseError
from cloud.etl.steps import Work
from cloud.etl.sweep import sweep
from cloud.plant import Plants

log = logging.getLogger(__name__)

IDLE_S: Final = 0.5
STEP_S: Final = 0.02
"""Between two steps: ingest and refresher come first."""
SWEEP_S: Final = 5.0


async def run_worker(database: Database, plants: Plants, bus: Bus) -> None:
    """Work for ever; a database that is away is waited for."""
    work, swept = Work(database, plants), 0.0
    while not bus.closing.is_set():
        busy = False
        try:
            busy = await work.step(time.time_ns() // 1_000_000)
            if time.monotonic() - swept > SWEEP_S:
                swept = time.monotonic()
                if found := await database.write(lambda c: sweep(c, plants, time.time_ns())):
                    log.info("%d facts met corrections that had missed them", found)
        except DatabaseError as error:  # the refresher says so
            log.debug("jobs wait for the database: %s", error)
        await asyncio.sleep(STEP_S if busy else IDLE_S)
