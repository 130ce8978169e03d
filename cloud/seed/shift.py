"""One shift of one line, lived through: who made what when, what stood still, what failed. Pure; same seed, same shift.

Time is shared: the products of a shift follow one another, each begins with a changeover, and pieces are made only
while the machine executes, at an effective cycle above the ideal one. So no figure can come out better than possible.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

from cloud.marts.calendar import Instance
from cloud.seed import catalogue
from cloud.seed.catalogue import Product

SLICE_MS: Final = 15 * 60_000
FULL_MIN: Final = 450.0
"""Working minutes of a shift that losses are drawn for; in a shorter one they are shorter."""
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS

Span = tuple[int, int]


class Spell(NamedTuple):
    """The machine in one state, [start, end) in ms."""

    start_ms: int
    end_ms: int
    state: str
    reason: str | None
    run: int | None
    """Place of the run it belongs to."""


@dataclass(slots=True)
class Slice:
    """What the counters gained in [start, end)."""

    start_ms: int
    end_ms: int
    produced: int
    execute_ms: int
    scrap: int = 0
    rework: int = 0
    defects: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def good(self) -> int:
        return self.produced - self.scrap - self.rework


@dataclass(slots=True)
class Run:
    """One job order: a product within the shift."""

    product: Product
    start_ms: int
    end_ms: int
    ideal_ms: int
    planned: int
    """Pieces."""
    slices: list[Slice]

    @property
    def produced(self) -> int:
        return sum(one.produced for one in self.slices)

    @property
    def good(self) -> int:
        return sum(one.good for one in self.slices)


@dataclass(slots=True)
class Shift:
    """A lived shift."""

    instance: Instance
    runs: list[Run]
    spells: list[Spell]


def live(seed: int, line: str, place: int, instance: Instance, *, night: bool) -> Shift:
    """Live through a shift. place: the line's in its site, which decides its kind and its stories."""
    chance = random.Random(f"{seed}/{line}/{instance.start_ms}")
    work = _without(instance.start_ms, instance.end_ms, instance.breaks)
    minutes = sum(b - a for a, b in work) / MINUTE_MS
    scale = min(1.0, minutes / FULL_MIN)
    order = chance.sample(catalogue.PRODUCTS, len(catalogue.PRODUCTS))
    spans = _shares(work, [chance.uniform(0.85, 1.15) for _ in order])
    trouble = _breakdown(seed, line, place, instance, len(spans))
    runs: list[Run] = []
    spells: list[Spell] = []
    for number, (product, parts) in enumerate(zip(order, spans, strict=True)):
        stops = _stops(chance, place, scale)
        if trouble == number:
            stops = [("ABORTED", "breakdown", round(chance.uniform(35, 70) * scale * MINUTE_MS))]
        setup = round(chance.uniform(3.0, 5.5) * scale * MINUTE_MS)
        mine = list(_spells(chance, number, parts, setup, stops))
        spells += mine
        ideal = catalogue.ideal_ms(place, product)
        cycle = ideal / chance.uniform(0.88, 0.95)
        run = Run(
            product=product,
            start_ms=parts[0][0],
            end_ms=parts[-1][1],
            ideal_ms=ideal,
            planned=_tens(sum(b - a for a, b in parts) / ideal * 0.82),
            slices=_slices([s for s in mine if s.state == "EXECUTE"], parts, cycle),
        )
        _fail(chance, run, chance.uniform(*catalogue.bad_range(place, product.code, night)), night=night)
        runs.append(run)
    spells += [Spell(a, b, "IDLE", "break", None) for a, b in instance.breaks]
    return Shift(instance, runs, sorted(spells))


def _tens(pieces: float) -> int:
    return max(10, round(pieces / 10) * 10)


def _without(start: int, end: int, breaks: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for first, last in breaks:
        if first > start:
            found.append((start, first))
        start = max(start, last)
    return [*found, (start, end)] if start < end else found


def _shares(work: Sequence[Span], weights: Sequence[float]) -> list[list[Span]]:
    """Cut working time into consecutive parts of these weights; a part may reach over a break."""
    total = sum(b - a for a, b in work)
    whole = sum(weights)
    ends = [round(total * passed / whole) for passed in itertools.accumulate(weights)]
    cut: list[list[Span]] = []
    begin = 0
    for end in ends:
        cut.append(_window(work, begin, end))
        begin = end
    return cut


def _window(work: Sequence[Span], begin: int, end: int) -> list[Span]:
    """Give the stretches that working time [begin, end) covers, counted from its start."""
    found: list[Span] = []
    passed = 0
    for first, last in work:
        low, high = max(begin - passed, 0), min(end - passed, last - first)
        if low < high:
            found.append((first + low, first + high))
        passed += last - first
    return found


def _breakdown(seed: int, line: str, place: int, instance: Instance, runs: int) -> int | None:
    """Give the run in which the machine breaks down, three or four shifts of a month; None for all others."""
    if not catalogue.breaks_down(place):
        return None
    day = date.fromisoformat(instance.business_date)
    chance = random.Random(f"{seed}/{line}/{day:%Y-%m}/breakdowns")
    days = chance.sample(range(1, 29), chance.choice((3, 4)))
    if day.day not in days:
        return None
    hour = chance.randrange(24)
    began = instance.start_ms // HOUR_MS % 24
    length = (instance.end_ms - instance.start_ms) // HOUR_MS
    return hour % runs if (hour - began) % 24 < length else None


def _stops(chance: random.Random, place: int, scale: float) -> list[tuple[str, str, int]]:
    kinds = catalogue.kind_of(place).stops
    count = chance.choices((0, 1, 2), (25, 45, 30))[0]
    return [(*chance.choice(kinds), round(chance.uniform(1.5, 4.0) * scale * MINUTE_MS)) for _ in range(count)]


def _spells(
    chance: random.Random, number: int, parts: Sequence[Span], setup: int, stops: Sequence[tuple[str, str, int]]
) -> Iterator[Spell]:
    """Fill a run's time: the changeover, then execution with its stops."""
    total = sum(b - a for a, b in parts)
    standing = sum(length for _, _, length in stops)
    running = total - setup - standing
    marks = sorted(round(chance.uniform(0.1, 0.9) * running) for _ in stops)
    passed = 0

    def cover(length: int, state: str, reason: str | None) -> Iterator[Spell]:
        nonlocal passed
        for first, last in _window(parts, passed, passed + length):
            yield Spell(first, last, state, reason, number)
        passed += length

    yield from cover(setup, "STARTING", "changeover")
    before = 0
    for mark, (state, reason, length) in zip(marks, stops, strict=True):
        yield from cover(mark - before, "EXECUTE", None)
        yield from cover(length, state, reason)
        before = mark
    yield from cover(running - before, "EXECUTE", None)


def _slices(executing: Sequence[Spell], parts: Sequence[Span], cycle_ms: float) -> list[Slice]:
    """Count pieces by quarters of an hour, none lost to rounding."""
    found: list[Slice] = []
    ran = counted = 0
    for first, last in parts:
        edges = [first, *range((first // SLICE_MS + 1) * SLICE_MS, last, SLICE_MS), last]
        for start, end in itertools.pairwise(edges):
            inside = sum(max(0, min(end, s.end_ms) - max(start, s.start_ms)) for s in executing)
            ran += inside
            made = int(ran / cycle_ms) - counted
            counted += made
            found.append(Slice(start, end, made, inside))
    return found


def _fail(chance: random.Random, run: Run, share: float, *, night: bool) -> None:
    """Let this share of the run's pieces fail, by type; a part of them can be reworked."""
    made = run.produced
    more = dict(catalogue.AT_NIGHT) if night else {}
    types = [name for name, _ in run.product.defects]
    weights = [weight * more.get(name, 1.0) for name, weight in run.product.defects]
    for place in chance.sample(range(made), round(made * share)):
        for one in run.slices:
            if place < one.produced:
                kind = chance.choices(types, weights)[0]
                one.defects[kind] = one.defects.get(kind, 0) + 1
                if kind in {"crack", "contamination"} or chance.random() < 0.65:
                    one.scrap += 1
                else:
                    one.rework += 1
                break
            place -= one.produced  # noqa: PLW2901 - walks on to the slice this piece was made in
