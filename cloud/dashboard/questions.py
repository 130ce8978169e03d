"""What can be asked, for the chips of the analysis page: metrics in groups, dimensions, values; and questions to begin with.

A question that lacks what its analysis cannot do without is completed here, in the open: what is put in stands in its
chip and can be changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any, Final

from cloud.bi.semantic.catalogue import ALIASES, METRICS
from cloud.bi.semantic.dimensions import DIMENSIONS
from cloud.dashboard.plans import CHANGES, Change, Draft, Fault, Where
from cloud.wording.texts import Words

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "oee": ("oee", "availability", "effectiveness", "quality_ratio", "teep"),
    "quality": (
        *("defect_rate", "first_pass_yield", "rework_ratio", "defects", "scrap", "rework"),
        *("measured", "quality_failed_ratio", "measured_mean"),
    ),
    "output": ("produced", "good", "planned", "schedule_attainment", "throughput", "product_variety"),
    "stops": ("stop_time", "stops", "failures", "mtbf", "mttr"),
    "time": (
        *("planned_busy_time", "production_time", "setup_time", "delay_time", "downtime", "planned_downtime"),
        *("unknown_time", "calendar_time"),
    ),
    "verdicts": ("judgments", "warnings", "criticals", "unknown_verdicts", "critical_ratio", "confidence"),
    "stock": ("energy", "energy_per_piece", "inventory", "inventory_coverage"),
}
"""Metrics as people look for them; one that is new stands in the last group."""
SEVERAL: Final[Mapping[str, tuple[int, int]]] = {
    "CHECK": (4, 3),
    "TREND": (4, 1),
    "COMPARE": (1, 1),
    "RANK": (1, 2),
    "FIND_CAUSE": (1, 3),
    "CORRELATE": (4, 0),
    "DETECT_ANOMALY": (1, 0),
    "PREDICT": (1, 0),
    "WHAT_IF": (1, 0),
}
"""Analysis → how many metrics and how many dimensions it takes."""


def room(draft: Draft) -> tuple[int, int]:
    """Give how many metrics and dimensions a question has room for: what is split by a dimension is one metric."""
    metrics, by = SEVERAL.get(draft.analysis, (4, 3))
    return (1 if draft.by and by else metrics), by


USUAL_CHANGE: Final = {
    "stop": ("-50", "percent"),
    "setup": ("-20", "percent"),
    "delay": ("-50", "percent"),
    "speed": ("5", "percent"),
    "scrap": ("-1", "points"),
    "planned_down": ("-20", "percent"),
    "extra_shift": ("1", "count"),
}
"""What a change begins with; the amount is changed where it stands."""
SPLITS: Final = tuple(name for name in DIMENSIONS if name not in {"date", "week", "month"})
"""Time is split by the grain."""
LISTED: Final = 60
"""Values of a dimension that are listed to be ticked; others are typed."""

GALLERY: Final[tuple[tuple[str, Draft], ...]] = (
    ("oee_trend", Draft(analysis="TREND", metrics=("oee",), period="last_30_days", grain="day")),
    ("why", Draft(analysis="FIND_CAUSE", metrics=("oee",), period="last_7_days", against="previous")),
    (
        "worst_line",
        Draft(analysis="RANK", metrics=("defect_rate",), by=("line",), period="last_30_days", order="worst"),
    ),
    ("stops", Draft(analysis="RANK", metrics=("stop_time",), by=("stop_reason",), period="last_30_days", order="most")),
    ("targets", Draft(analysis="CHECK", metrics=("oee",), by=("line",), period="last_7_days")),
    ("anomaly", Draft(analysis="DETECT_ANOMALY", metrics=("defect_rate",), period="last_90_days", grain="day")),
    ("next_week", Draft(analysis="PREDICT", metrics=("good",), period="last_90_days", grain="day", horizon="7")),
    (
        "what_if",
        Draft(
            analysis="WHAT_IF", metrics=("oee",), period="last_30_days", edits=(Change("stop", "", "-50", "percent"),)
        ),
    ),
)
"""(key of the text, the question)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One entry of a select, or one box to tick."""

    value: str
    text: str
    chosen: bool = False


def completed(draft: Draft, today: date) -> Draft:
    """Give the draft with what its analysis needs and nobody has said yet; what it cannot use is left out."""
    metrics, by = room(draft)
    draft = replace(draft, metrics=draft.metrics[:metrics] or ("oee",), by=draft.by[:by])
    if draft.analysis == "RANK" and not draft.by:
        draft = replace(draft, by=("line",))
    if draft.analysis == "CORRELATE" and len(draft.metrics) == 1:
        draft = replace(draft, metrics=(*draft.metrics, "defect_rate" if draft.metrics[0] != "defect_rate" else "oee"))
    if draft.analysis == "WHAT_IF" and not draft.edits:
        draft = replace(draft, edits=(Change("stop"),))
    week = {"first": str(today - timedelta(days=6)), "last": str(today)}
    if draft.period == "dates" and not (draft.first or draft.last):
        draft = replace(draft, **week)
    if draft.against == "dates" and not (draft.against_first or draft.against_last):
        before = {"against_first": str(today - timedelta(days=13)), "against_last": str(today - timedelta(days=7))}
        draft = replace(draft, **before)
    return replace(draft, edits=tuple(_amount(one) for one in draft.edits))


def _amount(change: Change) -> Change:
    amount, unit = USUAL_CHANGE.get(change.what, ("-10", "percent"))
    counts = change.what == "extra_shift"
    if not change.amount or counts != (change.unit == "count") or (change.unit == "points" and change.what != "scrap"):
        return replace(change, amount=amount, unit=unit)
    return change


def faults(draft: Draft, words: Words) -> list[Fault]:
    """Say which names of a draft nobody knows, and which were probably meant."""
    found: list[Fault] = []
    for place, name in enumerate(draft.metrics):
        if name not in METRICS and name not in ALIASES:
            found.append(_unknown(f"metric.{place}", name, {one: m.title for one, m in METRICS.items()}, words))
    titles = {one: d.title for one, d in DIMENSIONS.items()}
    for place, name in enumerate(draft.by):
        if name not in DIMENSIONS:
            found.append(_unknown(f"by.{place}", name, titles, words))
    found += [
        _unknown(f"where.{one.dimension}", one.dimension, titles, words)
        for one in draft.wheres
        if one.dimension not in DIMENSIONS
    ]
    return found


def _unknown(control: str, name: str, known: Mapping[str, Mapping[str, str]], words: Words) -> Fault:
    spelled = {word.lower(): one for one, title in known.items() for word in (one, *title.values())}
    close = get_close_matches(name.lower(), spelled, n=6, cutoff=0.5)
    meant = tuple(dict.fromkeys(spelled[word] for word in close))[:3] or tuple(list(known)[:3])
    return Fault(control, words("ask.unknown", name=name[:60]), meant)


def metric_groups(chosen: str, words: Words) -> list[tuple[str, list[Option]]]:
    """Give the metrics in their groups, one of them chosen."""
    chosen = ALIASES.get(chosen, chosen)
    known = {name for names in GROUPS.values() for name in names}
    groups = {name: [one for one in names if one in METRICS] for name, names in GROUPS.items()}
    groups[next(reversed(groups))] += [name for name in METRICS if name not in known]
    return [
        (
            words.label("ask_group", group),
            [Option(value=name, text=METRICS[name].title[words.language], chosen=name == chosen) for name in names],
        )
        for group, names in groups.items()
    ]


def dimension_options(chosen: str, words: Words) -> list[Option]:
    """Give the dimensions, one of them chosen."""
    shown = SPLITS if chosen in SPLITS or chosen not in DIMENSIONS else (*SPLITS, chosen)
    return [Option(value=name, text=DIMENSIONS[name].title[words.language], chosen=name == chosen) for name in shown]


def metric_title(name: str, words: Words) -> str:
    found = METRICS.get(ALIASES.get(name, name))
    return name if found is None else found.title[words.language]


def dimension_title(name: str, words: Words) -> str:
    found = DIMENSIONS.get(name)
    return name if found is None else found.title[words.language]


def filter_chip(where: Where, values: Sequence[Mapping[str, Any]], words: Words) -> dict[str, Any]:
    """Give a filter's chip: what is chosen in words, boxes to tick, and what was chosen besides.

    values: [{value, title}] as the cloud knows them for this reader.
    """
    names = {str(one["value"]): words.of(one["title"]) for one in values}
    known = [Option(value=value, text=text, chosen=value in where.values) for value, text in names.items()]
    shown = sorted(known, key=lambda one: not one.chosen)[:LISTED] if len(known) > LISTED else known
    return {
        "where": where,
        "title": dimension_title(where.dimension, words),
        "said": ", ".join(names.get(value, value) for value in where.values),
        "options": shown,
        "others": [value for value in where.values if value not in names],
        "types": len(known) > LISTED or not known,
    }


def title(draft: Draft, filters: Sequence[Mapping[str, Any]], words: Words) -> str:
    """Say in a line what is asked: what a pin is called until somebody gives it a name."""
    parts = [" × ".join(metric_title(name, words) for name in draft.metrics), words.label("ask_kind", draft.analysis)]
    if draft.by:
        parts.append(words("ask.by_names", names=", ".join(dimension_title(name, words) for name in draft.by)))
    parts += [("≠ " if chip["where"].negated else "") + chip["said"] for chip in filters if chip["said"]]
    dated = draft.period == "dates"
    parts.append(f"{draft.first} – {draft.last}" if dated else words.label("ask_period", draft.period))
    return " · ".join(parts)


def changes(words: Words, chosen: str = "") -> list[Option]:
    """Give what WHAT_IF can change."""
    return [Option(value=one, text=words.label("ask_change", one), chosen=one == chosen) for one in CHANGES]
