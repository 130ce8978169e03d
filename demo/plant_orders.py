"""Job orders of one line: what it makes next, how much, from which lot; planned ahead like an MES does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from demo.plant_spec import KST_OFFSET, MINUTE, PRODUCT, SECOND, LineSpec

PLANNED_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job order; `start` and `end` are planned times until they are facts (ns UTC)."""

    order: str
    product: str
    lot: str
    work_unit: str
    quantity: int
    start: int
    end: int
    state: str
    ideal_ms: int


class OrderBook:
    """The line's orders, oldest first: completed ones, the running one, and the planned."""

    def __init__(self, spec: LineSpec, rng: np.random.Generator, at: int) -> None:
        self._spec = spec
        self._rng = rng
        self._number = 0
        self.completed: list[Order] = []
        self.running = replace(self._make(at), state="running")
        self.planned: list[Order] = []
        self._plan(at)

    def _make(self, at: int) -> Order:
        spec = self._spec
        self._number += 1
        products = list(spec.products)
        weights = np.array([spec.products[p] for p in products])
        product = products[int(self._rng.choice(len(products), p=weights / weights.sum()))]
        ideal = PRODUCT[product].ideal_ms[spec.line]
        hours = spec.order_h * float(self._rng.uniform(0.5, 1.4))
        step = 500 if ideal < 1000 else 20
        quantity = max(step, round(hours * 3.6e6 / ideal * 0.75 / step) * step)
        name = f"{spec.line[-1]}{self._number:05d}"
        length = round(quantity * ideal * 1_000_000 / 0.75)
        return Order(
            order=f"WO-{name}",
            product=product,
            lot=f"L{name}-{day_of_year(at):03d}",
            work_unit=spec.work_unit,
            quantity=quantity,
            start=_whole(at),
            end=_whole(at + length),
            state="planned",
            ideal_ms=ideal,
        )

    def _plan(self, at: int) -> None:
        """Keep some orders ahead, one after the other, and shift all their times behind the running one."""
        begin = max(self.running.end, at)
        moved: list[Order] = []
        for order in self.planned:
            length = order.end - order.start
            begin += 20 * MINUTE
            moved.append(replace(order, start=_whole(begin), end=_whole(begin) + length))
            begin += length
        while len(moved) < PLANNED_AHEAD:
            begin += 20 * MINUTE
            moved.append(self._make(begin))
            begin = moved[-1].end
        self.planned = moved

    def complete(self, at: int) -> None:
        """End the running order at a time and begin the next."""
        self.completed.append(replace(self.running, state="completed", end=_whole(at)))
        following = self.planned.pop(0)
        length = following.end - following.start
        self.running = replace(following, state="running", start=_whole(at), end=_whole(at) + length)
        self._plan(at)

    def all(self) -> list[Order]:
        """Give every order, oldest first."""
        return [*self.completed, self.running, *self.planned]

    def recent(self, since: int) -> list[Order]:
        """Give the orders that had not ended by a time, oldest first."""
        done = [order for order in self.completed[-60:] if order.end > since]
        return [*done, self.running, *self.planned]


def _whole(at: int) -> int:
    """Cut to whole seconds: an MES does not know more."""
    return at - at % SECOND


def day_of_year(at: int) -> int:
    """Give the plant's local day of the year, 1 to 366, for lot names."""
    local = np.datetime64((at + KST_OFFSET) // SECOND, "s")
    return int((local.astype("datetime64[D]") - local.astype("datetime64[Y]")).astype(int)) + 1
