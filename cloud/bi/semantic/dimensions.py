"""Dimensions: what figures can be split by, which columns that needs, and how a column's value becomes a key.

Some are columns of the marts; some are made of one in Python, the same on both databases: weeks and months of the
business date, areas and work centers of the work unit's ISA-95 path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, Literal

from cloud.bi.semantic.catalogue import LANGUAGES, WORDS
from cloud.bi.semantic.errors import unknown

Level = Literal["site", "area", "work_center", "line"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One way to split figures."""

    id: str
    columns: tuple[str, ...]
    """What of a mart's keys it is made of."""
    level: Level | None = None
    """Of the plant's hierarchy; its keys are made of site and work unit together."""
    key: Callable[[str], str] | None = None
    """How its one column's value becomes a key; None where it is the value."""
    open: bool = False
    """Its values are whatever facts brought; the others' are known beforehand."""
    title: dict[str, str] = field(default_factory=dict[str, str])
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __hash__(self) -> int:
        return hash(self.id)


@lru_cache(maxsize=4096)
def week(day: str) -> str:
    """Give `2026-W48` of a date: the week of ISO 8601, and the year it belongs to."""
    year, number, _ = date.fromisoformat(day).isocalendar()
    return f"{year:04d}-W{number:02d}"


def month(day: str) -> str:
    """Give `2026-11` of a date."""
    return day[:7]


@lru_cache(maxsize=4096)
def weekday(day: str) -> str:
    """Give the ISO weekday of a date, Monday is 1."""
    return str(date.fromisoformat(day).isoweekday())


def _made(name: str, *columns: str, **more: Any) -> Dimension:
    said = WORDS["dimension"][name]
    return Dimension(
        id=name,
        columns=columns,
        title={one: said[one] for one in LANGUAGES},
        synonyms={one: tuple(said["synonyms"][one]) for one in LANGUAGES},
        **more,
    )


_ALL: Final = (
    _made("site", "site", level="site"),
    _made("area", "site", "work_unit", level="area"),
    _made("work_center", "site", "work_unit", level="work_center"),
    _made("line", "site", "work_unit", level="line"),
    _made("product", "product", open=True),
    _made("order", "job_order", open=True),
    _made("lot", "lot", open=True),
    _made("shift", "shift"),
    _made("date", "business_date"),
    _made("week", "business_date", key=week),
    _made("month", "business_date", key=month),
    _made("weekday", "business_date", key=weekday),
    _made("defect", "defect", open=True),
    _made("stop_reason", "reason", open=True),
    _made("time_element", "element"),
    _made("ruleset", "ruleset", open=True),
    _made("ruleset_version", "ruleset_version", open=True),
    _made("model", "model", open=True),
    _made("material", "material", open=True),
    _made("location", "location", open=True),
    _made("characteristic", "characteristic", open=True),
)
DIMENSIONS: Final[dict[str, Dimension]] = {one.id: one for one in _ALL}


def dimension(name: str) -> Dimension:
    """Give a dimension by its id. Raises PlanError."""
    found = DIMENSIONS.get(name)
    if found is None:
        raise unknown("dimension", name, DIMENSIONS, "ERR_BI_DATASET_NOT_FOUND")
    return found
