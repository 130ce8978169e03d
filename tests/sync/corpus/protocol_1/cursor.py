"""The gateway's side of the protocol, without I/O: what to say next, given what happened. One object per connection.

  state         event                            what follows                                          next state
  OFFLINE       connected                        say hello                                             HELLO_SENT
  HELLO_SENT    challenge with my session        ask the store what it holds                           RESUME_SENT
  RESUME_SENT   holdings                         say resume                                            RESUME_SENT
  RESUME_SENT   welcome with my nonce            take its watermarks, send from them                   STREAMING
  STREAMING     receipt, number above the last   take its watermarks, send more                        STREAMING
  STREAMING     … a watermark below what we know (the cloud went back in time)            hello again  HELLO_SENT
  RESUME_SENT,
  STREAMING     stale                            hello again                                           HELLO_SENT
  STREAMING     no progress for the time-out     send again from the watermarks; the third time hello  HELLO_SENT
  HELLO_SENT,
  RESUME_SENT   no answer                        hello again, with growing waits; the fifth time       OFFLINE
  any           anything else                    ignored and counted                                   same

Times come in as monotonic ns. Chunks are sent by stream (audit first), oldest incarnation first, in sequence; the
window counts chunks in flight over all lanes, and a lane that waits holds up no other.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from tests.sync.corpus.protocol_1.frames import (
    Batch,
    Challenge,
    DownFrame,
    Hello,
    Incarnation,
    Loss,
    Receipt,
    Rejection,
    Resume,
    Stale,
    Watermark,
    Welcome,
)

SECOND: Final = 1_000_000_000
FIRST_TIMEOUT: Final = 5 * SECOND
LONGEST_TIMEOUT: Final = 60 * SECOND
HELLO_WAIT: Final = SECOND
LONGEST_HELLO_WAIT: Final = 4 * SECOND
STRIKES: Final = 3
HELLOS: Final = 5


class State(Enum):
    """Where the session stands."""

    OFFLINE = "offline"
    HELLO_SENT = "waiting for the cloud"
    RESUME_SENT = "resuming"
    STREAMING = "streaming"


@dataclass(frozen=True, slots=True)
class Say:
    """Send a control frame."""

    frame: Hello | Resume


@dataclass(frozen=True, slots=True)
class AskHoldings:
    """Ask the store what it holds; the answer comes as `holdings`."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the store for the first chunk above `after`; the answer comes as `fetched`."""

    inc: str
    stream: int
    after: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a batch: a chunk's body, or none when only losses are told."""

    frame: Batch
    body: bytes


@dataclass(frozen=True, slots=True)
class Apply:
    """Let the store take what the cloud has confirmed or refused."""

    watermarks: Sequence[Watermark]
    rejected: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection and make a new one."""

    why: str


Effect = Say | AskHoldings | Fetch | Send | Apply | HangUp


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as the store gives it."""

    first: int
    count: int
    digest: bytes
    body: bytes


@dataclass(slots=True)
class Lane:
    """One stream of one incarnation, as far as this session is concerned."""

    ord: int
    inc: str
    stream: int
    closed: bool
    last: int
    stored: int = 0
    sent: int = 0
    in_flight: list[int] = field(default_factory=list[int])
    """Last seq of each batch that is sent and not confirmed."""
    rewound: bool = False
    """Sent again since the last progress; until there is some, only the time-out sends a third time."""


@dataclass(slots=True)
class Counters:
    """What happened over all sessions."""

    chunks: int = 0
    records: int = 0
    bytes: int = 0
    resent: int = 0
    """Chunks sent once more."""
    receipts: int = 0
    rejected: int = 0
    ignored: int = 0
    """Frames of another session, older receipts, anything that does not belong here."""
    hellos: int = 0


class Cursor:
    """One connection's session. Every method gives the effects to carry out, in order."""

    def __init__(self, inc: str, software: str = "", counters: Counters | None = None) -> None:
        self.state = State.OFFLINE
        self.nonce = ""
        self.why = ""
        """Why there is no session, as far as the cloud said."""
        self.counters = counters or Counters()
        self._inc, self._software = inc, software
        self._session = ""
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._named_all = True
        self._window = 0
        self._number = 0
        self._fetching: Fetch | None = None
        self._deadline = 0
        self._timeout = FIRST_TIMEOUT
        self._strikes = 0
        self._hello_wait = HELLO_WAIT
        self._hellos = 0

    def in_flight(self) -> int:
        return sum(len(lane.in_flight) for lane in self._lanes.values())

    # --- events ---

    def connected(self, now: int, wall: int) -> list[Effect]:
        """There is a link and we are subscribed."""
        self._hellos = 0
        self._hello_wait = HELLO_WAIT
        return self._hello(now, wall)

    def received(self, frame: DownFrame, now: int, wall: int) -> list[Effect]:
        """A sealed frame of the cloud came."""
        match self.state, frame:
            case State.HELLO_SENT, Challenge() if frame.session == self._session:
                return self._challenged(frame, now)
            case State.HELLO_SENT, Stale():
                self.why = frame.why  # the cloud will not have our hello; the wait for the next one is running
                return []
            case State.RESUME_SENT, Welcome() if frame.nonce == self.nonce:
                return self._welcomed(frame)
            case State.STREAMING, Receipt() if frame.nonce == self.nonce and frame.number > self._number:
                return self._receipt(frame, now, wall)
            case ((State.RESUME_SENT | State.STREAMING), Stale()):
                self.why = frame.why
                return self._again(now, wall)
            case _:
                self.counters.ignored += 1
                return []

    def holdings(self, incarnations: Sequence[Incarnation], complete: bool, now: int) -> list[Effect]:
        """The store's answer: what it holds, oldest first; `complete` unless there is more than fits a frame."""
        if self.state is not State.RESUME_SENT or self._lanes:
            return []
        for one in incarnations:
            for stream, held in one.streams.items():
                self._lanes[one.inc, int(stream)] = Lane(one.ord, one.inc, int(stream), one.closed, held.last)
        self._named_all = complete
        self._deadline = now + FIRST_TIMEOUT
        return [Say(Resume(nonce=self.nonce, incarnations=list(incarnations)))]

    def fetched(self, asked: Fetch, piece: Piece | None, losses: Sequence[Loss], last: int, now: int) -> list[Effect]:
        """The store's answer to a fetch: the next chunk or none, the losses before it, the newest number."""
        if asked != self._fetching:
            return []
        self._fetching = None
        lane = self._lanes.get((asked.inc, asked.stream))
        if self.state is not State.STREAMING or lane is None:
            return []
        lane.last = max(lane.last, last)
        if asked.after != lane.sent:  # sent again from the watermark meanwhile
            return self._pump()
        effects: list[Effect] = []
        if piece is not None or losses:
            end = lane.last if piece is None else piece.first + piece.count - 1
            effects.append(self._batch(lane, piece, losses))
            lane.sent = end
            if not self.in_flight():
                self._deadline = now + self._timeout
            lane.in_flight.append(end)
        else:
            lane.sent = lane.last  # nothing there and nothing lost: the store knows what the cloud will say
        return effects + self._pump()

    def grown(self, last: Mapping[int, int]) -> list[Effect]:
        """The present incarnation has more: stream → newest number."""
        for stream, number in last.items():
            key = (self._inc, stream)
            if key not in self._lanes and self.state is State.STREAMING:
                newest = max((lane.ord for lane in self._lanes.values()), default=0)
                present = next((lane.ord for lane in self._lanes.values() if lane.inc == self._inc), newest + 1)
                self._lanes[key] = Lane(present, self._inc, stream, closed=False, last=number)
            elif key in self._lanes:
                self._lanes[key].last = max(self._lanes[key].last, number)
        return self._pump()

    def unheard(self, now: int) -> list[Effect]:
        """The broker says nobody listens: the cloud is away, the link is well; say hello again in a while."""
        if self.state in {State.RESUME_SENT, State.STREAMING}:
            self._reset()
            self.state = State.HELLO_SENT
        self.why = "nobody listens at the broker; check that the cloud is running and connected to the same broker"
        self._hellos = 0  # no answer was to be expected
        self._deadline = now + self._hello_wait
        self._hello_wait = min(LONGEST_HELLO_WAIT, self._hello_wait * 3 // 2)
        return []

    def tick(self, now: int, wall: int) -> list[Effect]:
        """Time has passed."""
        if self.state is State.OFFLINE or now < self._deadline:
            return []
        if self.state is not State.STREAMING:
            self._hello_wait = min(LONGEST_HELLO_WAIT, self._hello_wait * 3 // 2)
            return self._hello(now, wall)
        if not self.in_flight():
            return []
        self._strikes += 1
        if self._strikes >= STRIKES:
            self.why = "no receipt came in time"
            return self._again(now, wall)
        self._timeout = min(LONGEST_TIMEOUT, 2 * self._timeout)
        self._deadline = now + self._timeout
        for lane in self._lanes.values():
            if lane.in_flight:
                self._rewind(lane)
        return self._pump()

    # --- answers of the cloud ---

    def _challenged(self, frame: Challenge, now: int) -> list[Effect]:
        self.nonce = frame.nonce
        self.state = State.RESUME_SENT
        self._hellos = 0
        self._deadline = now + FIRST_TIMEOUT
        return [AskHoldings()]

    def _welcomed(self, frame: Welcome) -> list[Effect]:
        known = {(mark.inc, mark.stream): mark for mark in frame.watermarks}
        marks: list[Watermark] = []
        for key, lane in self._lanes.items():
            mark = known.get(key) or Watermark(inc=lane.inc, stream=lane.stream, stored=0, safe=0)
            lane.stored = lane.sent = mark.stored
            marks.append(mark)
        self.state, self.why = State.STREAMING, ""
        self._window = max(1, min(frame.window, 64))
        self._hello_wait = HELLO_WAIT
        return [Apply(marks), *self._pump()]

    def _receipt(self, frame: Receipt, now: int, wall: int) -> list[Effect]:
        self._number = frame.number
        self.counters.receipts += 1
        self.counters.rejected += len(frame.rejected)
        marks = [mark for mark in frame.watermarks if (mark.inc, mark.stream) in self._lanes]
        if any(mark.stored < self._lanes[mark.inc, mark.stream].stored for mark in marks):
            self.why = "the cloud has less than it had: restored from a backup"
            return self._again(now, wall)
        progress = False
        for mark in marks:
            lane = self._lanes[mark.inc, mark.stream]
            if mark.stored > lane.stored:
                progress = True
                lane.rewound = False
                lane.stored = mark.stored
                lane.sent = max(lane.sent, mark.stored)
                lane.in_flight = [end for end in lane.in_flight if end > mark.stored]
            elif lane.in_flight and not lane.rewound:
                self._rewind(lane)  # something before what we sent is missing there
        if progress:
            self._strikes, self._timeout = 0, FIRST_TIMEOUT
            self._deadline = now + self._timeout
        effects: list[Effect] = [Apply(marks, frame.rejected)] if marks or frame.rejected else []
        if not self._named_all and all(lane.stored >= lane.last for lane in self._lanes.values() if lane.closed):
            return [*effects, *self._again(now, wall)]  # there are more incarnations than were named
        return [*effects, *self._pump()]

    # --- doing ---

    def _hello(self, now: int, wall: int) -> list[Effect]:
        if self._hellos >= HELLOS:
            self.state = State.OFFLINE
            return [
                HangUp(
                    self.why
                    or f"the cloud did not answer {HELLOS} times; check that it runs and knows this gateway's key"
                )
            ]
        self._reset()
        self._hellos += 1
        self.counters.hellos += 1
        self.state = State.HELLO_SENT
        self._session = secrets.token_hex(8)
        self._deadline = now + self._hello_wait
        return [Say(Hello(session=self._session, inc=self._inc, software=self._software, wall=wall))]

    def _again(self, now: int, wall: int) -> list[Effect]:
        self._hellos = 0
        return self._hello(now, wall)

    def _reset(self) -> None:
        self._lanes.clear()
        self._fetching = None
        self.nonce = ""
        self._number = 0
        self._timeout, self._strikes = FIRST_TIMEOUT, 0

    def _rewind(self, lane: Lane) -> None:
        self.counters.resent += len(lane.in_flight)
        lane.sent = lane.stored
        lane.in_flight.clear()
        lane.rewound = True

    def _pump(self) -> list[Effect]:
        """Ask for the next chunk, one at a time, while the window has room."""
        if self.state is not State.STREAMING or self._fetching is not None or self.in_flight() >= self._window:
            return []
        ready = [lane for lane in self._lanes.values() if lane.sent < lane.last]
        if not ready:
            return []
        lane = min(ready, key=lambda lane: (lane.stream, lane.ord))
        self._fetching = Fetch(lane.inc, lane.stream, lane.sent)
        return [self._fetching]

    def _batch(self, lane: Lane, piece: Piece | None, losses: Sequence[Loss]) -> Send:
        self.counters.chunks += 1
        self.counters.records += 0 if piece is None else piece.count
        self.counters.bytes += 0 if piece is None else len(piece.body)
        frame = Batch(
            nonce=self.nonce,
            inc=lane.inc,
            stream=lane.stream,
            first=lane.sent + 1 if piece is None else piece.first,
            count=0 if piece is None else piece.count,
            last=lane.last,
            digest="" if piece is None else piece.digest.hex(),
            losses=list(losses),
        )
        return Send(frame, b"" if piece is None else piece.body)
