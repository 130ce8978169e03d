"""What a judge sees: one window of one work unit, reduced per tag. The same type feeds the line, replay and back-tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Quality = Literal["good", "uncertain", "bad"]


class ProductionContext(Protocol):
    """What was being made; `sync.facts.Context` is one. None = not known."""

    @property
    def order(self) -> str | None: ...
    @property
    def product(self) -> str | None: ...
    @property
    def lot(self) -> str | None: ...
    @property
    def shift(self) -> str | None: ...
    @property
    def stale(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TagWindow:
    """One tag over the window. Statistics count good (and uncertain) values only; None = there was none.

    Text tags have `last` and `first` only; booleans and integers come as 0.0, 1.0, 2.0, …
    """

    name: str
    unit: str | None
    """UNECE code."""
    last: float | str | None
    """Newest usable value, also when it is older than the window: `age_ns` says how old."""
    first: float | str | None
    mean: float | None
    min: float | None
    max: float | None
    stddev: float | None
    """Of the window's values, divided by n; 0 for a single one."""
    count: int
    """Usable values within the window."""
    bad: int
    """Bad values within the window."""
    status: int
    """OPC UA StatusCode of the newest value, usable or not."""
    age_ns: int
    """Window end minus source time of the last usable value; huge when there never was one."""
    low: float | None
    high: float | None
    """Engineering range."""
    max_age_ns: int
    required: bool
    """The tag book says: without this no verdict."""

    @property
    def quality(self) -> Quality:
        """Severity of the status: its top two bits; the reserved 3 counts as bad."""
        return ("good", "uncertain", "bad", "bad")[(self.status >> 30) & 3]


class TagWindows(Mapping[str, TagWindow]):
    """The tags of one window, each made when it is first asked for: rules read a few of thousands."""

    __slots__ = ("_made", "_make", "_place", "required")

    def __init__(self, place: Mapping[str, int], required: tuple[str, ...], make: Callable[[int], TagWindow]) -> None:
        """place: name → what `make` is called with. required: names of the required tags, sorted."""
        self.required = required
        self._place, self._make = place, make
        self._made: dict[str, TagWindow] = {}

    def __getitem__(self, name: str) -> TagWindow:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(self._place[name])
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a work unit's life: [start, end) in ns since 1970 UTC, the machine's time."""

    work_unit: str
    start: int
    end: int
    tags: Mapping[str, TagWindow]
    state: str
    """PackML name in force at the end."""
    reason: str | None
    context: ProductionContext
    counts: Mapping[str, int]
    """Gains within the window: produced, good, scrap, rework, defect.<type>; a counter the line lacks is absent."""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the tags without which there is no verdict, sorted."""
        if isinstance(self.tags, TagWindows):
            return self.tags.required
        return tuple(sorted(name for name, tag in self.tags.items() if tag.required))
