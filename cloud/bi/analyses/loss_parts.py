"""A change of OEE or availability by what time was lost to, and a change of defects by their kind. Exact, in fractions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from cloud.bi import kpi
from cloud.bi.analyses.asked import Asked
from cloud.bi.analyses.decompose import NOTHING, Keys, Part, Sides
from cloud.bi.semantic.plan import Period
from cloud.bi.semantic.table import Row
from cloud.bi.waterfall import BUSY_LOSSES, losses_us
from cloud.wording.texts import TEXTS

LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "oee": BUSY_LOSSES,
    "availability": ("unknown", "down", "delay", "setup"),
}
"""What each of these is 1 less: shares of planned busy time."""
STOPPED: Final = frozenset({"unknown", "down", "delay", "setup"})
"""Losses whose reasons are known."""

REST: Final = "*"
"""Stands for the time of an element that no reason was given for, beside others that were."""


def total_of(rows: Iterable[Row]) -> kpi.Sums:
    """Give the measures of rows together."""
    whole = kpi.Sums()
    for row in rows:
        whole += kpi.sums_of(row.sums)
    return whole


def by_loss(metric: str, before: Iterable[Row], after: Iterable[Row]) -> list[Part]:
    """Split the change of OEE or availability by loss; nothing where the measures are not all there."""
    sides = [_losses(metric, rows) for rows in (before, after)]
    return _taken(*sides) if all(sides) else []


def by_reason(asked: Asked, then: Period, before: Iterable[Row], after: Iterable[Row]) -> list[Part]:
    """Split it further: the time stopped by stop reason; what has no reason stays with its element."""
    found: list[dict[Keys, tuple[Fraction, Fraction]]] = []
    for period, rows in ((then, before), (asked.period, after)):
        losses = _losses(asked.name, rows)
        if not losses:
            return []
        busy = next(iter(losses.values()))[1]
        told = set[str]()
        stops = asked.table(("stop_time",), period=period, dimensions=("time_element", "stop_reason"))
        for row in stops.rows:
            element, why = row.keys
            whole = losses.get((element, ""))
            if element in STOPPED and why and whole is not None:
                spent = Fraction(row.cells[0].numerator) * 1000
                losses[element, why] = (spent, busy)
                losses[element, ""] = (whole[0] - spent, busy)
                told.add(element)
            # A reason of another element (a break, say) is no loss of planned busy time.
        # An element that has reasons in one period only has its rest under both names: the parts still sum to all of it.
        found.append({(e, REST if e in told and not why else why): cell for (e, why), cell in losses.items()})
    return [part for part in _taken(*found) if part.total or part.before or part.after]


def by_defect(asked: Asked, then: Period, before: Sides, after: Sides) -> list[Part]:
    """Split the change of a scrap ratio, or of a number of defects, by their kind; what has none stays apart."""
    sides: list[dict[Keys, tuple[Fraction, Fraction]]] = []
    for period, whole in ((then, before), (asked.period, after)):
        top = sum((n for n, _ in whole.values()), Fraction(0))
        bottom = sum((d for _, d in whole.values()), Fraction(0)) or Fraction(1)
        table = asked.table(("defects",), period=period, dimensions=("defect",))
        side = {row.keys: (Fraction(row.cells[0].numerator), bottom) for row in table.rows if row.keys[0]}
        side["",] = (top - sum((n for n, _ in side.values()), Fraction(0)), bottom)
        sides.append(side)
    return [_part(keys, sides[0], sides[1], 1) for keys in {**sides[0], **sides[1]}]


def _losses(metric: str, rows: Iterable[Row]) -> dict[Keys, tuple[Fraction, Fraction]]:
    sums = total_of(rows)
    if not sums.planned_busy_ms or (metric == "oee" and sums.unrated):
        return {}
    lost, busy = losses_us(sums), Fraction(sums.planned_busy_ms * 1000)
    return {(name, ""): (Fraction(lost[name]), busy) for name in LOSSES[metric]}


def _taken(before: Sides, after: Sides) -> list[Part]:
    """Give what each loss takes: more lost is a part below zero."""
    parts = [_part(keys, before, after, -1) for keys in {**before, **after}]
    return sorted(parts, key=lambda part: (-abs(part.total), part.keys))


def _part(keys: Keys, before: Sides, after: Sides, sign: int) -> Part:
    (a, b), (c, d) = before.get(keys, NOTHING), after.get(keys, NOTHING)
    was, now = a / b if b else Fraction(0), c / d if d else Fraction(0)
    zero = Fraction(0)
    return Part(
        keys=keys, before=was, after=now, weight_before=zero, weight_after=zero, mix=zero, rate=sign * (now - was)
    )  # fmt: skip


LOSS_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    name.removeprefix("loss_step."): said for name, said in TEXTS.items() if name.startswith("loss_step.")
}
