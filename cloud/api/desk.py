"""What people do about alerts, watches, reports and letters; every method names its tenant first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from cloud.alerting import listing, rows
from cloud.alerting.listing import Wanted
from cloud.alerting.rows import Watch
from cloud.api.errors import ApiError, invalid, not_found
from cloud.api.lines import filtered
from cloud.bi import times
from cloud.bi.lines import lines
from cloud.bi.semantic import catalogue
from cloud.bi.semantic.errors import PlanError
from cloud.bi.times import iso, ms_of
from cloud.bus import Bus
from cloud.database import Connection, Database
from cloud.outgoing import queue
from cloud.plant import Plants
from cloud.reports import documents, keep, making
from cloud.reports.documents import MEDIA, Form, NoSuchPageError
from cloud.reports.keep import Maker
from cloud.reports.press import FontError
from cloud.reports.subject import NoSuchShiftError, Subject
from sync.settings import nearest

Json = dict[str, Any]
DRAWING: Final = 2
"""Reports that are drawn at once; others wait."""


class Desk:
    """Reads and writes for one or more tenants."""

    def __init__(self, database: Database, plants: Plants, bus: Bus) -> None:
        self._database = database
        self._plants = plants
        self._bus = bus
        self._drawing = asyncio.Semaphore(DRAWING)

    def _site(self, tenant: str, site: str | None) -> str:
        known = [plant.site.id for plant in self._plants.of_tenant(tenant)]
        if site is None and len(known) == 1:
            return known[0]
        if site not in known:
            raise not_found(f"there is no site {site!r}" if site else "say which site", nearest(site or "", known))
        return site

    # Alerts.

    async def alerts(self, tenant: str, wanted: Wanted, *, page: int, page_size: int) -> Json:
        """Give one page of alerts. Raises ApiError for a line of several sites."""

        def read(c: Connection) -> Json:
            asked = wanted
            if wanted.work_unit and not wanted.site:
                site, unit = filtered(lines(c, self._plants, tenant), wanted.work_unit)
                asked = replace(wanted, site=site, work_unit=unit)
            return listing.page(c, tenant, asked, page=page, page_size=page_size)

        found = await self._database.read(read)
        return {"as_of": iso(times.now_ms())} | found

    async def kinds(self, tenant: str) -> list[str]:
        """Give what kinds of alerts there are to choose from."""
        return await self._database.read(lambda c: listing.kinds(c, tenant))

    async def alert(self, tenant: str, number: int) -> Json:
        """Give one alert."""
        return await self._database.read(lambda c: self._alert(c, tenant, number))

    def _alert(self, c: Connection, tenant: str, number: int) -> Json:
        found = listing.one(c, tenant, number)
        if found is None:
            raise not_found(f"there is no alert {number}", "GET /api/v1/alerts/history lists them")
        return found

    async def acknowledge(self, tenant: str, number: int, *, by: str, note: str) -> Json:
        """Note who has seen an alert."""

        def write(c: Connection) -> Json:
            self._alert(c, tenant, number)
            listing.acknowledge(c, tenant, number, by=by, note=note, now_ms=times.now_ms())
            return self._alert(c, tenant, number)

        return await self._written(write)

    async def silence(self, tenant: str, number: int, *, by: str, minutes: int) -> Json:
        """Let an alert, and the watch it came from, tell nobody for a while; whoever asks has seen it."""
        until = times.now_ms() + minutes * 60_000

        def write(c: Connection) -> Json:
            found = self._alert(c, tenant, number)
            listing.silence(c, tenant, number, until_ms=until)
            if found["watch"] is not None:
                rows.silence(c, tenant, found["watch"], until_ms=until)
            listing.acknowledge(c, tenant, number, by=by, note="", now_ms=times.now_ms())
            return self._alert(c, tenant, number)

        return await self._written(write)

    async def _written(self, work: Any) -> Json:
        done = await self._database.write(work)
        self._bus.changed.set()
        return done

    # Watches.

    async def watches(self, tenant: str) -> Json:
        """Give every watch and how it stands."""

        def read(c: Connection) -> Json:
            standing = rows.standing(c, tenant)
            return {
                "as_of": iso(times.now_ms()),
                "items": [watch_answer(one, standing.get(one.number)) for one in rows.watches(c, tenant)],
            }

        return await self._database.read(read)

    async def watch(self, tenant: str, number: int) -> Json:
        """Give one watch and how it stands."""

        def read(c: Connection) -> Json:
            return watch_answer(self._watch(c, tenant, number), rows.standing(c, tenant).get(number))

        return await self._database.read(read)

    def _watch(self, c: Connection, tenant: str, number: int) -> Watch:
        found = rows.find(c, tenant, number)
        if found is None:
            raise not_found(f"there is no watch {number}", "GET /api/v1/watches lists them")
        return found

    def _as_read(self, c: Connection, tenant: str, number: int, read: datetime | None) -> None:
        """Make sure that nobody changed a watch since its caller read it."""
        found = self._watch(c, tenant, number)
        if read is not None and ms_of(read) != found.changed_ms:
            who = f"{found.changed_by} changed watch {number} at {iso(found.changed_ms)}"
            check = f"look at it again (GET /api/v1/watches/{number}) and decide anew"
            raise ApiError(409, "CONFLICT", f"{who}, after you read it", check)

    async def put_watch(self, tenant: str, wanted: Watch, *, read: datetime | None = None) -> Json:
        """Keep a new watch, or one that was changed. read: its `changed` as the caller knows it. Raises 400, 404, 409."""
        try:
            metric = catalogue.metric(wanted.metric)
        except PlanError as error:
            raise ApiError(404, error.code, error.message, error.check) from error
        site = self._site(tenant, wanted.site or None)
        lines = self._plants[tenant, site].names
        if wanted.work_unit and wanted.work_unit not in lines:
            raise not_found(
                f"there is no line {wanted.work_unit!r}", nearest(wanted.work_unit, list(lines)), "work_unit"
            )
        if (wanted.against == "value") != (wanted.level is not None):
            raise invalid("`level` goes with against = value, and only with it", "give one or the other", "level")
        if wanted.readers and self._plants.file.mail is None:
            raise invalid(
                "there is no [mail] to write to readers with",
                "add [mail] to cloud.toml, or leave readers out",
                "readers",
            )
        watch = replace(wanted, tenant=tenant, site=site, metric=metric.id, changed_ms=times.now_ms())

        def write(c: Connection) -> Json:
            if watch.number:
                self._as_read(c, tenant, watch.number, read)
            elif len(rows.watches(c, tenant)) >= rows.MOST:
                raise ApiError(409, "CONFLICT", f"there are {rows.MOST} watches already", "remove one")
            number = rows.put(c, watch)
            return watch_answer(self._watch(c, tenant, number), rows.standing(c, tenant).get(number))

        return await self._written(write)

    async def remove_watch(self, tenant: str, number: int, *, by: str, read: datetime | None = None) -> Json:
        """Take a watch away. read: its `changed` as the caller knows it. Raises 404, 409."""

        def write(c: Connection) -> Json:
            self._as_read(c, tenant, number, read)
            rows.remove(c, tenant, number, by=by, now_ms=times.now_ms())
            return {"removed": number}

        return await self._written(write)

    # Reports and letters.

    async def reports(self, tenant: str, asked: dict[str, str], *, page: int, page_size: int) -> Json:
        """Give one page of the reports that are kept."""
        found = await self._database.read(lambda c: keep.listed(c, tenant, asked, page=page, page_size=page_size))
        return {"as_of": iso(times.now_ms())} | found

    async def schedules(self, tenant: str) -> list[Json]:
        """Give every schedule with what it made last."""
        found: list[Json] = []
        for plant in self._plants.of_tenant(tenant):
            for one in plant.site.reports:
                key = (tenant, plant.site.id, one.id)
                last = await self._database.read(
                    lambda c, key=key: c.one(
                        "select business_date, shift, state, why, report, ended_ms from report_due where tenant=? and site=? and"
                        " schedule=? and business_date<>'' order by due_ms desc limit 1",
                        key,
                    )
                )
                said = {
                    "site": plant.site.id,
                    "id": one.id,
                    "kind": one.kind,
                    "readers": one.readers,
                    "language": one.language,
                }
                names = ("business_date", "shift", "state", "why", "report")
                found.append(said | {"last": None if last is None else dict(zip(names, last[:5], strict=True))})
        return found

    async def make(self, tenant: str, wanted: Subject, *, language: str, by: str) -> Json:
        """Make a report now; the same figures again are the report that is there."""
        subject = replace(wanted, tenant=tenant, site=self._site(tenant, wanted.site or None))
        try:
            kept = await making.make(
                self._database, self._plants, subject, Maker(language=language, by=by), times.now_ms()
            )
        except (NoSuchShiftError, PlanError) as error:
            raise not_found(
                str(error), "see the site's shifts in cloud.toml, and choose a period that has begun", "business_date"
            ) from error
        head, _ = await self._found(tenant, kept.number)
        return head | {"again": kept.again}

    async def _found(self, tenant: str, number: int) -> tuple[Json, Json]:
        found = await self._database.read(lambda c: keep.find(c, tenant, number))
        if found is None:
            raise not_found(f"there is no report {number}", "GET /api/v1/reports lists them")
        return found

    async def report(self, tenant: str, number: int) -> tuple[Json, Json]:
        """Give a report's head and its data."""
        return await self._found(tenant, number)

    async def file(
        self, tenant: str, number: int, form: Form, *, page: int = 1, table: str = "lines"
    ) -> tuple[str, str, bytes]:
        """Give (name, media type, bytes) of one form; drawn once and kept."""
        _, report = await self._found(tenant, number)
        name = documents.file_name(report, form)
        kept = f"{form}.{page}" if form == "png" else form
        if (
            form != "csv"
            and (there := await self._database.read(lambda c: keep.file(c, tenant, number, kept))) is not None
        ):
            return name, *there
        try:
            async with self._drawing:
                body = await asyncio.to_thread(documents.draw, report, form, page=page, table=table)
        except FontError as error:
            raise ApiError(
                503, "SERVICE_UNAVAILABLE", str(error), "take the English report or the page meanwhile"
            ) from error
        except NoSuchPageError as error:
            raise not_found(str(error), "ask for an earlier page") from error
        if form != "csv":
            made = (MEDIA[form], body)
            await self._database.write(
                lambda c: keep.put_file(c, tenant, number, kept, made=made, now_ms=times.now_ms())
            )
        return name, MEDIA[form], body

    async def letters(self, tenant: str, cause: str | None, *, page: int, page_size: int) -> Json:
        """Give one page of letters and what became of them."""
        found = await self._database.read(
            lambda c: queue.listed(c, tenant, cause=cause, page=page, page_size=page_size)
        )
        return {"as_of": iso(times.now_ms())} | found


def watch_answer(watch: Watch, standing: Json | None) -> Json:
    """Give a watch as the API says it."""
    names = (
        "site",
        "work_unit",
        "name",
        "metric",
        "period",
        "against",
        "side",
        "level",
        "margin",
        "for_s",
        "min_pieces",
    )
    names += ("min_minutes", "in_shift", "severity", "language", "enabled", "changed_by")
    given: Json = {name: getattr(watch, name) for name in names}
    level = watch.level if watch.against == "value" else (standing or {}).get("level")
    recovery = None if level is None else level + watch.margin * (1 if watch.side == "below" else -1)
    return {
        "id": watch.number,
        **given,
        "unit": catalogue.METRICS[watch.metric].unit if watch.metric in catalogue.METRICS else "",
        "readers": list(watch.readers),
        "recovery": recovery,
        "silent_until": iso(watch.silent_until_ms) if watch.silent_until_ms else None,
        "changed": iso(watch.changed_ms),
        "standing": standing,
    }
