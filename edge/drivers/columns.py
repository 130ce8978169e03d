"""From raw numbers to readings: scale, engineering range, plausible times. Columns in, columns out; no I/O.

Every driver ends here, so that a doubt is said in the same status whatever the protocol was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.tags import Tag
from sync.quality import BAD, BAD_OUT_OF_RANGE, UNCERTAIN, UNCERTAIN_UNITS_EXCEEDED
from sync.reading import Readings
from sync.timing import UNSET_BEFORE_NS

YEAR_2000_NS = 946_684_800 * 10**9
"""A gateway whose own clock is before this has not been set yet, and may not doubt a machine's."""
FUTURE_NS = 300 * 10**9
"""How far a machine's clock may be ahead of ours."""
EXACT = 2**53
"""Beyond this a float64 skips integers, so they travel in `Readings.other`."""


class TagColumns:
    """The tags of one connection as columns; a position is a tag's place in the connection's list."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self.tags = tuple(tags)
        specs = [tag.spec for tag in tags]
        self.index = np.fromiter((tag.index for tag in tags), np.int32, len(tags))
        self._scale = np.array([spec.scale for spec in specs])
        self._offset = np.array([spec.offset for spec in specs])
        self._scaled = bool(((self._scale != 1) | (self._offset != 0)).any())
        self._low = np.array([-np.inf if spec.low is None else spec.low for spec in specs])
        self._high = np.array([np.inf if spec.high is None else spec.high for spec in specs])

    def __len__(self) -> int:
        return len(self.tags)

    def readings(
        self,
        position: NDArray[np.intp],
        value: NDArray[np.float64],
        status: NDArray[np.uint32],
        *,
        source_time: NDArray[np.int64],
        server_time: NDArray[np.int64],
        received: int,
        other: dict[int, str | int] | None = None,
    ) -> Readings:
        """Build a batch from raw columns of one length n.

        value: as the machine gives it, NaN where there is none. source_time, server_time: ns since 1970 UTC, 0 where
        the machine gives none. other: row → text, or integer too long for a float64 (scaled it becomes a float).
        """
        if other and self._scaled:
            value = value.copy()
            other = {row: held for row, held in other.items() if not self._shorten(row, held, position, value)}
        if self._scaled:
            with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is bad, below
                value = value * self._scale[position] + self._offset[position]
        bad = (status & np.uint32(BAD)) != 0
        empty = ~np.isfinite(value)
        if other:
            other = {row: held for row, held in other.items() if not bad[row]}
            empty[list(other)] = False
        lost = empty & ~bad  # the machine says good and gives NaN or infinity: nothing anyone may calculate with
        outside = (value < self._low[position]) | (value > self._high[position])
        good = (status >> np.uint32(30)) == 0
        status = np.where(outside & good, (status & np.uint32(0xFFF)) | np.uint32(UNCERTAIN_UNITS_EXCEEDED), status)
        status = np.where(lost, np.uint32(BAD_OUT_OF_RANGE), status)
        value = np.where(bad | lost, np.nan, value)
        source_time, server_time, doubted = plausible(source_time, server_time, received)
        if doubted is not None:
            status = np.where(doubted & ((status >> np.uint32(30)) == 0), status | np.uint32(UNCERTAIN), status)
        return Readings(
            tag=self.index[position],
            value=value,
            status=status,
            source_time=source_time,
            server_time=server_time,
            received=received,
            other=other or None,
        )

    def _shorten(self, row: int, held: str | int, position: NDArray[np.intp], value: NDArray[np.float64]) -> bool:
        """Make a long integer of a scaled tag a float, which is what its unit needs; tell whether it was one."""
        place = position[row]
        if isinstance(held, str) or (self._scale[place] == 1 and self._offset[place] == 0):
            return False
        value[row] = float(held)
        return True

    def without_value(self, position: NDArray[np.intp], status: int | NDArray[np.uint32], received: int) -> Readings:
        """Build a batch that says only why there is no value."""
        n = len(position)
        return Readings(
            tag=self.index[position],
            value=np.full(n, np.nan),
            status=np.broadcast_to(np.asarray(status, np.uint32), n).copy(),
            source_time=np.full(n, received, np.int64),
            server_time=np.full(n, received, np.int64),
            received=received,
        )


def plausible(
    source_time: NDArray[np.int64], server_time: NDArray[np.int64], received: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_] | None]:
    """Give source and server times that can be believed, and which rows had a clock that cannot (None for none).

    0 means that the machine gave no time: the server's stands in, then ours. A clock before 2000 or more than five
    minutes ahead of ours is not believed: ours stands in and the value is in doubt.
    """
    limit = received + FUTURE_NS if received >= UNSET_BEFORE_NS else np.iinfo(np.int64).max
    wild = ((server_time < YEAR_2000_NS) | (server_time > limit)) & (server_time != 0)
    server_time = np.where(wild, 0, server_time)
    source_time = np.where(source_time == 0, server_time, source_time)
    doubted = ((source_time < YEAR_2000_NS) | (source_time > limit)) & (source_time != 0)
    source_time = np.where(doubted | (source_time == 0), received, source_time)
    server_time = np.where(server_time == 0, source_time, server_time)
    return source_time, server_time, doubted if doubted.any() else None
