"""FIND_CAUSE: what a change is made of, along every dimension, to the last part; and who stands out meanwhile.

The parts along each dimension sum exactly to the change. Which dimension explains it best is the one along which the
change lies least evenly, counting only groups that changed by more than their shifts usually vary. A line with one of
its products is looked at as a pair, and preferred only where it says clearly more than either alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

from cloud.bi.analyses import cause_words, drawing, words
from cloud.bi.analyses.asked import Asked, dates, refusal, scale
from cloud.bi.analyses.decompose import (
    Keys,
    Part,
    Standing,
    View,
    concentration,
    ratio_parts,
    standing_out,
    sum_parts,
)
from cloud.bi.analyses.inference import Pair, Ratio, difference_p, ratio_of
from cloud.bi.analyses.loss_parts import LOSSES, by_defect, by_loss, by_reason
from cloud.bi.analyses.rank import MIN_SHIFTS
from cloud.bi.analyses.result import Column, Drill, Result
from cloud.bi.semantic.plan import Period
from cloud.bi.semantic.table import Row, Table

SURE: Final = 2.0
"""Standard errors that a group's own change must exceed to be more than its shifts usually vary."""
STANDS_OUT: Final = 3.5
"""Standard errors from the rest: with some fifty groups looked at, chance reaches 3.5 once in forty answers."""
MOST_STANDING: Final = 3
PAIR_GAIN: Final = 0.1
"""How much less evenly the change must lie along a pair of dimensions before the pair is named instead of one."""
SHOWN: Final = 10

_ALONG: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("stops", "stop_time"), ("line", "shift", "stop_reason")),
    **dict.fromkeys(("downtime", "failures", "mtbf", "mttr", "availability"), ("line", "shift", "product")),
    **dict.fromkeys(("inventory", "inventory_coverage"), ("material", "location")),
    **dict.fromkeys(("judgments", "warnings", "criticals", "unknown_verdicts", "critical_ratio"), ("line", "product", "ruleset")),
    **dict.fromkeys(("measured", "quality_failed_ratio", "measured_mean"), ("line", "product", "characteristic")),
    "defects": ("line", "product", "shift", "defect"),
}  # fmt: skip
USUAL: Final = ("line", "product", "shift")
WITH_DEFECTS: Final = frozenset({"scrap_ratio", "defect_rate", "scrap"})


@dataclass(kw_only=True)
class Side:
    """One period: its rows, and its samples by group."""

    rows: Sequence[Row]
    samples: dict[Keys, list[Pair]] = field(default_factory=dict[Keys, list[Pair]])

    @cached_property
    def joint(self) -> dict[Keys, tuple[Fraction, Fraction]]:
        """Give every group's sums over all steps."""
        return self._summed(
            (row.keys, Fraction(row.cells[0].numerator), Fraction(row.cells[0].denominator or 0.0)) for row in self.rows
        )

    def along(self, places: Sequence[int]) -> dict[Keys, tuple[Fraction, Fraction]]:
        return self._summed((tuple(keys[place] for place in places), n, d) for keys, (n, d) in self.joint.items())

    @staticmethod
    def _summed(cells: Iterable[tuple[Keys, Fraction, Fraction]]) -> dict[Keys, tuple[Fraction, Fraction]]:
        found: dict[Keys, tuple[Fraction, Fraction]] = {}
        for keys, n, d in cells:
            a, b = found.get(keys, (Fraction(0), Fraction(0)))
            found[keys] = (a + n, b + d)
        return found

    def known(self, places: Sequence[int], group: Keys) -> Ratio | None:
        pairs = [p for keys, ps in self.samples.items() if tuple(keys[i] for i in places) == group for p in ps]
        return ratio_of(pairs) if pairs else None


def find_cause(asked: Asked) -> Result:
    """Take the change against another period apart."""
    then = asked.look.against(asked.period, asked.plan.against or "previous")
    dimensions = _dimensions(asked)
    before, after = _side(asked, then, dimensions), _side(asked, asked.period, dimensions)
    is_sum = asked.metric.kind != "ratio"
    factor = scale([*after.rows, *before.rows])
    old, new = (_whole(side.along(()), is_sum=is_sum) for side in (before, after))
    if old is None or new is None:
        missing = asked.period if new is None else then
        text = {
            "ko": f"{words.span(*dates(missing))}에는 값이 없어 변화를 나눌 수 없습니다",
            "en": f"there is no figure for {words.span(*dates(missing))}, so no change to take apart",
        }
        return refusal(asked, "no_data", text, periods={"then": dates(then), "now": dates(asked.period)})
    split = sum_parts if is_sum else ratio_parts
    views: list[View] = []
    for along in [(one,) for one in dimensions] + _pairs(dimensions):
        places = [dimensions.index(one) for one in along]
        parts = split(before.along(places), after.along(places))
        if len(parts) >= 2:
            views.append(
                _strength(
                    View(name="×".join(along), dimensions=along, parts=parts, factor=factor), before, after, places
                )
            )
    more = _other_views(asked, then, before, after, factor)
    first = _explains_most(views)
    standing = [] if is_sum else _standing(dimensions, after)
    change = float(new - old) * factor
    p = _p(before, after)
    findings: dict[str, Any] = {
        "periods": {"then": dates(then), "now": dates(asked.period)},
        "then": float(old) * factor,
        "now": float(new) * factor,
        "change": change,
        "p": p,
        "explains_most": None if first is None else first.name,
        "views": {view.name: _told(asked, view, change) for view in (*views, *more)},
        "standing_out": [_standing_told(one, factor) for one in standing],
        "labels": asked.labels(dimensions, [row.keys for row in (*before.rows, *after.rows)]),
    }
    shown = first or (more[0] if more else None)
    return Result(
        columns=_columns(asked),
        rows=tuple(_row(view, part, change) for view in (*views, *more) for part in view.parts),
        findings=findings,
        chart=None if shown is None else _chart(asked, shown),
        sentences=cause_words.sentences(asked, findings, (first, more, standing), factor),
        drill=_drills(asked, first, standing, then),
    )


def _dimensions(asked: Asked) -> tuple[str, ...]:
    """Give what to look along; what a filter holds to one value has nothing to say."""
    own = (
        {"time_element", "stop_reason"}
        if asked.name in LOSSES
        else {"defect"}
        if asked.name in WITH_DEFECTS
        else set[str]()
    )
    wanted = tuple(one for one in asked.plan.dimensions if one not in own)  # those have views of their own
    wanted = wanted or _ALONG.get(asked.name, USUAL)
    held = {one.dimension for one in asked.plan.filters if one.op == "in" and len(one.values) == 1}
    return tuple(one for one in wanted if one not in held) or wanted[:1]


def _pairs(dimensions: Sequence[str]) -> list[tuple[str, str]]:
    return [("line", "product")] if {"line", "product"} <= set(dimensions) else []


def _side(asked: Asked, period: Period, dimensions: tuple[str, ...]) -> Side:
    grain = "day" if asked.by_shift else None
    table: Table = asked.table(dimensions=dimensions, period=period, grain=grain)
    if table.truncated:
        return Side(rows=asked.table(dimensions=dimensions, period=period).rows)
    side = Side(rows=table.rows)
    if grain is not None:
        for row in table.rows:
            if row.cells[0].denominator:
                side.samples.setdefault(row.keys, []).append((row.cells[0].numerator, row.cells[0].denominator))
    return side


def _whole(sides: Mapping[Keys, tuple[Fraction, Fraction]], *, is_sum: bool) -> Fraction | None:
    n, d = sides.get((), (Fraction(0), Fraction(0)))
    if is_sum:
        return n if sides else None
    return n / d if d > 0 else None


def _strength(view: View, before: Side, after: Side, places: Sequence[int]) -> View:
    """Give the view with the groups that surely changed, and how unevenly their change lies."""
    sure: set[Keys] = set()
    for part in view.parts:
        a, b = before.known(places, part.keys), after.known(places, part.keys)
        if a is None or b is None or min(a.samples, b.samples) < MIN_SHIFTS:
            continue
        if abs(b.value - a.value) > SURE * (a.error**2 + b.error**2) ** 0.5:
            sure.add(part.keys)
    whole = sum(abs(part.total) for part in view.parts)
    has_samples = bool(before.samples or after.samples)
    counted = [part for part in view.parts if not has_samples or part.keys in sure or abs(part.mix) > abs(part.rate)]
    share = float(sum(abs(part.total) for part in counted) / whole) if whole else 0.0
    return View(
        name=view.name, dimensions=view.dimensions, parts=view.parts, sure=frozenset(sure), factor=view.factor,
        strength=concentration(view.parts) * share if not _is_sum(view) else _sum_concentration(view.parts),
    )  # fmt: skip


def _is_sum(view: View) -> bool:
    return not any(part.weight_before or part.weight_after for part in view.parts)


def _sum_concentration(parts: Sequence[Part]) -> float:
    """Give the same for sums: against each group's share of what was there before."""
    moved, there = sum(abs(part.total) for part in parts), sum(part.before or 0 for part in parts)
    if not moved or not there:
        return 0.0
    return float(sum(abs(abs(p.total) / moved - (p.before or 0) / there) for p in parts) / 2)


def _explains_most(views: Sequence[View]) -> View | None:
    single = [view for view in views if len(view.dimensions) == 1 and view.strength > 0]
    best = max(single, key=lambda view: (view.strength, view.name), default=None)
    for pair in (view for view in views if len(view.dimensions) > 1):
        if pair.strength > (best.strength if best else 0.0) + PAIR_GAIN:
            best = pair
    return best


def _other_views(asked: Asked, then: Period, before: Side, after: Side, factor: float) -> list[View]:
    views: list[View] = []
    if asked.name in LOSSES:
        parts = by_loss(asked.name, before.rows, after.rows)
        if parts:
            views.append(View(name="loss", dimensions=("loss",), parts=parts))
            further = by_reason(asked, then, before.rows, after.rows)
            if any(part.keys[1] for part in further):
                views.insert(0, View(name="stop_reason", dimensions=("time_element", "stop_reason"), parts=further))
    if asked.name in WITH_DEFECTS:
        parts = by_defect(asked, then, before.along(()), after.along(()))
        if len(parts) > 1:
            ordered = sorted(parts, key=lambda part: (-abs(part.total), part.keys))
            views.append(View(name="defect", dimensions=("defect",), parts=ordered, factor=factor))
    return views


def _standing(dimensions: tuple[str, ...], side: Side) -> list[Standing]:
    if not side.samples:
        return []
    return standing_out(
        side.samples, dimensions, _pairs(dimensions),
        least_samples=MIN_SHIFTS, least_z=STANDS_OUT, most=MOST_STANDING,
    )  # fmt: skip


def _p(before: Side, after: Side) -> float | None:
    a, b = (ratio_of([pair for pairs in side.samples.values() for pair in pairs]) for side in (before, after))
    return None if a is None or b is None or min(a.samples, b.samples) < MIN_SHIFTS else difference_p(a, b)


def _share(view: View, part: Part, change: float) -> float | None:
    return float(part.total) * view.factor / change if change else None


def _told(asked: Asked, view: View, change: float) -> dict[str, Any]:
    return {
        "dimensions": view.dimensions,
        "concentration": round(view.strength, 4),
        "sum": float(sum(part.total for part in view.parts)) * view.factor,
        "parts": [
            {
                "keys": part.keys, "group": _group(part), "name": cause_words.name_of(asked, view.dimensions, part.keys), "before": view.value(part.before), "after": view.value(part.after),
                "weight_before": float(part.weight_before), "weight_after": float(part.weight_after),
                "mix": float(part.mix) * view.factor, "rate": float(part.rate) * view.factor,
                "total": float(part.total) * view.factor, "share": _share(view, part, change), "sure": part.keys in view.sure,
            }
            for part in view.parts[:50]
        ],
    }  # fmt: skip


def _standing_told(one: Standing, factor: float) -> dict[str, Any]:
    return {
        "dimensions": one.dimensions, "keys": one.keys, "value": one.own.value * factor, "rest": one.rest.value * factor,
        "excess": one.excess, "z": max(-99.0, min(99.0, one.z)), "n": one.own.denominator, "samples": one.own.samples,
    }  # fmt: skip


def _group(part: Part) -> str:
    """Give the codes of a group as the rows have them; its name is beside them in the findings."""
    return " · ".join(key for key in part.keys if key)


def _columns(asked: Asked) -> tuple[Column, ...]:
    unit = asked.unit
    return (
        Column(name="view", kind="text", title={"ko": "관점", "en": "Along"}),
        Column(name="group", kind="text", title={"ko": "대상", "en": "Group"}),
        Column(name="before", kind="metric", title={"ko": "이전", "en": "Before"}, unit=unit),
        Column(name="after", kind="metric", title={"ko": "현재", "en": "Now"}, unit=unit),
        Column(name="weight_before", kind="metric", title={"ko": "이전 비중", "en": "Weight before"}, unit="1"),
        Column(name="weight_after", kind="metric", title={"ko": "비중", "en": "Weight now"}, unit="1"),
        Column(name="mix", kind="metric", title={"ko": "구성 효과", "en": "By mix"}, unit=unit),
        Column(name="rate", kind="metric", title={"ko": "자체 변화", "en": "By its own change"}, unit=unit),
        Column(name="total", kind="metric", title={"ko": "기여", "en": "Part of the change"}, unit=unit),
        Column(name="share", kind="metric", title={"ko": "기여율", "en": "Share"}, unit="1"),
    )


def _row(view: View, part: Part, change: float) -> tuple[Any, ...]:
    return (
        view.name, _group(part), view.value(part.before), view.value(part.after),
        float(part.weight_before), float(part.weight_after), float(part.mix) * view.factor, float(part.rate) * view.factor,
        float(part.total) * view.factor, _share(view, part, change),
    )  # fmt: skip


def _chart(asked: Asked, view: View) -> dict[str, Any]:
    bars: drawing.Values = []
    for part in view.parts[:SHOWN]:
        total = float(part.total) * view.factor
        good = asked.good_is_up is None or (total >= 0) == asked.good_is_up
        text = words.signed(total, asked.unit, asked.language)
        name = cause_words.name_of(asked, view.dimensions, part.keys)[asked.language]
        bars.append({"k": name, "n": total, "t": text, "c": "var(--run)" if good else "var(--down)"})
    return drawing.bars(bars)


def _drills(asked: Asked, first: View | None, standing: Iterable[Standing], then: Period) -> tuple[Drill, ...]:
    found: list[Drill] = list(asked.named_line())
    groups = [(first.dimensions, part.keys) for part in first.parts[:2]] if first is not None else []
    groups += [(one.dimensions, one.keys) for one in standing]
    for dimensions, keys in dict.fromkeys(groups):
        page = asked.line_page(dimensions, keys)
        if page is not None:
            found.append(page)
        filters = asked.plan.filters
        for dimension, key in zip(dimensions, keys, strict=True):
            if key:
                filters = tuple(one for one in filters if one.dimension != dimension)
                filters += asked.only(dimension, key)[-1:]
        name = asked.group(dimensions, keys)
        found.append(
            asked.closer(
                {"ko": f"{name['ko']}: 더 깊이", "en": f"{name['en']}: look closer"},
                dimensions=(),
                filters=filters,
                against=then,
            )
        )
    return tuple({(drill.line, str(drill.plan)): drill for drill in found}.values())[:8]
