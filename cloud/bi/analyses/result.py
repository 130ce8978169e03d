"""What an analysis gives: figures, what was found, a chart, and sentences that say nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Spec = dict[str, Any]
"""A Vega-Lite specification with its data; colours are names of the house's palette, `var(--run)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the answer's rows."""

    name: str
    kind: Literal["time", "dimension", "metric", "text"]
    title: Mapping[str, str]
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Where to look closer: what lies behind a figure."""

    title: Mapping[str, str]
    line: str | None = None
    """Work unit; its page and its verdicts over the period."""
    first: str = ""
    last: str = ""
    """Business dates, both included."""
    plan: Mapping[str, Any] | None = None
    """A closer plan to ask next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One analysis, answered."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    """JSON values in the order of the columns; None where there is no figure."""
    findings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What was found, by analysis; every number of the sentences is in here or in the rows."""
    chart: Spec | None = None
    sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """`ko` and `en`, the same sentences in the same order."""
    drill: tuple[Drill, ...] = ()
    refused: str | None = None
    """Code of the reason why there is no answer (not_enough_history, insufficient_data, worse_than_naive, …)."""
