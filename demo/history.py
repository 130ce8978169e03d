"""Back-fill: some weeks of the plant's past, through the very code the live line runs, into each gateway's own store.

The plant model runs fast; what its machines would have shown goes through `edge.pipeline`, and the facts that come of
it are committed to the gateway's `edge.db`. From there they travel the real way to the cloud and are counted in the
equation like any others. Coarser than live: counters at every change and every ten minutes, one verdict per half hour,
sensors as hourly aggregates. Raw readings of the past are not kept.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from demo import laboratory
from demo.plant import Plant, Stock
from demo.plant_line import Line
from demo.plant_orders import Order
from demo.plant_signals import Value
from demo.plant_spec import DAY, HOUR, KST_OFFSET, LINES, MINUTE, PRODUCTS, shift_at
from demo.plant_tags import Shown
from demo.site_files import HISTORY
from demo.site_plan import GATEWAYS, PLANT_FILE
from edge.bundles import Bundles, line_names
from edge.pipeline import LinePipeline, Output
from edge.site import Site, load
from edge.store import Store, open_store
from models.rulesets import Ruleset
from models.rulesets import load as load_rules
from sync.clock import Clock
from sync.facts import Aggregated, Context, Fact, JobOrderPlanned, ProductDefined
from sync.operations import InventoryCounted, LotDefined, QualityMeasured
from sync.quality import GOOD
from sync.reading import Readings, Scalar, readings

SLICE: Final = 10 * MINUTE
WINDOW: Final = 30 * MINUTE
COMMIT_FACTS: Final = 5_000

Row = tuple[int, Scalar, int, int]


@dataclass(slots=True)
class Sums:
    """One sensor's hour."""

    values: list[float] = field(default_factory=list[float])
    bad: int = 0


class LinePast:
    """One line's past: gathers what its machine showed, and feeds it to the line's pipeline in time order."""

    def __init__(self, line: Line, site: Site) -> None:
        work_unit = line.spec.work_unit
        tags = site.table.of_work_unit(work_unit)
        self.line = line
        self.pipeline = LinePipeline(
            work_unit, tags, _rules(site, work_unit), window_ns=WINDOW, report_ns=SLICE, record_readings=False
        )
        self.facts: list[Fact] = []
        self._counters = [(t.index, Shown(t.spec)) for t in tags if t.spec.role == "counter"]
        self._others = [(t.index, Shown(t.spec)) for t in tags if t.spec.role in {"state", "reason", "context"}]
        self._sensors = [(t.index, Shown(t.spec), t.spec.name) for t in tags if t.spec.role == "measurement"]
        self._ideal: dict[str, float] = {
            p.code: float(p.ideal_ms[line.spec.line]) for p in PRODUCTS if line.spec.line in p.ideal_ms
        }
        self._rows: list[Row] = []
        self._hour: dict[str, Sums] = {}
        self._order = ""
        self._shift = ""

    def _row(self, index: int, shown: Shown, observed: dict[str, Value], at: int) -> Row:
        value = shown.of(observed, at)
        return index, value.value, value.status, at

    def begin(self, at: int) -> None:
        """Take the counters' first look, so that the first piece is a gain."""
        self._tell(at)
        self.changed(at)

    def changed(self, at: int) -> None:
        """Note a change of state, reason or order at its own time; counters first, they belong to what was before."""
        observed = self.line.observe(at)
        self._rows += [self._row(index, shown, observed, at) for index, shown in self._counters]
        if self.line.orders.running.order != self._order:
            self._tell(at)
        self._rows += [self._row(index, shown, observed, at) for index, shown in self._others]

    def sample(self, at: int) -> None:
        """Note counters and sensors at the end of a slice, and let the pipeline have all of it."""
        observed = self.line.observe(at)
        self._rows += [self._row(index, shown, observed, at) for index, shown in self._counters]
        for index, shown, name in self._sensors:
            row = self._row(index, shown, observed, at)
            self._rows.append(row)
            sums = self._hour.setdefault(name, Sums())
            if row[2] == GOOD and isinstance(row[1], int | float):
                sums.values.append(float(row[1]))
            else:
                sums.bad += 1
        self._feed()
        if shift_at(at).code != self._shift:
            self._tell(at)
        if at % HOUR < SLICE:
            self._aggregate(at - at % HOUR)

    def _feed(self) -> None:
        if self._rows:
            batch: Readings = readings(self._rows, received=self._rows[-1][3])
            self._rows = []
            self._take(self.pipeline.feed(batch))

    def _take(self, output: Output) -> None:
        self.facts += output.facts

    def _tell(self, at: int) -> None:
        """Say what the MES would say from `at` on."""
        self._feed()
        order = self.line.orders.running
        self._order, self._shift = order.order, shift_at(at).code
        context = Context(order=order.order, product=order.product, lot=order.lot, shift=self._shift)
        self._take(self.pipeline.tell(context, self._ideal, at))

    def _aggregate(self, end: int) -> None:
        for name, sums in self._hour.items():
            good = sums.values
            self.facts.append(
                Aggregated(
                    at=end,
                    work_unit=self.line.spec.work_unit,
                    tag=f"{self.line.spec.work_unit}/{name}",
                    start=end - HOUR,
                    count=len(good),
                    bad=sums.bad,
                    mean=sum(good) / len(good) if good else None,
                    min=min(good, default=None),
                    max=max(good, default=None),
                    last=good[-1] if good else None,
                )
            )
        self._hour = {}

    def orders(self) -> list[Fact]:
        """Give every order as the MES ended up knowing it."""
        return [planned(order, order.start) for order in self.line.orders.all()]

    def laboratory(self, start: int, end: int) -> list[Fact]:
        """Give lots that were released, and the laboratory's results; the last day's are told by the running MES."""
        told: list[Fact] = []
        for order in (*self.line.orders.completed, self.line.orders.running):
            told += [measured(order, one) for one in laboratory.results(order, start, end - laboratory.TOLD_BY_MES)]
            if order.state == "completed":
                told.append(
                    LotDefined(
                        at=order.end,
                        work_unit=order.work_unit,
                        lot=order.lot,
                        product=order.product,
                        quantity=float(order.quantity),
                        unit="C62",
                        state="released",
                        order=order.order,
                    )
                )
        return told


def measured(order: Order, one: laboratory.Result) -> QualityMeasured:
    """Give a result of the laboratory as a fact of the MES."""
    return QualityMeasured(
        at=one.at,
        work_unit=order.work_unit,
        characteristic=one.characteristic,
        value=one.value,
        unit=one.unit,
        low=one.low,
        high=one.high,
        passed=one.passed,
        sample=one.sample,
        order=order.order,
        product=order.product,
        lot=order.lot,
    )


def planned(order: Order, at: int) -> JobOrderPlanned:
    """Give an order as a fact of the MES."""
    return JobOrderPlanned(
        at=at,
        work_unit=order.work_unit,
        order=order.order,
        product=order.product,
        lot=order.lot,
        quantity=order.quantity,
        start=order.start,
        end=order.end,
        state=order.state,
        ideal_cycle_ms=float(order.ideal_ms),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """What a back-fill came to."""

    weeks: float
    facts: int
    pieces: int
    seconds: float


async def backfill(folder: Path, *, weeks: float, seed: int, end: int, clock: Clock) -> Backfill | None:
    """Put `weeks` of history before `end` (ns) into the gateways' stores under `folder`; None when it is there already.

    All or nothing: until the mark stands, whatever an interrupted attempt left behind is thrown away first.
    """
    if (folder / HISTORY).exists():
        return None
    _clear(folder)
    began = time.monotonic()
    start = end - round(weeks * 7 * DAY)
    start -= start % SLICE
    plant = Plant(seed=seed, start=start)
    sites = {gateway: load(folder / f"{gateway}.toml") for gateway in GATEWAYS}
    pasts = {
        line.spec.line: LinePast(line, sites[gateway])
        for gateway, lines in GATEWAYS.items()
        for line in plant.lines
        if line.spec.line in lines
    }
    facts = 0
    async with AsyncExitStack() as stack:
        keeping: list[tuple[str, Store, list[LinePast]]] = []
        for gateway, lines in GATEWAYS.items():
            mine = [past for past in pasts.values() if past.line.spec.line in lines]
            store = await stack.enter_async_context(_open(sites[gateway], clock))
            keeping.append((gateway, store, mine))
        stocks = _live_through(plant, pasts, end)
        for gateway, store, mine in keeping:
            made = [fact for past in mine for fact in (*_judged_by(past, sites[gateway]), *past.orders(), *past.facts)]
            made += [fact for past in mine for fact in past.laboratory(start, end)]
            made += [*_products(start), *stocks] if gateway == next(iter(GATEWAYS)) else []
            made.sort(key=_at)
            for i in range(0, len(made), COMMIT_FACTS):
                await store.commit(facts=made[i : i + COMMIT_FACTS])
            await store.commit(checkpoints={f"line:{past.pipeline.work_unit}": past.pipeline.dump() for past in mine})
            facts += len(made)
    plant.save(folder / PLANT_FILE)
    (folder / HISTORY).write_text(f"{weeks} weeks before {end} ns, seed {seed}\n", encoding="ascii")
    pieces = sum(t.produced for t in plant.totals().values())
    return Backfill(weeks=weeks, facts=facts, pieces=pieces, seconds=time.monotonic() - began)


def _clear(folder: Path) -> None:
    """Remove what an interrupted attempt left; keys and configuration stay."""
    for left in (*GATEWAYS, PLANT_FILE, "mes.db", "cloud.db"):
        for path in folder.glob(f"{left}*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix != ".toml":  # the site files stand beside the folders of the same name
                path.unlink()


def _live_through(plant: Plant, pasts: dict[str, LinePast], end: int) -> list[Fact]:
    """Let everything happen; gives what the store counted at every midnight."""
    for past in pasts.values():
        past.begin(plant.now)
    at = plant.now
    counted: list[Fact] = []
    while at < end:
        if (at + KST_OFFSET) % DAY < SLICE:
            counted += [_counted(stock, at) for stock in plant.stocks()]
        at = min(at + SLICE, end)
        for moment in plant.advance(at):
            if moment.changed:
                pasts[moment.line.spec.line].changed(moment.at)
        for past in pasts.values():
            past.sample(at)
    return counted


def _counted(stock: Stock, at: int) -> InventoryCounted:
    return InventoryCounted(
        at=at,
        material=stock.material.code,
        location=stock.material.location,
        quantity=stock.quantity,
        unit=stock.material.unit,
        daily_usage=stock.daily_usage,
    )


def _open(site: Site, clock: Clock) -> AbstractAsyncContextManager[Store]:
    gateway = site.file.gateway
    return open_store(
        site.data,
        clock=clock,
        quota_bytes=gateway.quota_mb * 2**20,
        ballast_bytes=gateway.ballast_mb * 2**20,
        software="triflow demo back-fill",
    )


def _products(at: int) -> list[Fact]:
    units = {spec.line: spec.work_unit for spec in LINES}
    return [
        ProductDefined(
            at=at,
            product=p.code,
            name={"ko": p.ko, "en": p.en},
            ideal_cycle_ms={units[line]: float(ms) for line, ms in p.ideal_ms.items()},
        )
        for p in PRODUCTS
    ]


def _rules(site: Site, work_unit: str) -> Ruleset | None:
    """Give what judged a line in those weeks: rules alone, its model is new and knows shorter windows."""
    ruleset = site.rulesets.get(work_unit)
    if ruleset is None or ruleset.model is None:
        return ruleset
    return load_rules(site.folder / "rules" / "filler.toml", site.virtual[work_unit].environment)


def _judged_by(past: LinePast, site: Site) -> list[Fact]:
    """Keep what judges a line, for as long as its verdicts are."""
    pipeline = past.pipeline
    if pipeline.ruleset is None:
        return []
    names = line_names(pipeline.work_unit, pipeline.tags, site.virtual[pipeline.work_unit])
    return list(Bundles(site.data).keep(pipeline.ruleset, names, past.facts[0].at if past.facts else 0))


def _at(fact: Fact) -> int:
    return fact.at
