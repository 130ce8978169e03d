"""What one connection with a history has seen and what it missed, as it must be on disk together with the readings. Pure.

Per tag: the newest source time that was taken (`seen`), and holes, each strictly between two values that were taken
live. Both are dumped into one checkpoint with every commit, so that after a power cut they say exactly what the
readings on disk say: nothing is asked for twice and nothing is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.drivers.driver import Missing
from edge.tags import Tag
from sync import quality
from sync.reading import Readings

MOST: Final = 16
"""Holes that may wait to be filled; of more outages the oldest is given up and declared."""
UNKNOWN: Final = 0
"""In `until`: no value came live since."""


@dataclass(slots=True)
class Stretch:
    """Time that could not be filled, for some tags of one work unit and one reason."""

    start: int
    end: int
    tags: set[int] = field(default_factory=set[int])


@dataclass(slots=True, eq=False)
class Hole:
    """One outage: what is still missing of it, and what is already known never to come."""

    opened: int
    """Wall clock of the return, ns."""
    reason: str
    position: NDArray[np.int32]
    """Tags (place in the connection's list) that had values before."""
    begin: NDArray[np.int64]
    """Newest source time before, ns."""
    since: NDArray[np.int64]
    """The same; moves up as history comes in."""
    until: NDArray[np.int64]
    """First source time after, ns; UNKNOWN before it comes."""
    done: NDArray[np.bool_]
    readings: dict[str, int] = field(default_factory=dict[str, int])
    """Work unit → how many came from history."""
    lost: dict[tuple[str, str], Stretch] = field(default_factory=dict[tuple[str, str], Stretch])
    """(work unit, why) → what could not be filled."""
    started: int = 0
    """When the machine's own server was started, ns; 0 when not known."""
    alive: int = 0
    """Newest source time before that start, ns."""

    def ready(self) -> NDArray[np.bool_]:
        """Tell which tags can be asked for."""
        return ~self.done & (self.until != UNKNOWN)


class Holes:
    """Of one connection's tags; positions are places in `tags`."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self.tags = tuple(tags)
        n = len(self.tags)
        self.seen = np.zeros(n, np.int64)
        """Newest source time taken, ns; 0 before the first."""
        self.open: list[Hole] = []
        self._base = self.seen.copy()
        self._fresh = np.zeros(n, np.bool_)
        self._place = np.full(max((tag.index for tag in tags), default=0) + 1, -1, np.intp)
        self._place[[tag.index for tag in self.tags]] = np.arange(n)

    def came_back(self, now: int, reason: str) -> bool:
        """Open a hole for every tag that had a value and has no open one; tells whether there is any."""
        self._fresh[:] = True
        had = self.seen > 0
        for hole in self.open:
            had[hole.position[~hole.done & (hole.until == UNKNOWN)]] = False  # its hole is still open
        position = np.flatnonzero(had).astype(np.int32)
        if len(position):
            since = self.seen[position]
            self.open.append(
                Hole(
                    opened=now, reason=reason, position=position, begin=since.copy(), since=since.copy(),
                    until=np.zeros(len(position), np.int64), done=np.zeros(len(position), np.bool_),
                )
            )  # fmt: skip
        return bool(self.open)

    def place(self, tag: NDArray[np.int32]) -> NDArray[np.intp]:
        """Give the positions of tags by index."""
        return self._place[tag]

    def observe(self, batch: Readings) -> NDArray[np.bool_]:
        """Take live readings: they close holes from above. Gives which rows were taken before the outage already.

        A server that is asked anew says its present values first, with the times at which they came about.
        """
        place = self._place[batch.tag]
        dated = batch.source_time != batch.received  # a time of our own closes nothing
        repeated = np.zeros(len(batch), np.bool_)
        for row in np.flatnonzero(self._fresh[place] & dated).tolist() if self._fresh.any() else ():
            position, at = int(place[row]), int(batch.source_time[row])
            if not self._fresh[position]:
                continue
            self._fresh[position] = False
            repeated[row] = at == self.seen[position] and not int(batch.status[row]) & quality.BAD
            for hole in self.open:
                here = np.flatnonzero((hole.position == position) & (hole.until == UNKNOWN) & ~hole.done)
                hole.until[here] = max(at, int(self.seen[position]))
                hole.done[here] = at <= self.seen[position]  # it has not changed since: nothing can be missing
                if len(here) and at < self.seen[position]:
                    went_back = "its source time went back"
                    self.lose(hole, [Missing(int(batch.tag[row]), int(self.seen[position]), batch.received, went_back)])
        np.maximum.at(self.seen, place[dated], batch.source_time[dated])
        return repeated

    def took(self, hole: Hole, batch: Readings) -> None:
        """Take historical readings of a hole: it shrinks."""
        place = self._place[batch.tag]
        at = np.searchsorted(hole.position, place)
        np.maximum.at(hole.since, at, batch.source_time)
        before = batch.source_time[batch.source_time < hole.started]
        hole.alive = max(hole.alive, int(before.max(initial=0)))
        for position, count in zip(*np.unique(place, return_counts=True), strict=True):
            work_unit = self.tags[position].work_unit
            hole.readings[work_unit] = hole.readings.get(work_unit, 0) + int(count)

    def finish(self, hole: Hole, tags: Iterable[int]) -> None:
        """Note that nothing more is to come of these tags (index)."""
        place = self._place[np.fromiter(tags, np.int64)]
        hole.done[np.searchsorted(hole.position, place)] = True

    def lose(self, hole: Hole, missing: Iterable[Missing]) -> None:
        """Note what could not be filled."""
        for one in missing:
            if one.start < one.end:
                tag = self.tags[self._place[one.tag]]
                stretch = hole.lost.setdefault((tag.work_unit, one.why), Stretch(one.start, one.end))
                stretch.start, stretch.end = min(stretch.start, one.start), max(stretch.end, one.end)
                stretch.tags.add(one.tag)

    def give_up(self, hole: Hole, why: str, now: int) -> None:
        """Declare all that is still missing of a hole."""
        rest = np.flatnonzero(~hole.done)
        ends = np.where(hole.until == UNKNOWN, np.maximum(now, hole.since), hole.until)
        self.lose(
            hole, [Missing(self.tags[hole.position[i]].index, int(hole.since[i]), int(ends[i]), why) for i in rest]
        )
        hole.done[:] = True

    def close(self, hole: Hole) -> None:
        """Take a hole out that is done; what the server's own standstill cost is booked first."""
        if hole.started:
            for work_unit in dict.fromkeys(self.tags[i].work_unit for i in hole.position):
                tags = {self.tags[i].index for i in hole.position if self.tags[i].work_unit == work_unit}
                hole.lost[work_unit, "the machine's server was not running"] = Stretch(hole.alive, hole.started, tags)
        self.open.remove(hole)

    def note_start(self, hole: Hole, started: int) -> None:
        """Take the time at which the machine's server was started, if that was during the hole."""
        newest = int(hole.begin.max())
        if not hole.started and newest < started <= max(hole.opened, int(hole.until.max())):
            hole.started, hole.alive = started, newest

    def rebase(self) -> bytes:
        """Give the names of the tags and what was seen of them, for a checkpoint that is written now and then.

        From here on `dump` gives only what is different: most tags of most machines hardly ever change.
        """
        self._base = self.seen.copy()
        return msgspec.msgpack.encode([[tag.id for tag in self.tags], self._base.tobytes()])

    def dump(self) -> bytes:
        """Give everything that is not in the base, for the checkpoint that goes with each commit."""
        newer = np.flatnonzero(self.seen != self._base).astype(np.int32)
        holes = [_dumped(hole) for hole in self.open]
        return msgspec.msgpack.encode([newer.tobytes(), self.seen[newer].tobytes(), holes])

    def restore(self, base: bytes, state: bytes) -> None:
        """Take a state back, also one of other tags: those that are still there keep theirs. Raises ValueError."""
        try:
            names, then = msgspec.msgpack.decode(base, type=tuple[list[str], bytes])
            newer, times, holes = msgspec.msgpack.decode(state, type=tuple[bytes, bytes, list[_Dumped]])
            seen = np.frombuffer(then, np.int64).copy()
            seen[np.frombuffer(newer, np.int32)] = np.frombuffer(times, np.int64)
            known = {tag.id: place for place, tag in enumerate(self.tags)}
            now = np.array([known.get(name, -1) for name in names], np.intp)
            there = now >= 0
            self.seen[now[there]] = seen[there]
            self.open = [hole for one in holes if (hole := _restored(one, now)) is not None]
        except (msgspec.MsgspecError, ValueError, IndexError) as error:
            raise ValueError(f"not a record of what was seen: {error}") from error


class _Dumped(msgspec.Struct, array_like=True):
    """A hole in a checkpoint."""

    opened: int
    reason: str
    columns: list[bytes]
    """position, begin, since, until, done."""
    readings: dict[str, int]
    lost: list[tuple[str, str, int, int, list[int]]]
    started: int
    alive: int


def _dumped(hole: Hole) -> _Dumped:
    columns = (hole.position, hole.begin, hole.since, hole.until, hole.done)
    lost = [(line, why, each.start, each.end, sorted(each.tags)) for (line, why), each in hole.lost.items()]
    return _Dumped(
        hole.opened, hole.reason, [c.tobytes() for c in columns], hole.readings, lost, hole.started, hole.alive
    )


def _restored(one: _Dumped, now: NDArray[np.intp]) -> Hole | None:
    position, begin, since, until, done = (
        np.frombuffer(raw, kind) for raw, kind in zip(one.columns, ("<i4", "<i8", "<i8", "<i8", "?"), strict=True)
    )
    there = now[position] >= 0
    if not there.any():
        return None
    order = np.argsort(now[position][there], kind="stable")
    at: NDArray[np.int32] = now[position][there][order].astype(np.int32)
    begin, since, until, done = (column[there][order] for column in (begin, since, until, done))
    lost = {(line, why): Stretch(start, end, set(tags)) for line, why, start, end, tags in one.lost}
    return Hole(one.opened, one.reason, at, begin, since, until, done, one.readings, lost, one.started, one.alive)
