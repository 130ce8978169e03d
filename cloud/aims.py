"""What a site wants of itself, as cloud.toml says it: targets of its figures, safety stocks of its materials."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync.settings import Label, Model, nearest

Kpi = Literal[
    "oee",
    "availability",
    "effectiveness",
    "quality_ratio",
    "teep",
    "first_pass_yield",
    "defect_rate",
    "scrap_ratio",
    "rework_ratio",
    "throughput",
    "schedule_attainment",
    "energy_per_piece",
    "mtbf",
    "mttr",
    "downtime",
    "inventory_coverage",
]


class Target(Model):
    """What a figure should be: at this site, or on one of its lines."""

    kpi: Kpi
    """A metric of the catalogue, in its unit: ratios 0 to 1, downtime in s of one line and day."""
    work_unit: str = ""
    """Empty: every line of the site that has none of its own."""
    target: float
    warning: float
    critical: float

    @model_validator(mode="after")
    def _in_order(self) -> Target:
        if not (self.target >= self.warning >= self.critical or self.target <= self.warning <= self.critical):
            raise ValueError("warning lies between target and critical")
        return self


Quantity = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
"""In the material's unit."""


class Material(Model):
    """What lies in the stores of a site: its name, and how much of it every store should hold at least."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    """As the counts name it."""
    name: Label | None = None
    """Without one the id stands."""
    unit: Annotated[str, Field(max_length=16)] = ""
    """Of both quantities; a count in another unit is not held against them."""
    safety_stock: Quantity | None = None
    reorder_point: Quantity | None = None
    """Below it more is to be ordered; without one 1.5 times the safety stock."""

    @model_validator(mode="after")
    def _above(self) -> Material:
        if self.reorder_point is not None and (self.safety_stock is None or self.reorder_point < self.safety_stock):
            raise ValueError("a reorder point lies at or above a safety stock")
        return self


def faults(
    lines: Collection[str], targets: Sequence[Target], materials: Sequence[Material]
) -> Iterator[tuple[tuple[str, int, str], str]]:
    """Give what does not fit: (where within the site, what). lines: the work units of the site."""
    aims: set[tuple[str, str]] = set()
    for j, aim in enumerate(targets):
        if aim.work_unit and aim.work_unit not in lines:
            what = f"there is no [[site.work_unit]] {aim.work_unit}; {nearest(aim.work_unit, sorted(lines))}"
            yield ("target", j, "work_unit"), what
        if (aim.kpi, aim.work_unit) in aims:
            yield ("target", j, "kpi"), f"a target of {aim.kpi} for {aim.work_unit or 'the site'} stands here twice"
        aims.add((aim.kpi, aim.work_unit))
    seen: set[str] = set()
    for j, one in enumerate(materials):
        if one.id in seen:
            yield ("material", j, "id"), f"material {one.id!r} stands here twice"
        seen.add(one.id)
