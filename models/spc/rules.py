"""The rules that say when a chart signals: Nelson's eight and the four of Western Electric.

Nelson, L. S. (1984), "The Shewhart Control Chart: Tests for Special Causes", Journal of Quality Technology 16(4), 237-239;
Western Electric Company (1956), Statistical Quality Control Handbook, pp. 25-28. Both look at the newest points of a series
in units of σ from the centre line, at most fifteen of them; that is all that has to be remembered.

A point on a line is not beyond it, a point on the centre is on no side, and equal neighbours are no trend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

Side = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that the newest point completes."""

    rule: str
    """nelson_2, we_4, …"""
    back: tuple[int, ...]
    """The points that make it up, as steps back from the newest (0), the oldest first."""
    side: Side | None
    """Of the centre line; for a trend, where it goes; None when both sides are meant."""


Test = Callable[[Sequence[float]], tuple[tuple[int, ...], Side | None] | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: how many points it looks at, the line it is about in σ, and what it says."""

    name: str
    span: int
    line: float
    """Distance from the centre of the line that points are held against, in σ; 0 = the centre itself."""
    ko: str
    en: str
    test: Test
    zones: bool = True
    """Whether only the zone of each point matters, not its exact place: such rules have an exact average run length."""


def _beyond(points: int, of: int, line: float) -> Test:
    """Make the test for `points` out of the newest `of` beyond the line on one side, the newest among them."""

    def test(z: Sequence[float]) -> tuple[tuple[int, ...], Side | None] | None:
        newest = z[-1]
        if not abs(newest) > line:
            return None
        sign = 1.0 if newest > 0 else -1.0
        last = len(z) - 1
        back = [last - i for i in range(max(0, len(z) - of), len(z)) if sign * z[i] > line]
        return (tuple(back), "high" if sign > 0 else "low") if len(back) >= points else None

    return test


def _trend(points: int) -> Test:
    def test(z: Sequence[float]) -> tuple[tuple[int, ...], Side | None] | None:
        if len(z) < points or z[-1] == z[-2]:
            return None
        up = z[-1] > z[-2]
        for i in range(len(z) - 2, len(z) - points, -1):  # the newest first: most series end early
            if z[i] == z[i - 1] or (z[i] > z[i - 1]) != up:
                return None
        return _run(points), "high" if up else "low"

    return test


def _alternating(points: int) -> Test:
    def test(z: Sequence[float]) -> tuple[tuple[int, ...], Side | None] | None:
        if len(z) < points or z[-1] == z[-2]:
            return None
        up = z[-1] > z[-2]
        for i in range(len(z) - 2, len(z) - points, -1):
            if z[i] == z[i - 1] or (z[i] > z[i - 1]) == up:
                return None
            up = not up
        return _run(points), None

    return test


def _all(points: int, holds: Callable[[float], bool]) -> Test:
    def test(z: Sequence[float]) -> tuple[tuple[int, ...], Side | None] | None:
        if len(z) < points or not holds(z[-1]):
            return None
        return (_run(points), None) if all(map(holds, z[len(z) - points :])) else None

    return test


def _run(points: int) -> tuple[int, ...]:
    return tuple(range(points - 1, -1, -1))


RULES: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule("nelson_1", 1, 3, "한 점이 3σ 한계를 벗어남", "one point beyond 3 σ", _beyond(1, 1, 3)),
        Rule("nelson_2", 9, 0, "중심선 한쪽에 9점 연속", "nine points in a row on one side of the centre", _beyond(9, 9, 0)),
        Rule("nelson_3", 6, 0, "6점이 계속 상승 또는 하강", "six points in a row rising or falling", _trend(6), zones=False),
        Rule("nelson_4", 14, 0, "14점이 번갈아 오르내림", "fourteen points in a row up and down in turn", _alternating(14), zones=False),
        Rule("nelson_5", 3, 2, "3점 중 2점이 같은 쪽 2σ 밖", "two of three points beyond 2 σ on one side", _beyond(2, 3, 2)),
        Rule("nelson_6", 5, 1, "5점 중 4점이 같은 쪽 1σ 밖", "four of five points beyond 1 σ on one side", _beyond(4, 5, 1)),
        Rule("nelson_7", 15, 1, "15점 연속 1σ 안", "fifteen points in a row within 1 σ", _all(15, lambda z: abs(z) < 1)),
        Rule("nelson_8", 8, 1, "8점 연속 1σ 밖(양쪽)", "eight points in a row beyond 1 σ on either side", _all(8, lambda z: abs(z) > 1)),
        Rule("we_1", 1, 3, "한 점이 3σ 한계를 벗어남", "one point beyond 3 σ", _beyond(1, 1, 3)),
        Rule("we_2", 3, 2, "3점 중 2점이 같은 쪽 2σ 밖", "two of three points beyond 2 σ on one side", _beyond(2, 3, 2)),
        Rule("we_3", 5, 1, "5점 중 4점이 같은 쪽 1σ 밖", "four of five points beyond 1 σ on one side", _beyond(4, 5, 1)),
        Rule("we_4", 8, 0, "중심선 한쪽에 8점 연속", "eight points in a row on one side of the centre", _beyond(8, 8, 0)),
    )
}  # fmt: skip

NELSON: Final = tuple(name for name in RULES if name.startswith("nelson"))
WESTERN_ELECTRIC: Final = tuple(name for name in RULES if name.startswith("we"))
USUAL: Final = ("nelson_1", "nelson_2", "nelson_5", "nelson_6")
"""On unless a chart says otherwise: all eight together alarm often (`run_length` says how often)."""


@lru_cache(maxsize=1024)
def span(rules: tuple[str, ...]) -> int:
    """Give how many points, the newest included, the rules look at; 1 for none."""
    return max((RULES[name].span for name in rules), default=1)


def fired(rules: Iterable[str], z: Sequence[float]) -> list[Fired]:
    """Give the rules that the newest point completes, in the order asked.

    z: the newest points in σ from the centre, the oldest first; more than `span(rules)` of them change nothing.
    """
    found: list[Fired] = []
    if z:
        for name in rules:
            result = RULES[name].test(z)
            if result is not None:
                found.append(Fired(name, *result))
    return found


def signals(rules: Sequence[str], z: Sequence[float]) -> dict[int, list[Fired]]:
    """Give position → the rules that its point completes, for a whole series."""
    reach = span(tuple(rules))
    each = {i: fired(rules, z[max(0, i + 1 - reach) : i + 1]) for i in range(len(z))}
    return {i: found for i, found in each.items() if found}
