"""Makes reports: when a schedule says so, once whatever happens, and when a person asks."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any, Final

from cloud.bi.times import ms_of
from cloud.config import Settings
from cloud.database import Connection, Database, DatabaseError
from cloud.outgoing import queue
from cloud.outgoing.config import Report
from cloud.outgoing.queue import File, Letter
from cloud.plant import Plant, Plants
from cloud.reports import documents, figures, keep
from cloud.reports.documents import MEDIA
from cloud.reports.keep import Kept, Maker
from cloud.reports.press import FontError
from cloud.reports.schedule import Due, due
from cloud.reports.subject import NoSuchShiftError, Subject
from cloud.wording.formats import instant

log = logging.getLogger(__name__)

EVERY_S: Final = 20.0
LEASE_MS: Final = 300_000
TRIES: Final = 5
LATE_MS: Final = 600_000
TIDY_S: Final = 3_600.0
BEGUN: Final = ""
"""Business date of the row that says since when a schedule is there."""


def save(connection: Connection, report: dict[str, Any], maker: Maker, now_ms: int) -> Kept:
    """Keep a report that was read a moment ago."""
    times = tuple(ms_of(instant(report[name])) for name in ("start", "end", "as_of"))
    return keep.save(connection, report, maker, (times[0], times[1], times[2]), now_ms)


async def make(database: Database, plants: Plants, subject: Subject, maker: Maker, now_ms: int) -> Kept:
    """Read and keep a report now. Raises NoSuchShiftError, DatabaseError."""
    report = await database.read(lambda c: figures.read(c, plants, subject, now_ms))
    return await database.write(lambda c: save(c, report, maker, now_ms))


class Makers:
    """Makes what is due. Several processes may do so at once; each report is held by one until its lease is over."""

    def __init__(self, database: Database, plants: Plants) -> None:
        self._database = database
        self._plants = plants
        self._settings: Settings = plants.settings
        self._holder = f"{os.getpid()}-{os.urandom(4).hex()}"

    async def once(self, now_ms: int) -> int:
        """Make everything that is due; gives how many reports were made. Raises DatabaseError."""
        made = 0
        for tenant in self._plants.tenants:
            for plant in self._plants.of_tenant(tenant):
                for report in plant.site.reports:
                    made += await self._schedule(plant, report, now_ms)
        return made

    async def _schedule(self, plant: Plant, report: Report, now_ms: int) -> int:
        key = (plant.site.tenant, plant.site.id, report.id)
        known = await self._database.read(
            lambda c: c.execute(
                "select business_date, shift, state, until_ms, attempts, due_ms from report_due where tenant=? and site=? and"
                " schedule=? and (business_date='' or due_ms>?)",
                (*key, now_ms - 40 * 86_400_000),
            )
        )
        begun = next((row[5] for row in known if row[0] == BEGUN), None)
        if begun is None:
            await self._database.write(
                lambda c: c.execute(
                    "insert into report_due(tenant, site, schedule, business_date, shift, due_ms, state, holder, until_ms,"
                    " attempts, why) values(?,?,?,'','',?,'begun','',0,0,'') on conflict do nothing",
                    (*key, now_ms),
                )
            )
            return 0
        settled = {
            (day, shift)
            for day, shift, state, until, tries, _ in known
            if state == "made" or until > now_ms or (state == "failed" and tries >= TRIES)
        }
        made = 0
        for one in due(plant, report, now_ms, begun):
            if (one.business_date, one.shift) not in settled:
                made += await self._tried(plant, report, one, now_ms)
        return made

    async def _tried(self, plant: Plant, report: Report, one: Due, now_ms: int) -> int:
        try:
            return await self._make(plant, report, one, now_ms)
        except DatabaseError:
            raise
        except Exception as bug:  # it fails this report, which says so; the schedules behind it have their turn
            log.exception("report failed: site=%s schedule=%s date=%s", plant.site.id, report.id, one.business_date)
            key, why = (plant.site.tenant, plant.site.id, report.id, one.business_date, one.shift), repr(bug)
            await self._database.write(lambda c: _end(c, key, "failed", now_ms=now_ms, why=why))
            return 0

    async def _make(self, plant: Plant, report: Report, one: Due, now_ms: int) -> int:
        key = (plant.site.tenant, plant.site.id, report.id, one.business_date, one.shift)
        if not await self._database.write(lambda c: self._claim(c, key, one, now_ms)):
            return 0
        tenant, site = plant.site.tenant, plant.site.id
        subject = Subject(tenant=tenant, site=site, kind=one.kind, business_date=one.business_date, shift=one.shift)
        maker = Maker(language=report.language, by="schedule", schedule=report.id)
        try:
            # Kept before it is drawn: the same figures again are the same report, so that a crash in between costs nothing.
            kept = await make(self._database, self._plants, subject, maker, now_ms)
        except NoSuchShiftError as error:  # the calendar was changed since
            why = str(error)
            await self._database.write(lambda c: _end(c, key, "failed", now_ms=now_ms, why=why))
            return 0
        letter = await self._letter(report, kept, one, now_ms)

        def finish(c: Connection) -> bool:
            held = c.execute(
                "select 1 from report_due where tenant=? and site=? and schedule=? and business_date=? and shift=? and holder=?"
                " and state='making' for update",
                (*key, self._holder),
            )
            if not held:
                return False  # it took longer than its lease, and another made it
            for file in letter.files:
                keep.put_file(c, tenant, kept.number, "pdf", made=(file.media, file.body), now_ms=now_ms)
            if self._settings.file.mail is not None:
                queue.put(c, letter, now_ms)
            _end(c, key, "made", now_ms=now_ms, number=kept.number)
            return True

        done = await self._database.write(finish)
        if done:
            log.info("report made: site=%s schedule=%s date=%s shift=%s", site, report.id, one.business_date, one.shift)
        return int(done)

    def _claim(self, c: Connection, key: tuple[str, ...], one: Due, now_ms: int) -> bool:
        row = c.one(
            "select state, until_ms, attempts from report_due where tenant=? and site=? and schedule=? and business_date=? and"
            " shift=? for update",
            key,
        )
        if row is None:
            return bool(
                c.execute(
                    "insert into report_due(tenant, site, schedule, business_date, shift, due_ms, state, holder, until_ms,"
                    " attempts, why) values(?,?,?,?,?,?,'making',?,?,1,'') on conflict do nothing returning 1",
                    (*key, one.due_ms, self._holder, now_ms + LEASE_MS),
                )
            )
        if row[0] == "made" or row[1] > now_ms:
            return False
        if row[2] >= TRIES:
            if row[0] == "making":  # whoever made it ended in the middle, each time
                _end(c, key, "failed", now_ms=now_ms, why=f"begun {TRIES} times and never finished; see the log")
            return False
        c.execute(
            "update report_due set state='making', holder=?, until_ms=?, attempts=attempts+1 where tenant=? and site=? and"
            " schedule=? and business_date=? and shift=?",
            (self._holder, now_ms + LEASE_MS, *key),
        )
        return True

    async def _letter(self, report: Report, kept: Kept, one: Due, now_ms: int) -> Letter:
        mail, said, without = self._settings.file.mail, kept.report, ""
        files: list[File] = []
        try:
            body = await asyncio.to_thread(documents.draw, said, "pdf")
            files.append(File(name=documents.file_name(said, "pdf"), media=MEDIA["pdf"], body=body))
        except FontError as error:
            without = str(error)
            log.warning("report without PDF: site=%s schedule=%s why=%s", said["site"]["id"], report.id, error)
        late = (now_ms - one.due_ms) // 60_000 if now_ms - one.due_ms >= LATE_MS else 0
        page = None if mail is None else mail.page
        return Letter(
            tenant=said["tenant"],
            name=f"report.{said['tenant']}.{said['site']['id']}.{report.id}.{one.business_date}.{one.shift}",
            cause="report",
            language=report.language,
            readers=report.readers,
            files=files,
            **documents.letter(said, number=kept.number, page=page, late_min=late, without=without),
        )


def _end(
    c: Connection, key: tuple[str, ...], state: str, *, now_ms: int, why: str = "", number: int | None = None
) -> None:
    c.execute(
        "update report_due set state=?, why=?, report=?, ended_ms=? where tenant=? and site=? and schedule=? and"
        " business_date=? and shift=?",
        (state, why, number, now_ms, *key),
    )


async def run_reports(database: Database, plants: Plants) -> None:
    """Make what is due for ever; a database that is away is said once and waited for."""
    makers, silent, tidied = Makers(database, plants), False, 0.0
    rules = plants.file.keep
    while True:
        try:
            await makers.once(time.time_ns() // 1_000_000)
            if time.monotonic() - tidied > TIDY_S:
                tidied = time.monotonic()
                await database.write(
                    lambda c: keep.forget(
                        c,
                        now_ms=time.time_ns() // 1_000_000,
                        report_days=rules.report_days,
                        file_days=rules.file_days,
                        files_mb=rules.files_mb,
                    )
                )
            silent = False
        except DatabaseError as error:
            if not silent:
                log.warning("reports wait for the database: %s", error)
            silent = True
        await asyncio.sleep(EVERY_S)
