"""What a query gives: rows of sums, and figures made of them last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of one row."""

    value: float | None
    """In the metric's unit; ratios 0 to 1. None where there is no figure, and `reason` says why."""
    numerator: float
    denominator: float | None = None
    """None for a plain sum. value = numerator / denominator, times what the metric's unit needs."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group: where and when, and what it comes to."""

    start_ms: int | None = None
    """Begin of the grain's step, UTC; None without a grain."""
    label: str = ""
    """The step as people name it: 2026-11-23, 2026-11-23 A, 2026-W48, 2026-11; empty without a grain."""
    keys: tuple[str, ...] = ()
    """Values of the dimensions, in the order of the query; empty text for none."""
    cells: tuple[Cell, ...]
    """In the order of the query's metrics."""
    sums: Mapping[str, int] = field(default_factory=dict[str, int])
    """The additive measures behind the cells, by measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How current a table is."""

    as_of_ms: int
    """When it was read."""
    data_at_ms: int | None
    """The oldest newest datum of the lines within, ms; None where a line has none."""
    pending_buckets: int
    """Buckets within that still wait to be recomputed."""
    silent: tuple[str, ...] = ()
    """Gateways within that are offline: what they have recorded since is not in here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows in order of time, then of keys."""

    metrics: tuple[str, ...]
    dimensions: tuple[str, ...]
    rows: tuple[Row, ...]
    period_ms: tuple[int, int]
    """[start, end) of the shift instances or hours that were summed."""
    dates: tuple[str, str]
    """First and last business date, both included."""
    freshness: Freshness
    mart: tuple[str, ...]
    """Which marts answered."""
    truncated: bool = False
    """More rows than the limit exist."""
