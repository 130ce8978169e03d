"""Questions of figures, answered: one way for API, page, pin, chart, report and alert.

An answer is made once for everything it depends on (plan, dates, definitions, scope, the versions of the marts it
read) and kept as bytes under the hash of that; whoever asks the same while it is being made waits for it. While a shift
runs and a line is silent, unknown time grows by itself: then the second is part of the key, and figures are those of
that second. Within one second, and while nothing is committed by this process, nobody looks whether anything changed:
what another process commits counts from the next second on, as `as_of` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
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

SEEN: Final = 1_024
"""So many answers of the running second are given without a look at the database."""


def _code() -> str:
    """Give the hash of the code that makes answers: another version's answers are not ours."""
    cloud = Path(__file__).parent.parent
    bi = cloud / "bi"
    digest = hashlib.sha256()
    for path in sorted((*bi.rglob("*.py"), *bi.rglob("*.toml"), cloud / "wording" / "texts.toml", Path(__file__))):
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


_Made = tuple[str, Kept, Freshness]
_Found = tuple[_Made, bool] | Future[_Made]
"""An answer, and whether it was in memory; or one that somebody else is making."""


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
        self._database = database
        self._asked: dict[str, asyncio.Task[_Found]] = {}
        self._making: dict[str, Future[_Made]] = {}
        self._lock = threading.Lock()
        """Around the cache and what is being made."""
        self._seen: dict[str, tuple[int, _Made]] = {}
        """What was answered this second, and how many commits there had been."""
        self._second = 0
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
        asked = f"{scope.key()}\0{speech}\0{plan.model_dump_json()}"
        if second != self._second or len(self._seen) > SEEN:
            self._seen, self._second = {}, second
        commits = self._database.commits
        seen = self._seen.get(asked)
        if seen is not None and seen[0] == commits:  # of this second, and nothing was committed since: nobody need look
            return _served(*seen[1], second, from_cache=True)
        made, from_cache = await self._found_by_all(asked, scope, plan, speech, second)
        if second == self._second:
            self._seen[asked] = commits, made
        return _served(*made, second, from_cache=from_cache)

    async def _found_by_all(
        self, asked: str, scope: Scope, plan: Plan, speech: Language, second: int
    ) -> tuple[_Made, bool]:
        """Look, and make what is not in memory; those who ask the same at the same moment look together."""
        name = f"{second}\0{asked}"
        task = self._asked.get(name)
        if task is None:
            task = asyncio.create_task(
                self._read(lambda connection: self._found(self._snapshot(connection, scope, second), plan, speech)),
                name="bi",
            )
            self._asked[name] = task
            task.add_done_callback(lambda done: _settled(done, self._asked, name))
        found = await asyncio.shield(task)
        if isinstance(found, Future):
            with _plainly():
                return await asyncio.shield(asyncio.wrap_future(found)), False
        return found

    def _found(self, look: Snapshot, plan: Plan, speech: Language) -> _Found:
        """Give an answer from memory, or whose making to wait for, or make it: all on one snapshot."""
        peek = self._peek(look, plan, speech)
        with self._lock:
            if peek.key is not None and (kept := self.cache.get(peek.key)) is not None:
                return (peek.key, kept, peek.freshness), True
            other = self._making.get(peek.flight)
            if other is not None:
                return other
            mine = self._making[peek.flight] = Future()
        try:
            made = self._make(look, plan, speech, peek)
        except BaseException as error:  # whatever ended it, whoever waits for it is told, and it goes on up
            mine.set_exception(error)
            raise
        else:
            mine.set_result(made)
            return made, False
        finally:
            with self._lock:
                del self._making[peek.flight]

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
        with _plainly():
            return await self._walled.read(work)

    def _peek(self, look: Snapshot, plan: Plan, speech: Language) -> _Peek:
        query = look.query(
            plan.metrics, period=plan.period, dimensions=plan.dimensions, filters=plan.filters, grain=plan.grain
        )
        if plan.analysis != "FIND_CAUSE":  # which looks along its dimensions one by one
            route(query)
        freshness = look.freshness(query)
        base = self._base(look, plan, speech)
        read = self.cache.read_of(base)
        everything = f"{sorted(look.versions.items())}{look.stamp}{look.second}"
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

    def _make(self, look: Snapshot, plan: Plan, speech: Language, peek: _Peek) -> _Made:
        result = analyse(plan, look, speech)
        read = Read(tuple(sorted(look.touched)), look.live, look.clocked)
        kept = Kept(_told(plan, look, result), look.second)
        key = _key(look, peek.base, read, peek.freshness)
        with self._lock:
            self.cache.remember(peek.base, read)
            self.cache.put(key, kept)
            self.made += 1
        return key, kept, peek.freshness


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
    return _hash(base, versions_of(read, look.versions), look.stamp, growing, clock, fresh)


@contextlib.contextmanager
def _plainly() -> Generator[None]:
    """Say what kept figures from being read as the API does."""
    try:
        yield
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
