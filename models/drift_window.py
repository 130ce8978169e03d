"""The rolling window of drift on the line: what a model was asked of late, bounded, and kept over a restart.

Samples are taken at the reference's spacing, since thresholds were calibrated for rows so far apart. `peek` tells how
things stand (for the hourly summary); `close` ends the window and counts: an alarm is two closed windows in a row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.drift import (
    CRITICAL,
    MISSING_CRITICAL,
    MISSING_WARNING,
    Drift,
    Histogram,
    Level,
    Reference,
    binned,
    ks_p_of,
    level_of,
    psi,
    worst,
)

LEAST: Final = 200
MOST: Final = 1_000
LONGEST_NS: Final = 24 * 3600 * 1_000_000_000
OUTPUT: Final = "output:"
_NEVER: Final = -(2**62)


class _State(msgspec.Struct, frozen=True):
    """A dumped window: native byte order would tie it to the machine, so it is little-endian."""

    names: tuple[str, ...]
    times: bytes
    values: bytes
    outside: bytes
    last: int
    before: dict[str, str]


class Window:
    """Features and outputs of the last judgments of one model on one line."""

    def __init__(self, reference: Reference, *, least: int = LEAST, most: int = MOST) -> None:
        """Take least: samples from which on anything is said. most: samples kept; a window is full with them."""
        self.reference: Final = reference
        self._known: Final[dict[str, Histogram]] = reference.features | {
            OUTPUT + name: known for name, known in reference.outputs.items()
        }
        self._names: Final = tuple(self._known)
        self._least, self._most = least, most
        self._spacing: Final = round(reference.spacing_s * 1e9)
        self._values = np.full((most, len(self._names)), math.nan)
        self._outside = np.zeros((most, len(self._names)), np.bool_)
        self._times = np.zeros(most, np.int64)
        self._count = 0
        self._last = _NEVER
        self._before: dict[str, Level] = {}

    @property
    def samples(self) -> int:
        """Samples in the window."""
        return self._count

    @property
    def ready(self) -> bool:
        """Whether it is time for `close`: the window is full, or a day long with enough in it."""
        if self._count >= self._most:
            return True
        return self._count >= self._least and int(self._times[self._count - 1] - self._times[0]) >= LONGEST_NS

    def take(
        self,
        at: int,
        named: Mapping[str, float | None],
        *,
        outside: Collection[str] = (),
        outputs: Mapping[str, float] | None = None,
    ) -> bool:
        """Take one judgment; False when it comes within the spacing of the last one taken, or before it.

        at: end of the judged window, ns. named, outside: of its `Vector`, unless it was not_applicable. outputs: of the
        answer; None when there was none. Of a full window the oldest sample makes room.
        """
        if at < self._last + self._spacing or at <= self._last:
            return False
        if self._count == self._most:
            for column in (self._values, self._outside, self._times):
                column[:-1] = column[1:].copy()
            self._count -= 1
        row = self._count
        told = outputs or {}
        for i, name in enumerate(self._names):
            value = told.get(name[len(OUTPUT) :]) if name.startswith(OUTPUT) else named.get(name)
            self._values[row, i] = math.nan if value is None else value
            self._outside[row, i] = name in outside
        self._times[row] = self._last = at
        self._count += 1
        return True

    def peek(self) -> Drift | None:
        """Tell how things stand; None with too few samples. Changes nothing."""
        return self._measured() if self._count >= self._least else None

    def close(self) -> Drift | None:
        """Tell how the window came out, count it for the alarm, and begin the next; None with too few samples."""
        measured = self.peek()
        if measured is not None:
            self._before = measured.levels
            self._count = 0
        return measured

    def dump(self) -> bytes:
        """Give the whole state, for the checkpoint: 8 bytes per value, so 60 kB for a full window of 7 numbers."""
        n = self._count
        state = _State(
            self._names,
            self._times[:n].astype("<i8").tobytes(),
            self._values[:n].astype("<f8").tobytes(),
            self._outside[:n].tobytes(),
            self._last,
            dict(self._before),
        )
        return msgspec.msgpack.encode(state)

    def restore(self, dumped: bytes) -> None:
        """Take a state back. Raises ValueError when it is damaged, or of another model: then begin anew."""
        try:
            state = msgspec.msgpack.decode(dumped, type=_State)
        except msgspec.DecodeError as error:
            raise ValueError(f"a damaged drift window: {error}") from error
        times = np.frombuffer(state.times, "<i8")
        width = len(self._names)
        if state.names != self._names or len(state.values) != len(times) * width * 8:
            raise ValueError("a drift window of another model")
        if len(state.outside) != len(times) * width:
            raise ValueError("a damaged drift window: columns of different length")
        keep = min(len(times), self._most)
        if keep:
            self._times[:keep] = times[-keep:]
            self._values[:keep] = np.frombuffer(state.values, "<f8").reshape(-1, width)[-keep:]
            self._outside[:keep] = np.frombuffer(state.outside, np.bool_).reshape(-1, width)[-keep:]
        self._count, self._last = keep, state.last
        self._before = cast("dict[str, Level]", {k: v for k, v in state.before.items() if v in {"warning", "critical"}})

    def _measured(self) -> Drift:
        n = self._count
        found: dict[str, dict[str, float]] = {
            what: {} for what in ("psi", "limits", "ks_p", "missing", "out_of_range", "shift")
        }
        levels: dict[str, Level] = {}
        for i, (name, known) in enumerate(self._known.items()):
            values: NDArray[np.float64] = self._values[:n, i]
            present = values[np.isfinite(values)]
            found["psi"][name] = psi(known.counts, binned(values, known.edges))
            found["limits"][name] = max(CRITICAL, known.threshold(n))
            found["ks_p"][name] = ks_p_of(known, values)
            found["missing"][name] = 1 - len(present) / n
            found["out_of_range"][name] = float(self._outside[:n, i].mean())
            if len(present):
                found["shift"][name] = float(present.mean()) - known.mean
            level = worst(
                {
                    "psi": level_of(found["psi"][name], found["limits"][name]),
                    "missing": _more(found["missing"][name] - known.missing),
                    "outside": _more(found["out_of_range"][name] - known.outside),
                }
            )
            if level != "ok":
                levels[name] = level
        alarmed = tuple(name for name in levels if name in self._before)
        return Drift(
            start=int(self._times[0]),
            end=int(self._times[n - 1]),
            samples=n,
            # An alarm is as grave as the milder of its two windows.
            level=worst({name: _milder(levels[name], self._before[name]) for name in alarmed}),
            levels=levels,
            alarmed=alarmed,
            psi=found["psi"],
            limits=found["limits"],
            ks_p=found["ks_p"],
            missing=found["missing"],
            out_of_range=found["out_of_range"],
            shift=found["shift"],
        )


def _more(share: float) -> Level:
    return "critical" if share > MISSING_CRITICAL else "warning" if share > MISSING_WARNING else "ok"


def _milder(one: Level, other: Level) -> Level:
    return "critical" if one == other == "critical" else "warning"
