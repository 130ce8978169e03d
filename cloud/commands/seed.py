"""`triflow cloud seed`: a made-up past that could have happened, through the real ingest; and proof that it could."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from cloud.config import Settings
from cloud.database import Database, open_database
from cloud.plant import Plants
from cloud.running import alone
from cloud.seed import identities, send
from sync.clock import Clock, WallClock

EXIT_FAULTS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to tell."""

    days: int
    end: date | None = None
    """Last business date; today where None."""
    seed: int = 1
    check_only: bool = False


def run(settings: Settings, asked: Asked, clock: Clock | None = None) -> tuple[int, list[str]]:
    """Seed and check every configured site; gives the exit status and what to say. Raises SeedError, DatabaseError."""
    with alone(settings):
        return asyncio.run(_run(settings, asked, clock or WallClock()))


async def _run(settings: Settings, asked: Asked, clock: Clock) -> tuple[int, list[str]]:
    plants = Plants(settings)
    if not settings.file.sites:
        raise send.SeedError("cloud.toml has no [[site]]; write an example with --init FOLDER")
    lines: list[str] = []
    async with open_database(settings.database_url) as database:
        if not asked.check_only:
            lines += await _tell(database, plants, asked, clock)
        now_ms = clock.now() // send.NS
        found = await database.read(lambda c: identities.check_all(c, plants, now_ms))
    lines += [f"  {'holds ' if one.holds else 'BROKEN'} {one.name}: {one.told}" for one in found]
    return 0 if all(one.holds for one in found) else EXIT_FAULTS, lines


async def _tell(database: Database, plants: Plants, asked: Asked, clock: Clock) -> list[str]:
    began = time.monotonic()
    lines: list[str] = []
    for site in plants.file.sites:
        today = datetime.fromtimestamp(clock.now() / 1e9, UTC).astimezone(plants[site.tenant, site.id].calendar.zone)
        last = today.date() if asked.end is None else asked.end
        if last > today.date():
            raise send.SeedError(f"the end {last} lies in the future; a past ends today ({today.date()}) or earlier")
        first = last - timedelta(days=asked.days - 1)
        told = await send.tell(database, plants, site, seed=asked.seed, first=first, last=last, clock=clock)
        lines.append(
            f"{site.tenant}/{site.id}: {told.first} to {told.last}, {len(site.work_units)} lines, {told.records:,} new"
            f" records, {told.known:,} chunks known before"
        )
    buckets = await send.compute(database, plants, clock.now() // send.NS)
    lines.append(f"{buckets:,} buckets of the marts computed; {time.monotonic() - began:.1f} s in all")
    return lines
