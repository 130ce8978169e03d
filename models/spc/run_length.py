"""How often a chart alarms when nothing is wrong: its average run length (ARL), the mean number of points to the first signal.

For rules that only ask for zones the series of zones is a Markov chain and the ARL exact: Champ, C. W. & Woodall, W. H. (1987),
"Exact Results for Shewhart Control Charts with Supplementary Runs Rules", Technometrics 29(4), 393-399. Trends and alternation
(Nelson 3 and 4) depend on the exact values; sets with them are simulated, always with the same seed. CUSUM: Brook, D. & Evans,
D. A. (1972), "An approach to the probability distribution of cusum run length", Biometrika 59, 539-549, here as the integral
equation of which theirs is the discrete form; EWMA: Crowder, S. V. (1987), "A simple method for studying run-length
distributions of EWMA charts", Technometrics 29, 401-407.

Independent normal points with known centre and σ; with estimated limits or correlated points the truth is worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from models.spc.constants import below, range_limits, s_limits
from models.spc.distributions import chi_square_below
from models.spc.rules import RULES

SERIES: Final = 20_000
"""Simulated series: the ARL then has a standard error of about 0.7 %."""
LONGEST: Final = 20_000
SEED: Final = 1984


@dataclass(frozen=True, slots=True)
class RunLength:
    """An average run length in points."""

    arl: float
    error: float
    """Standard error of a simulated one; 0 = computed."""

    @property
    def rate(self) -> float:
        """Share of points that give a false alarm while all is well (until the first)."""
        return 1 / self.arl


def shewhart(rules: Sequence[str], shift: float = 0.0, *, moving_range: bool = False) -> RunLength:
    """Give the ARL of a set of rules when the mean lies `shift` σ from the centre. ValueError without rules.

    moving_range: with the limit of the moving range beside the rules; then it is simulated.
    """
    if not rules and not moving_range:
        raise ValueError("no rules: such a chart never signals")
    if not moving_range and all(RULES[name].zones for name in rules):
        return RunLength(_chain(tuple(rules), shift), 0.0)
    return simulated(rules, shift, moving_range=moving_range)


def spread_rate(size: int) -> float:
    """Give the share of subgroups whose s lies beyond B5 σ or B6 σ though σ is the old one: exact, by chi-square."""
    lower, _, upper = s_limits(size, 1.0)
    degrees = size - 1
    return chi_square_below(degrees * lower**2, degrees) + 1 - chi_square_below(degrees * upper**2, degrees)


# --- exact: a chain of zones

_CUTS: Final = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
_PLACES: Final = (-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5)
"""One value for each zone."""

State = tuple[tuple[int, ...], ...]
_NOTHING: tuple[int, ...] = ()


def _chain(rules: tuple[str, ...], shift: float) -> float:
    """Walk all states that can be reached, and solve (I - Q) m = 1."""
    edges = [0.0, *[below(cut - shift) for cut in _CUTS], 1.0]
    chances = [edges[i + 1] - edges[i] for i in range(len(_PLACES))]
    trackers = [_tracker(name) for name in rules]
    start: State = tuple(_NOTHING for _ in trackers)
    order: dict[State, int] = {start: 0}
    queue = [start]
    moves: list[tuple[int, int, float]] = []
    for state in queue:
        for place, chance in zip(_PLACES, chances, strict=True):
            after = tuple(step(place, memory) for step, memory in zip(trackers, state, strict=True))
            known = [memory for memory in after if memory is not None]
            if len(known) < len(after):
                continue  # a signal
            following: State = tuple(known)
            if following not in order:
                order[following] = len(order)
                queue.append(following)
            moves.append((order[state], order[following], chance))
    matrix = np.eye(len(order))
    for source, target, chance in moves:
        matrix[source, target] -= chance
    return float(np.linalg.solve(matrix, np.ones(len(order)))[0])


Tracker = Callable[[float, tuple[int, ...]], tuple[int, ...] | None]


def _tracker(name: str) -> Tracker:
    """Make the smallest memory of one rule: zone and what it held → what it holds now, None at a signal.

    The memory of "m of n beyond" is the ages of the last points beyond on either side, that of a run its length. The rules
    themselves (`rules.RULES`) decide; the memory only stands for the points that matter to them.
    """
    rule = RULES[name]
    if name in {"nelson_7", "nelson_8"}:
        inside = name == "nelson_7"

        def run(place: float, memory: tuple[int, ...]) -> tuple[int, ...] | None:
            length = (memory[0] if memory else 0) + 1 if (abs(place) < rule.line) == inside else 0
            return None if length >= rule.span else (length,)

        return run

    def beyond(place: float, memory: tuple[int, ...]) -> tuple[int, ...] | None:
        # The newest `span` points as signs, the oldest first; 0 = not beyond the line. A point beyond on the one side
        # cannot count for the other, and where every point must count, all before a break is forgotten.
        sign = 0 if abs(place) <= rule.line else 1 if place > 0 else -1
        points = (*memory, sign)[-rule.span :]
        values = [s * (rule.line + 0.5) for s in points]
        if rule.test(values) is not None:
            return None
        kept = points[-(rule.span - 1) :] if rule.span > 1 else ()
        return _trimmed(kept, rule.span, _needed(name))

    return beyond


def _needed(name: str) -> int:
    """Give how many of a rule's points must lie beyond its line."""
    return {"nelson_5": 2, "we_2": 2, "nelson_6": 4, "we_3": 4}.get(name, RULES[name].span)


def _trimmed(points: tuple[int, ...], span: int, needed: int) -> tuple[int, ...]:
    """Forget what cannot become part of a signal any more, so that equal futures are equal states.

    A point beyond on one side matters while enough places remain: those after it that are not beyond on its side may number
    at most span - needed.
    """
    kept = list(points)
    for i, sign in enumerate(points):
        if sign and sum(other != sign for other in points[i + 1 :]) > span - needed:
            kept[i] = 0
    while kept and kept[0] == 0:
        del kept[0]
    return tuple(kept)


# --- simulated


def simulated(rules: Sequence[str], shift: float = 0.0, *, moving_range: bool = False) -> RunLength:
    """Give the ARL by running many series at once until each has signalled: for sets with Nelson 3 or 4, and as a check."""
    draw = np.random.default_rng(SEED)
    reach = max([2, *(RULES[name].span for name in rules)])
    widest = range_limits(2, 1.0)[2] if moving_range else np.inf
    history: NDArray[np.float64] = np.full((SERIES, reach), np.nan)
    total, square, step = 0.0, 0.0, 0
    while len(history) and step < LONGEST:
        step += 1
        history = np.concatenate([history[:, 1:], draw.standard_normal((len(history), 1)) + shift], axis=1)
        alarm = np.zeros(len(history), dtype=bool)
        for name in rules:
            alarm |= _columns(name, history)
        alarm |= np.abs(history[:, -1] - history[:, -2]) > widest
        number = int(alarm.sum())
        total += number * step
        square += number * step * step
        if number:
            history = history[~alarm]
    total += len(history) * step
    square += len(history) * step * step
    mean = total / SERIES
    return RunLength(mean, float(np.sqrt((square / SERIES - mean**2) / SERIES)))


def _columns(name: str, history: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say for every series whether its newest points complete a rule; points that never were are NaN and count for nothing."""
    rule = RULES[name]
    z = history[:, -rule.span :]
    with np.errstate(invalid="ignore"):
        match name:
            case "nelson_3":
                steps = np.diff(z, axis=1)
                return _each(steps > 0) | _each(steps < 0)
            case "nelson_4":
                steps = np.sign(np.diff(z, axis=1))
                return _each(steps[:, 1:] * steps[:, :-1] < 0)
            case "nelson_7":
                return _each(np.abs(z) < rule.line)
            case "nelson_8":
                return _each(np.abs(z) > rule.line)
            case _:
                needed = _needed(name)
                high, low = z > rule.line, z < -rule.line
                return ((high.sum(axis=1) >= needed) & high[:, -1]) | ((low.sum(axis=1) >= needed) & low[:, -1])


def _each(holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say for every row whether all of it holds."""
    return cast("NDArray[np.bool_]", holds.all(axis=1))


# --- EWMA and CUSUM: integral equations on Gauss-Legendre points


@lru_cache(maxsize=8)
def _nodes(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(points)


def _gauss(low: float, high: float, points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, w = _nodes(points)
    half = (high - low) / 2
    return (x + 1) * half + low, w * half


def _density(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def ewma(weight: float, width: float, *, steady: bool = False, shift: float = 0.0) -> RunLength:
    """Give the ARL of an EWMA chart (λ, L), with its limits in time, or the steady ones from the first point on."""
    reach = width * np.sqrt(weight / (2 - weight))
    points = 100
    x, w = _gauss(-reach, reach, points)

    def kernel(start: NDArray[Any], end: NDArray[Any]) -> NDArray[np.float64]:
        return _density((end[None, :] - (1 - weight) * start[:, None]) / weight - shift) / weight

    lengths = np.linalg.solve(np.eye(points) - kernel(x, x) * w, np.ones(points))
    if steady:
        return RunLength(float(1 + (kernel(np.zeros(1), x) * w @ lengths)[0]), 0.0)
    # Narrower limits at first: step back from where they are as good as steady.
    last = int(np.ceil(np.log(1e-9) / (2 * np.log1p(-weight)))) if weight < 1 else 1
    for step in range(last, -1, -1):
        limit = reach * np.sqrt(1 - (1 - weight) ** (2 * step)) if step else 0.0
        grid, weights = _gauss(-limit, limit, points) if step else (np.zeros(1), np.zeros(1))
        lengths = 1 + kernel(grid, x) * w @ lengths
        x, w = grid, weights
    return RunLength(float(lengths[0]), 0.0)


def cusum(k: float, h: float, *, head_start: float = 0.0, shift: float = 0.0) -> RunLength:
    """Give the ARL of a two-sided tabular CUSUM; k, h and the head start in σ.

    1/ARL = 1/ARL⁺ + 1/ARL⁻ (Kemp 1961) without a head start; with one, by the renewal form of Lucas & Crosier (1982).
    """
    up, up_zero = _one_side(k - shift, h, head_start)
    down, down_zero = _one_side(k + shift, h, head_start)
    # Until the first signal of one side, the other side's sum has come to zero or nearly so.
    length = (up * down_zero + down * up_zero - up_zero * down_zero) / (up_zero + down_zero)
    return RunLength(length, 0.0)


def _one_side(k: float, h: float, start: float) -> tuple[float, float]:
    """Give the ARL of one sum from `start`, and from zero."""
    points = 120
    x, w = _gauss(0.0, h, points)
    matrix = np.empty((points + 1, points + 1))
    froms = np.concatenate([[0.0], x])
    matrix[:, 0] = [below(k - s) for s in froms]  # back to zero
    matrix[:, 1:] = _density(x[None, :] - froms[:, None] + k) * w
    lengths = np.linalg.solve(np.eye(points + 1) - matrix, np.ones(points + 1))
    row = np.concatenate([[below(k - start)], _density(x - start + k) * w])
    return float(1 + row @ lengths), float(lengths[0])
