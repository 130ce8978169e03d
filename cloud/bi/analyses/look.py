"""What an analysis may ask for: tables of figures and what their names mean; nothing else of the world."""

from __future__ import annotations

from typing import Literal, Protocol

from cloud.bi.semantic.plan import Against, Filter, Grain, Period
from cloud.bi.semantic.table import Table

Kind = Literal["sum", "ratio", "stock", "distinct"]
"""sum: adds up over everything; ratio: of two sums; stock: adds up over places, and the last counts over time;
distinct: how many different ones."""
Better = Literal["higher", "lower"]


class Named(Protocol):
    """What people call something, in both languages."""

    @property
    def title(self) -> dict[str, str]:
        """Give `ko` and `en`."""
        ...


class MetricLike(Named, Protocol):
    """A metric of the catalogue, as far as analyses need it."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def unit(self) -> str:
        """Give `1` for ratios, else pieces, h, Wh, d, …: how `value` is measured."""
        ...

    @property
    def better(self) -> Better | None: ...


class Target(Protocol):
    """What a figure should be; in the metric's unit."""

    @property
    def target(self) -> float: ...
    @property
    def warning(self) -> float: ...
    @property
    def critical(self) -> float: ...


class Look(Protocol):
    """One reader's view of the marts at one moment: every table of one analysis comes from one snapshot."""

    @property
    def now_ms(self) -> int: ...

    def table(
        self,
        metrics: tuple[str, ...],
        *,
        period: Period,
        dimensions: tuple[str, ...] = (),
        filters: tuple[Filter, ...] = (),
        grain: Grain | None = None,
        limit: int = 10_000,
    ) -> Table:
        """Give figures. Raises PlanError for what the catalogue or the scope does not know."""
        ...

    def dated(self, period: Period) -> Period:
        """Give the business dates that a period's word means now, at the first site within the scope."""
        ...

    def against(self, period: Period, against: Against | Period) -> Period:
        """Give the dated period that another is held against."""
        ...

    def metric(self, name: str) -> MetricLike: ...

    def dimension(self, name: str) -> Named: ...

    def label(self, dimension: str, value: str) -> dict[str, str]:
        """Give the name of a dimension's value in both languages; the code itself where nobody named it."""
        ...

    def target(self, metric: str, line: str | None = None, site: str | None = None) -> Target | None:
        """Give the target in force, of one line or of one site; None where nobody set one."""
        ...

    def common(self, metric: str) -> Target | None:
        """Give the target in force at every site; None where sites differ."""
        ...
