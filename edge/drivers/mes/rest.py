"""MES over HTTP: job orders, products, inventory and what is being made now, as facts in ISA-95 words.

Polled; what has not changed costs one conditional request (ETag) and gives nothing. The ten rules: every request has a
timeout; an answer that is not what was agreed on is an error that names the field; `at` is when we learned it, because
the MES gives no time of its own for it; nothing is written.

The agreed JSON, all times ISO 8601 with Z or an offset:
`GET /api/job-orders?work_unit=…` → [{order, product, lot, work_unit, quantity, start, end, state, ideal_cycle_ms}]
`GET /api/products` → [{product, name: {ko, en}, ideal_cycle_ms: {work unit: ms}}]
`GET /api/inventory` → [{material, location, quantity, unit, daily_usage}]
`GET /api/context?work_unit=…` → {order, product, lot, shift}, null where there is none; 404 when nothing runs there
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
from pydantic import SecretStr

from edge.connections import Mes
from edge.drivers.driver import DriverError, DriverHealth, Learned
from edge.drivers.schedule import Beat
from sync.clock import Clock
from sync.facts import Context, Fact, InventoryCounted, JobOrderPlanned, ProductDefined

REQUEST_S = 4.0

T = TypeVar("T")


class _JobOrder(msgspec.Struct, frozen=True):
    order: str
    product: str
    work_unit: str
    quantity: int
    start: datetime
    end: datetime
    state: str
    lot: str | None = None
    ideal_cycle_ms: float | None = None


class _Product(msgspec.Struct, frozen=True):
    product: str
    name: dict[str, str] = {}
    ideal_cycle_ms: dict[str, float] = {}


class _Stock(msgspec.Struct, frozen=True):
    material: str
    location: str
    quantity: float
    unit: str
    daily_usage: float | None = None


class _Context(msgspec.Struct, frozen=True):
    order: str | None = None
    product: str | None = None
    lot: str | None = None
    shift: str | None = None


class MesSource:
    """One MES, polled for some work units."""

    def __init__(self, config: Mes, work_units: Sequence[str], clock: Clock, *, token: SecretStr | None = None) -> None:
        self.health = DriverHealth()
        self.contexts: dict[str, Context] = {}
        """Work unit → what is being made there now, as of the last poll; `stale` once the MES is lost."""
        self._config = config
        self._work_units = tuple(work_units)
        self._clock = clock
        self._beat = Beat(clock, config.period_s)
        self._known: dict[tuple[str, ...], Fact] = {}
        self._etags: dict[str, str] = {}
        headers = {"accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token.get_secret_value()}"
        # No proxy from the environment: a plant's MES is on the plant's network.
        self._http = httpx.AsyncClient(base_url=config.url, headers=headers, timeout=REQUEST_S, trust_env=False)

    async def __aenter__(self) -> Self:
        try:
            await self._get("/api/products", list[_Product], remember=False)
        except BaseException:  # cancelled too: whatever ends the attempt, nothing stays open
            await self._http.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def facts(self) -> AsyncGenerator[Learned]:
        """Give what is new or changed at each poll; `contexts` is brought up to date before each."""
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
            yield Learned(news)

    async def _poll(self) -> list[Fact]:
        found: list[tuple[tuple[str, ...], Fact]] = []
        now = self._clock.now()
        for product in await self._get("/api/products", list[_Product]) or ():
            fact = ProductDefined(
                at=now, product=product.product, name=product.name, ideal_cycle_ms=product.ideal_cycle_ms
            )
            found.append((("product", product.product), fact))
        for stock in await self._get("/api/inventory", list[_Stock]) or ():
            counted = InventoryCounted(at=now, **msgspec.structs.asdict(stock))
            found.append((("inventory", stock.material, stock.location), counted))
        for unit in self._work_units:
            jobs = await self._get("/api/job-orders", list[_JobOrder], unit) or []
            found += [(("job_order", job.order, job.work_unit), self._planned(job, now)) for job in jobs]
            context = await self._get("/api/context", _Context, unit)
            if context is not None:
                self.contexts = {**self.contexts, unit: Context(**msgspec.structs.asdict(context))}
        news = [fact for key, fact in found if not _same(self._known.get(key), fact)]
        self._known.update(found)
        return news

    def _planned(self, job: _JobOrder, now: int) -> JobOrderPlanned:
        if job.start.tzinfo is None or job.end.tzinfo is None:
            raise self._lost(
                f"/api/job-orders: order {job.order} has a time without zone; the MES must send Z or an offset"
            )
        return JobOrderPlanned(
            at=now,
            work_unit=job.work_unit,
            order=job.order,
            product=job.product,
            lot=job.lot,
            quantity=job.quantity,
            start=_ns(job.start),
            end=_ns(job.end),
            state=job.state,
            ideal_cycle_ms=job.ideal_cycle_ms,
        )

    async def _get(self, path: str, shape: type[T], work_unit: str | None = None, *, remember: bool = True) -> T | None:
        """Give a resource in its agreed shape, or None when it is as it was. Raises DriverError."""
        params = {} if work_unit is None else {"work_unit": work_unit}
        key = path if work_unit is None else f"{path}?{work_unit}"
        headers = {"if-none-match": self._etags[key]} if key in self._etags else {}
        self.health.requests += 1
        try:
            answer = await self._http.get(path, params=params, headers=headers)
        except httpx.TimeoutException as error:
            raise self._lost(f"{path}: no answer within {REQUEST_S:g} s; check the MES and the network") from error
        except httpx.HTTPError as error:
            raise self._lost(f"{path}: {error or type(error).__name__}; check the url and that the MES runs") from error
        match answer.status_code:
            case 304:
                return None
            case 200:
                pass
            case 401 | 403:
                raise self._lost(f"{path}: {answer.status_code}, the MES refuses us; check the connection's token")
            case 404 if shape is _Context:  # nothing runs there
                self._etags.pop(key, None)
                return msgspec.convert({}, shape)
            case 404:
                raise self._lost(f"{path}: 404, no such resource; check the url, it must end before /api")
            case code:
                raise self._lost(f"{path}: the MES answers {code}; check the MES's own log")
        try:
            content = msgspec.json.decode(answer.content, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._lost(f"{path}: not the agreed JSON: {error}; check the version of the MES interface") from error
        if remember and "etag" in answer.headers:
            self._etags[key] = answer.headers["etag"]
        return content

    def _lost(self, why: str) -> DriverError:
        return DriverError(f"{self._config.name} ({self._config.url}): {why}")


def _same(known: Fact | None, fact: Fact) -> bool:
    """Tell whether two facts say the same, whenever it was learned."""
    return known is not None and msgspec.structs.replace(known, at=fact.at) == fact


def _ns(when: datetime) -> int:
    return round(when.timestamp() * 1_000_000) * 1000
