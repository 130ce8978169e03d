"""What has to be done now and then, whether or not a gateway speaks: orders from the command line, orphans."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

from cloud.database import Database, DatabaseError
from cloud.ingest import orders, orphans
from cloud.plant import Plants

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
SWEEP_S: Final = 60.0


async def run_chores(database: Database, file: Path | None, plants: Plants) -> None:
    """Do them for ever. file: of SQLite, beside which orders are left."""
    swept = 0.0
    while True:
        try:
            if file is not None:
                await _orders(database, file, plants)
            if time.monotonic() - swept > SWEEP_S:
                for lost in await database.write(lambda c: orphans.sweep(c, time.time_ns() // 1_000_000)):
                    log.warning("an incarnation that never came back: declared lost: %s", lost)
                swept = time.monotonic()
        except DatabaseError as error:
            log.debug("chores wait for the database: %s", error)
        await asyncio.sleep(LOOK_S)


async def _orders(database: Database, file: Path, plants: Plants) -> None:
    for path in await asyncio.to_thread(orders.waiting, file):
        work = await asyncio.to_thread(orders.take_up, path, plants)
        if work is None:
            continue
        try:
            words = await database.write(work)
        except orders.OrderError as error:
            await asyncio.to_thread(orders.answer, path, str(error), refused=True)
        else:
            log.info("ordered: %s", words)
            await asyncio.to_thread(orders.answer, path, words)
