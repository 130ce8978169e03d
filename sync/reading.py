"""Readings: a batch of values as columns, from the driver to the chunk without an object per point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scalar = float | int | bool | str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """A batch of tag values of one source, in the order they arrived.

    All columns have one length n. A value that is no float64 (text, an integer beyond 2**53) stands in `other` at
    its position and is NaN in `value`; a bad value is NaN with its reason in `status`, never a substitute.
    """

    tag: NDArray[np.int32]
    """Index into the tag table of the gateway (`edge.tags.TagTable`)."""
    value: NDArray[np.float64]
    """Scaled to the tag's engineering unit; booleans and states are 0, 1, 2, …; NaN where there is none."""
    status: NDArray[np.uint32]
    """OPC UA StatusCode (`sync.quality`)."""
    source_time: NDArray[np.int64]
    """The machine's own time where it has one, else `received`; ns since 1970 UTC."""
    server_time: NDArray[np.int64]
    """The server's time where it gives one, else `source_time`; ns since 1970 UTC."""
    received: int
    """Gateway wall clock when the batch arrived; ns since 1970 UTC."""
    other: dict[int, str | int] | None = None
    """Position → value that does not fit a float64."""
    historical: bool = False
    """Taken from a machine's own history after an outage: recorded, but not judged, because its time is over."""

    def __len__(self) -> int:
        return len(self.tag)

    def scalar(self, position: int) -> Scalar:
        """Give one value as Python sees it; None when there is none."""
        if self.other is not None and position in self.other:
            return self.other[position]
        number = float(self.value[position])
        return None if np.isnan(number) else number

    def __iter__(self) -> Iterator[tuple[int, Scalar, int, int]]:
        """Give (tag, value, status, source_time) one by one: for tests and small batches, not for the hot path."""
        for i in range(len(self.tag)):
            yield int(self.tag[i]), self.scalar(i), int(self.status[i]), int(self.source_time[i])

    def take(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Readings:
        """Give the rows that a mask or an index array names, in order."""
        index = np.flatnonzero(keep) if keep.dtype == np.bool_ else keep
        other = None
        if self.other:
            place = {int(old): new for new, old in enumerate(index)}
            other = {place[old]: value for old, value in self.other.items() if old in place} or None
        return Readings(
            tag=self.tag[index],
            value=self.value[index],
            status=self.status[index],
            source_time=self.source_time[index],
            server_time=self.server_time[index],
            received=self.received,
            other=other,
            historical=self.historical,
        )


def readings(rows: list[tuple[int, Scalar, int, int]], *, received: int, server_time: int | None = None) -> Readings:
    """Build a batch from (tag, value, status, source_time) rows: for slow sources and tests."""
    n = len(rows)
    value = np.full(n, np.nan)
    other: dict[int, str | int] = {}
    for i, (_, scalar, _, _) in enumerate(rows):
        if isinstance(scalar, str) or (
            isinstance(scalar, int) and not isinstance(scalar, bool) and abs(scalar) > 2**53
        ):
            other[i] = scalar
        elif scalar is not None:
            value[i] = float(scalar)
    source = np.fromiter((row[3] for row in rows), np.int64, n)
    return Readings(
        tag=np.fromiter((row[0] for row in rows), np.int32, n),
        value=value,
        status=np.fromiter((row[2] for row in rows), np.uint32, n),
        source_time=source,
        server_time=source if server_time is None else np.full(n, server_time, np.int64),
        received=received,
        other=other or None,
    )


def concatenate(batches: list[Readings]) -> Readings:
    """Join batches in order; `received` is that of the last. Live and historical ones are never joined: ValueError."""
    if len(batches) == 1:
        return batches[0]
    if len({batch.historical for batch in batches}) > 1:
        raise ValueError(
            "live and historical readings in one batch: what was judged could not be told from what was not"
        )
    other: dict[int, str | int] = {}
    offset = 0
    for batch in batches:
        if batch.other:
            other.update({offset + i: v for i, v in batch.other.items()})
        offset += len(batch)
    return Readings(
        tag=np.concatenate([b.tag for b in batches]),
        value=np.concatenate([b.value for b in batches]),
        status=np.concatenate([b.status for b in batches]),
        source_time=np.concatenate([b.source_time for b in batches]),
        server_time=np.concatenate([b.server_time for b in batches]),
        received=batches[-1].received,
        other=other or None,
        historical=batches[-1].historical,
    )
