"""What lies in the stores: material of every product, topped up by deliveries, and finished goods, taken by a truck.

Everything follows from what was produced, so that usage, stock and coverage agree with the production facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

from cloud.seed.catalogue import PALLET, PRODUCTS, Product

RAW: Final = "raw-store"
FINISHED: Final = "finished-goods"
USAGE_DAYS: Final = 7
"""Daily usage is the mean of these days."""

Made = Callable[[date], dict[str, tuple[int, int]]]
"""Business date → product → (pieces the first line produced, good pieces the last line produced)."""


class Count(NamedTuple):
    """One count of one store."""

    material: str
    location: str
    quantity: int
    daily_usage: float


def counts(day: date, made: Made) -> Iterator[Count]:
    """Count everything at the begin of a business date."""
    before = [made(day - timedelta(days=back)) for back in range(1, USAGE_DAYS + 1)]
    for place, product in enumerate(PRODUCTS):
        usage = sum(one[product.code][0] for one in before) / USAGE_DAYS
        yield Count(f"MAT-{product.code[-1]}", RAW, _material(day, place, product, made), usage)
        yield Count(product.code, FINISHED, _finished(day, product, made), _shipped(before, product) / USAGE_DAYS)


def _material(day: date, place: int, product: Product, made: Made) -> int:
    """One piece takes one unit. Deliveries fill up to a fixed level: weekly, of the first product every other week."""
    every = 14 if place == 0 else 7
    since = (day.toordinal() + place) % every
    level = round(11_000 / product.effort / PALLET) * PALLET if place else 13_000
    return level - sum(made(day - timedelta(days=back))[product.code][0] for back in range(1, since + 1))


def _finished(day: date, product: Product, made: Made) -> int:
    """The truck takes nine tenths of what was made, and every Monday all but a fixed rest."""
    days = [made(day - timedelta(days=back)) for back in range(1, day.weekday() + 1)]
    return 800 + sum(one[product.code][1] for one in days) - _shipped(days, product)


def _shipped(days: list[dict[str, tuple[int, int]]], product: Product) -> int:
    return sum(one[product.code][1] * 9 // 10 for one in days)
