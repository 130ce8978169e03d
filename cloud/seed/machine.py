"""What a machine was measured at over an hour: the temperature and vibration of its main bearing, every ten minutes.

Both rise for hours before it breaks down, so that the story in the stops can be found in the readings as well.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Final

import numpy as np

from cloud.seed import catalogue
from cloud.seed.shift import HOUR_MS, MINUTE_MS, Shift
from sync import facts as f
from sync.reading import Readings

EVERY_MS: Final = 10 * MINUTE_MS
WARNS_MS: Final = 4 * HOUR_MS
NS: Final = 1_000_000

_TAGS: Final = (("bearing_temperature", "CEL", 0.0, 120.0), ("bearing_vibration", "C16", 0.0, 20.0))


def dictionary(lines: Sequence[str], at_ms: int) -> f.TagDictionary:
    """Give the tags of these lines, two each, in the order that `hour` numbers them."""
    entries = [
        f.TagEntry(id=f"{line}/{name}", unit=unit, low=low, high=high)
        for line in lines
        for name, unit, low, high in _TAGS
    ]
    version = hashlib.sha256("\n".join(entry.id for entry in entries).encode()).hexdigest()[:16]
    return f.TagDictionary(at=at_ms * NS, version=version, tags=entries)


def hour(seed: int, start_ms: int, shifts: Sequence[Sequence[Shift]]) -> Readings:
    """Give an hour's readings. shifts: of every line, those that overlap the hour."""
    chance = random.Random(f"{seed}/{start_ms}/machine")
    rows: list[tuple[int, float, int]] = []
    for place, lived in enumerate(shifts):
        warm = catalogue.kind_of(place).warm
        for at in range(start_ms + EVERY_MS // 2, start_ms + HOUR_MS, EVERY_MS):
            near = _nearness(at, lived)
            running = any(s.start_ms < at <= s.end_ms and s.state == "EXECUTE" for one in lived for s in one.spells)
            day = math.sin(at / (24 * HOUR_MS) * 2 * math.pi)
            heat = warm + 1.5 * day + 14 * near - (0 if running else 4) + chance.gauss(0, 0.4)
            shake = (2.1 if running else 0.3) + 3.5 * near + abs(chance.gauss(0, 0.12))
            rows += [(2 * place, round(heat, 2), at), (2 * place + 1, round(shake, 3), at)]
    rows.sort(key=lambda row: row[2])
    times = np.array([at for _, _, at in rows], np.int64) * NS
    return Readings(
        tag=np.array([tag for tag, _, _ in rows], np.int32),
        value=np.array([value for _, value, _ in rows]),
        status=np.zeros(len(rows), np.uint32),
        source_time=times,
        server_time=times,
        received=int(times[-1]),
    )


def _nearness(at: int, lived: Sequence[Shift]) -> float:
    """Give 0 to 1: how near the next breakdown of these shifts is."""
    ahead = [s.start_ms - at for one in lived for s in one.spells if s.reason == "breakdown" and s.start_ms >= at]
    return max(0.0, 1 - min(ahead) / WARNS_MS) if ahead else 0.0
