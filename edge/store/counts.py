"""The store in numbers, summed in its thread after every transaction and read on the event loop without touching it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edge.store.lanes import Start
from edge.store.outbox import Outbox
from edge.store.shed import SHEDDABLE, Quotas
from sync.facts import Stream

RATE_STEP_NS: Final = 2_000_000_000
RATE_STEPS: Final = 300
HOUR_NS: Final = 3_600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCounts:
    """One stream over all incarnations."""

    waiting: int = 0
    """Records on disk and not confirmed by the cloud."""
    waiting_bytes: int = 0
    stored_bytes: int = 0
    """Confirmed and not yet in a backup of the cloud; the first to go when room is needed."""
    lost: int = 0
    oldest_at: int | None = None
    """Commit time of the oldest waiting record, ns."""
    bytes_per_hour: float = 0.0
    """At the rate of the last minutes."""
    autonomy_hours: float | None = None
    """Until its own quota, or the outbox, is full at that rate; None while nothing is produced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """The store in numbers, all incarnations unless said otherwise: produced = confirmed by the cloud + waiting + lost."""

    produced: int = 0
    """Records ever assigned a number."""
    waiting: int = 0
    """On disk and not confirmed by the cloud."""
    lost: int = 0
    """Declared lost."""
    waiting_bytes: int = 0
    oldest_at: int | None = None
    """Commit time of the oldest waiting record, ns."""
    last: Mapping[Stream, int] = field(default_factory=dict[Stream, int])
    """Of the present incarnation."""
    lanes: Mapping[Stream, LaneCounts] = field(default_factory=dict[Stream, LaneCounts])
    used_bytes: int = 0
    quota_bytes: int = 0
    ring_bytes: int = 0
    """Sent and backed up, kept for local history while there is room; not part of `used_bytes`."""
    disk_free_bytes: int = 0
    autonomy_hours: float | None = None
    """Until the first lane's quota, the outbox or the disk is full at the rates of the last minutes: the first loss,
    if the cloud is away. None while nothing is produced."""
    commits: int = 0
    commit_p50_ms: float | None = None
    commit_p99_ms: float | None = None
    """Of the last 1,024 commits, from call to disk; readings wait a moment for company."""
    blocked: str | None = None
    """Why nothing can be committed at present."""
    alarms: Mapping[str, str] = field(default_factory=dict[str, str])
    """Subject (lane.audit, log …) → what a person must look at, with what to do."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The books, summed."""

    produced: int = 0
    lost: int = 0
    lanes: Mapping[Stream, LaneCounts] = field(default_factory=dict[Stream, LaneCounts])
    last: Mapping[Stream, int] = field(default_factory=dict[Stream, int])
    used_bytes: int = 0
    ring_bytes: int = 0
    written: Mapping[Stream, int] = field(default_factory=dict[Stream, int])
    """Bytes since the start."""
    alarms: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _Sums:
    """Of one stream over the earlier incarnations; every sum in place, so that one that changes costs one."""

    waiting: int = 0
    waiting_bytes: int = 0
    stored_bytes: int = 0
    lost: int = 0
    produced: int = 0
    oldest: dict[int, int] = field(default_factory=dict[int, int])
    """ord → commit time of its oldest waiting record."""

    def add(self, lane: _Lane, sign: int = 1) -> None:
        self.waiting += sign * lane.waiting
        self.waiting_bytes += sign * lane.waiting_bytes
        self.stored_bytes += sign * lane.stored_bytes
        self.lost += sign * lane.lost
        self.produced += sign * lane.produced
        if lane.oldest_at is not None and sign > 0:
            self.oldest[lane.ord] = lane.oldest_at
        else:
            self.oldest.pop(lane.ord, None)

    def counts(self) -> LaneCounts:
        return LaneCounts(
            waiting=self.waiting,
            waiting_bytes=self.waiting_bytes,
            stored_bytes=self.stored_bytes,
            lost=self.lost,
            oldest_at=min(self.oldest.values(), default=None),
        )


@dataclass(frozen=True, slots=True)
class _Lane:
    """What one lane adds to its stream's sums."""

    ord: int
    stream: Stream
    waiting: int
    waiting_bytes: int
    stored_bytes: int
    lost: int
    produced: int
    oldest_at: int | None


def _of(start: Start) -> list[_Lane]:
    return [
        _Lane(
            start.ord, lane.stream, lane.waiting(), lane.waiting_bytes, lane.stored_bytes, lane.lost, lane.last,
            lane.oldest_at,
        )
        for lane in start.lanes.values()
    ]  # fmt: skip


class Summing:
    """Sums the books after each transaction, in the writer's thread; of earlier incarnations only those that changed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[Totals, str, int], None]) -> None:
        self._loop, self._take = loop, take
        self._known: dict[int, list[_Lane]] = {}
        self._sums: dict[Stream, _Sums] = {}

    def __call__(self, outbox: Outbox) -> None:
        books, disk = outbox.books, outbox.disk
        current = books.current
        if disk.old_changed:
            self._known, self._sums = {}, {}
            changed = set(books.starts)
        else:
            changed = disk.touched
        for ord_ in changed - {current.ord}:
            self._renew(ord_, books.starts.get(ord_))
        disk.old_changed, disk.touched = False, set()
        mine = _of(current)
        for lane in mine:
            self._sums.setdefault(lane.stream, _Sums()).add(lane)
        totals = Totals(
            produced=books.sealed_produced + sum(one.produced for one in self._sums.values()),
            lost=books.sealed_lost + sum(one.lost for one in self._sums.values()),
            lanes={stream: one.counts() for stream, one in self._sums.items()},
            last={lane.stream: lane.produced for lane in mine},
            used_bytes=disk.used(),
            ring_bytes=0 if outbox.ring is None else outbox.ring.size,
            written=dict(outbox.written),
            alarms=dict(disk.alarms),
        )
        for lane in mine:
            self._sums[lane.stream].add(lane, -1)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is interested any more
            self._loop.call_soon_threadsafe(self._take, totals, current.inc, current.ord)

    def _renew(self, ord_: int, start: Start | None) -> None:
        for lane in self._known.pop(ord_, []):
            self._sums[lane.stream].add(lane, -1)
        if start is not None:
            self._known[ord_] = _of(start)
            for lane in self._known[ord_]:
                self._sums.setdefault(lane.stream, _Sums()).add(lane)


class Autonomy:
    """How long the room will do, from what was really written in the last minutes."""

    def __init__(self, quotas: Quotas, monotonic: int) -> None:
        self._quotas = quotas
        self._seen: deque[tuple[int, Mapping[Stream, int]]] = deque([(monotonic, {})], maxlen=RATE_STEPS)

    def rates(self, totals: Totals, monotonic: int) -> dict[Stream, float]:
        """Give bytes an hour by stream; empty before there was time to measure, and while nothing is produced."""
        if monotonic - self._seen[-1][0] >= RATE_STEP_NS:
            self._seen.append((monotonic, totals.written))
        since, before = self._seen[0]
        if monotonic - since < RATE_STEP_NS:
            return {}
        hours = (monotonic - since) / HOUR_NS
        return {
            stream: (size - before.get(stream, 0)) / hours
            for stream, size in totals.written.items()
            if size > before.get(stream, 0)
        }

    def hours(
        self, totals: Totals, rates: Mapping[Stream, float], left_bytes: int, now: int
    ) -> dict[Stream, float | None]:
        """Give by stream how long it can go on without the cloud, and without losing anything."""
        together = sum(rates.values())
        everything = max(0, left_bytes) / together if together else None
        found: dict[Stream, float | None] = {}
        for stream in {*totals.lanes, *rates}:
            lane, rate, quota = totals.lanes.get(stream, LaneCounts()), rates.get(stream), self._quotas.get(stream)
            ends = [everything]
            if rate and quota is not None and stream in SHEDDABLE:
                if quota.most_bytes is not None:
                    # what is stored, but not safe, gives way first
                    ends.append(max(0, quota.most_bytes - lane.waiting_bytes) / rate)
                if quota.most_ns is not None:
                    age = max(0, now - lane.oldest_at) if lane.oldest_at is not None else 0
                    ends.append(max(0, quota.most_ns - age) / HOUR_NS)
            found[stream] = min((end for end in ends if end is not None), default=None) if rate else None
        return found
