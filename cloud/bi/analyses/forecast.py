"""Forecasts in numpy: five plain methods, tried on the past, and the best of them only if it beats repeating last week.

Every method gives a forecast from every origin (a number of points known), using nothing that came after it, so one pass
over the series is its back-test, too. A ratio is forecast by its numerator and its denominator, and divided last.

Sources: seasonal naive, SES and damped Holt-Winters as in R. J. Hyndman & G. Athanasopoulos, Forecasting: Principles and
Practice, 3rd ed. 2021, chapters 5 and 8; Theta as in V. Assimakopoulos & K. Nikolopoulos, Int. J. Forecasting 16, 2000;
MASE as in R. J. Hyndman & A. B. Koehler, Int. J. Forecasting 22, 2006; intervals by split conformal prediction on the
errors of the back-test (J. Lei et al., JASA 113, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Paths = dict[int, Floats]
"""Origin (points known) → forecast of the next `horizon` points."""

MIN_POINTS: Final = 7
"""Fewer are refused: a week of days, and the least from which one can hold anything back to try."""
MAX_POINTS: Final = 400
"""Older points are left out: a plant is not what it was a year ago, and the answer stays quick."""
MAX_ORIGINS: Final = 60
"""Newest origins of the back-test; 95 % needs 19 errors for each step, so that even 40 steps ahead have some."""
LEVELS: Final = (0.80, 0.95)
_ALPHAS: Final = np.concatenate([np.linspace(0.02, 0.98, 49), [1.0]])
_HOLT_WINTERS: Final = {
    "alpha": (0.05, 0.1, 0.2, 0.35, 0.6),
    "beta": (0.0, 0.05, 0.2),
    "gamma": (0.05, 0.15, 0.35),
    "phi": (0.8, 0.9, 0.98),
}
"""Trend damped by 0.8 to 0.98, the range that Hyndman & Athanasopoulos recommend."""


def seasonal_naive(y: Floats, season: int, horizon: int, origins: Sequence[int]) -> Paths:
    """Say that each step will be as the same step of the last season."""
    return {o: y[o - season + np.arange(horizon) % season] for o in origins}


def ses(y: Floats, season: int, horizon: int, origins: Sequence[int]) -> Paths:  # noqa: ARG001 - one shape for all
    """Say that all will be as the newest points, the older the less; how much less is fitted."""
    wanted, found = set(origins), dict[int, Floats]()
    for count, level, _ in _levels(y):
        if count in wanted:
            found[count] = np.full(horizon, level)
    return found


def _levels(y: Floats) -> list[tuple[int, float, float]]:
    """Give (points known, level, alpha) with the alpha of least squared error so far."""
    level, squares = np.full(len(_ALPHAS), y[0]), np.zeros(len(_ALPHAS))
    told = [(1, float(y[0]), float(_ALPHAS[0]))]
    for count, value in enumerate(y[1:], 2):
        error = value - level
        squares += error * error
        level = level + _ALPHAS * error
        best = int(np.argmin(squares))
        told.append((count, float(level[best]), float(_ALPHAS[best])))
    return told


def line(y: Floats, season: int, horizon: int, origins: Sequence[int]) -> Paths:
    """Draw the least-squares line on, with the season's shape."""
    found: Paths = {}
    for o in origins:
        shape = season_shape(y[:o], season)
        slope, start = fit_line(y[:o] - shape[np.arange(o) % season])
        ahead = o + np.arange(horizon)
        found[o] = start + slope * ahead + shape[ahead % season]
    return found


def theta(y: Floats, season: int, horizon: int, origins: Sequence[int]) -> Paths:
    """Take the mean of the line, and of SES on the series with its curvature doubled (theta = 0 and 2)."""
    found: Paths = {}
    for o in origins:
        shape = season_shape(y[:o], season)
        plain = y[:o] - shape[np.arange(o) % season]
        slope, start = fit_line(plain)
        straight = start + slope * np.arange(o)
        _, level, _ = _levels(2 * plain - straight)[-1]
        ahead = o + np.arange(horizon)
        found[o] = (level + start + slope * ahead) / 2 + shape[ahead % season]
    return found


def holt_winters(y: Floats, season: int, horizon: int, origins: Sequence[int]) -> Paths:
    """Follow level, damped trend and season; their speeds are picked by squared error so far among 135 sets."""
    grid = np.array(list(product(*_HOLT_WINTERS.values())))
    if season == 1:
        grid = grid[grid[:, 2] == _HOLT_WINTERS["gamma"][0]]
        grid[:, 2] = 0.0
    alpha, beta, gamma, phi = grid.T
    first = y[:season].mean()
    level = np.full(len(grid), first)
    trend = np.full(len(grid), (y[season : 2 * season].mean() - first) / season)
    shape = np.repeat((y[:season] - first)[:, None], len(grid), axis=1)
    squares = np.zeros(len(grid))
    steps = np.cumsum(phi[:, None] ** np.arange(1, horizon + 1), axis=1)
    wanted, found = set(origins), dict[int, Floats]()
    for t in range(season, len(y)):
        damped, place = phi * trend, t % season
        error = y[t] - (level + damped + shape[place])
        squares += error * error
        level = level + damped + alpha * error
        trend = damped + alpha * beta * error
        shape[place] = shape[place] + gamma * (1 - alpha) * error
        if t + 1 in wanted:
            best = int(np.argmin(squares))
            found[t + 1] = level[best] + steps[best] * trend[best] + shape[(t + 1 + np.arange(horizon)) % season, best]
    return found


Method = Callable[[Floats, int, int, Sequence[int]], Paths]
METHODS: Final[dict[str, Method]] = {
    "seasonal_naive": seasonal_naive,
    "ses": ses,
    "line": line,
    "theta": theta,
    "holt_winters": holt_winters,
}
"""The simpler first: of two that do equally well it is taken."""


def fit_line(y: Floats) -> tuple[float, float]:
    """Give slope and start of the least-squares line over the points 0, 1, 2 and so on."""
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = float(x @ y / max(float(x @ x), 1.0))
    return slope, float(y.mean()) - slope * (len(y) - 1) / 2


def r_squared(y: Floats) -> float | None:
    """Give how much of the variation the line explains; None where nothing varies."""
    slope, start = fit_line(y)
    whole = float(((y - y.mean()) ** 2).sum())
    return None if whole <= 0 else 1 - float(((y - start - slope * np.arange(len(y))) ** 2).sum()) / whole


def season_shape(y: Floats, season: int) -> Floats:
    """Give what each step of the season adds, zero on the whole: mean distance from the centred moving average."""
    if season == 1 or len(y) < 2 * season:
        return np.zeros(season)
    weights = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    smooth = np.convolve(y, weights / season, mode="valid")
    start = len(weights) // 2
    apart = y[start : start + len(smooth)] - smooth
    phase = (start + np.arange(len(smooth))) % season
    shape = np.array([apart[phase == p].mean() for p in range(season)])
    return shape - shape.mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How a method did on the past."""

    mase: float
    """Mean absolute error in units of that of repeating the last season within what was known; below 1 is better."""
    error: float
    """Mean absolute error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is to be expected, how sure that is, and how all methods did."""

    method: str
    values: tuple[float | None, ...]
    reach: Mapping[float, tuple[float | None, ...]]
    """Level → half width by step; None where the back-test is too short for that level."""
    tried: dict[str, Tried]
    origins: int
    season: int
    beaten: bool
    """False: nothing beat seasonal naive, and `values` are its."""
    coverage: dict[float, tuple[int, int]]
    """Level → (hits, tries): how often the next point fell within the interval that the errors before it gave."""


def forecast(numerator: Sequence[float], denominator: Sequence[float] | None, *, season: int, horizon: int) -> Forecast:
    """Forecast a series, or a ratio of two. At least MIN_POINTS points, and two seasons. ValueError with fewer."""
    top = np.asarray(numerator, dtype=np.float64)[-MAX_POINTS:]
    bottom = None if denominator is None else np.asarray(denominator, dtype=np.float64)[-MAX_POINTS:]
    n = len(top)
    if n < max(MIN_POINTS, 2 * season):
        raise ValueError(f"{n} points; at least {max(MIN_POINTS, 2 * season)} are needed")
    actual = _divide(top, bottom)
    first = max(2 * season, 4, n - MAX_ORIGINS)
    origins = range(first, n + 1) if first < n else range(n - 1, n + 1)
    paths: dict[str, Paths] = {}
    for name, method in METHODS.items():
        tops = method(top, season, horizon, origins)
        bottoms = None if bottom is None else method(bottom, season, horizon, origins)
        paths[name] = {o: _divide(tops[o], None if bottoms is None else bottoms[o]) for o in origins}
    errors = {name: _errors(actual, found, origins, horizon) for name, found in paths.items()}
    tried = {name: _tried(actual, each, origins, season) for name, each in errors.items()}
    naive = tried["seasonal_naive"]
    known = actual[np.isfinite(actual)]
    flat = not len(known) or float(known.max() - known.min()) <= 1e-12 * max(1.0, abs(float(known.mean())))
    best = min(tried, key=lambda name: (round(tried[name].mase, 9), list(METHODS).index(name)))
    name = "constant" if flat else best
    beaten = flat or (best != "seasonal_naive" and tried[best].mase < naive.mase)
    last = paths[best][n]
    widths, coverage = _reach(errors[best])
    if flat:  # nothing has ever moved: no error to learn a width from
        widths = dict.fromkeys(LEVELS, (0.0,) * horizon)
    return Forecast(
        method=name,
        values=tuple(None if math.isnan(value) else float(value) for value in last),
        reach=widths,
        tried=tried,
        origins=len(origins) - 1,
        season=season,
        beaten=beaten,
        coverage=coverage,
    )


def _divide(top: Floats, bottom: Floats | None) -> Floats:
    if bottom is None:
        return top
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def _errors(actual: Floats, paths: Paths, origins: Sequence[int], horizon: int) -> Floats:
    """Give |error| by origin and step; NaN where the future is not known, or had no figure."""
    found = np.full((len(origins) - 1, horizon), np.nan)
    for row, o in enumerate(origins[:-1]):
        known = min(horizon, len(actual) - o)
        found[row, :known] = np.abs(actual[o : o + known] - paths[o][:known])
    return found


def _tried(actual: Floats, errors: Floats, origins: Sequence[int], season: int) -> Tried:
    apart = np.abs(actual[season:] - actual[:-season])
    whole = float(np.nanmean(apart)) if np.isfinite(apart).any() else 0.0
    scaled: list[float] = []
    for row, o in enumerate(origins[:-1]):
        known = errors[row][np.isfinite(errors[row])]
        if not len(known):
            continue
        before = apart[: o - season]
        scale = float(np.nanmean(before)) if np.isfinite(before).any() else 0.0
        scale = scale if scale > 1e-9 * whole else whole
        mean = float(known.mean())
        # A series that never changed is its own forecast: no error is 0, any error is infinitely worse.
        scaled.append(mean / scale if scale > 0 else (math.inf if mean > 1e-12 * abs(float(actual[0])) else 0.0))
    error = float(np.nanmean(errors)) if np.isfinite(errors).any() else math.inf
    return Tried(mase=sum(scaled) / len(scaled) if scaled else math.inf, error=error)


def _reach(errors: Floats) -> tuple[dict[float, tuple[float | None, ...]], dict[float, tuple[int, int]]]:
    """Give half widths: the smallest error that at least ceil((k + 1) level) of k errors do not exceed, never narrower later."""
    reach: dict[float, tuple[float | None, ...]] = {}
    coverage: dict[float, tuple[int, int]] = {}
    for level in LEVELS:
        widths: list[float | None] = []
        widest = 0.0
        for step in range(errors.shape[1]):
            width = conformal(errors[:, step], level)
            if width is not None:
                widest = width = max(widest, width)
            widths.append(width)
        reach[level] = tuple(widths)
        hits = tries = 0
        for row in range(len(errors)):
            before = conformal(errors[:row, 0], level)
            if before is not None and math.isfinite(errors[row, 0]):
                tries += 1
                hits += bool(errors[row, 0] <= before)
        coverage[level] = (hits, tries)
    return reach, coverage


def conformal(errors: Floats, level: float) -> float | None:
    """Give the error that a new one stays within at this level, if it is like the others; None with too few."""
    known = np.sort(errors[np.isfinite(errors)])
    place = math.ceil((len(known) + 1) * level - 1e-9)
    return float(known[place - 1]) if 0 < place <= len(known) else None
