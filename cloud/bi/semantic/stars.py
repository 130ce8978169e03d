"""Which marts there are, what they are kept by, and which measures they hold: all that SQL is ever made of.

Every identifier in a compiled statement comes from here. The order is that of preference: the smallest mart that knows
everything a question asks for answers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TIME_MODEL: Final = (
    *("calendar_ms", "scheduled_ms", "apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms"),
    *("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh"),
    *("planned_micro", "failures"),
)
"""What analyses of the time model need side by side."""

UNIT_OF: Final[dict[str, str]] = {
    **dict.fromkeys(TIME_MODEL[:8], "ms"),
    **dict.fromkeys(("produced", "good", "scrap", "rework", "unrated", "rejected", "defects"), "pieces"),
    **dict.fromkeys(("ideal_us", "ideal_good_us"), "us"),
    "energy_wh": "Wh",
    "planned_micro": "micropieces",
    "stop_ms": "ms",
    **dict.fromkeys(("failures", "stops", "judgments", "warnings", "criticals", "unknowns", "needs_human"), "times"),
    "confidence_ppm": "ppm",
    **dict.fromkeys(("measured", "passed", "failed", "untold", "valued"), "times"),
    "total_micro": "microvalue",
    "quantity_micro": "microunits",
    "usage_micro": "microunits/d",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mart:
    """One table of sums."""

    name: str
    table: str
    keys: tuple[str, ...]
    """Columns that rows are kept by, beside the tenant."""
    measures: dict[str, str]
    """Measure → its column, or what is made of columns."""
    sparse: bool = False
    """Nothing there means a true zero: only what happened has a row."""

    def __hash__(self) -> int:
        return hash(self.name)


def _plain(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_REJECTED: Final = {"rejected": "produced - good"}
"""Not good at the first pass, whether a machine counts scrap and rework by themselves or not."""
_SHIFT: Final = ("site", "work_unit", "start_ms", "business_date", "shift")
_PIECES: Final = ("produced", "good", "scrap", "rework")
_JUDGED: Final = ("judgments", "warnings", "criticals", "unknowns")

MARTS: Final = (
    Mart(
        name="day",
        table="mart_day",
        keys=("site", "work_unit", "business_date", "product"),
        measures=_plain(*TIME_MODEL, *_JUDGED) | _REJECTED,
    ),
    Mart(
        name="shift", table="mart_shift", keys=(*_SHIFT, "product"), measures=_plain(*TIME_MODEL, *_JUDGED) | _REJECTED
    ),
    Mart(
        name="order",
        table="mart_order",
        keys=(*_SHIFT, "job_order", "lot", "product"),
        measures=_plain(*_PIECES, "unrated", "ideal_us", "ideal_good_us", "energy_wh") | _REJECTED,
        sparse=True,
    ),
    Mart(
        name="judgment",
        table="mart_judgment",
        keys=(*_SHIFT, "product", "ruleset", "ruleset_version", "model"),
        measures=_plain(*_JUDGED, "needs_human", "confidence_ppm"),
        sparse=True,
    ),
    Mart(
        name="quality",
        table="mart_quality",
        keys=(*_SHIFT, "product", "lot", "characteristic", "unit"),
        measures=_plain("measured", "passed", "failed", "untold", "total_micro", "valued"),
        sparse=True,
    ),
    Mart(
        name="day_defect",
        table="mart_day_defect",
        keys=("site", "work_unit", "business_date", "product", "defect"),
        measures={"defects": "quantity"},
        sparse=True,
    ),
    Mart(
        name="day_stop",
        table="mart_day_stop",
        keys=("site", "work_unit", "business_date", "element", "reason"),
        measures={"stop_ms": "duration_ms", "stops": "stops"},
        sparse=True,
    ),
    Mart(
        name="defect",
        table="mart_defect",
        keys=(*_SHIFT, "product", "defect"),
        measures={"defects": "quantity"},
        sparse=True,
    ),
    Mart(
        name="stop",
        table="mart_stop",
        keys=(*_SHIFT, "element", "reason"),
        measures={"stop_ms": "duration_ms", "stops": "stops"},
        sparse=True,
    ),
    Mart(
        name="inventory",
        table="mart_inventory",
        keys=("site", "material", "location", "business_date"),
        measures=_plain("quantity_micro", "usage_micro"),
    ),
    Mart(
        name="hour",
        table="mart_hour",
        keys=("site", "work_unit", "start_ms", "product"),
        measures=_plain(*_PIECES, "energy_wh") | _REJECTED,
        sparse=True,
    ),
)
BY_NAME: Final = {mart.name: mart for mart in MARTS}
KEPT_BY: Final = {
    "site": "site",
    "work_unit": "line",
    "start_ms": "shift instance",
    "business_date": "date",
    "job_order": "order",
    "element": "time_element",
    "reason": "stop_reason",
}
"""Column → what a plan calls it, where that differs."""


def kept_by(mart: Mart) -> str:
    """Say what a mart's figures can be split by, in words of a plan."""
    return ", ".join(dict.fromkeys(KEPT_BY.get(key, key) for key in mart.keys))
