"""How a control chart and a capability index look at a window: one point at a time, with their memory in `state.Held`.

A window without a new value gives no point, a value that is missing or stale makes the check unknown: neither enters the
chart, and holes between windows are not filled. The limits are the ruleset's; nothing is estimated here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from edge.judgment.finding import Finding, Level, Seen, level_of, recommended
from edge.judgment.state import Held
from models.expression_interpreter import Cause, Indeterminate, Result
from models.ruleset_capability import CapabilityCheck
from models.ruleset_chart import Chart
from models.ruleset_file import Severity
from models.spc import RULES, Limits, Memory, Point, Signal, advance
from models.spc.capability import Capability, CapabilityError, Index, capability, index_value, of_values, of_windows
from models.spc.constants import MAX_SIZE

_RANK: Final[dict[Severity, int]] = {"critical": 0, "warning": 1, "info": 2}
_FIXED: Final = 8
"""Numbers of a chart's memory before the newest points."""


def look_at_chart(chart: Chart, seen: Seen) -> Finding:
    """Take the window as the chart's next point, and say which rules it completes."""
    product = seen.given.context.product
    limits = chart.limits_of(product)
    if limits is None:
        return seen.unknown(chart, (Cause(f"{chart.name}.limits[{product or '?'}]", "missing"),))
    if causes := _causes(seen, (chart.value_at, chart.size_at, chart.spread_at, *chart.fresh_at)):
        return seen.unknown(chart, causes)
    if any(seen.values[place] == 0 for place in chart.fresh_at):
        return _no_point(chart, seen)
    point = _point(chart, seen)
    if isinstance(point, Cause):
        return seen.unknown(chart, (point,))
    if point is None:
        return _no_point(chart, seen)
    key = _key(chart.reset_on, seen, limits.hash[:16])
    memory = _memory(seen, key, chart.reset_after_ns)
    after, signals = advance(limits, chart.design, memory, point)
    if not all(map(math.isfinite, (after.ewma, after.variance, after.high, after.low, *after.z))):
        return seen.unknown(chart, (Cause("", "overflow"),))
    worst = min(signals, key=lambda one: _RANK[chart.severities[one.rule]], default=None)
    if worst is None:
        value, line = _plotted(chart, limits, point, after)
        unit = None if chart.kind == "cusum" else seen.unit
        held = _held(after, key, seen.end, None)
        return Finding(check=chart, level="ok", value=value, threshold=line, unit=unit, held=held)
    severity = chart.severities[worst.rule]
    others = [one for one in signals if one is not worst]
    return Finding(
        check=chart,
        level=level_of(severity),
        matched=True,
        value=worst.value,
        threshold=worst.line,
        side=worst.side,
        unit=None if worst.rule == "cusum" else seen.unit,
        status=worst.rule.upper(),
        confidence=chart.confidence,
        message=chart.message or _said(worst, others),
        actions=recommended(chart.actions, severity),
        held=_held(after, key, seen.end, severity),
        path=tuple(f"{one.rule.upper()} {_points(one)}" for one in (worst, *others)),
    )


def _point(chart: Chart, seen: Seen) -> Point | Cause | None:
    """Give the window's point; None when nothing was inspected; a cause when the numbers cannot be."""
    value = _number(seen.value)
    size = chart.size if chart.size_at is None else _number(seen.values[chart.size_at])
    if value is None or size is None:
        return Cause("", "not_finite")
    match chart.kind:
        case "p" | "np" | "u":
            if size == 0:
                return None
            if size < 0 or value < 0 or (chart.kind != "u" and value > size):
                return Cause(f"{chart.name}: {value:g} of {size:g}", "domain")
            return Point(value=value if chart.kind == "np" else value / size, size=size)
        case "c":
            return Cause(f"{chart.name}: {value:g}", "domain") if value < 0 else Point(value=value)
        case "individuals":
            return Point(value=value)
        case "xbar" | "ewma" | "cusum":
            if size < 1:
                return None
            return _with_spread(chart, seen, value, size)


def _with_spread(chart: Chart, seen: Seen, value: float, size: float) -> Point | Cause:
    if chart.spread_at is None:
        return Point(value=value, size=size)
    spread = _number(seen.values[chart.spread_at])
    if spread is None or spread < 0:
        return Cause(f"{chart.name}: spread", "domain")
    if chart.spread_kind == "range":
        if size > MAX_SIZE:
            return Cause(f"{chart.name}: range of {size:g}", "domain")
        return Point(value=value, size=size, spread=spread, spread_kind="range")
    # A window's standard deviation is divided by n; charts are about the one divided by n - 1.
    return Point(value=value, size=size, spread=spread * math.sqrt(size / (size - 1)) if size > 1 else None)


def _plotted(chart: Chart, limits: Limits, point: Point, after: Memory) -> tuple[float, float]:
    """Give what a point without a signal shows: the plotted value, and the nearer limit."""
    match chart.kind:
        case "cusum":
            return max(after.high, after.low), chart.design.h
        case "ewma":
            weight, deviation = chart.design.weight, limits.deviation(point.size)
            used = deviation**2 * weight / (2 - weight) if chart.design.steady else after.variance
            reach = chart.design.width * math.sqrt(used)
            return after.ewma, limits.center + (reach if after.ewma >= limits.center else -reach)
        case _:
            side = 3 if point.value >= limits.centre(point.size) else -3
            return point.value, limits.line(side, point.size)


def _no_point(check: Chart | CapabilityCheck, seen: Seen) -> Finding:
    return Finding(check=check, level="ok", applied=False, held=seen.held, path=("no new value",))


def _number(value: Result | None) -> float | None:
    """Give a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
        return None
    return float(value)


def _causes(seen: Seen, places: Iterable[int | None]) -> tuple[Cause, ...]:
    """Give why values are not known, each cause once."""
    found: dict[Cause, None] = {}
    for place in places:
        value = None if place is None else seen.values[place]
        if isinstance(value, Indeterminate):
            found |= dict.fromkeys(value.causes)
    return tuple(found)


# --- memory


def _key(names: Sequence[str], seen: Seen, what: str) -> str:
    """Say which series a point belongs to: other limits, another product are another one."""
    context = seen.given.context
    return "|".join([what, *(f"{name}={getattr(context, name)}" for name in names)])


def _memory(seen: Seen, key: str, reset_after_ns: int) -> Memory:
    held = seen.held
    if held.texts != [key] or len(held.numbers) < _FIXED:
        return Memory()
    if reset_after_ns and seen.given.start - held.times[0] >= reset_after_ns:
        return Memory()
    count, value, ewma, variance, high, low, high_run, low_run, *z = held.numbers
    return Memory(
        count=round(count),
        value=value,
        ewma=ewma,
        variance=variance,
        high=high,
        low=low,
        high_run=round(high_run),
        low_run=round(low_run),
        z=tuple(z),
    )


def _held(memory: Memory, key: str, end: int, severity: Severity | None) -> Held:
    numbers = [
        float(memory.count),
        memory.value or 0.0,
        memory.ewma,
        memory.variance,
        memory.high,
        memory.low,
        float(memory.high_run),
        float(memory.low_run),
        *memory.z,
    ]
    return Held(level=severity, numbers=numbers, times=[end], texts=[key])


# --- texts

_OWN: Final = {
    "moving_range": {"ko": "이웃한 두 점의 차이가 한계를 넘음", "en": "two neighbouring points too far apart"},
    "spread": {"ko": "부분군 안의 산포가 한계를 벗어남", "en": "spread within the subgroup beyond its limit"},
    "ewma": {"ko": "지수가중이동평균이 한계를 벗어남", "en": "moving average beyond its limit"},
    "cusum": {"ko": "누적합이 결정구간을 넘음(σ 단위)", "en": "cumulative sum beyond its decision interval, in σ"},
}
_SIDE: Final = {
    "high": {"ko": "위쪽", "en": "upper side"},
    "low": {"ko": "아래쪽", "en": "lower side"},
    None: {"ko": "", "en": ""},
}


def _said(signal: Signal, others: Sequence[Signal]) -> dict[str, str]:
    """Give the message of a chart that has none of its own: the rule, its points, the value and its line."""
    rule = RULES.get(signal.rule)
    what = _OWN[signal.rule] if rule is None else {"ko": rule.ko, "en": rule.en}
    name, points, side = signal.rule.upper(), _points(signal), _SIDE[signal.side]
    also = ", ".join(one.rule.upper() for one in others)
    where = {language: f", {text}" if text else "" for language, text in side.items()}
    return {
        "ko": f"{{title}}: {what['ko']} ({name}, 점 {points}{where['ko']}). 값 {{value}} {{unit}}, 기준 {{threshold}} {{unit}}"
        + (f"; 함께 {also}." if also else "."),
        "en": f"{{title}}: {what['en']} ({name}, point{'s' if len(signal.points) > 1 else ''} {points}{where['en']}); "
        "{value} {unit} against {threshold} {unit}" + (f"; also {also}." if also else "."),
    }


def _points(signal: Signal) -> str:
    """Write the numbers of points: 118, 120 or 118–126."""
    points = signal.points
    if signal.rule == "cusum" or (len(points) > 2 and points[-1] - points[0] == len(points) - 1):
        return f"{points[0]}–{points[-1]}" if points[0] != points[-1] else str(points[0])
    return ", ".join(map(str, points))


# --- capability


def look_at_capability(check: CapabilityCheck, seen: Seen) -> Finding:
    """Take the window among the newest, and hold the index over them against its bounds."""
    if causes := _causes(seen, (check.value_at, check.size_at, check.spread_at, *check.fresh_at)):
        return seen.unknown(check, causes)
    if any(seen.values[place] == 0 for place in check.fresh_at):
        return _no_point(check, seen)
    window = _window(check, seen)
    if window is None:
        return seen.unknown(check, (Cause("", "not_finite"),))
    key = _key(check.reset_on, seen, "capability")
    wide = len(window)
    before = seen.held.numbers if seen.held.texts == [key] and len(seen.held.numbers) % wide == 0 else []
    numbers = [*before, *window][-check.windows * wide :]
    held = Held(numbers=numbers, times=[seen.end], texts=[key])
    if check.size_at is None:
        values, moments = numbers, of_values(numbers)
    else:
        values = ()
        moments = of_windows([numbers[i : i + wide] for i in range(0, len(numbers), wide)])
    if moments.count < check.minimum:
        cause = Cause(f"{check.name}: {moments.count}/{check.minimum}", "no_history")
        return seen.unknown(check, (cause,), held)
    try:
        if check.by_lower:
            index = _index(capability(moments, check.specification, values=values, minimum=check.minimum), check)
            judged = index.low
        else:
            judged = index_value(moments, check.specification, check.index)
    except (CapabilityError, OverflowError):  # no variation at all, or numbers beyond all measure
        return seen.unknown(check, (Cause(f"{check.name}: σ", "domain"),), held)
    if not math.isfinite(judged):
        return seen.unknown(check, (Cause("", "overflow"),), held)
    level, bound = _level(check, judged)
    if level == "ok":
        return Finding(check=check, level="ok", value=judged, threshold=bound, held=held)
    whole = capability(moments, check.specification, values=values, minimum=check.minimum)
    return Finding(
        check=check,
        level=level,
        matched=True,
        value=judged,
        threshold=bound,
        side="low",
        status=f"{check.index.upper()}_LOW",
        confidence=check.confidence,
        message=check.message or _capability_said(check, whole),
        actions=recommended(check.actions, "critical" if level == "critical" else "warning"),
        held=held,
        path=(f"{check.index} of {moments.count} values", *whole.warnings),
    )


def _window(check: CapabilityCheck, seen: Seen) -> list[float] | None:
    """Give what is remembered of the window: its one value, or number, mean and sum of squares."""
    value = _number(seen.value)
    if value is None or check.size_at is None or check.spread_at is None:
        return None if value is None else [value]
    size, spread = _number(seen.values[check.size_at]), _number(seen.values[check.spread_at])
    if size is None or spread is None or size < 1 or not math.isfinite(size * spread * spread):
        return None
    return [size, value, size * spread * spread]


def _level(check: CapabilityCheck, judged: float) -> tuple[Level, float | None]:
    if check.critical_below is not None and judged < check.critical_below:
        return "critical", check.critical_below
    if check.warning_below is not None and judged < check.warning_below:
        return "warning", check.warning_below
    return "ok", check.critical_below if check.warning_below is None else check.warning_below


def _index(found: Capability, check: CapabilityCheck) -> Index:
    index: Index | None = getattr(found, check.index)
    return found.ppk if index is None else index


def _capability_said(check: CapabilityCheck, whole: Capability) -> dict[str, str]:
    index = _index(whole, check)
    name = check.index.capitalize()
    ko, en = ("의 95 % 하한", "the lower 95 % end of ") if check.by_lower else ("", "")
    doubt = (
        {"ko": " 값이 정규분포가 아닙니다.", "en": " The values are not normal."}
        if whole.warnings
        else {"ko": "", "en": ""}
    )
    between = f"{index.low:.2f}–{index.high:.2f}"
    return {
        "ko": f"{{title}}: {name}{ko} {{value}}, 기준 {{threshold}} 미달 ({whole.count}개 값, 95 % 구간 {between}).{doubt['ko']}",
        "en": f"{{title}}: {en}{name} is {{value}}, below {{threshold}} ({whole.count} values, 95 % between {between}).{doubt['en']}",
    }
