"""ERP or MES by SQL: each query a question of its own, read-only, its rows facts in ISA-95 words.

The ten rules: a statement has a time limit and gives a limited number of rows; a row that is not what was agreed on is
left out and said; a time without zone is a fault unless the zone is configured; nothing is written, nothing can be. A
query with a watermark goes on where it was, through restarts, each row once. Columns: docs/drivers/erp-sql.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import zoneinfo
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from edge.connections import Query, Sql
from edge.drivers.driver import DriverError, DriverHealth, Learned, Surroundings
from edge.drivers.mes import columns, memory, snapshot, watermark
from edge.drivers.mes.memory import Columns, Memory, Taken
from edge.drivers.mes.question import Answer, Explained, QuestionError
from edge.drivers.mes.records import Making, Product
from edge.drivers.mes.snapshot import Change, Field, drifted
from edge.drivers.mes.watermark import WatermarkError
from edge.statement import parameters, tables
from sync.clock import Clock
from sync.facts import Context, Fact

if TYPE_CHECKING:  # SQLAlchemy is an extra: loaded when a connection is made, missed with a sentence
    from edge.drivers.mes.sql_database import Database

log = logging.getLogger(__name__)

LOOK_NS: Final = 24 * 3600 * 1_000_000_000
"""How often the tables themselves are looked at."""


@dataclass(slots=True)
class _Asking:
    """A query, for one work unit if it asks for one."""

    query: Query
    unit: str | None
    name: str
    period_ns: int
    due: int = 0
    """Monotonic ns."""


class SqlSource:
    """One database, asked for some work units."""

    def __init__(
        self, config: Sql, work_units: Sequence[str], clock: Clock, around: Surroundings, *, cursor: bytes = b""
    ) -> None:
        """Prepare, to go on at `cursor`. Raises SecretError."""
        self.health = DriverHealth()
        self.contexts: dict[str, Context] = {}
        """Work unit → what is being made there now; only with a query that gives `context`."""
        self.cycles: dict[str, dict[str, float]] = {}
        """Product → work unit → planned run time per item, ms."""
        self._config, self._around, self._clock = config, around, clock
        self._work_units = tuple(work_units)
        self._zone = None if config.timezone is None else zoneinfo.ZoneInfo(config.timezone)
        self._password = None if config.password is None else config.password.read(around.folder)
        self._memories = memory.load(cursor, config.name)
        self._given = cursor
        self._askings = list(_askings(config, self._work_units))
        self._look_due = 0
        self._database: Database | None = None

    @property
    def server_time(self) -> int | None:
        """The database's own clock when we connected, ns; None when it tells none."""
        return None if self._database is None else self._database.server_time

    async def __aenter__(self) -> Self:
        try:
            home = await asyncio.to_thread(
                importlib.import_module, "edge.drivers.mes.sql_database"
            )  # it takes its time
        except ImportError as error:
            raise DriverError(
                f"{self._config.name}: this gateway cannot speak SQL ({error}); install the extra: "
                "pip install --require-hashes -r requirements/sql.lock"
            ) from error
        database: Database = home.Database(self._config, self._around, self._password)
        await database.open()
        self._database = database
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            await self._database.close()

    async def facts(self) -> AsyncGenerator[Learned]:
        """Give what is new after each question; `contexts` and `cycles` are brought up to date before."""
        if not self._askings:
            raise DriverError(
                f"{self._config.name}: every query asks for :work_unit, and the site file has no [[line]]"
            )
        for asking in self._askings:
            asking.due = self._clock.monotonic()
        while True:
            asking = min(self._askings, key=lambda asking: asking.due)
            now = self._clock.monotonic()
            if asking.due > now:
                await self._clock.sleep((asking.due - now) / 1e9)
            missed = max(0, (now - asking.due) // asking.period_ns)
            self.health.overruns += missed
            asking.due += (missed + 1) * asking.period_ns
            try:
                news = [*await self._look(), *await self._ask(asking)]
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
        """Ask each query once: its name with the number of rows that fit, or with why there are none."""
        for asking in self._askings:
            try:
                answer = await self._answer(asking, Memory())
            except (DriverError, QuestionError) as error:
                yield asking.name, str(error)
                continue
            taken, _ = self._taken(asking, Memory(), answer, keep=True)
            yield asking.name, taken.note or len(taken.records)

    # --- asking ---

    async def _ask(self, asking: _Asking) -> list[Fact]:
        """Ask one question and give what is new."""
        kept = self._memory(asking)
        try:
            answer = await self._answer(asking, kept)
            # Thousands of rows take a while, and the lines must not wait: in a thread, which nobody shares with us.
            whole = asking.query.watermark is None
            taken, advanced = await asyncio.to_thread(self._taken, asking, kept, answer, keep=whole)
        except QuestionError as error:
            return self._failed(asking, kept, error.explained)
        except WatermarkError as error:
            return self._failed(asking, kept, Explained(False, f"watermark {asking.query.watermark} {error}"))
        if advanced is not None and not taken.suspended:
            if len(answer.rows) == self._limit(asking, kept) and advanced.fresh:
                asking.due = self._clock.monotonic()  # there is more
            kept.since = watermark.encode(advanced.since)
            kept.at_watermark = advanced.known
        self._keep(asking, taken)
        return [*taken.facts, *self._say(asking.name, taken.changes, asking.unit)]

    async def _answer(self, asking: _Asking, kept: Memory) -> Answer:
        query, database = asking.query, self._database
        if database is None:
            raise DriverError(f"{self._config.name}: not connected")
        given: dict[str, object] = {}
        wanted = parameters(query.sql)
        if "work_unit" in wanted:
            given["work_unit"] = asking.unit
        if "since" in wanted:
            since = watermark.back(watermark.decode(kept.since), query.overlap) if kept.since else query.begin
            given["since"] = since
        self.health.requests += 1
        limit = self._limit(asking, kept)
        answer = await database.ask(query.sql, given, limit, order_by=query.watermark)
        if query.watermark is None and len(answer.rows) == limit:
            what = f"gives more than {self._config.rows} rows; narrow it, raise `rows`, or name a watermark"
            raise QuestionError(Explained(False, what))
        return answer

    def _limit(self, asking: _Asking, kept: Memory) -> int:
        """Give how many rows to ask for: those known at the watermark come again, and must leave room for new ones."""
        known = len(kept.at_watermark) // watermark.HASH_BYTES
        return self._config.rows + (1 if asking.query.watermark is None else known)

    def _taken(
        self, asking: _Asking, kept: Memory, answer: Answer, *, keep: bool
    ) -> tuple[Taken, watermark.Advanced | None]:
        query = asking.query
        rows: list[Mapping[str, Any]] = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
        advanced: watermark.Advanced | None = None
        if query.watermark is not None:
            if query.watermark not in answer.names:
                what = f"gives no column {query.watermark!r} (its watermark); it gives {', '.join(answer.names)}"
                raise QuestionError(Explained(False, what, "column_deleted"))
            since = watermark.decode(kept.since) if kept.since else None
            advanced = watermark.advance(rows, query.watermark, since, kept.at_watermark, query.overlap)
            rows = [rows[i] for i in advanced.fresh]
        names = columns.named(answer.names)
        rows = [dict(zip(names, row.values(), strict=True)) for row in rows]
        shaped = columns.rows_of(query.gives, rows, self._zone, asking.unit)
        of_select = Columns(names, rows, columns.agreed_columns(query.gives))
        now = self._clock.now()
        taken = memory.take(kept, query.gives, shaped, self._work_units, now, columns=of_select, keep_marks=keep)
        return taken, advanced if advanced is not None and advanced.since is not None else None

    def _failed(self, asking: _Asking, kept: Memory, why: Explained) -> list[Fact]:
        """Take note that a question failed: once, until it fails otherwise or not at all."""
        what = why.what
        if why.kind == "timed_out":  # it may be a moment's load: no drift, and asked again when it is due
            if what not in self.health.notes.get(asking.name, ""):
                log.warning("query failed: source=%s query=%s why=%s", self._config.name, asking.name, what)
            self._keep(asking, Taken(suspended=True, note=what))
            return []
        if asking.query.watermark is not None and why.kind == "column_deleted" and asking.query.watermark in what:
            what += f"; the query must select its watermark {asking.query.watermark}"
        change = Change(why.kind or "query_failed", "critical", "", what)
        taken = Taken(suspended=True, note=f"suspended until it fits again: {what}")
        key = f"{change.kind} {what}"
        if key not in kept.said:
            kept.said = [key]
            taken.changes = [change]
        self._keep(asking, taken)
        return self._say(asking.name, taken.changes, asking.unit)

    def _keep(self, asking: _Asking, taken: Taken) -> None:
        """Keep what is being made and how fast, and what people should know."""
        if taken.note:
            self.health.notes[asking.name] = taken.note
        else:
            self.health.notes.pop(asking.name, None)
        for row in taken.records:
            if isinstance(row, Product):
                self.cycles = {**self.cycles, row.product: row.ideal_cycle_ms}
        if asking.query.gives != "context":
            return
        making = {row.work_unit: row.context for row in reversed(taken.records) if isinstance(row, Making)}
        for unit in self._work_units if asking.unit is None else [asking.unit]:
            if taken.suspended:  # the last known answer may no longer be so
                context = msgspec.structs.replace(self.contexts.get(unit, Context()), stale=True)
            else:
                context = making.get(unit, Context())
            self.contexts = {**self.contexts, unit: context}

    def _memory(self, asking: _Asking) -> Memory:
        """Give what is remembered of a question; another text is a new look, another watermark a new beginning."""
        query = asking.query
        place = _print(query.gives, query.watermark, query.begin)
        about = f"{place} {_print(query.sql, self._config.timezone)}"
        kept = self._memories.get(asking.name)
        if kept is None or kept.about.partition(" ")[0] != place:
            kept = self._memories[asking.name] = Memory(about=about)
        elif kept.about != about:
            kept.about, kept.shape, kept.said = about, {}, []
        return kept

    # --- drift ---

    async def _look(self) -> list[Fact]:
        """Look at the tables the queries name, once a day: what changes there is told before it hurts."""
        now = self._clock.monotonic()
        if self._database is None or now < self._look_due:
            return []
        self._look_due = now + LOOK_NS
        named = sorted({name for query in self._config.queries for name in tables(query.sql)})
        news: list[Fact] = []
        for table, types in (await self._database.columns(named)).items():
            name = f"table {table}"
            shape = {column: Field((kind.lower(),)) for column, kind in types.items()}
            kept = self._memories.setdefault(name, Memory())
            if kept.shape:
                found = snapshot.changes(kept.shape, shape, {}, exact=True)
                news += self._say(name, [_told(change) for change in found], None)
            kept.shape = shape
        return news

    def _say(self, name: str, changes: Sequence[Change], unit: str | None) -> list[Fact]:
        if not changes:
            return []
        severe = any(change.severity == "critical" for change in changes)
        log.log(
            logging.WARNING if severe else logging.INFO,
            "schema drift: source=%s query=%s what=%s",
            self._config.name, name, "; ".join(change.what for change in changes),
        )  # fmt: skip
        drift = drifted(self._config.name, name, changes, self._clock.now())
        return [msgspec.structs.replace(drift, work_unit=unit or "")]


def _askings(config: Sql, work_units: Sequence[str]) -> list[_Asking]:
    found: list[_Asking] = []
    for query in config.queries:
        period_ns = round((query.period_s or config.period_s) * 1e9)
        if "work_unit" in parameters(query.sql):
            found += [_Asking(query, unit, f"{query.title} {unit}", period_ns) for unit in work_units]
        else:
            found.append(_Asking(query, None, query.title, period_ns))
    return found


def _told(change: Change) -> Change:
    """Give a change of a table: it concerns us only if a query breaks, and that says so itself."""
    severity = "info" if change.kind == "column_added" else "warning"
    return Change(change.kind, severity, change.field, change.what.partition(" (")[0])


def _print(*said: object) -> str:
    return hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
