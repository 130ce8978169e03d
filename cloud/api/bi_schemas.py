"""What questions of figures are answered with, as OpenAPI tells it. Bodies go out as bytes made once."""

from __future__ import annotations

from typing import Any, Literal

from cloud.api.schemas import Answer
from cloud.bi.analyses.look import Better, Kind

Text = dict[Literal["ko", "en"], str]


class Fresh(Answer):
    """How current an answer is."""

    data_at: str | None
    """The oldest newest datum of the lines within; null where a line has none."""
    pending_buckets: int
    """Buckets of the period that wait to be recomputed."""
    silent: list[str]
    """Gateways that are offline: what they recorded since is not in here."""


class Definition(Answer):
    """What a figure means: the same hash, the same meaning."""

    title: Text
    unit: str
    formula: Text
    kind: Kind
    better: Better | None
    version: int
    hash: str
    source: str


class Dates(Answer):
    """Business dates, both included; of one shift where a code stands."""

    first: str
    last: str
    shift: str | None


class Column(Answer):
    """A column of the rows."""

    name: str
    kind: Literal["time", "dimension", "metric", "text"]
    title: Text
    unit: str


class Drill(Answer):
    """Where to look closer."""

    title: Text
    line: str | None
    first: str
    last: str
    plan: dict[str, Any] | None


class Asked(Answer):
    """An answer: rows, what was found in them, a chart, and sentences that say nothing else."""

    as_of: str
    from_cache: bool
    cached_at: str | None
    freshness: Fresh
    analysis: str
    plan: dict[str, Any]
    """The plan that was answered, metrics by their own names."""
    plan_hash: str
    period: Dates
    definitions: dict[str, Definition]
    columns: list[Column]
    rows: list[list[Any]]
    """In the order of the columns; null where there is no figure."""
    findings: dict[str, Any]
    chart: dict[str, Any] | None
    """A Vega-Lite specification with its data."""
    sentences: dict[Literal["ko", "en"], list[str]]
    drill: list[Drill]
    refused: str | None
    """Why there is no answer."""
    truncated: bool
    marts: list[str]


class MetricEntry(Definition):
    """A metric of the catalogue."""

    id: str
    description: Text
    synonyms: dict[Literal["ko", "en"], list[str]]
    also: list[str]
    """Other names it can be asked by."""
    numerator: list[str]
    denominator: list[str]
    """Measures that are summed, and divided last; empty for a plain sum."""
    dimensions: list[str]
    """What it can be split by."""
    grains: list[str]


class DimensionEntry(Answer):
    """A dimension of the catalogue."""

    id: str
    title: Text
    synonyms: dict[Literal["ko", "en"], list[str]]


class Catalogue(Answer):
    """Everything that can be asked for."""

    tenant: str
    version: str
    """Changes when any definition does."""
    metrics: list[MetricEntry]
    dimensions: list[DimensionEntry]
    analyses: list[str]
    periods: list[str]
    grains: list[str]
    against: list[str]


class ValueEntry(Answer):
    """A value of a dimension."""

    value: str
    title: Text


class Values(Answer):
    """Values to choose from."""

    dimension: str
    items: list[ValueEntry]


class MetricUsed(Answer):
    """A metric of a plan."""

    id: str
    kind: Kind
    hash: str


class MartUsed(Answer):
    """One mart's share, and why it is this mart."""

    mart: str
    metrics: list[str]
    grouped_by: list[str]
    measures: list[str]
    why: str
    sql: str
    """Values are bound where `?` stands."""


class Explained(Answer):
    """How a plan's figures are read."""

    plan: dict[str, Any]
    metrics: list[MetricUsed]
    marts: list[MartUsed]
    sites: list[str]
    lines: list[str] | None
    """null: every line of the sites."""
    dates: dict[str, list[str]]
