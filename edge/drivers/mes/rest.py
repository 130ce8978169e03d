"""MES over HTTP: orders, lots, products, shifts, stock, quality results and what is being made, in ISA-95 words.

Polled; what has not changed costs one conditional request (ETag) and gives nothing. The ten rules: every request has a
timeout; a row that is not what was agreed on is left out and said; `at` is when we learned it, because the MES gives no
time of its own for it, except for quality results; nothing is written but job responses, and only when the
configuration says so. The agreed JSON is in docs/drivers/mes-rest.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from edge.connections import Mes
from edge.drivers.driver import DriverError, DriverHealth, Learned, RefusedError, Surroundings
from edge.drivers.mes import memory
from edge.drivers.mes.memory import Taken
from edge.drivers.mes.paging import AGAIN, MesHttp, MissingError, UnauthorizedError
from edge.drivers.mes.records import Making, Product
from edge.drivers.mes.snapshot import drifted
from edge.drivers.schedule import Beat
from sync.clock import Clock
from sync.facts import Context, Fact, JobResponded

log = logging.getLogger(__name__)

ENTER_S: Final = 5.0
RARELY_S: Final = 600.0
"""How long a resource the MES has not got is left alone."""
PLANT: Final = ("products", "inventory", "lots", "quality_results")
"""Asked once for the whole plant."""
LINE: Final = ("shifts", "job_orders", "context")
"""Asked for each work unit."""
MANY: Final = 1000
"""Rows that are not taken in on the event loop."""
OPTIONAL: Final = frozenset({"lots", "quality_results", "shifts"})
"""What a MES may lack."""


class MesSource:
    """One MES, polled for some work units."""

    def __init__(
        self, config: Mes, work_units: Sequence[str], clock: Clock, around: Surroundings, *, cursor: bytes = b""
    ) -> None:
        """Prepare, to go on at `cursor`. Raises SecretError."""
        self.health = DriverHealth()
        self.contexts: dict[str, Context] = {}
        """Work unit → what is being made there now, as of the last poll; `stale` once the MES is lost."""
        self.cycles: dict[str, dict[str, float]] = {}
        """Product → work unit → planned run time per item, ms."""
        self._config = config
        self._work_units = tuple(work_units)
        self._clock = clock
        self._beat = Beat(clock, config.period_s)
        self._http = MesHttp(config, clock, around, self.health)
        self._memories = memory.load(cursor, config.name)
        self._given = cursor
        self._missing: dict[str, int] = {}
        """Resource → when to ask again, monotonic ns."""
        about = ",".join(sorted(config.without))
        for name in [name for name, kept in self._memories.items() if kept.about != about]:
            del self._memories[name]
        self._about = about

    @property
    def server_time(self) -> int | None:
        """The MES's own clock as of its last answer, ns; None when it does not say."""
        return self._http.server_time

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(ENTER_S):
                await self._http.rows(_path("products"), remember=False)
        except TimeoutError:
            await self._http.close()
            raise self._http.lost(f"no answer within {ENTER_S:g} s; check the MES and the network") from None
        except BaseException:  # cancelled too: whatever ends the attempt, nothing stays open
            await self._http.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def facts(self) -> AsyncGenerator[Learned]:
        """Give what is new or changed at each poll; `contexts` and `cycles` are brought up to date before each."""
        while True:
            self.health.overruns += await self._beat.wait()
            try:
                news = await self._poll()
            except DriverError:
                self.contexts = {
                    unit: msgspec.structs.replace(context, stale=True) for unit, context in self.contexts.items()
                }
                raise
            self.health.notifications += len(news)
            cursor = memory.dump(self._memories)
            yield Learned(news, cursor if cursor != self._given else b"")
            self._given = cursor

    async def ask_each(self) -> AsyncGenerator[tuple[str, int | str]]:
        """Ask each resource once: its name with the number of rows that fit, or with why there are none."""
        for kind, unit in self._asked():
            try:
                rows = await self._http.rows(_path(kind), unit, remember=False)
            except DriverError as error:
                yield _name(kind, unit), str(error)
                continue
            taken = memory.take(memory.Memory(), kind, rows or [], self._work_units, self._clock.now())
            yield _name(kind, unit), taken.note or len(taken.records)

    def _asked(self) -> list[tuple[str, str | None]]:
        plant: list[tuple[str, str | None]] = [(kind, None) for kind in PLANT]
        return plant + [(kind, unit) for unit in self._work_units for kind in LINE]

    async def _poll(self) -> list[Fact]:
        news: list[Fact] = []
        now = self._clock.now()
        for kind, unit in self._asked():
            news += await self._resource(kind, unit, now)
        return news

    async def _resource(self, kind: str, unit: str | None, now: int) -> list[Fact]:
        """Ask for one resource of one work unit (or of the plant) and give what is new of it."""
        path = _path(kind)
        if self._missing.get(path, 0) > self._clock.monotonic():
            return []
        try:
            rows = await self._http.rows(path, unit)
        except (MissingError, UnauthorizedError) as error:
            if kind == "context" and isinstance(error, MissingError):  # nothing runs there
                self._http.forget(path, unit)
                self.contexts = {**self.contexts, str(unit): Context()}
                return []
            if kind not in OPTIONAL or "401" in str(error):
                raise
            self._lacks(path, str(error))
            return []
        self._missing.pop(path, None)
        if rows is None:
            return []
        if kind == "context":
            rows = [{} if row is None else row for row in rows]
        return await self._take(kind, unit, rows, now)

    async def _take(self, kind: str, unit: str | None, rows: list[object], now: int) -> list[Fact]:
        name = _name(kind, unit)
        kept = self._memories.setdefault(name, memory.Memory(about=self._about))
        ours = self._work_units if unit is None else (unit,)
        # Thousands of rows take a while, and the lines must not wait: in a thread, which nobody shares with us.
        run = asyncio.to_thread if len(rows) > MANY else _at_once
        taken = await run(memory.take, kept, kind, rows, ours, now, without=self._without(kind))
        if taken.note:
            self.health.notes[name] = taken.note
        else:
            self.health.notes.pop(name, None)
        if taken.changes:
            severe = any(change.severity == "critical" for change in taken.changes)
            sentences = "; ".join(change.what for change in taken.changes)
            log.log(
                logging.WARNING if severe else logging.INFO,
                "schema drift: source=%s resource=%s what=%s",
                self._config.name, name, sentences,
            )  # fmt: skip
            drift = drifted(self._config.name, name, taken.changes, now)
            taken.facts.append(msgspec.structs.replace(drift, work_unit=unit or ""))
        for row in taken.records:
            if isinstance(row, Product):
                self.cycles = {**self.cycles, row.product: row.ideal_cycle_ms}
        if kind == "context" and unit is not None:
            making = next((row.context for row in taken.records if isinstance(row, Making)), None)
            if making is None:  # it fits no more: the last known answer may no longer be so
                making = msgspec.structs.replace(self.contexts.get(unit, Context()), stale=True)
            self.contexts = {**self.contexts, unit: making}
        return taken.facts

    def _lacks(self, path: str, why: str) -> None:
        if path not in self._missing:
            log.info("the MES lacks a resource: source=%s why=%s", self._config.name, why)
        self.health.notes[path] = f"not offered ({why.partition(': ')[2]}); asked again every {RARELY_S / 60:g} min"
        self._missing[path] = self._clock.monotonic() + round(RARELY_S * 1e9)

    def _without(self, kind: str) -> frozenset[str]:
        pairs = (name.partition(".") for name in self._config.without)
        return frozenset(field for resource, _, field in pairs if resource == kind)

    async def respond(self, response: JobResponded) -> None:
        """Put one job response under its id; the same twice is one. Raises RefusedError and DriverError."""
        path = f"/api/job-responses/{response.response}"
        body: dict[str, Any] = {
            "response": response.response,
            "order": response.order,
            "work_unit": response.work_unit,
            "product": response.product,
            "lot": response.lot,
            "start": _iso(response.start),
            "end": _iso(response.at),
            "produced": response.produced,
            "good": response.good,
            "scrap": response.scrap,
            "rework": response.rework,
            "complete": response.complete,
        }
        answer = await self._http.put(path, msgspec.json.encode(body))
        match answer.status_code:
            case code if 200 <= code < 300:
                return
            case 401 | 403 as code:
                raise UnauthorizedError(str(self._http.lost(f"{path}: {code}, we may not write job responses")))
            case code if 400 <= code < 500 and code not in AGAIN:
                raise RefusedError(f"{code} {_said(answer)}".rstrip())
            case code:
                raise self._http.lost(f"{path}: the MES answers {code}; check the MES's own log")


async def _at_once(take: Callable[..., Taken], *arguments: Any, **named: Any) -> Taken:
    return take(*arguments, **named)


def _path(kind: str) -> str:
    return f"/api/{kind.replace('_', '-')}"


def _name(kind: str, unit: str | None) -> str:
    return kind if unit is None else f"{kind} {unit}"


def _iso(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest // 1_000_000:03}Z"


def _said(answer: httpx.Response) -> str:
    """Give the beginning of what the MES said, on one line."""
    return " ".join(answer.text[:500].split())[:200]
