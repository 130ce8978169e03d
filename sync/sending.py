"""What a gateway sends next in one session: its lanes in their order, the window, the backlog's share, what is wanted.

Order: audit and events of every incarnation, oldest first; then what the present incarnation makes; then what earlier
ones left behind, oldest first; then what the cloud has asked for again. A lane is strictly in sequence. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sync.effects import Fetch, FetchAgain, Piece
from sync.facts import Stream
from sync.frames import Batch, Incarnation, Loss, UpFrame, Wanted, Watermark

SECOND: Final = 1_000_000_000
FIRST_TIMEOUT: Final = 5 * SECOND
LONGEST_TIMEOUT: Final = 60 * SECOND
STRIKES: Final = 3
RESERVED: Final = 2
"""Of the chunks in flight, how many the backlog leaves to what happens now."""
MAX_WINDOW: Final = 64
MAX_WANTS: Final = 64
AGAIN_WAIT: Final = 5 * SECOND
URGENT: Final = (Stream.AUDIT, Stream.EVENT)
_RANK: Final[dict[int, int]] = {Stream.AGG: 0, Stream.FACT: 1, Stream.DIAG: 2}


@dataclass(slots=True)
class Lane:
    """One stream of one incarnation, as far as this session is concerned."""

    ord: int
    inc: str
    stream: int
    closed: bool
    last: int
    floor: int = 0
    """Up to here the gateway has forgotten what it had, when the session began."""
    stored: int = 0
    safe: int = 0
    sent: int = 0
    in_flight: list[int] = field(default_factory=list[int])
    """Last seq of each batch that is sent and not confirmed."""
    rewound: bool = False
    """Sent again since the last progress; until there is some, only the time-out sends a third time."""
    posting: int = 0
    """Of those in flight or sent before, how many the broker has not taken yet."""
    due: int = 0
    """When what is in flight goes again, monotonic ns."""
    timeout: int = FIRST_TIMEOUT
    strikes: int = 0

    def late(self, now: int) -> bool:
        """Tell whether a confirmation should have come. What the link has not taken yet is slow, not lost."""
        return bool(self.in_flight) and not self.posting and now >= self.due

    def urgent(self) -> bool:
        """Audit and events: first, of every incarnation, and bounded by nothing but the window."""
        return self.stream in URGENT

    def backlog(self) -> bool:
        """What an earlier incarnation left behind: it goes with what room is left."""
        return self.closed and not self.urgent()

    def order(self) -> tuple[int, int, int]:
        if self.urgent():
            return (0, self.stream, self.ord)
        rank = _RANK.get(self.stream, self.stream)
        return (2, self.ord, rank) if self.closed else (1, rank, self.ord)


class Bucket:
    """A bound on bytes per second. What goes may be more than is there: it goes alone, and the debt is waited for.

    rate: bytes per second, None for no bound.
    """

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._tokens = float(rate or 0)
        self._at: int | None = None

    def open(self, now: int) -> bool:
        """Tell whether something may go; now: monotonic ns."""
        if self._rate is None:
            return True
        if self._at is not None and now > self._at:
            self._tokens = min(float(self._rate), self._tokens + self._rate * (now - self._at) / SECOND)
        self._at = now if self._at is None else max(self._at, now)
        return self._tokens > 0

    def due(self) -> int | None:
        """When something may go again, monotonic ns; None: it may already, or nobody has looked yet."""
        if self._rate is None or self._at is None or self._tokens > 0:
            return None
        return self._at + int(-self._tokens * SECOND / self._rate) + 1_000_000

    def take(self, size: int) -> None:
        """Account for bytes that go."""
        if self._rate is not None:
            self._tokens -= size


class Sending:
    """What is in flight, and what goes next; one per connection, `reset` at every hello."""

    def __init__(self, backlog_bytes_s: int | None) -> None:
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.asked: Fetch | FetchAgain | None = None
        """What the store was asked for and has not answered: one at a time, so that memory is bounded by the window."""
        self.window = 0
        self.bucket = Bucket(backlog_bytes_s)
        self._share = MAX_WINDOW
        """What we allow ourselves of the window: halved when nothing comes back, grown by one with every progress."""
        self._wants: deque[FetchAgain] = deque()
        self._again: tuple[str, int] | None = None
        """Lane of the one batch in flight that was sent on request."""
        self._again_until = 0

    def reset(self) -> None:
        """Forget the session: nothing that was asked or sent in it counts in the next."""
        self.lanes.clear()
        self._wants.clear()
        self.asked = self._again = None
        self.window = 0

    def open(self, window: int) -> None:
        """Take the window that the cloud gives; 0 stops."""
        self.window = max(0, min(window, MAX_WINDOW))

    def in_flight(self) -> int:
        return sum(len(lane.in_flight) for lane in self.lanes.values()) + (self._again is not None)

    # --- what there is ---

    def name(self, incarnations: Sequence[Incarnation]) -> None:
        """Take what the store holds."""
        for one in incarnations:
            for stream, held in one.streams.items():
                here = [first for first, _ in held.held] + [loss.first for loss in held.losses]
                floor = min(here, default=held.last + 1) - 1
                self.lanes[one.inc, int(stream)] = Lane(one.ord, one.inc, int(stream), one.closed, held.last, floor)

    def begin(self, marks: Sequence[Watermark]) -> list[Watermark]:
        """Go on after the welcome's watermarks; gives one for each lane, 0 for those that the cloud does not know."""
        known = {(mark.inc, mark.stream): mark for mark in marks}
        told: list[Watermark] = []
        for key, lane in self.lanes.items():
            mark = known.get(key) or Watermark(inc=lane.inc, stream=lane.stream, stored=0, safe=0)
            lane.stored = lane.sent = mark.stored
            lane.safe = mark.safe
            told.append(mark)
        return told

    def grow(self, inc: str, last: Mapping[int, int]) -> None:
        """Note how far the present incarnation is: stream → newest number."""
        for stream, number in last.items():
            lane = self.lanes.get((inc, stream))
            if lane is None:
                newest = max((lane.ord for lane in self.lanes.values()), default=0)
                present = next((lane.ord for lane in self.lanes.values() if lane.inc == inc), newest + 1)
                self.lanes[inc, stream] = Lane(present, inc, stream, closed=False, last=number)
            else:
                lane.last = max(lane.last, number)

    def lane_of(self, frame: UpFrame, nonce: str) -> Lane | None:
        """Give the lane a batch of this session belongs to."""
        if not isinstance(frame, Batch) or frame.nonce != nonce or frame.again:
            return None
        return self.lanes.get((frame.inc, frame.stream))

    def left_behind_is_there(self) -> bool:
        """Tell whether the cloud has all that earlier incarnations made, as far as they were named."""
        return all(lane.stored >= lane.last for lane in self.lanes.values() if lane.closed)

    # --- what goes ---

    def batch(self, lane: Lane, piece: Piece | None, losses: Sequence[Loss], nonce: str, now: int) -> Batch:
        """Give the frame, but for the chunk's own words, of what goes next in a lane: a chunk, or losses to its end."""
        told = Batch(
            nonce=nonce,
            inc=lane.inc,
            stream=lane.stream,
            first=lane.sent + 1,
            count=0,
            last=lane.last,
            losses=list(losses),
        )
        lane.sent = lane.last if piece is None else piece.first + piece.count - 1
        if not lane.in_flight:
            lane.due = now + lane.timeout
        lane.in_flight.append(lane.sent)
        if lane.backlog() and piece is not None:
            self.bucket.take(len(piece.body))
        return told

    def batch_again(self, asked: FetchAgain, piece: Piece | None, nonce: str, now: int) -> Batch:
        """Give the frame of what goes on request; the rest of what was asked for is next."""
        lane = self.lanes.get((asked.inc, asked.stream))
        reach = asked.last if piece is None else piece.first - 1
        gone = [Loss(asked.first, reach, "gone")] if reach >= asked.first else []
        end = asked.last if piece is None else piece.first + piece.count - 1
        # One in flight: no receipt counts them, the next one that names the lane (or a while) makes room for another.
        self._again, self._again_until = (asked.inc, asked.stream), now + AGAIN_WAIT
        if end < asked.last:
            self._wants.appendleft(FetchAgain(asked.inc, asked.stream, end + 1, asked.last))
        self.bucket.take(0 if piece is None else len(piece.body))
        return Batch(
            nonce=nonce,
            inc=asked.inc,
            stream=asked.stream,
            first=asked.first,
            count=0,
            last=max(asked.last, end, 0 if lane is None else lane.last),
            losses=gone,
            again=True,
        )

    def next(self, now: int) -> Fetch | FetchAgain | None:
        """Give what to ask the store for; None while it is asked already, nothing is there, or there is no room."""
        room = min(self.window, self._share)
        if self.asked is not None or self.in_flight() >= room:
            return None
        behind = sum(len(lane.in_flight) for lane in self.lanes.values() if lane.backlog()) + (self._again is not None)
        may_fill = behind < max(1, room - RESERVED) and self.bucket.open(now)
        waiting = [lane for lane in self.lanes.values() if lane.sent < lane.last]
        ready = waiting if may_fill else [lane for lane in waiting if not lane.backlog()]
        if ready:
            lane = min(ready, key=Lane.order)
            self.asked = Fetch(lane.inc, lane.stream, lane.sent)
        elif self._wants and may_fill and self._again is None:  # then nothing waits that is held back
            self.asked = self._wants.popleft()
        return self.asked

    # --- what comes back ---

    def outrun(self, inc: str, marks: Sequence[Watermark]) -> bool:
        """Tell whether the cloud has more of the present incarnation than was ever made here.

        Then another copy of this process makes it. Nothing may be applied: what we have under these numbers is not there.
        """
        lanes = ((mark, self.lanes.get((mark.inc, mark.stream))) for mark in marks if mark.inc == inc)
        return any(lane is not None and mark.stored > lane.last for mark, lane in lanes)

    def set_back(self, marks: Sequence[Watermark]) -> bool:
        """Tell whether the cloud has less than it had within this session."""
        lanes = ((mark, self.lanes.get((mark.inc, mark.stream))) for mark in marks)
        return any(lane is not None and mark.stored < lane.stored for mark, lane in lanes)

    def confirm(self, marks: Sequence[Watermark], now: int) -> tuple[bool, int]:
        """Take a receipt's watermarks, none of which goes back: (whether there was progress, chunks to be sent again)."""
        progress, resent = False, 0
        for mark in marks:
            answers_again = self._again == (mark.inc, mark.stream)
            if answers_again:
                self._again = None
            lane = self.lanes.get((mark.inc, mark.stream))
            if lane is None:
                continue
            if mark.stored > lane.stored:
                progress = True
                # Each lane for itself: were one lane's time-out reset by another's progress, what one lost on the way
                # would never be sent again as long as the others go on.
                lane.rewound, lane.strikes, lane.timeout = False, 0, FIRST_TIMEOUT
                lane.due = now + FIRST_TIMEOUT
                lane.stored = mark.stored
                lane.sent = max(lane.sent, mark.stored)
                lane.in_flight = [end for end in lane.in_flight if end > mark.stored]
            elif mark.safe == lane.safe and not answers_again and lane.in_flight and not lane.rewound:
                # Something before what we sent is missing there. A receipt that tells of a backup, or answers what was
                # sent on request, says nothing about that; and one rewind is enough for all that came too early.
                resent += self.rewind(lane)
            lane.safe = mark.safe
        if progress:
            self._share = min(MAX_WINDOW, self._share + 1)
        return progress, resent

    @staticmethod
    def rewind(lane: Lane) -> int:
        """Send a lane again from its watermark; give how many chunks that is."""
        resent = len(lane.in_flight)
        lane.sent = lane.stored
        lane.in_flight.clear()
        lane.rewound = True
        return resent

    def resend_late(self, now: int) -> int | None:
        """Send again what was not confirmed in time; give how many chunks that is, None when it is no use any more."""
        late = [lane for lane in self.lanes.values() if lane.late(now)]
        resent = 0
        for lane in late:
            lane.strikes += 1
            if lane.strikes >= STRIKES:
                return None
            lane.timeout = min(LONGEST_TIMEOUT, 2 * lane.timeout)
            resent += self.rewind(lane)
        if late:
            self.slow_down()
        return resent

    def slow_down(self) -> None:
        """Nothing came back in time: send less at once."""
        self._share = max(1, min(self._share, self.window) // 2)

    # --- what is wanted ---

    def want(self, frame: Wanted) -> bool:
        """Note what the cloud wants again; False when that is refused: it asks once more for what did not come."""
        lane = self.lanes.get((frame.inc, frame.stream))
        # What is above the watermark comes in its order. Asked of the store it could be said to be gone before it was.
        last = frame.last if lane is None else min(frame.last, lane.stored)
        want = FetchAgain(frame.inc, frame.stream, max(1, frame.first), last)
        if want.first > last or want in self._wants or len(self._wants) >= MAX_WANTS:
            return False
        self._wants.append(want)
        return True

    def due(self) -> int | None:
        """When time alone changes something, monotonic ns; None: never."""
        moments = [lane.due for lane in self.lanes.values() if lane.in_flight and not lane.posting]
        if self._again is not None:
            moments.append(self._again_until)
        waiting = bool(self._wants) or any(lane.backlog() and lane.sent < lane.last for lane in self.lanes.values())
        if waiting and (refilled := self.bucket.due()) is not None:
            moments.append(refilled)
        return min(moments, default=None)

    def give_up_waiting(self, now: int) -> None:
        """What was sent on request and never answered no longer takes up the window."""
        if self._again is not None and now >= self._again_until:
            self._again = None
