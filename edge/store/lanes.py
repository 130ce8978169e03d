"""The books of the store, pure: which records are where, per lane of every incarnation.

A lane is a stream of one incarnation. Every seq in 1 … last is in exactly one place: at or below the floor
(forgotten, the cloud has it), held in a chunk, or declared lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sync.chain import genesis
from sync.facts import Stream
from sync.frames import Incarnation, Loss, Range, StreamHoldings

DONE_KEPT: Final = 64


@dataclass(slots=True)
class Lane:
    """One stream of one incarnation."""

    ord: int
    stream: Stream
    last: int = 0
    stored: int = 0
    safe: int = 0
    floor: int = 0
    lost: int = 0
    """Records ever declared lost, also those whose rows are gone."""
    losses: list[Loss] = field(default_factory=list[Loss])
    """Disjoint, by seq; those the cloud has not confirmed as safe."""
    waiting_bytes: int = 0
    """Of the chunks above `stored`."""
    stored_bytes: int = 0
    """Of the chunks at or below `stored`, which the cloud has not backed up yet."""
    oldest_at: int | None = None
    """Commit time of the oldest chunk above `stored`, ns."""
    offered: int = 0
    """Highest seq handed to the uplink since the start: may be at the cloud already, so it is not shed."""
    link: bytes = b""
    """Of the last chunk ever committed (`sync.chain`); empty when not known."""
    tallied: int = 0
    """Highest seq that stands in a tally."""
    latent: list[Loss] = field(default_factory=list[Loss])
    """Forgotten at `stored` before it was safe, disjoint, by seq: lost should the cloud come back without it."""
    behind: bool = False
    """Whether chunks at or below `safe` are still to leave: many at once go in steps."""

    def held(self) -> list[Range]:
        """Give the ranges that are in chunks: all above the floor that is not lost."""
        return gaps(self.floor, self.last, self.losses)

    def held_count(self) -> int:
        return sum(last - first + 1 for first, last in self.held())

    def waiting(self) -> int:
        """Give how many held records the cloud has not confirmed."""
        return sum(last - first + 1 for first, last in gaps(max(self.stored, self.floor), self.last, self.losses))

    def losses_between(self, after: int, before: int) -> list[Loss]:
        """Give the losses that touch (after, before), uncut: a loss is told as it was recorded."""
        return [loss for loss in self.losses if loss.last > after and loss.first < before]

    def declare(self, loss: Loss) -> tuple[Loss, Loss | None]:
        """Book a loss; give (the row as it now stands, the row it replaces): a loss grows where it can."""
        place = bisect_left(self.losses, loss.first, key=lambda known: known.first)
        self.lost += loss.last - loss.first + 1
        if place and (before := self.losses[place - 1]).last == loss.first - 1 and before.reason == loss.reason:
            grown = Loss(before.first, loss.last, loss.reason, _earlier(before.t0, loss.t0), max(before.t1, loss.t1))
            self.losses[place - 1] = grown
            return grown, before
        self.losses.insert(place, loss)
        return loss, None

    def done(self) -> bool:
        """Tell whether nothing of it is left to send, to declare or to keep."""
        return self.floor >= self.last and not self.losses and not self.latent


def _earlier(a: int, b: int) -> int:
    return min(a, b) if a and b else a or b


def gaps(after: int, last: int, losses: Iterable[Loss]) -> list[Range]:
    """Give (after, last] without the losses, as ranges."""
    ranges: list[Range] = []
    at = after + 1
    for loss in losses:
        if loss.last < at:
            continue
        if loss.first > last:
            break
        if loss.first > at:
            ranges.append((at, loss.first - 1))
        at = loss.last + 1
    if at <= last:
        ranges.append((at, last))
    return ranges


@dataclass(slots=True)
class Start:
    """One incarnation and its lanes."""

    ord: int
    inc: str
    previous: str
    closed: bool
    lanes: dict[Stream, Lane] = field(default_factory=dict[Stream, Lane])
    hour: int = 0
    """Begin of the hour that runs and is not tallied yet, ns; 0 for none."""

    def lane(self, stream: Stream) -> Lane:
        """Give a lane, new ones included."""
        if stream not in self.lanes:
            self.lanes[stream] = Lane(self.ord, stream, link=genesis(self.inc, stream))
        return self.lanes[stream]

    def done(self) -> bool:
        return self.closed and all(lane.done() for lane in self.lanes.values())

    def named(self) -> Incarnation:
        """Give it as the cloud is told when nothing of it is left."""
        return Incarnation(
            inc=self.inc,
            ord=self.ord,
            previous=self.previous,
            closed=True,
            streams={
                str(int(lane.stream)): StreamHoldings(last=lane.last, link=lane.link.hex())
                for lane in sorted(self.lanes.values(), key=lambda lane: lane.stream)
            },
        )

    def holdings(self) -> Incarnation:
        """Give it as the cloud is told."""
        return Incarnation(
            inc=self.inc,
            ord=self.ord,
            previous=self.previous,
            closed=self.closed,
            streams={
                str(int(lane.stream)): StreamHoldings(
                    last=lane.last, held=lane.held(), losses=list(lane.losses), link=lane.link.hex()
                )
                for lane in sorted(self.lanes.values(), key=lambda lane: lane.stream)
            },
        )


@dataclass(slots=True)
class Books:
    """All incarnations with something left, oldest first; the last one is the present one."""

    starts: dict[int, Start] = field(default_factory=dict[int, Start])
    done: dict[int, Incarnation] = field(default_factory=dict[int, Incarnation])
    """The newest of those with nothing left, by ord: only named."""
    sealed_produced: int = 0
    sealed_lost: int = 0

    _named: dict[str, Start] = field(default_factory=dict[str, Start])
    """By incarnation; made anew when starts came or went."""
    _present: Start | None = None

    @property
    def current(self) -> Start:
        if self._present is None or self._present.ord not in self.starts or self._present.closed:
            self._present = self.starts[max(self.starts)]
        return self._present

    def add(self, start: Start) -> None:
        self.starts[start.ord] = start
        self._named[start.inc] = start

    def drop(self, start: Start) -> None:
        del self.starts[start.ord]
        self._named.pop(start.inc, None)

    def by_inc(self) -> Mapping[str, Start]:
        if len(self._named) != len(self.starts):
            self._named = {start.inc: start for start in self.starts.values()}
        return self._named

    def lanes(self) -> list[Lane]:
        """Give all lanes, oldest incarnation first."""
        return [lane for ord_ in sorted(self.starts) for lane in self.starts[ord_].lanes.values()]

    def holdings(self, limit: int, after: int, *, done: bool) -> tuple[list[Incarnation], bool]:
        """See `Outbox.holdings`."""
        current = self.current
        named = self.starts.keys() | (self.done.keys() if done else set())
        closed = [ord_ for ord_ in sorted(named) if after < ord_ < current.ord][:limit]
        told = [self.starts[o].holdings() if o in self.starts else self.done[o] for o in closed[: limit - 1]]
        return [*told, current.holdings()], len(closed) < limit

    def seal(self, among: Iterable[Start] | None = None) -> list[Start]:
        """Take out the incarnations that are done, of all or of some; their sums stay."""
        done = [start for start in list(self.starts.values() if among is None else among) if start.done()]
        for start in done:
            self.sealed_produced += sum(lane.last for lane in start.lanes.values())
            self.sealed_lost += sum(lane.lost for lane in start.lanes.values())
            self.drop(start)
            self.done[start.ord] = start.named()
        for ord_ in sorted(self.done)[:-DONE_KEPT]:
            del self.done[ord_]
        return done
