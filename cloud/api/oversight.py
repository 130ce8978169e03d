"""Answers about the ledger and who watches it: hours, one line's question, requests, alerts, backups, findings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cloud.api.errors import invalid, not_found
from cloud.api.lines import one_line
from cloud.bi import alerts, times
from cloud.bi.hours import HOUR_MS, GatewayHours, Sums, by_hour, hour_answer
from cloud.bi.lines import lines
from cloud.bi.overview import gateways
from cloud.bi.questions import (
    MAX_RANGES,
    STREAMS,
    Asked,
    Missing,
    ask,
    missing,
    requests,
    silences,
    verdict,
)
from cloud.bi.times import iso, ms_of
from cloud.bus import Bus
from cloud.database import Connection, Database, DatabaseError
from cloud.plant import Plants
from sync.settings import nearest

log = logging.getLogger(__name__)

Json = dict[str, Any]
SHOWN_MS: Final = 48 * HOUR_MS
MAX_MS: Final = 62 * 24 * HOUR_MS
ALERTS_EVERY_S: Final = 5.0
FRESH_S: Final = 1.0
"""How old the last 48 hours may be that are given to one more reader."""


class Oversight:
    """Reads and asks for one or more tenants; every method names its tenant first."""

    def __init__(self, database: Database, plants: Plants, bus: Bus, now: Callable[[], float] = time.monotonic) -> None:
        """Take the clock by which an answer is fresh, in s."""
        self._now = now
        self._database = database
        self._plants = plants
        self._bus = bus
        self._watch = alerts.Watch()
        self._watched = -ALERTS_EVERY_S
        self._silent = False
        self._recent: dict[str, tuple[float, Json]] = {}

    def _hours(self, connection: Connection, tenant: str, period: tuple[int, int], now_ms: int) -> list[GatewayHours]:
        offline_ms = self._plants.file.offline_after_s * 1000
        return by_hour(connection, tenant, period, now_ms=now_ms, offline_ms=offline_ms)

    async def hours(self, tenant: str, gateway: str | None, start: datetime | None, end: datetime | None) -> Json:
        """Give GET /completeness/hours; without a period the last 48 hours, the running one included."""
        usual = (gateway, start, end) == (None, None, None)
        known_at, known_answer = self._recent.get(tenant, (-FRESH_S, {}))
        if usual and self._now() - known_at < FRESH_S:
            return known_answer
        now_ms = times.now_ms()
        period = _period(start, end, now_ms)
        found = await self._database.read(lambda c: self._hours(c, tenant, period, now_ms))
        if gateway is not None:
            known = [one.accounts.gateway for one in found]
            found = [one for one in found if one.accounts.gateway == gateway]
            if not found:
                raise not_found(f"nothing was ever heard of a gateway {gateway!r}", nearest(gateway, known))
        answer: Json = {
            "as_of": iso(now_ms),
            "start": iso(period[0]),
            "end": iso(period[1]),
            "gateways": [_gateway_answer(one) for one in found],
        }
        if usual:
            self._recent[tenant] = (self._now(), answer)
        return answer

    async def answer(self, tenant: str, work_unit: str, start: datetime | None, end: datetime | None) -> Json:
        """Give GET /completeness/answer: whether a line's period is complete, and if not, why."""
        now_ms = times.now_ms()
        if start is None and end is None:  # the last hour that is over
            over = now_ms // HOUR_MS * HOUR_MS
            period = (over - HOUR_MS, over)
        else:
            period = _period(start, end, now_ms)

        def read(connection: Connection) -> Json:
            site, unit = one_line(lines(connection, self._plants, tenant), work_unit)
            row = connection.one(
                "select g.id, g.name from work_unit w left join gateway g on g.id=w.gateway"
                " where w.tenant=? and w.site=? and w.work_unit=?",
                (tenant, site, unit),
            )
            if row is None:
                raise not_found(
                    f"nothing ever came from the line {work_unit!r}", "GET /api/v1/overview lists the lines"
                )
            number, name = row
            plant = self._plants[tenant, site]
            served = [one for one in self._hours(connection, tenant, period, now_ms) if one.accounts.number == number]
            hours = [hour for one in served for hour in one.hours]
            sums, untold = Sums(), 0
            for hour in hours:
                sums.add(hour.total(STREAMS))
                untold = max(untold, hour.untold)
            quiet = silences(connection, (tenant, site, unit), *period)
            complete, state = verdict(hours, sums, quiet)
            asked = Asked(
                name=plant.full_label(unit),
                gateway=name or "",
                period=period,
                zone=plant.calendar.zone,
                state=state,
                sums=sums,
                untold=untold if state == "unknown" else 0,
                quiet=quiet,
            )
            return {
                "as_of": iso(now_ms),
                "work_unit": unit,
                "site": site,
                "gateway": name,
                "start": iso(period[0]),
                "end": iso(period[1]),
                "complete": complete,
                "state": state,
                **sums.answer(),
                "unknown": untold,
                "gaps": [silence.answer() for silence in quiet],
                "sentence": asked.sentence(),
            }

        return await self._database.read(read)

    async def request(self, tenant: str, order: Json) -> Json:
        """Do POST /completeness/request: put ranges on the list of what the gateway is asked for again."""
        now_ms = times.now_ms()
        gateway = order["gateway"]

        def write(connection: Connection) -> Json:
            rows = connection.execute("select id, site from gateway where tenant=? and name=?", (tenant, gateway))
            rows = [row for row in rows if order.get("site") in {None, row[1]}]
            if not rows:
                known = connection.execute("select name from gateway where tenant=?", (tenant,))
                raise not_found(
                    f"nothing was ever heard of a gateway {gateway!r}", nearest(gateway, [name for (name,) in known])
                )
            if len(rows) > 1:
                raise invalid(f"several sites have a gateway {gateway!r}", "name the site, too")
            ranges = self._ranges(connection, tenant, int(rows[0][0]), order, now_ms)
            asked = ask(connection, tenant, ranges, by=order.get("by") or "api", now_ms=now_ms)
            return {
                "as_of": iso(now_ms),
                "asked": asked,
                "records": sum(one.last - one.first + 1 for one in ranges),
                "ranges": [
                    {"inc": one.inc, "stream": one.stream, "first": one.first, "last": one.last} for one in ranges
                ],
            }

        done = await self._database.write(write)
        self._bus.changed.set()
        return done

    def _ranges(self, connection: Connection, tenant: str, gateway: int, order: Json, now_ms: int) -> list[Missing]:
        if order.get("inc") is None:
            period = _period(order["start"], order["end"], now_ms)
            streams = None if order.get("stream") is None else [order["stream"]]
            found = next(
                one for one in self._hours(connection, tenant, period, now_ms) if one.accounts.number == gateway
            )
            ranges = missing(found, period, streams)
            if len(ranges) > MAX_RANGES:
                raise invalid(f"{len(ranges)} separate ranges are missing there", "ask for fewer hours at once")
            return ranges
        row = connection.one(
            "select i.id, s.last from incarnation i join ingest_stream s on s.inc=i.id"
            " where i.gateway=? and i.inc=? and s.stream=?",
            (gateway, order["inc"], order["stream"]),
        )
        if row is None:
            raise not_found(
                "there is no such stream of such an incarnation", "see /api/v1/completeness for what there is"
            )
        first, last = order["first"], min(order["last"], row[1])
        if first > last:
            raise invalid(f"the stream has {row[1]} records, {first} is none of them", "see /api/v1/completeness")
        return [Missing(number=row[0], inc=order["inc"], stream=order["stream"], first=first, last=last)]

    async def alerts(self, tenant: str) -> list[Json]:
        """Give what is raised and not cleared, the most urgent first."""
        return await self._database.read(lambda connection: alerts.standing(connection, tenant))

    async def alert_history(self, tenant: str, page: int, page_size: int) -> Json:
        """Give one page of all alerts there ever were."""
        return await self._database.read(lambda connection: alerts.history(connection, tenant, page, page_size))

    async def watch(self) -> None:
        """Bring the alerts up to date, every few seconds at most; a database that is away is tried again."""
        if self._now() - self._watched < ALERTS_EVERY_S:
            return
        self._watched = self._now()
        try:
            for tenant in self._plants.tenants:
                await self._refresh(tenant)
            self._silent = False
        except DatabaseError as error:
            if not self._silent:
                log.warning("alerts cannot be brought up to date: %s", error)
            self._silent = True

    async def _refresh(self, tenant: str) -> None:
        now_ms = times.now_ms()

        def read(connection: Connection) -> list[tuple[str, tuple[Any, ...]]]:
            findings = alerts.found(connection, self._plants, tenant, now_ms)
            return self._watch.changes(connection, tenant, findings, now_ms)

        statements = await self._database.read(read)
        if statements:

            def write(connection: Connection) -> None:
                for sql, values in statements:
                    connection.execute(sql, values)

            await self._database.write(write)
            self._bus.changed.set()

    async def ledger(self, tenant: str) -> Json:
        """Give what the page of completeness shows besides the hours: backups, identities, findings, requests."""
        now_ms = times.now_ms()

        def read(connection: Connection) -> Json:
            made = connection.one("select made_ms, path, bytes from backup order by made_ms desc limit 1")
            return {
                "as_of": iso(now_ms),
                "safe": {
                    "mode": self._plants.file.safe,
                    "backup": None if made is None else {"made": iso(made[0]), "path": made[1], "bytes": made[2]},
                },
                "conflicts": _conflicts(connection, tenant),
                "findings": _findings(connection, tenant),
                "requests": requests(connection, tenant),
                "alerts": alerts.standing(connection, tenant),
                "gateways": gateways(connection, self._plants, tenant, now_ms),
            }

        return await self._database.read(read)


def _gateway_answer(one: GatewayHours) -> Json:
    total = Sums()
    for hour in one.hours:
        total.add(hour.total())
    accounts = one.accounts.accounts
    return {
        "gateway": one.accounts.gateway,
        "site": one.accounts.site,
        "heard": None if one.accounts.as_of_ms is None else iso(one.accounts.as_of_ms),
        "total": total.answer(),
        "not_safe": sum(max(0, account.watermark - account.safe) for account in accounts),
        "hours": [hour_answer(hour) for hour in one.hours],
    }


def _conflicts(connection: Connection, tenant: str) -> list[Json]:
    """Give the gateways whose identity two boxes use, with the boxes as they last spoke, and what to do."""
    found: list[Json] = []
    for number, site, name in connection.execute(
        "select id, site, name from gateway where tenant=? and identity<>'ok' order by site, name", (tenant,)
    ):
        boxes = connection.execute(
            "select inc, box, software, heard_ms, ord from incarnation where gateway=? and appeared>0 and not discarded"
            " order by resumed desc limit 2",
            (number,),
        )
        address = f"{tenant}/{site}/{name}"
        found.append(
            {
                "site": site,
                "gateway": name,
                "address": address,
                "boxes": [
                    {
                        "inc": inc,
                        "box": box,
                        "software": software,
                        "heard": None if heard is None else iso(heard),
                        "ord": order,
                        "keep": f"triflow cloud gateway cloud.toml {address} --keep {inc}",
                    }
                    for inc, box, software, heard, order in boxes
                ],
            }
        )
    return found


def _findings(connection: Connection, tenant: str) -> list[Json]:
    rows = connection.execute(
        "select g.site, g.name, i.inc, i.ord, c.stream, c.first, c.why, c.recorded_ms from chain_finding c"
        " join incarnation i on i.id=c.inc join gateway g on g.id=i.gateway where c.tenant=? order by c.id desc limit 20",
        (tenant,),
    )
    names = ("site", "gateway", "inc", "ord", "stream", "first", "why")
    return [dict(zip(names, row[:7], strict=True)) | {"recorded": iso(row[7])} for row in rows]


def _period(start: datetime | None, end: datetime | None, now_ms: int) -> tuple[int, int]:
    """Give [from, to) in ms; whole hours up to the end of the present one when nothing is said."""
    end_ms = (now_ms // HOUR_MS + 1) * HOUR_MS if end is None else ms_of(end)
    start_ms = end_ms - SHOWN_MS if start is None else ms_of(start)
    if start_ms >= end_ms:
        raise invalid("`from` is not before `to`", "give both as ISO 8601 times, `from` the earlier one")
    if end_ms - start_ms > MAX_MS:
        raise invalid("the period is longer than 62 days", "ask for a shorter one")
    return start_ms, end_ms
