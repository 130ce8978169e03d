"""Every answer that API and pages give, as plain data: one code path for the figure on the page and in the API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from cloud.api.bi import Bi
from cloud.api.desk import Desk
from cloud.api.errors import invalid, not_found
from cloud.api.etl import Etl
from cloud.api.lines import filtered, one_line
from cloud.api.link import LinkSwitch
from cloud.api.log import AuditLog
from cloud.api.oversight import Oversight
from cloud.api.pins import Pins
from cloud.api.quality import Quality
from cloud.api.replays import Replays
from cloud.api.spoken import Spoken
from cloud.api.today import Today
from cloud.bi import lists, times
from cloud.bi.completeness import accounts
from cloud.bi.line import MAX_DAYS, line_detail
from cloud.bi.lines import Lines, lines
from cloud.bi.overview import gateways, overview
from cloud.bi.times import iso, ms_of
from cloud.bus import Bus
from cloud.database import Connection, Database
from cloud.judging.detail import detail
from cloud.packages.store import Packages, beside_the_database
from cloud.plant import Plant, Plants

FRESH_S: Final = 0.2
"""How old an overview may be that is given to one more reader."""

Json = dict[str, Any]


class Answers:
    """Reads for one or more tenants; every method names its tenant first."""

    def __init__(self, database: Database, plants: Plants, bus: Bus) -> None:
        self.database = database
        self.plants = plants
        self.bus = bus
        self.link = LinkSwitch(plants.file.link_control)
        self.oversight = Oversight(database, plants, bus)
        self.etl = Etl(database, plants, bus)
        self.quality = Quality(database, plants, self.oversight)
        self.today = Today(database, plants)
        self.audit = AuditLog(database)
        self.bi = Bi(database, plants)
        self.replays = Replays(database, Packages(beside_the_database(plants.settings)))
        self.spoken = Spoken(database)
        self.pins = Pins(database)
        self.desk = Desk(database, plants, bus)
        self.broker: Callable[[], str] = lambda: "not configured"
        """Says how the connection to the broker is."""
        self._overviews: dict[str, tuple[float, Json, bytes]] = {}

    async def overview(self, tenant: str) -> Json:
        """Give GET /overview as data."""
        return (await self._overview(tenant))[1]

    async def overview_bytes(self, tenant: str) -> bytes:
        """Give GET /overview as JSON."""
        return (await self._overview(tenant))[2]

    async def _overview(self, tenant: str) -> tuple[float, Json, bytes]:
        known = self._overviews.get(tenant)
        if known is not None and time.monotonic() - known[0] < FRESH_S:
            return known
        link = await self.link.state()

        def build(connection: Connection) -> tuple[float, Json, bytes]:
            answer = overview(connection, self.plants, tenant, now_ms=times.now_ms(), link=link)
            return time.monotonic(), answer, orjson.dumps(answer)

        built = self._overviews[tenant] = await self.database.read(build)
        return built

    async def set_link(self, cut: bool) -> Json:
        """Cut or heal the demo's link."""
        said = await self.link.set(cut)
        self._overviews.clear()
        self.bus.changed.set()
        return said

    async def card(self, tenant: str, name: str) -> Json:
        """Give a line as the overview has it, by its key or `site:path`. Raises ApiError where that is not one line."""
        cards = (await self.overview(tenant))["lines"]
        known = Lines(self.plants, tenant, ((card["site"], card["work_unit"]) for card in cards))
        meant = one_line(known, name)
        return next(card for card in cards if (card["site"], card["work_unit"]) == meant)

    async def lines(self, tenant: str) -> Lines:
        """Give how a tenant's lines are asked for and called."""
        return await self.database.read(lambda connection: lines(connection, self.plants, tenant))

    async def line(self, tenant: str, name: str, start: datetime | None, end: datetime | None) -> Json:
        """Give GET /lines/{work_unit}; without a period the present shift, or the last eight hours outside one."""
        card = await self.card(tenant, name)
        plant, work_unit = self.plants[tenant, card["site"]], card["work_unit"]
        now_ms = times.now_ms()
        start_ms, end_ms = _period(plant, start, end, now_ms)
        place = (tenant, card["site"], work_unit)
        return await self.database.read(
            lambda connection: line_detail(
                connection, plant, place, card, start_ms=start_ms, end_ms=end_ms, now_ms=now_ms
            )
        )

    async def verdict(self, tenant: str, verdict_id: str, language: str = "en") -> Json:
        """Give GET /verdicts/{id}. language: of the explanation."""
        now_ms, found = times.now_ms(), None
        if "\0" not in verdict_id:  # which no database text has
            found = await self.database.read(lambda one: detail(one, tenant, verdict_id, language, now_ms))
        if found is None:
            raise not_found(
                f"there is no verdict {verdict_id!r}", "it may not have arrived yet; see /api/v1/completeness"
            )
        return found

    async def gateways(self, tenant: str) -> Json:
        """Give GET /gateways."""
        now_ms = times.now_ms()
        found = await self.database.read(lambda connection: gateways(connection, self.plants, tenant, now_ms))
        return {"as_of": iso(now_ms), "gateways": found}

    async def completeness(self, tenant: str, *, count: bool) -> Json:
        """Give GET /completeness; with `count` every row is counted anew."""
        now_ms = times.now_ms()

        def read(connection: Connection) -> list[Json]:
            counted = lists.count_rows(connection, tenant) if count else {}
            return [
                {
                    **one.total(),
                    "streams": [
                        lists.account_answer(a, counted.get((a.inc, a.stream), 0) if count else None)
                        for a in one.accounts
                    ],
                }
                for one in accounts(connection, tenant)
            ]

        return {"as_of": iso(now_ms), "gateways": await self.database.read(read)}

    async def page(self, what: Literal["verdicts", "alarms", "facts"], tenant: str, query: lists.Query) -> Json:
        """Give one page of a list, newest first, with the exact total. Raises ApiError for a line of several sites."""

        def read(connection: Connection) -> Json:
            asked = query
            if query.site is None and query.work_unit is not None:
                site, unit = filtered(lines(connection, self.plants, tenant), query.work_unit)
                asked = replace(query, site=site, work_unit=unit)
            return lists.page(connection, what, tenant, asked)

        return await self.database.read(read)


def _period(plant: Plant, start: datetime | None, end: datetime | None, now_ms: int) -> tuple[int, int]:
    shift = plant.calendar.at(now_ms)
    if start is None and end is None:
        return (shift.start_ms, shift.end_ms) if shift.scheduled else (now_ms - 8 * 3_600_000, now_ms)
    end_ms = now_ms if end is None else ms_of(end)
    start_ms = end_ms - 8 * 3_600_000 if start is None else ms_of(start)
    if start_ms >= end_ms:
        raise invalid("`from` is not before `to`", "give both as ISO 8601 times, `from` the earlier one")
    if end_ms - start_ms > MAX_DAYS * 86_400_000:
        raise invalid(f"the period is longer than {MAX_DAYS} days", "ask for a shorter one")
    return start_ms, end_ms
