"""Answers and orders about facts and figures: corrections, dead letters, restatements, rebuilds, status."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from cloud.api.errors import ApiError, invalid, not_found
from cloud.api.lines import filtered
from cloud.bi import times
from cloud.bi.lines import lines
from cloud.bi.times import iso
from cloud.bus import Bus
from cloud.database import Connection, Database, DataError
from cloud.etl import correct, deeds, jobs, letters, status
from cloud.etl.auditor import Auditor
from cloud.etl.corrections import CorrectionError, Target, history
from cloud.etl.letters import Filter, LetterError
from cloud.plant import Plants

Json = dict[str, Any]
T = TypeVar("T")
MOST_ROWS: Final = 100_000
"""Of a list that is asked for whole."""


class Etl:
    """Reads and writes for one or more tenants; every method names its tenant first."""

    def __init__(self, database: Database, plants: Plants, bus: Bus) -> None:
        self._database = database
        self._plants = plants
        self._bus = bus
        self.auditor = Auditor(database, plants)

    # --- how things stand ---

    async def status(self, tenant: str) -> Json:
        """Give GET /etl/status."""
        now_ms = times.now_ms()
        answer = await self._database.read(lambda c: status.status(c, self._plants, tenant, now_ms))
        fresh = self.auditor.unwritten(tenant)
        answer["auditor"]["checked"] += fresh.checked
        answer["auditor"]["differing"] += fresh.differing
        return answer

    async def mv_status(self, tenant: str) -> Json:
        """Give GET /bi/mv-status."""
        now_ms = times.now_ms()
        return {
            "as_of": iso(now_ms),
            "items": await self._database.read(lambda c: status.marts(c, tenant, now_ms)),
        }

    async def dead_letters(self, tenant: str, what: Filter, page: int = 1, page_size: int = 20) -> Json:
        """Give GET /etl/dead-letters."""
        skipped = (page - 1) * page_size
        items, total = await self._database.read(
            lambda c: letters.page(c, tenant, self._of_one_line(c, tenant, what), limit=page_size, offset=skipped)
        )
        return {"items": items, "page": page, "page_size": page_size, "total": total}

    def _of_one_line(self, connection: Connection, tenant: str, what: Filter) -> Filter:
        if what.work_unit is None:
            return what
        site, unit = filtered(lines(connection, self._plants, tenant), what.work_unit)
        return replace(what, site=site, work_unit=unit)

    async def every_letter(self, tenant: str, what: Filter) -> list[Json]:
        """Give the whole list. Raises ApiError when it is too long for one answer."""
        found = await self._database.read(
            lambda c: list(letters.every(c, tenant, self._of_one_line(c, tenant, what), MOST_ROWS + 1))
        )
        if len(found) > MOST_ROWS:
            raise ApiError(413, "TOO_LARGE", f"more than {MOST_ROWS} rows", "give a state, a severity or a code")
        return found

    async def jobs(self, tenant: str, page: int = 1, page_size: int = 20) -> Json:
        """Give GET /etl/jobs."""
        skipped = (page - 1) * page_size
        items, total = await self._database.read(lambda c: jobs.page(c, tenant, limit=page_size, offset=skipped))
        return {"items": items, "page": page, "page_size": page_size, "total": total}

    async def job(self, tenant: str, number: int) -> Json:
        """Give one job with the figures it changed. Raises ApiError 404."""
        found = await self._database.read(lambda c: jobs.detail(c, tenant, number)) if number < 2**62 else None
        if found is None:
            raise not_found(f"there is no job {number}", "GET /api/v1/etl/jobs lists them")
        return found

    async def products(self, tenant: str) -> list[str]:
        """Give the products there are to choose from."""
        asked = "select distinct product from product where tenant=? order by 1 limit 500"
        return [name for (name,) in await self._database.read(lambda c: c.execute(asked, (tenant,)))]

    async def deeds(self, tenant: str, page: int = 1, page_size: int = 20) -> Json:
        """Give GET /etl/audit: who did what to data."""
        return await self._database.read(lambda c: deeds.page(c, tenant, page, page_size))

    async def revisions(self, tenant: str, inc: str, stream: int, seq: int) -> Json:
        """Give every revision of a fact. Raises ApiError 404."""
        target = _target(tenant, inc, stream, seq)
        found = await self._database.read(lambda c: history(c, target))
        if not found:
            raise not_found(f"there is no fact {target}", "it may not have arrived yet; see /api/v1/facts")
        return {"inc": inc, "stream": stream, "seq": seq, "arrived": found[0]["rev"] == 0, "revisions": found}

    # --- what people decide ---

    async def correct(self, tenant: str, inc: str, stream: int, seq: int, said: Mapping[str, Any]) -> Json:
        """Correct or take back a fact. said: by, reason, rev, replacement (None takes it back). Raises ApiError."""
        order = correct.Order(
            target=_target(tenant, inc, stream, seq),
            replacement=said["replacement"],
            actor=said["by"],
            reason=said["reason"],
            rev=said["rev"],
        )
        try:
            done = await self._write(lambda c: correct.correct(c, self._plants, order, time.time_ns()))
        except correct.OvertakenError as error:
            raise ApiError(409, "CONFLICT", str(error), "look at the fact's revisions and decide again") from error
        except CorrectionError as error:
            raise invalid(
                str(error), "GET /api/v1/facts shows facts as they came; send a whole one", "replacement"
            ) from error
        return {"rev": done.rev, "state": done.state, "new": done.new, "buckets": done.buckets}

    async def release(self, tenant: str, letter: str, actor: str, reason: str) -> Json:
        """Let a held fact count as it is. Raises ApiError."""
        try:
            touched = await self._write(
                lambda c: letters.release(
                    c, self._plants, tenant, letter, actor=actor, reason=reason, now_ns=time.time_ns()
                )
            )
        except KeyError as error:
            raise not_found(f"there is no dead letter {letter!r}", "GET /api/v1/etl/dead-letters lists them") from error
        except LetterError as error:
            raise ApiError(409, "CONFLICT", str(error), "GET /api/v1/etl/dead-letters says how it stands") from error
        return {"id": letter, "state": "released", "buckets": touched}

    async def retry(self, tenant: str, code: str | None, actor: str, reason: str) -> Json:
        """Look at held facts again by the rules of today."""
        passed, held = await self._write(
            lambda c: letters.retry(c, self._plants, tenant, code, actor=actor, reason=reason, now_ns=time.time_ns())
        )
        return {"passed": passed, "still_held": held}

    async def restate(self, tenant: str, order: jobs.Restatement) -> Json:
        """Take a restatement in; gives the job. Raises ApiError."""
        try:
            number = await self._write(lambda c: jobs.restate(c, self._plants, tenant, order, times.now_ms()))
        except jobs.JobError as error:
            raise invalid(str(error), "GET /api/v1/overview lists the lines", error.field) from error
        return await self.job(tenant, number)

    async def rebuild(self, tenant: str, actor: str, reason: str) -> Json:
        """Take a rebuild in; gives the job, which ends with `equal`."""
        number = await self._write(lambda c: jobs.rebuild(c, tenant, actor, reason, times.now_ms()))
        return await self.job(tenant, number)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            done = await self._database.write(work)
        except DataError as error:
            raise invalid(f"the database refuses what it holds: {error}", "look for odd letters and numbers") from error
        self._bus.changed.set()
        return done


def _target(tenant: str, inc: str, stream: int, seq: int) -> Target:
    if len(inc) != 32 or set(inc) - set("0123456789abcdef") or not 1 <= stream <= 255 or not 1 <= seq < 2**62:
        raise not_found(f"there is no fact {inc}/{stream}/{seq}", "an incarnation has 32 hex digits; see /api/v1/facts")
    return Target(tenant, inc, stream, seq)
