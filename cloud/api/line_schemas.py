"""What the answer about one line over a period looks like, as OpenAPI tells it."""

from __future__ import annotations

from typing import Literal

from cloud.api.schemas import Answer, Line, OeeNow, TimelineSegment, Verdict


class Stop(Answer):
    """Time that was not production, by reason."""

    time_element: str
    reason: str
    duration_s: float
    stops: int


class DefectCount(Answer):
    """Pieces by defect type."""

    defect: str
    quantity: int


class HourOutput(Answer):
    """Pieces of one local clock hour; `planned` from the job orders."""

    start: str
    produced: int
    good: int
    scrap: int
    planned: int | None


class TrendPoint(Answer):
    """A tag's minute: good values reduced; count of the others."""

    at: str
    mean: float | None
    low: float | None
    high: float | None
    bad: int


class Trend(Answer):
    """A measurement by minute."""

    tag: str
    unit: str | None
    low: float | None
    high: float | None
    points: list[TrendPoint]


class ShiftPieces(Answer):
    """Pieces made, and planned where anything was."""

    produced: int
    good: int
    scrap: int
    rework: int
    planned: int | None


class LossStep(Answer):
    """One step of the way from the calendar to the time of good pieces; a loss takes `ms` away."""

    name: str
    kind: Literal["total", "loss"]
    ms: int


class Waterfall(Answer):
    """Where the time went; every total is the one before it less the losses between, to the millisecond."""

    start: str | None
    end: str | None
    steps: list[LossStep]
    reason: str | None
    """no_ideal_cycle: nothing below production time can be told."""


class Target(Answer):
    """What a figure should be, in its own unit."""

    target: float
    warning: float
    critical: float


class LineDetail(Answer):
    """One line over a period."""

    as_of: str
    start: str
    end: str
    line: Line
    timeline: list[TimelineSegment]
    hours: list[HourOutput]
    oee: OeeNow
    """Of the whole shifts that the period touches; so are pieces, waterfall, stops and defects."""
    pieces: ShiftPieces
    waterfall: Waterfall
    targets: dict[str, Target]
    """By metric; only those that somebody set."""
    stops: list[Stop]
    defects: list[DefectCount]
    decisions: dict[str, int]
    """How many verdicts of the period said what."""
    verdicts: list[Verdict]
    """The newest of them."""
    trends: list[Trend]
