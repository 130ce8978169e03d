"""Questions of figures, answered: one way for API, page, pin, chart, report and alert.

An answer is made once for everything it depends on (plan, dates, definitions, scope, the versions of the marts it
read) and kept as bytes under the hash of that; whoever asks the same while it is being made waits for it. While a shift
runs and a line is silent, unknown time grows by itself: then the second is part of the key, and figures are those of
that second.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from cloud.api.errors import ApiError
from cloud.bi import times
from cloud.bi.analyses.look import Look
from cloud.bi.analyses.result import Result
from cloud.bi.analyses.run import analyse
from cloud.bi.analyses.words import Language
from cloud.bi.semantic import book, catalogue
from cloud.bi.semantic.cache import Cache, Kept, Read, versions_of
from cloud.bi.semantic.compile import route
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Filter, Grain, Period, Plan
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.snapshot import Snapshot
from cloud.bi.semantic.table import Freshness, Table
from cloud.bi.semantic.values import Known
from cloud.bi.semantic.walls import READABLE
from cloud.database import Connection, Database
from cloud.plant import Plants
from cloud.walled import DEADLINE_S, ForbiddenError, TooLateError, TooManyError, Walled

log = logging.getLogger(__name__)
T = TypeVar("T")
Json = dict[str, Any]


def _code() -> str:
    """Give the hash of the code that makes answers: another version's answers are not ours."""
    cloud = Path(__file__).parent.parent
    bi = cloud / "bi"
    digest = hashlib.sha256()
    for path in sorted((*bi.rglob("*.py"), *bi.rglob("*.toml"), cloud / "dashboard" / "texts.toml", Path(__file__))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


CODE: Final = _code()


@dataclass(frozen=True)
class Answer:
    """One answer: JSON as bytes, its ETag, and the same as data."""

    body: bytes
    etag: str

    @cached_property
    def data(self) -> Json:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class _Peek:
    """What has to be known before an answer can be given from memory."""

    base: str
    """Hash of all that the asking itself decides."""
    key: str | None
    """… and of what was read; None while nobody knows what a plan reads."""
    flight: str
    freshness: Freshness


class Bi:
    """Figures within a scope. Every method raises ApiError for what cannot be asked, or not in time."""

    def __init__(
        self,
        database: Database,
        plants: Plants,
        *,
        now: Callable[[], int] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """now: gives ms; the wall clock unless told otherwise. deadline_s: for all that one question reads."""
        self._plants = plants
        self._now = now or (lambda: time.time_ns() // 1_000_000)
        self._walled = Walled(database.url, READABLE, role=plants.file.database.reader_role, deadline_s=deadline_s)
        database.on_close.append(self._walled.close)
        self._known: Known = set()
        self.cache = Cache()
        self.made = 0
        """Answers made, not given from memory."""
        self._peeks: dict[str, asyncio.Task[_Peek]] = {}
        self._flights: dict[str, asyncio.Task[tuple[str, Kept, Freshness]]] = {}
        self._calendars = {
            tenant: hashlib.sha256(
                "".join(plant.site.model_dump_json() for plant in plants.of_tenant(tenant)).encode()
            ).hexdigest()
            for tenant in plants.tenants
        }

    async def look(self, scope: Scope, work: Callable[[Look], T]) -> T:
        """Run `work` on a reader's thread over one snapshot: everything it asks for is of one moment."""
        now_ms = self._now()
        return await self._read(lambda connection: work(self._snapshot(connection, scope, now_ms)))

    async def table(
        self,
        scope: Scope,
        metrics: tuple[str, ...],
        *,
        period: Period,
        dimensions: tuple[str, ...] = (),
        filters: tuple[Filter, ...] = (),
        grain: Grain | None = None,
        limit: int = 10_000,
    ) -> Table:
        """Give figures."""
        return await self.look(
            scope,
            lambda look: look.table(
                metrics, period=period, dimensions=dimensions, filters=filters, grain=grain, limit=limit
            ),
        )

    async def ask(self, scope: Scope, plan: Plan, *, language: Language | None = None) -> Answer:
        """Answer a plan; from memory where nothing it depends on has changed. language: of the chart's names."""
        plan, speech = canonical(plan), language or "ko"
        second = self._now() // 1000 * 1000
        peek = await self._peeked(scope, plan, speech, second)
        if peek.key is not None and (kept := self.cache.get(peek.key)) is not None:
            return _served(peek.key, kept, peek.freshness, second, from_cache=True)
        flight = self._flights.get(peek.flight)
        if flight is None:
            flight = asyncio.create_task(self._fly(scope, plan, speech, second), name="bi")
            self._flights[peek.flight] = flight
            flight.add_done_callback(lambda done: _settled(done, self._flights, peek.flight))
        key, kept, freshness = await asyncio.shield(flight)
        return _served(key, kept, freshness, second, from_cache=False)

    async def _peeked(self, scope: Scope, plan: Plan, speech: Language, second: int) -> _Peek:
        """Look whether anything changed; those who ask the same at the same moment look together."""
        asked = f"{scope.key()}\0{speech}\0{second}\0{plan.model_dump_json()}"
        known = self._peeks.get(asked)
        if known is None:
            known = asyncio.create_task(
                self._read(lambda connection: self._peek(self._snapshot(connection, scope, second), plan, speech)),
                name="bi peek",
            )
            self._peeks[asked] = known
            known.add_done_callback(lambda done: _settled(done, self._peeks, asked))
        return await asyncio.shield(known)

    async def _fly(self, scope: Scope, plan: Plan, speech: Language, second: int) -> tuple[str, Kept, Freshness]:
        def work(connection: Connection) -> tuple[str, Kept, Freshness]:
            return self._make(self._snapshot(connection, scope, second), plan, speech)

        key, kept, freshness = await self._read(work)
        self.made += 1
        self.cache.put(key, kept)
        return key, kept, freshness

    async def explain(self, scope: Scope, plan: Plan) -> Json:
        """Say how a plan's own figures are read: which marts and why, and the SQL."""
        plan = canonical(plan)
        now_ms = self._now()
        return await self._read(lambda connection: self._snapshot(connection, scope, now_ms).explain(plan))

    async def values(self, scope: Scope, dimension: str, limit: int = 200) -> list[Json]:
        """Give values of a dimension to choose from, with their names."""
        now_ms = self._now()

        def work(connection: Connection) -> list[Json]:
            look = self._snapshot(connection, scope, now_ms)
            return [{"value": one, "title": look.label(dimension, one)} for one in look.values(dimension, limit)]

        return await self._read(work)

    def catalogue(self, tenant: str) -> Json:
        """Give every metric and dimension there is."""
        return {"tenant": tenant, **book.book()}

    def _snapshot(self, connection: Connection, scope: Scope, now_ms: int) -> Snapshot:
        return Snapshot(connection, self._plants, scope, now_ms, self._known)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._walled.read(work)
        except PlanError as error:
            raise refused(error) from error
        except TooLateError as error:
            raise ApiError(
                504, "ERR_BI_QUERY_TIMEOUT", "the answer took too long", "ask for a shorter period or fewer dimensions"
            ) from error
        except TooManyError as error:
            raise ApiError(
                400,
                "ERR_BI_PLAN_FAILED",
                f"{error} would have to be read",
                "ask for a shorter period, a coarser grain or fewer dimensions",
            ) from error
        except ForbiddenError as error:
            log.error("a question reached for what it may not read: %s", error)  # noqa: TRY400 - the walls held
            raise ApiError(500, "INTERNAL", "this cannot be answered", "look at the cloud's log") from error

    def _peek(self, look: Snapshot, plan: Plan, speech: Language) -> _Peek:
        query = look.query(
            plan.metrics, period=plan.period, dimensions=plan.dimensions, filters=plan.filters, grain=plan.grain
        )
        if plan.analysis != "FIND_CAUSE":  # which looks along its dimensions one by one
            route(query)
        freshness = look.freshness(query)
        base = self._base(look, plan, speech)
        read = self.cache.read_of(base)
        everything = f"{sorted(look.versions.items())}{look.stamp()}{look.second}"
        key = None if read is None else _key(look, base, read, freshness)
        return _Peek(base, key, _hash(base, everything), freshness)

    def _base(self, look: Snapshot, plan: Plan, speech: Language) -> str:
        """Hash the asking: plan, what its words mean today, definitions, calendar, scope, code, language."""
        meant = {site: str(span) for site, span in look.spans(plan.period).items()}
        if isinstance(plan.against, Period):
            meant |= {f"{site} against": str(span) for site, span in look.spans(plan.against).items()}
        return _hash(
            plan.model_dump_json(),
            str(sorted(meant.items())),
            catalogue.VERSION,
            self._calendars.get(look.scope.tenant, ""),
            str(look.places.lines),
            look.scope.key(),
            speech,
            CODE,
        )

    def _make(self, look: Snapshot, plan: Plan, speech: Language) -> tuple[str, Kept, Freshness]:
        query = look.query(
            plan.metrics, period=plan.period, dimensions=plan.dimensions, filters=plan.filters, grain=plan.grain
        )
        freshness = look.freshness(query)
        base = self._base(look, plan, speech)
        result = analyse(plan, look, speech)
        read = Read(tuple(sorted(look.touched)), look.live, look.clocked)
        self.cache.remember(base, read)
        kept = Kept(_told(plan, look, result), look.second)
        return _key(look, base, read, freshness), kept, freshness


def canonical(plan: Plan) -> Plan:
    """Give a plan with its metrics by their own names, so that one question has one form."""
    return plan.model_copy(update={"metrics": tuple(catalogue.proper(name) for name in plan.metrics)})


def refused(error: PlanError) -> ApiError:
    """Say a PlanError as the API does."""
    fields = [{"field": error.field, "message": error.message, "nearest": error.near}] if error.field else []
    status = 404 if error.code in {"ERR_BI_METRIC_NOT_FOUND", "ERR_BI_DATASET_NOT_FOUND"} else 400
    return ApiError(status, error.code, error.message, error.check, fields)


def _key(look: Snapshot, base: str, read: Read, freshness: Freshness) -> str:
    """Hash all that an answer depends on: the asking, the marts it read, names and targets, and what grows by itself."""
    growing = str([(tail.line, sorted(tail.sums.items())) for tail in look.tails]) if read.live else ""
    clock = str(look.second) if read.clocked else ""
    fresh = f"{freshness.pending_buckets} {freshness.silent}"
    return _hash(base, versions_of(read, look.versions), look.stamp(), growing, clock, fresh)


def _settled(done: asyncio.Task[T], tasks: dict[str, asyncio.Task[T]], name: str) -> None:
    """Forget a task that is done; what it raised is everybody's who still waits, and nobody's if none does."""
    tasks.pop(name, None)
    if not done.cancelled():
        done.exception()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _told(plan: Plan, look: Snapshot, result: Result) -> bytes:
    """Give an answer as JSON, without what is told anew each time."""
    said = plan.model_dump(mode="json")
    dates = look.dated(plan.period)
    return orjson.dumps(
        {
            "analysis": plan.analysis,
            "plan": said,
            "plan_hash": _hash(plan.model_dump_json())[:16],
            "period": {"first": dates.first, "last": dates.last, "shift": dates.shift},
            "definitions": {name: book.definition(catalogue.metric(name)) for name in plan.metrics},
            "columns": [
                {"name": one.name, "kind": one.kind, "title": dict(one.title), "unit": one.unit}
                for one in result.columns
            ],
            "rows": result.rows,
            "findings": dict(result.findings),
            "chart": result.chart,
            "sentences": {language: list(lines) for language, lines in result.sentences.items()},
            "drill": [
                {
                    "title": dict(one.title),
                    "line": one.line,
                    "first": one.first,
                    "last": one.last,
                    "plan": None if one.plan is None else dict(one.plan),
                }
                for one in result.drill
            ],
            "refused": result.refused,
            "truncated": look.truncated,
            "marts": sorted(look.touched),
        },
        option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS,
    )


def _served(key: str, kept: Kept, freshness: Freshness, now_ms: int, *, from_cache: bool) -> Answer:
    head = orjson.dumps(
        {
            "as_of": times.iso(now_ms),
            "from_cache": from_cache,
            "cached_at": times.iso(kept.at_ms) if from_cache else None,
            "freshness": {
                "data_at": None if freshness.data_at_ms is None else times.iso(freshness.data_at_ms),
                "pending_buckets": freshness.pending_buckets,
                "silent": list(freshness.silent),
            },
        }
    )
    return Answer(head[:-1] + b"," + kept.body[1:], f'"{key[:32]}"')
