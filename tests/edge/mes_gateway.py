"""A gateway's MES and ERP half as a process that a test may kill: `python -m tests.edge.mes_gateway FOLDER`.

It reads an ERP and counts pieces of one order after the other, until the file `stop` appears; then it ends the order.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from edge.recording import Recording
from edge.site import load
from edge.sources import Sources
from edge.store import open_store
from sync.clock import WallClock
from sync.facts import Context, Produced, StateChanged


async def main(folder: Path) -> None:
    site = load(folder / "site.toml")
    async with open_store(site.data, clock=WallClock(), quota_bytes=2**26, ballast_bytes=0, software="test") as store:
        await store.commit(dictionary=site.table.dictionary(1))
        recording = Recording(site, store, WallClock())
        sources = Sources(recording)
        (unit,) = recording.pipelines
        asking = [asyncio.create_task(sources.keep_asking(c)) for c in site.file.connections if c.name != "machine"]
        while not (folder / "stop").exists():
            now = time.time_ns()
            context = Context(order=f"O{now // 400_000_000}")
            made = Produced(at=now, work_unit=unit, start=now - 1, produced=3, good=2, scrap=1, context=context)
            await recording.commit([], [made])
            await asyncio.sleep(0.005)
        await recording.commit([], [StateChanged(at=time.time_ns(), work_unit=unit, state="IDLE")])
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
