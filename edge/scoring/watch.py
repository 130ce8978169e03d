"""Drift on the line: the rolling window of one model on one work unit, what it told last, and when it tells again."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from models.drift import Drift, Level, Reference
from models.drift_window import Window
from sync.judgment import DriftMeasured

log = logging.getLogger(__name__)

HOUR_NS: Final = 3600 * 10**9
KEEP_NS: Final = 600 * 10**9
"""How often the samples go into the checkpoint, at least; so much is lost by a crash."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """The checkpoint `drift:<work unit>`."""

    sha256: str
    window: bytes
    level: Level = "ok"
    told: int = 0


class Watch:
    """Drift of one package on one line. `take` with every window judged; `look` now and then."""

    def __init__(self, reference: Reference, sha256: str, *, least: int | None = None, most: int | None = None) -> None:
        """least, most: samples of a window, the usual ones if left out."""
        self._sizes = {key: n for key, n in (("least", least), ("most", most)) if n is not None}
        self._reference, self._sha256 = reference, sha256
        self._window = Window(reference, **self._sizes)
        self.level: Level = "ok"
        """As the last full windows came out: two in a row make an alarm."""
        self.last: Drift | None = None
        """What was measured last."""
        self._told = 0
        self._kept = 0

    @property
    def samples(self) -> int:
        """Samples in the window now."""
        return self._window.samples

    def take(
        self, at: int, features: dict[str, float | None], outside: list[str], outputs: dict[str, float] | None
    ) -> None:
        """Take one window's features and, where there was an answer, its outputs. at: its end, ns."""
        self._window.take(at, features, outside=outside, outputs=outputs)

    async def look(self, now: int) -> tuple[Drift | None, bool]:
        """Measure when it is due (a window full, an hour gone); gives what is to be told, and whether the level changed.

        now: wall clock, ns. The arithmetic runs in a thread on a copy: 256 features take tens of milliseconds.
        """
        if self._window.ready:
            # Samples of the few milliseconds in between are not in the next window; a window has a thousand.
            window = self._copy()
            drift = await asyncio.to_thread(window.close)
            self._window = window
            if drift is not None:
                changed, self.level, self.last = drift.level != self.level, drift.level, drift
                if changed:
                    self._told = now
                    return drift, True
        if not self._told <= now < self._told + HOUR_NS:  # also when the clock was set back
            drift = await asyncio.to_thread(self._copy().peek)
            self._told = now
            if drift is not None:
                self.last = drift
                return drift, False
        return None, False

    def due(self, now: int) -> bool:
        """Tell whether the samples should go into the checkpoint again. now: monotonic, ns."""
        if now - self._kept < KEEP_NS:
            return False
        self._kept = now
        return True

    def _copy(self) -> Window:
        window = Window(self._reference, **self._sizes)
        window.restore(self._window.dump())
        return window

    def dump(self) -> bytes:
        """Give the state, for the checkpoint."""
        return msgspec.msgpack.encode(Kept(self._sha256, self._window.dump(), self.level, self._told))

    def restore(self, state: bytes) -> None:
        """Go on from a checkpoint, if it is this package's and whole; begin anew if not."""
        try:
            kept = msgspec.msgpack.decode(state, type=Kept)
            if kept.sha256 == self._sha256:
                self._window.restore(kept.window)
                self.level, self._told = kept.level, kept.told
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("drift begins anew: package=%s why=%s", self._sha256[:12], error)


def measured(drift: Drift, *, at: int, work_unit: str, model: str, version: str, sha256: str) -> DriftMeasured:
    """Give the fact that tells a measurement."""
    return DriftMeasured(
        at=at,
        work_unit=work_unit,
        model=model,
        version=version,
        sha256=sha256,
        start=drift.start,
        samples=drift.samples,
        level=drift.level,
        psi=_round(drift.psi),
        ks_p=_round(drift.ks_p),
        missing=_round(drift.missing),
        out_of_range=_round(drift.out_of_range),
        shift=_round(drift.shift),
        alarmed=list(drift.alarmed),
    )


def _round(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in values.items()}
