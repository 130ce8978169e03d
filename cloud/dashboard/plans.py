"""Questions in addresses: readable, so that one can be shared, kept and gone back to; and half a question is no error.

`?analysis=RANK&metric=defect_rate&by=line&period=last_30_days&where.product=water-500&order=worst` is a plan; so is
`?plan={…}` with the plan itself. What people are still choosing is a `Draft`; `asked` makes the plan of it, or says
which control holds what cannot be asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import ValidationError

from cloud.bi.semantic.plan import Plan

ANALYSES: Final = (
    "CHECK",
    "TREND",
    "COMPARE",
    "RANK",
    "FIND_CAUSE",
    "CORRELATE",
    "DETECT_ANOMALY",
    "PREDICT",
    "WHAT_IF",
)
"""In the order people ask: how is it, where does it go, why, what will be."""
GRAINS: Final = ("hour", "shift", "day", "week", "month")
AGAINST: Final = ("previous", "same_last_week", "same_last_year", "dates")
ORDERS: Final = ("worst", "best", "most", "least")
PERIODS: Final = (
    *("this_shift", "last_shift", "today", "yesterday", "last_7_days", "last_30_days", "last_90_days"),
    *("this_week", "last_week", "this_month", "last_month", "dates"),
)
CHANGES: Final = ("stop", "setup", "delay", "speed", "scrap", "planned_down", "extra_shift")
USUAL: Final = "last_7_days"
MOST: Final = 2_000
"""Characters of an address's value that are read at all."""

CONTROLS: Final[Mapping[str, tuple[str, ...]]] = {
    "CHECK": (),
    "TREND": ("grain",),
    "COMPARE": ("against",),
    "RANK": ("order", "limit"),
    "FIND_CAUSE": ("against",),
    "CORRELATE": ("grain",),
    "DETECT_ANOMALY": ("grain",),
    "PREDICT": ("grain", "horizon"),
    "WHAT_IF": ("edits",),
}
"""What an analysis can be told besides metrics, dimensions, filters and period."""


@dataclass(frozen=True, slots=True)
class Where:
    """A filter as it is being chosen; without values it says nothing yet."""

    dimension: str
    values: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would be different, as it is being written."""

    what: str
    value: str = ""
    amount: str = ""
    unit: str = "percent"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one control."""

    control: str
    """analysis, metric.0, by.1, where.line, period, grain, against, order, limit, horizon or edit.0."""
    message: str
    nearest: tuple[str, ...] = ()
    """What was probably meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question as it is being asked; every field as it was written."""

    analysis: str = "TREND"
    metrics: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    wheres: tuple[Where, ...] = ()
    period: str = USUAL
    first: str = ""
    last: str = ""
    shift: str = ""
    """Of one date: what "this shift" meant."""
    grain: str = ""
    against: str = ""
    against_first: str = ""
    against_last: str = ""
    order: str = ""
    limit: str = ""
    horizon: str = ""
    edits: tuple[Change, ...] = ()

    def shows(self, control: str) -> bool:
        """Tell whether the analysis can be told this."""
        return control in CONTROLS.get(self.analysis, ())


def read(pairs: Iterable[tuple[str, str]]) -> Draft | None:
    """Read an address; None where it asks nothing. Raises ValueError for a `plan` that is no JSON object."""
    told: dict[str, list[str]] = {}
    for name, value in pairs:
        told.setdefault(name, []).append(value[:MOST].strip())
    if plan := told.get("plan"):
        return of_plan(json.loads(plan[0]))
    if not told.get("metric") and not told.get("analysis"):
        return None
    one = {name: values[-1] for name, values in told.items()}
    draft = Draft(
        analysis=one.get("analysis") or "TREND",
        metrics=_some(told.get("metric", ())),
        by=_some(told.get("by", ())),
        wheres=_wheres(told),
        edits=_edits(told),
        period=one.get("period") or USUAL,
        **{
            name: one.get(name, "")
            for name in (
                *(
                    "first",
                    "last",
                    "shift",
                    "grain",
                    "against",
                    "against_first",
                    "against_last",
                    "order",
                    "limit",
                    "horizon",
                ),
            )
        },
    )
    for what in told.get("drop", ()):
        draft = drop(draft, what)
    return draft


def _some(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _wheres(told: Mapping[str, Sequence[str]]) -> tuple[Where, ...]:
    found: dict[str, Where] = {}
    for name, values in told.items():
        word, _, dimension = name.partition(".")
        if word in {"where", "not"} and dimension and (chosen := _some(values)):
            negated = word == "not" or told.get(f"op.{dimension}") == ["not_in"]
            found[dimension] = Where(dimension, chosen, negated)
    for dimension in told.get("filter", ()):
        if dimension:
            found.setdefault(dimension, Where(dimension))
    return tuple(found.values())


def _edits(told: Mapping[str, Sequence[str]]) -> tuple[Change, ...]:
    found: list[Change] = []
    names = ("what", "which", "amount", "unit")
    for place, what in enumerate(told.get("what", ())):
        row = [told.get(name, ())[place] if place < len(told.get(name, ())) else "" for name in names]
        if what:
            found.append(Change(what, row[1], row[2], row[3] or "percent"))
    return tuple(found)


def of_plan(plan: Any) -> Draft:
    """Give the draft of a plan as JSON, however wrong. Raises ValueError for what is no object."""
    if not isinstance(plan, Mapping):
        raise ValueError("a plan is a JSON object")  # noqa: TRY004 - the same to the caller as JSON that is none
    said: Mapping[str, Any] = plan
    period, against = said.get("period") or {"relative": USUAL}, said.get("against") or ""
    dates: Mapping[str, Any] = period if isinstance(period, Mapping) else {"relative": str(period)}
    versus: Mapping[str, Any] = against if isinstance(against, Mapping) else {"relative": str(against)}
    return Draft(
        analysis=str(said.get("analysis") or "TREND"),
        metrics=tuple(map(str, _listed(said.get("metrics")))),
        by=tuple(map(str, _listed(said.get("dimensions")))),
        wheres=tuple(
            Where(str(one.get("dimension", "")), tuple(map(str, _listed(one.get("values")))), one.get("op") == "not_in")
            for one in _listed(said.get("filters"))
            if isinstance(one, Mapping)
        ),
        edits=tuple(_change(one) for one in _listed(said.get("edits")) if isinstance(one, Mapping)),
        period=str(dates.get("relative") or "dates"),
        first=str(dates.get("first") or ""),
        last=str(dates.get("last") or ""),
        shift=str(dates.get("shift") or ""),
        against=str(versus.get("relative") or ("dates" if versus.get("first") else "")),
        against_first=str(versus.get("first") or ""),
        against_last=str(versus.get("last") or ""),
        **{name: str(said.get(name) or "") for name in ("grain", "order", "limit", "horizon")},
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _change(one: Mapping[str, Any]) -> Change:
    unit = next((name for name in ("percent", "points", "count") if one.get(name) is not None), "percent")
    return Change(str(one.get("what", "")), str(one.get("value") or ""), f"{one.get(unit, '')}", unit)


def plan_json(draft: Draft) -> dict[str, Any]:
    """Give the plan as the API takes it, of what the analysis can be told."""
    said: dict[str, Any] = {"analysis": draft.analysis, "metrics": list(draft.metrics)}
    if draft.by:
        said["dimensions"] = list(draft.by)
    chosen = [one for one in draft.wheres if one.values]
    if chosen:
        said["filters"] = [
            {"dimension": one.dimension, "op": "not_in" if one.negated else "in", "values": list(one.values)}
            for one in chosen
        ]
    said["period"] = _dated(draft.period, draft.first, draft.last)
    if draft.shift and draft.period == "dates":
        said["period"]["shift"] = draft.shift
    if draft.grain and draft.shows("grain"):
        said["grain"] = draft.grain
    if draft.against and draft.shows("against"):
        dated = draft.against == "dates"
        said["against"] = _dated("dates", draft.against_first, draft.against_last) if dated else draft.against
    for name in ("order", "limit", "horizon"):
        if draft.shows(name) and (value := getattr(draft, name)):
            said[name] = value
    if draft.edits and draft.shows("edits"):
        said["edits"] = [
            {"what": one.what, one.unit: one.amount}
            | ({"value": one.value} if one.value and one.what == "stop" else {})
            for one in draft.edits
        ]
    return said


def _dated(word: str, first: str, last: str) -> dict[str, str | None]:
    return {"first": first or None, "last": last or None} if word == "dates" else {"relative": word}


_CONTROL: Final = {"metrics": "metric", "dimensions": "by", "edits": "edit"}


def asked(draft: Draft) -> Plan | list[Fault]:
    """Give the plan, or what of the draft cannot be asked."""
    try:
        return Plan.model_validate(plan_json(draft))
    except ValidationError as error:
        faults: dict[str, Fault] = {}
        for one in error.errors(include_url=False, include_input=False, include_context=False):
            name, place = str(one["loc"][0]), one["loc"][1] if len(one["loc"]) > 1 else 0
            if name == "filters" and isinstance(place, int):
                control = f"where.{[where for where in draft.wheres if where.values][place].dimension}"
            elif name in _CONTROL:
                control = f"{_CONTROL[name]}.{place if isinstance(place, int) else 0}"
            else:
                control = name
            faults.setdefault(control, Fault(control, one["msg"].removeprefix("Value error, ")))
        return list(faults.values())


def address(draft: Draft, **changes: Any) -> str:
    """Give the query of a draft's address, with something changed: only what is chosen, in one order."""
    one = replace(draft, **changes) if changes else draft
    pairs: list[tuple[str, str]] = [("analysis", one.analysis)]
    pairs += [("metric", name) for name in one.metrics] + [("by", name) for name in one.by]
    for where in one.wheres:
        word = "not" if where.negated else "where"
        pairs += [(f"{word}.{where.dimension}", value) for value in where.values] or [("filter", where.dimension)]
    pairs.append(("period", one.period))
    if one.period == "dates":
        pairs += [("first", one.first), ("last", one.last)] + ([("shift", one.shift)] if one.shift else [])
    for name in ("grain", "against", "order", "limit", "horizon"):
        if one.shows(name) and getattr(one, name):
            pairs.append((name, getattr(one, name)))
    if one.shows("against") and one.against == "dates":
        pairs += [("against_first", one.against_first), ("against_last", one.against_last)]
    if one.shows("edits"):
        for edit in one.edits:
            pairs += [("what", edit.what), ("which", edit.value), ("amount", edit.amount), ("unit", edit.unit)]
    return urlencode(pairs)


def page(draft: Draft, **more: str) -> str:
    """Give the analysis page's address of a question."""
    return f"/analysis?{address(draft)}" + (f"&{urlencode(more)}" if more else "")


def drop(draft: Draft, what: str) -> Draft:
    """Leave out one control: metric.1, by.0, where.line or edit.0."""
    name, _, which = what.partition(".")
    if name == "where":
        return replace(draft, wheres=tuple(one for one in draft.wheres if one.dimension != which))
    field = {"metric": "metrics", "by": "by", "edit": "edits"}.get(name)
    if field is None or not which.isdigit():
        return draft
    kept: tuple[Any, ...] = getattr(draft, field)
    return replace(draft, **{field: kept[: int(which)] + kept[int(which) + 1 :]})
