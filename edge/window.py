"""Tumbling windows over the readings of one work unit, in columns: no object per reading.

Time is the readings' own (`source_time`); what comes late counts in the window that is open. A value stays valid
while its connection lives; after that it ages: uncertain past max_age, bad past three times that, never re-stamped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.tags import Tag
from models.window import TagWindow, TagWindows
from sync import quality
from sync.reading import Readings

NEVER: Final = -(2**62)
"""Time of a value that never came."""


def rounds(tag: NDArray[np.int32]) -> Iterator[NDArray[np.intp]]:
    """Give index arrays that visit each row once, in order per tag, with every tag at most once in each."""
    if len(tag) == 0:
        return
    if int(np.bincount(tag).max()) == 1:
        yield np.arange(len(tag))
        return
    order = np.argsort(tag, kind="stable")
    grouped = tag[order]
    begins = np.flatnonzero(np.diff(grouped, prepend=-1))
    nth = np.arange(len(tag)) - np.repeat(begins, np.diff(np.append(begins, len(tag))))
    for n in range(int(nth.max()) + 1):
        yield order[nth == n]


class TagColumns:
    """The last value of every tag of one work unit, and what its open window gathered so far; local tag index."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self.tags = tuple(tags)
        n = len(self.tags)
        self._low = np.array([-np.inf if t.spec.low is None else t.spec.low for t in tags])
        self._high = np.array([np.inf if t.spec.high is None else t.spec.high for t in tags])
        self._deadband = np.array([t.spec.deadband for t in tags])
        self._max_age = np.array([round(t.spec.max_age_s * 1e9) for t in tags], np.int64)
        self.value = np.full(n, np.nan)
        self.status = np.full(n, quality.BAD_WAITING_FOR_INITIAL_DATA, np.uint32)
        self.time = np.full(n, NEVER, np.int64)
        self.text: dict[int, str | int] = {}
        self._kept_value = np.full(n, np.nan)
        self._kept_status = np.full(n, 0xFFFF_FFFF, np.uint32)
        self._kept_time = np.full(n, NEVER, np.int64)
        self._sums = np.zeros((7, n))
        self._place = {tag.spec.name: i for i, tag in enumerate(self.tags)}
        self._required = tuple(sorted(tag.spec.name for tag in self.tags if tag.spec.required))
        self._open()

    def _open(self) -> None:
        self._count, self._bad, self._anchor, self._s1, self._s2, self._min, self._max = self._sums
        self._min[:] = np.inf
        self._max[:] = -np.inf

    def judge_range(self, tag: NDArray[np.int32], batch: Readings) -> NDArray[np.uint32]:
        """Give the statuses of a batch, good ones outside the engineering range made uncertain."""
        with np.errstate(invalid="ignore"):
            outside = (batch.value < self._low[tag]) | (batch.value > self._high[tag])
        outside &= batch.status == quality.GOOD
        if not outside.any():
            return batch.status
        return np.where(outside, np.uint32(quality.UNCERTAIN_UNITS_EXCEEDED), batch.status)

    def add(self, tag: NDArray[np.int32], batch: Readings, status: NDArray[np.uint32]) -> None:
        """Take the rows of a batch into the open window; `tag` is the local index, each at most once."""
        good = ~quality.is_bad(status)
        self.status[tag] = status
        self.value[tag] = np.where(good, batch.value, np.nan)
        self.time[tag] = batch.source_time
        if batch.other:
            for i, value in batch.other.items():
                self.text[int(tag[i])] = value
        self._bad[tag[~good]] += 1
        numbers = good & np.isfinite(batch.value)
        at, value = tag[numbers], batch.value[numbers]
        fresh = self._count[at] == 0
        self._anchor[at[fresh]] = value[fresh]
        off = value - self._anchor[at]
        self._count[at] += 1
        self._s1[at] += off
        self._s2[at] += off * off
        self._min[at] = np.minimum(self._min[at], value)
        self._max[at] = np.maximum(self._max[at], value)

    def changed(
        self, tag: NDArray[np.int32], batch: Readings, status: NDArray[np.uint32], heartbeat_ns: int
    ) -> NDArray[np.bool_]:
        """Tell which rows (each tag at most once) are worth recording: beyond the deadband, new status, or a heartbeat."""
        with np.errstate(invalid="ignore"):
            moved = ~(np.abs(batch.value - self._kept_value[tag]) <= self._deadband[tag])
        moved &= ~(np.isnan(batch.value) & np.isnan(self._kept_value[tag]))
        keep = moved | (status != self._kept_status[tag]) | (batch.source_time - self._kept_time[tag] >= heartbeat_ns)
        if batch.other:
            for i, value in batch.other.items():
                keep[i] |= self.text.get(int(tag[i])) != value
        at = tag[keep]
        self._kept_value[at] = batch.value[keep]
        self._kept_status[at] = status[keep]
        self._kept_time[at] = batch.source_time[keep]
        return keep

    def record_anew(self) -> None:
        """Let the next value of every tag be recorded even if it equals the last one: between them was an outage."""
        self._kept_status[:] = 0xFFFF_FFFF

    def close(self, end: int, alive_until: int) -> TagWindows:
        """Give every tag's window and open the next one.

        end: end of the window, ns. alive_until: until when the connection is known to have lived, ns.
        """
        sums = self._sums  # those of the window just closed are now its own
        self._sums = np.zeros_like(sums)
        self._open()
        return self._reduced(end, alive_until, sums)

    def look(self, end: int, alive_until: int) -> TagWindows:
        """Give every tag's window as it stands at `end`, and leave it open."""
        return self._reduced(end, alive_until, self._sums.copy())

    def _reduced(self, end: int, alive_until: int, sums: NDArray[np.float64]) -> TagWindows:
        never = self.time == NEVER
        age = end - np.maximum(self.time, np.where(never, NEVER, min(alive_until, end)))
        status = self.status.copy()
        aging = np.flatnonzero((age > self._max_age) & ~never & ~quality.is_bad(status))
        if len(aging):
            dead = age[aging] > 3 * self._max_age[aging]
            status[aging] = np.where(dead, quality.BAD_NO_COMMUNICATION, quality.UNCERTAIN_LAST_USABLE_VALUE)
        closed = _Closed(self.tags, self.value.copy(), status, age, sums, dict(self.text))
        return TagWindows(self._place, self._required, closed.tag_window)

    def dump(self) -> list[bytes | dict[int, str | int]]:
        """Give the whole state as bytes, for the checkpoint."""
        return [
            self.value.tobytes(), self.status.tobytes(), self.time.tobytes(), self._kept_value.tobytes(),
            self._kept_status.tobytes(), self._kept_time.tobytes(), self._sums.tobytes(), dict(self.text),
        ]  # fmt: skip

    def restore(self, state: Sequence[bytes | dict[int, str | int]]) -> None:
        """Take a state back. Raises ValueError when it is of another number of tags."""
        value, status, time, kept_value, kept_status, kept_time, sums, text = state
        columns = [
            (self.value, value), (self.status, status), (self.time, time), (self._kept_value, kept_value),
            (self._kept_status, kept_status), (self._kept_time, kept_time), (self._sums.reshape(-1), sums),
        ]  # fmt: skip
        if not isinstance(text, dict):
            raise ValueError("a checkpoint of another shape")  # noqa: TRY004 - the caller handles one kind
        for column, raw in columns:
            if not isinstance(raw, bytes) or len(raw) != column.nbytes:
                raise ValueError("a checkpoint of another number of tags")
        for column, raw in columns:
            if isinstance(raw, bytes):
                column[:] = np.frombuffer(raw, column.dtype)
        self.text = {int(k): v for k, v in text.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Closed:
    """The columns of a window that is over, for as long as somebody holds it."""

    tags: tuple[Tag, ...]
    value: NDArray[np.float64]
    status: NDArray[np.uint32]
    """At the end of the window: of a value that aged, its age's."""
    age: NDArray[np.int64]
    sums: NDArray[np.float64]
    text: dict[int, str | int]

    def tag_window(self, i: int) -> TagWindow:
        """Give one tag of the window."""
        spec = self.tags[i].spec
        status, age, number = int(self.status[i]), int(self.age[i]), float(self.value[i])
        usable = not status & quality.BAD
        last: float | str | None = None if np.isnan(number) else number
        if i in self.text and spec.type == "string":
            last = str(self.text[i])
        count, bad, anchor, s1, s2, least, most = self.sums[:, i].tolist()
        mean = stddev = low = high = first = None
        if count:
            off = s1 / count
            mean, stddev = anchor + off, math.sqrt(max(0.0, s2 / count - off * off))
            first, low, high = anchor, least, most
        elif isinstance(last, float) and usable:
            first, mean, low, high, stddev = last, last, last, last, 0.0
        return TagWindow(
            name=spec.name,
            unit=spec.unit,
            last=last if usable else None,
            first=first,
            mean=mean,
            min=low,
            max=high,
            stddev=stddev,
            count=int(count),
            bad=int(bad),
            status=status,
            age_ns=min(age, 2**62),
            low=spec.low,
            high=spec.high,
            max_age_ns=round(spec.max_age_s * 1e9),
            required=spec.required,
        )
