"""Thresholds of drift, from the training data itself: how large a PSI its own stretches reach.

Rows of one shift resemble each other, so a stretch of n rows of sound production is never like n rows drawn from all
of it, and a fixed PSI of 0.25 would alarm every day. Stretches of n rows that follow each other on one line are drawn
(block resampling), two in a row as the alarm asks for them, and the threshold is what they exceed only as often as the
plant accepts. Run when a package is built; the numbers travel in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.drift import CRITICAL, Histogram, binned, psi

SIZES: Final = (200, 500, 1_000)
MONTH_S: Final = 30 * 24 * 3600
MARGIN: Final = 1.1
"""On the largest ever seen, where there are too few stretches to know the share that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What thresholds are to hold."""

    spacing_s: float
    alarms_per_month: float
    """Of the whole model, on one line that runs all month."""
    draws: int = 4_000
    sizes: Sequence[int] = SIZES


def calibrated(
    known: Mapping[str, Histogram],
    columns: Mapping[str, NDArray[np.float64]],
    runs: NDArray[np.int64],
    plan: Plan,
    chance: np.random.Generator,
) -> dict[str, Histogram]:
    """Give the histograms with thresholds.

    columns: name → (rows,), in time order within a run. runs: (rows,), which run (line and simulation) a row is of:
    a stretch never reaches over two. Sizes that no run is twice as long as get no threshold.
    """
    found = {name: dict[str, float]() for name in known}
    for size in plan.sizes:
        starts = _starts(runs, 2 * size)
        if not len(starts):
            continue
        drawn = starts[chance.integers(0, len(starts), plan.draws)]
        table = np.array([[_both(known[name], columns[name], int(at), size) for name in known] for at in drawn])
        # Each feature gets its part of the alarms that are allowed (Bonferroni): a restless one spoils no other's.
        share = plan.alarms_per_month * size * plan.spacing_s / MONTH_S / len(known)
        for i, name in enumerate(known):
            few = share * plan.draws < 1
            limit = float(table[:, i].max()) * MARGIN if few else float(np.quantile(table[:, i], 1 - share))
            found[name][str(size)] = round(max(CRITICAL, limit), 3)
    return {name: msgspec.structs.replace(one, thresholds=found[name]) for name, one in known.items()}


def _both(known: Histogram, column: NDArray[np.float64], at: int, size: int) -> float:
    """Give the PSI that two stretches in a row both reach."""
    return min(psi(known.counts, binned(column[start : start + size], known.edges)) for start in (at, at + size))


def _starts(runs: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Give the rows from which on `length` rows are all of one run."""
    if len(runs) < length:
        return np.empty(0, np.int64)
    same = runs[: len(runs) - length + 1] == runs[length - 1 :]
    return np.flatnonzero(same)
