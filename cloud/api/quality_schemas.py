"""What the answers about quality look like, as OpenAPI tells it."""

from __future__ import annotations

from typing import Any, Literal

from cloud.api.schemas import Answer


class Pieces(Answer):
    """Pieces, and the two ratios of them; null where nothing was made."""

    produced: int
    good: int
    scrap: int
    rework: int
    first_pass_yield: float | None
    defect_rate: float | None
    scrap_ratio: float | None


class DayPieces(Pieces):
    """One business date's."""

    date: str


class Defect(Answer):
    """One type of defect; shares of all defects."""

    defect: str
    quantity: int
    share: float | None
    cumulative: float | None


class Characteristic(Answer):
    """What was measured on a line of a product, counted."""

    site: str
    work_unit: str
    characteristic: str
    product: str
    unit: str
    measured: int
    passed: int
    failed: int
    untold: int
    mean: float | None


class ControlPoint(Answer):
    """One look at a critical control point (HACCP)."""

    at: str
    site: str
    work_unit: str
    gateway: str
    ccp: str
    value: float | str | bool | None
    unit: str | None
    low: float | None
    high: float | None
    within: bool | None
    lot: str | None
    product: str | None
    verdict_id: str | None
    ruleset: str | None
    ruleset_version: str | None


class Period(Answer):
    """What was asked for, in business dates and in UTC."""

    as_of: str
    start: str
    end: str
    first: str
    last: str


class Quality(Period):
    """Quality of one line (work_unit) or of all (null)."""

    site: str | None
    work_unit: str | None
    total: Pieces
    days: list[DayPieces]
    defects: list[Defect]
    characteristics: list[Characteristic]
    ccp: list[ControlPoint]
    """The newest."""
    ccp_counts: dict[str, int]
    """records, out (of their limits) and untold."""
    ccp_truncated: bool
    """There are more records than were counted."""
    deviations: list[ControlPoint]
    """The newest that were out of their limits."""


class PointSignal(Answer):
    """A rule that a point completes."""

    rule: str
    side: Literal["low", "high"] | None
    line: float
    points: int


class ChartPoint(Answer):
    """One plotted value with its limits."""

    at: str
    value: float
    size: float
    counted: int | None
    spread: float | None
    lower: float | None
    upper: float | None
    lot: str | None
    sample: str | None
    signals: list[PointSignal]


class ChartLimits(Answer):
    """What the points are held against, and where it comes from."""

    center: float
    sigma: float | None
    sigma_z: float
    source: Literal["frozen", "computed", "none"]
    points_used: int | None
    excluded: int
    ruleset: str | None
    version: str | None
    spread_center: float | None
    spread_lower: float | None
    spread_upper: float | None
    doubts: list[dict[str, str]]


class RuleCount(Answer):
    """How often a rule signalled, and what it says."""

    rule: str
    count: int
    text: dict[str, str]


class LineChart(Period):
    """A control chart of one line."""

    site: str
    work_unit: str
    kind: Literal["individuals", "xbar", "p"]
    points: list[ChartPoint]
    limits: ChartLimits | None
    no_limits: str | None
    rules: list[RuleCount]
    rule_set: str


class Capability(Answer):
    """Capability indices, each {value, low, high} with its 95 % interval; null where one needs what is not given."""

    values: int
    mean: float
    within: float
    overall: float
    cp: dict[str, float] | None
    cpk: dict[str, float]
    pp: dict[str, float] | None
    ppk: dict[str, float]
    cpm: dict[str, float] | None
    beyond: float
    normal_p: float | None
    warnings: list[str]
    low: float | None
    high: float | None


class CharacteristicChart(LineChart):
    """A control chart of what was measured."""

    characteristic: str
    product: str | None
    values: int
    truncated: bool
    specification: dict[str, float | None] | None
    capability: Capability | None
    no_capability: str | None


class Lot(Answer):
    """One lot of the list."""

    lot: str
    products: list[str]
    orders: list[str]
    site: str
    work_unit: str
    """One line that made it."""
    work_units: int
    """How many made it."""
    first: str
    last: str
    produced: int
    good: int
    scrap: int
    rework: int


class LotPage(Answer):
    """One page of lots, with the exact total."""

    items: list[Lot]
    page: int
    page_size: int
    total: int


class LotTrace(Answer):
    """The trace of one lot; rows as in the tables they come from."""

    as_of: str
    lot: str
    made: list[dict[str, Any]]
    characteristics: list[dict[str, Any]]
    measurements: list[dict[str, Any]]
    control_points: list[dict[str, Any]]
    ccp: list[ControlPoint]
    judgments: list[dict[str, Any]]
    versions: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    feedback: list[dict[str, Any]]
    people: list[dict[str, Any]]
    stops: list[dict[str, Any]]
    alarms: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    truncated: bool
    completeness: list[dict[str, Any]]
