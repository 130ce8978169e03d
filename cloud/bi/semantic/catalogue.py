"""Every metric, once. Words stand in words.toml, dimensions in `dimensions`; what SQL may name stands in `stars`."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any, Final

from cloud.bi.analyses.look import Better
from cloud.bi.semantic.errors import unknown
from cloud.bi.semantic.metrics import BUSY, Additive, Distinct, Guard, Metric, Ratio, Stock

ISO: Final = "ISO 22400-2:2014"
WORDS: Final[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
LANGUAGES: Final = ("ko", "en")


def _made(
    name: str, what: Additive | Stock | Ratio | Distinct, unit: str, better: Better | None, **more: Any
) -> Metric:
    said = WORDS["metric"][name]
    words = {part: {one: said[part][one] for one in LANGUAGES} for part in ("title", "description", "formula")}
    synonyms = {one: tuple(said["synonyms"][one]) for one in LANGUAGES}
    return Metric(id=name, what=what, unit=unit, better=better, synonyms=synonyms, **words, **more)


def _sum(name: str, *measures: str, unit: str, better: Better | None = None, source: str = "house") -> Metric:
    return _made(name, Additive(measures or (name,)), unit, better, source=source)


def _ratio(
    name: str,
    of: tuple[str, ...],
    to: tuple[str, ...],
    *,
    unit: str = "1",
    better: Better | None = "higher",
    source: str = "house",
    empty: str,
    guards: tuple[Guard, ...] = (),
) -> Metric:
    what = Ratio(Additive(of), Additive(to))
    return _made(name, what, unit, better, source=source, empty=empty, guards=guards)


_ALL: Final = (
    _sum("produced", unit="pieces", better="higher", source=f"{ISO} PQ"),
    _sum("good", unit="pieces", better="higher", source=f"{ISO} GQ"),
    _sum("scrap", unit="pieces", better="lower", source=f"{ISO} SQ"),
    _sum("rework", unit="pieces", better="lower", source=f"{ISO} RQ"),
    _sum("defects", unit="pieces", better="lower"),
    _sum("planned", "planned_micro", unit="pieces"),
    _ratio(
        "oee",
        ("ideal_good_us",),
        BUSY,
        source=f"{ISO} OEE index",
        empty="no_plan",
        guards=("planned", "seen", "rated"),
    ),
    _ratio("availability", ("apt_ms",), BUSY, source=f"{ISO} availability", empty="no_plan", guards=("planned",)),
    _ratio(
        "effectiveness",
        ("ideal_us",),
        ("apt_ms",),
        source=f"{ISO} effectiveness",
        empty="no_production",
        guards=("planned", "rated"),
    ),
    _ratio(
        "quality_ratio",
        ("ideal_good_us",),
        ("ideal_us",),
        source=f"{ISO} quality ratio, weighted with ideal time",
        empty="no_pieces",
        guards=("rated",),
    ),
    _ratio(
        "teep",
        ("ideal_good_us",),
        ("calendar_ms",),
        source="TEEP: good ideal time over calendar time",
        empty="no_states",
        guards=("rated",),
    ),
    _ratio("first_pass_yield", ("good",), ("produced",), source=f"{ISO} first pass yield", empty="no_pieces"),
    _ratio("defect_rate", ("rejected",), ("produced",), better="lower", source="house", empty="no_pieces"),
    _ratio("scrap_ratio", ("scrap",), ("produced",), better="lower", source=f"{ISO} scrap ratio", empty="no_pieces"),
    _ratio("rework_ratio", ("rework",), ("produced",), better="lower", source=f"{ISO} rework ratio", empty="no_pieces"),
    _sum("planned_busy_time", *BUSY, unit="s", source=f"{ISO} PBT"),
    _sum("production_time", "apt_ms", unit="s", better="higher", source=f"{ISO} APT"),
    _sum("setup_time", "setup_ms", unit="s", better="lower", source=f"{ISO} AUST"),
    _sum("delay_time", "delay_ms", unit="s", better="lower", source=f"{ISO} ADET"),
    _sum("downtime", "down_ms", unit="s", better="lower", source=f"{ISO} ADOT"),
    _sum("planned_downtime", "planned_down_ms", unit="s", source=f"{ISO} planned downtime"),
    _sum("unknown_time", "unknown_ms", unit="s", better="lower"),
    _sum("calendar_time", "calendar_ms", unit="s"),
    _sum("stops", unit="times", better="lower"),
    _sum("stop_time", "stop_ms", unit="s", better="lower"),
    _sum("failures", unit="times", better="lower", source=f"{ISO} failure events"),
    _ratio("mtbf", ("apt_ms",), ("failures",), unit="h", source=f"{ISO} MTBF", empty="no_failures"),
    _ratio("mttr", ("down_ms",), ("failures",), unit="min", better="lower", source=f"{ISO} MTTR", empty="no_failures"),
    _ratio(
        "throughput",
        ("produced",),
        BUSY,
        unit="pieces/h",
        source=f"{ISO} throughput rate, per planned busy time",
        empty="no_plan",
        guards=("planned",),
    ),
    _ratio("schedule_attainment", ("produced",), ("planned_micro",), empty="no_orders"),
    _sum("energy", "energy_wh", unit="Wh", better="lower"),
    _ratio(
        "energy_per_piece",
        ("energy_wh",),
        ("produced",),
        unit="Wh/pieces",
        better="lower",
        source=f"{ISO} comprehensive energy consumption",
        empty="no_pieces",
        guards=("metered",),
    ),
    _made("inventory", Stock("quantity_micro"), "units", None, source="house", guards=("one_unit",)),
    _made(
        "inventory_coverage",
        Ratio(Stock("quantity_micro"), Stock("usage_micro")),
        "d",
        "higher",
        source="house",
        empty="no_demand",
        guards=("not_below_zero",),
    ),
    _ratio("defects_per_piece", ("defects",), ("produced",), better="lower", empty="no_pieces"),
    _sum("judgments", unit="times"),
    _sum("warnings", unit="times", better="lower"),
    _sum("criticals", unit="times", better="lower"),
    _sum("unknown_verdicts", "unknowns", unit="times", better="lower"),
    _ratio("critical_ratio", ("criticals",), ("judgments",), better="lower", empty="nothing_judged"),
    _ratio("confidence", ("confidence_ppm",), ("judgments",), empty="nothing_judged"),
    _sum("measured", unit="times"),
    _ratio("quality_failed_ratio", ("failed",), ("measured",), better="lower", empty="nothing_measured"),
    _ratio(
        "measured_mean",
        ("total_micro",),
        ("valued",),
        unit="value",
        better=None,
        empty="nothing_measured",
        guards=("one_unit",),
    ),
    _made("product_variety", Distinct("product", "produced"), "times", None, source="house"),
)
METRICS: Final[dict[str, Metric]] = {metric.id: metric for metric in _ALL}

ALIASES: Final[dict[str, str]] = {
    "yield": "first_pass_yield",
    "yield_rate": "first_pass_yield",
    "performance": "effectiveness",
    "quality": "quality_ratio",
    "achievement_rate": "schedule_attainment",
    "production_qty": "produced",
    "good_qty": "good",
    "judgment_count": "judgments",
}
"""Names that other systems give the same figures."""


def proper(name: str) -> str:
    """Give the id of what others call otherwise; any other name as it is."""
    alias = ALIASES.get(name)
    return name if alias is None else alias


def metric(name: str) -> Metric:
    """Give a metric by its id, or by the name others use. Raises PlanError."""
    found = METRICS.get(proper(name))
    if found is None:
        raise unknown("metric", name, METRICS, "ERR_BI_METRIC_NOT_FOUND")
    return found


VERSION: Final = hashlib.sha256("".join(one.id + one.hash for one in _ALL).encode()).hexdigest()[:16]
"""Changes when any definition does."""
