"""One line of the plant: PackML states, pieces, rejects, energy and wear, from event to event.

While it executes, a line lives in *runs* of at most a minute: pace, number of pieces and rejects are drawn at the
run's begin, so the state at any moment inside is a function of time. A run cut short (by a neighbour, by an order to
close) keeps what it had made. That costs a plant hour 60 small steps, and the trace does not depend on who looks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from demo.plant_orders import OrderBook
from demo.plant_signals import Fault, FaultKind, Sensor, Value, scramble
from demo.plant_spec import (
    DAY,
    HOUR,
    MINUTE,
    PRODUCT,
    REASONS,
    SECOND,
    Cause,
    LineSpec,
    shift_at,
)
from demo.plant_stops import NEVER, Plan, Step, next_order, planned, planned_stops, unplanned
from sync.equipment import PackML

WAITING = {PackML.SUSPENDING, PackML.SUSPENDED, PackML.UNSUSPENDING}


@dataclass(slots=True)
class Run:
    """A stretch of production at one pace."""

    start: int
    end: int
    phase: float
    """Part of a piece that was in the machine at the start."""
    rate: float
    """Pieces per ns."""
    pieces: int
    kinds: list[int]
    """Reject type of each rejected piece, in order; rejects are spread evenly over the run's pieces."""
    wear: float

    def made(self, at: int) -> int:
        return min(self.pieces, int(self.phase + self.rate * (at - self.start)))

    def rejected(self, made: int) -> list[int]:
        return self.kinds[: len(self.kinds) * made // self.pieces] if self.pieces else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counters since the line was built."""

    produced: int
    good: int
    rejects: dict[str, int]
    energy_wh: int

    @property
    def scrap(self) -> int:
        return sum(self.rejects.values())


@dataclass(slots=True)
class Stage:
    """What the line is doing and since when."""

    state: PackML
    since: int
    reason: str | None
    reason_since: int
    until: int
    idle_since: int | None = None
    """Since when it stands still by its own fault or plan; None while it runs or waits for a neighbour."""
    script: deque[Step] = field(default_factory=deque[Step])


class Line:
    """A line; `advance` takes it over its next event, `observe` says what its machine shows at a time."""

    def __init__(self, spec: LineSpec, seed: int, at: int) -> None:
        self.spec = spec
        self._rng = np.random.default_rng([seed, scramble(int(spec.line[-1]))])
        self.orders = OrderBook(spec, np.random.default_rng([seed, 7, int(spec.line[-1])]), at)
        self.order_since = at
        self._order_good = 0
        self._kinds = tuple(spec.rejects)
        self._made = 0
        self.made_of: dict[str, int] = {}
        self._rejects = [0] * len(self._kinds)
        self._joules = 0.0
        self._joules_at = at
        self._phase = 0.0
        self._run: Run | None = None
        self.wear = float(self._rng.uniform(0.05, 0.35))
        self._left = {cause.reason: self._draw_left(cause) for cause in spec.causes}
        self._plans = planned_stops(spec, at)
        self._faster = float(self._rng.uniform(0.99, 1.0))
        self._fault_at = at + self._wait(9 * HOUR)
        self._excursion_at = at + self._wait(1.5 * HOUR)
        self._excited: Sensor | None = None
        self.sensors = {
            signal.name: Sensor(signal, scramble(seed * 1000 + int(spec.line[-1]) * 50 + i), at)
            for i, signal in enumerate(spec.signals)
        }
        self.stage = Stage(PackML.STARTING, at, None, at, at + 5 * SECOND)

    # --- what everyone may know -------------------------------------------------------------------------------

    @property
    def until(self) -> int:
        """When the next event of the line is due, ns."""
        return self.stage.until

    @property
    def stopped_since(self) -> int | None:
        """Since when it stands still by its own fault or plan; None while it runs or waits for a neighbour."""
        return self.stage.idle_since

    def totals(self, at: int) -> Totals:
        """Give the counters at a time not before the last event and not after the next."""
        made, rejects = self._made, list(self._rejects)
        if self._run is not None:
            part = self._run.made(at)
            made += part
            for kind in self._run.rejected(part):
                rejects[kind] += 1
        joules = self._joules + self._power_w() * (at - self._joules_at) / SECOND
        return Totals(
            produced=made,
            good=made - sum(rejects),
            rejects=dict(zip(self._kinds, rejects, strict=True)),
            energy_wh=int(joules / 3600),
        )

    def observe(self, at: int) -> dict[str, Value]:
        """Give what the machine shows at a time: tag name → value with its own time stamp."""
        stage, order = self.stage, self.orders.running
        totals = self.totals(at)
        shown = {
            "state": Value(int(stage.state), stage.since),
            "reason": Value(REASONS[stage.reason] if stage.reason else 0, stage.reason_since),
            "produced": Value(totals.produced, at),
            "good": Value(totals.good, at),
            "scrap": Value(totals.scrap, at),
            "energy": Value(totals.energy_wh, at),
            "order": Value(order.order, self.order_since),
            "product": Value(order.product, self.order_since),
            "lot": Value(order.lot, self.order_since),
            "recipe": Value(PRODUCT[order.product].number, self.order_since),
            "speed": Value(self._speed(), max(stage.since, at - at % SECOND)),
            "power": Value(round(self._power_w() / 1000, 1), at - at % SECOND),
        }
        shown |= {f"reject_{kind}": Value(count, at) for kind, count in totals.rejects.items()}
        shown |= {name: sensor.read(at) for name, sensor in self.sensors.items()}
        return shown

    def _speed(self) -> float:
        """Give the pace in percent of the product's ideal speed."""
        if self._run is None:
            return 0.0
        return round(self._run.rate * self.orders.running.ideal_ms * 1_000_000 * 100, 1)

    def _power_w(self) -> float:
        idle, running = self.spec.power_kw
        return 1000.0 * (running if self._run is not None else idle)

    # --- events -----------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Take the line over the event that is due at `until`."""
        at = self.stage.until
        if self.stage.state is PackML.EXECUTE:
            self._end_run(at)
            self._after_run(at)
        elif self.stage.script:
            self._enter(at, *self.stage.script.popleft())
        else:
            self._enter(at, PackML.EXECUTE, NEVER, None)
            self._after_run(at)

    def suspend(self, at: int, reason: str) -> None:
        """Wait for a neighbour until `resume`."""
        self._interrupt(at, [(PackML.SUSPENDING, 2 * SECOND, reason), (PackML.SUSPENDED, NEVER, reason)])

    def resume(self, at: int) -> None:
        """Go on after `suspend`."""
        reason = self.stage.reason
        self._interrupt(at, [(PackML.UNSUSPENDING, 3 * SECOND, reason)])

    def close(self, at: int) -> None:
        """Stop making anything, for want of orders, until `reopen`. Counters stand still from `at` on."""
        self._interrupt(at, [(PackML.STOPPING, 3 * SECOND, "no_order"), (PackML.STOPPED, NEVER, "no_order")])

    def reopen(self, at: int) -> None:
        """Begin again after `close`; what was planned meanwhile was done meanwhile."""
        for plan in self._plans:
            while plan.at <= at:
                plan.at += plan.period
        self._interrupt(at, [(PackML.RESETTING, 2 * SECOND, None), (PackML.STARTING, 3 * SECOND, None)])

    def _interrupt(self, at: int, script: list[Step]) -> None:
        if self._run is not None:
            self._end_run(at)
        self.stage.script = deque(script[1:])
        self._enter(at, *script[0])

    def _enter(self, at: int, state: PackML, length: int, reason: str | None) -> None:
        stage = self.stage
        self._meter(at)
        if reason != stage.reason:
            stage.reason, stage.reason_since = reason, at
        if state in WAITING or state is PackML.EXECUTE:
            stage.idle_since = None
        elif stage.idle_since is None:
            stage.idle_since = at
        stage.state, stage.since = state, at
        stage.until = at + length if length < NEVER else NEVER
        self._aim(at)

    def _meter(self, at: int) -> None:
        """Close the books of energy: power is constant between two calls."""
        self._joules += self._power_w() * (at - self._joules_at) / SECOND
        self._joules_at = at

    def _aim(self, at: int) -> None:
        running = self.stage.state is PackML.EXECUTE
        for sensor in self.sensors.values():
            sensor.aim(at, running=running, product=self.orders.running.product, wear=self.wear)

    def _end_run(self, at: int) -> None:
        """Book what a run made until `at`."""
        run = self._run
        if run is None:
            return
        self._meter(at)
        made = run.made(at)
        rejected = run.rejected(made)
        self._made += made
        product = self.orders.running.product
        self.made_of[product] = self.made_of.get(product, 0) + made
        for kind in rejected:
            self._rejects[kind] += 1
        self._order_good += made - len(rejected)
        self._phase = min(max(run.phase + run.rate * (at - run.start) - made, 0.0), 0.999999)
        length = at - run.start
        self.wear = min(1.0, self.wear + length / (self.spec.bearing_days * DAY))
        for cause in self.spec.causes:
            self._left[cause.reason] -= length * (1 + cause.wear * run.wear * run.wear)
        self._run = None

    def _after_run(self, at: int) -> None:
        """Decide what comes now: a planned stop, the next order, a breakdown, or another run."""
        shift = shift_at(at)
        for plan in self._plans:
            if plan.at <= at:
                plan.at += plan.period
                self._planned(at, plan)
                return
        if self._order_good >= self.orders.running.quantity:
            self._next_order(at)
            return
        for cause in self.spec.causes:
            if self._left[cause.reason] <= 0:
                self._left[cause.reason] = self._draw_left(cause)
                length = cause.minutes * shift.repair * float(self._rng.lognormal(0.0, 0.5))
                self._interrupt(at, unplanned(cause, max(10 * SECOND, round(length * MINUTE))))
                return
        self._disturb(at)
        self._begin_run(at)

    def _begin_run(self, at: int) -> None:
        shift, order = shift_at(at), self.orders.running
        ramp = 0.7 if at == self.stage.since else 1.0
        pace = self.spec.pace * self._faster * shift.speed * ramp * (1 - 0.04 * self.wear * self.wear)
        rate = pace * float(self._rng.normal(1.0, 0.006)) / (order.ideal_ms * 1_000_000)
        end = at - at % MINUTE + MINUTE
        for cause in self.spec.causes:
            end = min(end, at + int(self._left[cause.reason] / (1 + cause.wear * self.wear * self.wear)) + 1)
        end = max(min(end, *(plan.at for plan in self._plans)), at + 1)
        pieces = int(self._phase + rate * (end - at))
        kinds = self._draw_rejects(at, pieces, shift.rejects)
        self._meter(at)
        self._run = Run(at, end, self._phase, rate, pieces, kinds, self.wear)
        self.stage.until = end
        if at % (10 * MINUTE) < MINUTE:
            self._aim(at)

    def _draw_rejects(self, at: int, pieces: int, factor: float) -> list[int]:
        worse = self.spec.worse.get(self.orders.running.product)
        chance = [p * factor for p in self.spec.rejects.values()]
        if worse is not None:  # the recipe's fault outweighs the shift's
            chance = [max(worse[kind], p) for kind, p in zip(self._kinds, chance, strict=True)]
        if self._excited is not None and at < self._excited.excursion_until:
            chance = [
                p * 5 if kind == self._excited.spec.drives else p for kind, p in zip(self._kinds, chance, strict=True)
            ]
        total = sum(chance)
        count = int(self._rng.binomial(pieces, min(total, 0.9))) if pieces else 0
        if count == 0:
            return []
        edges = np.cumsum(chance) / total
        return np.minimum(np.searchsorted(edges, self._rng.random(count)), len(chance) - 1).tolist()

    def _disturb(self, at: int) -> None:
        """Begin the excursions and sensor faults that are due."""
        if at >= self._excursion_at:
            able = [sensor for sensor in self.sensors.values() if sensor.spec.excursion]
            self._excited = able[int(self._rng.integers(len(able)))]
            self._excited.excursion_until = at + round(float(self._rng.uniform(2, 7)) * MINUTE)
            self._excursion_at = at + self._wait(2.5 * HOUR)
            self._aim(at)
        elif self._excited is not None and at >= self._excited.excursion_until:
            self._excited = None
            self._aim(at)
        if at >= self._fault_at:
            sensor = list(self.sensors.values())[int(self._rng.integers(len(self.sensors)))]
            kinds: tuple[FaultKind, ...] = ("stuck", "spike", "dropout")
            kind = kinds[int(self._rng.integers(3))]
            sensor.fault = Fault(kind, at, at + round(float(self._rng.uniform(1, 10)) * MINUTE))
            self._fault_at = at + self._wait(12 * HOUR)

    def _next_order(self, at: int) -> None:
        before = self.orders.running.product
        self.orders.complete(at)
        self.order_since, self._order_good = at, 0
        changeover = 0
        if self.orders.running.product != before:
            changeover = round(18 * shift_at(at).repair * float(self._rng.lognormal(0.0, 0.25)) * MINUTE)
        self._interrupt(at, next_order(changeover))

    def _planned(self, at: int, plan: Plan) -> None:
        if plan.reason == "planned_maintenance":
            self.wear = float(self._rng.uniform(0.02, 0.08))
        self._interrupt(at, planned(plan))

    # --- draws ------------------------------------------------------------------------------------------------

    def _wait(self, mean_ns: float) -> int:
        return round(float(self._rng.exponential(mean_ns)))

    def _draw_left(self, cause: Cause) -> float:
        return float(self._rng.exponential(cause.every_h * HOUR))
