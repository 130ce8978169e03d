"""The gateway's side of the protocol, without I/O: what to say next, given what happened. One object per connection.

  state         event                            what follows                                          next state
  OFFLINE       connected                        say hello                                             HELLO_SENT
  HELLO_SENT    challenge with my session        … that says wait: nothing yet                         ADMITTED
                                                 … else ask the store what it holds                    RESUME_SENT
  ADMITTED      the wait is over                 ask the store what it holds                           RESUME_SENT
  RESUME_SENT   holdings, far behind             turn: what is read from now on gets lanes of its own  TURNING
  RESUME_SENT   holdings                         say resume                                            RESUME_SENT
  RESUME_SENT   welcome with my nonce            take its watermarks, send from them                   STREAMING
  STREAMING     receipt, number above the last   take its watermarks, send more                        STREAMING
  STREAMING     … a watermark below what we know (the cloud went back in time)            hello again  HELLO_SENT
  STREAMING     … all that was named is there, and there are more incarnations            hello again  HELLO_SENT
  STREAMING     wanted                           send it again, behind everything else                 STREAMING
  STREAMING     reincarnate                      turn                                                  TURNING
  TURNING       turned, before the resume        ask the store what it holds                           RESUME_SENT
  any           turned, otherwise                hello again, as the new incarnation                   HELLO_SENT
  RESUME_SENT,
  STREAMING     stale, to me                     hello again                                           HELLO_SENT
  STREAMING     no progress for the time-out     send again from the watermarks; the third time hello  HELLO_SENT
  STREAMING     stopped (window 0) and silent    hello again                                           HELLO_SENT
  HELLO_SENT,
  RESUME_SENT   no answer                        hello again, with growing waits; the fifth time (after
                                                 a session that fell silent the second) hang up        OFFLINE
  any           the link takes nothing           hang up                                               OFFLINE
  any           anything else                    ignored and counted                                   same

Times come in as monotonic ns, chance as `token`. What is sent in which order is `sync.sending`; the window counts chunks
in flight over all lanes, a lane that waits holds up no other, and a chunk is only fetched when there is room for it.
With a cloud of protocol 1 nothing is relied upon that came later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sync.effects import (
    Apply,
    AskHoldings,
    Backlog,
    Counters,
    Effect,
    Fetch,
    FetchAgain,
    HangUp,
    Piece,
    Send,
    State,
    Turn,
    carrying,
)
from sync.facts import Stream
from sync.frames import (
    PROTOCOLS,
    Batch,
    Challenge,
    DownFrame,
    Hello,
    Incarnation,
    Loss,
    Receipt,
    Reincarnate,
    Stale,
    UpFrame,
    Wanted,
    Welcome,
)
from sync.handshake import Handshake
from sync.patience import HELLOS_AFTER_SILENCE, LINK_TIMEOUT, Patience
from sync.sending import FIRST_TIMEOUT, SECOND, Sending

STOPPED_WAIT: Final = 60 * SECOND
LONGEST_DELAY: Final = 300 * SECOND
_OUTRUN: Final = "the cloud has records under our numbers that we never made: a copy of this box makes them"


class Cursor:
    """One connection's session. Every method gives the effects to carry out, in order."""

    def __init__(
        self,
        inc: str,
        software: str = "",
        counters: Counters | None = None,
        *,
        token: Callable[[], str],
        box: str = "",
        public_key: str = "",
        backlog_bytes_s: int | None = None,
    ) -> None:
        self.state = State.OFFLINE
        self.why = ""
        """Why there is no session, as far as the cloud said."""
        self.protocol = PROTOCOLS[0]
        """What the cloud chose."""
        self.cloud_key = ""
        """The key the cloud countersigns with (hex), as its newest challenge said."""
        self.identity = "ok"
        """conflict: the cloud hears another box with this identity."""
        self.counters = counters or Counters()
        hello = Hello(session="", inc=inc, software=software, box=box, public_key=public_key)
        self._handshake = Handshake(hello, token)
        self._sending = Sending(backlog_bytes_s)
        self._number = 0
        self._patience = Patience()

    @property
    def inc(self) -> str:
        """The present incarnation, as far as the session knows."""
        return self._handshake.inc

    @property
    def nonce(self) -> str:
        """Of the session; empty while the cloud has given none."""
        return self._handshake.nonce

    @property
    def due(self) -> int | None:
        """When `tick` may next have something to do, monotonic ns; None: not before something else happens."""
        if self.state in {State.OFFLINE, State.TURNING}:
            return None
        moments = [] if self._patience.link_due is None else [self._patience.link_due]
        if self.state is not State.STREAMING or not self._sending.window:
            moments.append(self._patience.deadline)
        if self.state is State.STREAMING and (due := self._sending.due()) is not None:
            moments.append(due)
        return min(moments, default=None)

    def in_flight(self) -> int:
        return self._sending.in_flight()

    # --- events ---

    def connected(self, now: int, wall: int) -> list[Effect]:
        """There is a link and we are subscribed."""
        self._patience = Patience()
        return self._begin(now, wall)

    def received(self, frame: DownFrame, now: int, wall: int) -> list[Effect]:
        """A sealed frame of the cloud came."""
        self._patience.sign_of_life(now)
        match self.state, frame:
            case State.HELLO_SENT, Challenge() if frame.session == self._handshake.session:
                return self._challenged(frame, now)
            case State.HELLO_SENT, Stale() if frame.nonce in {"", self._handshake.session}:
                self.why = frame.why  # the cloud will not have our hello; the wait for the next one is running
                return []
            case State.RESUME_SENT, Welcome() if frame.nonce == self.nonce and self._handshake.resumed:
                return self._welcomed(frame, now, wall)
            case State.STREAMING, Receipt() if frame.nonce == self.nonce and frame.number > self._number:
                return self._receipt(frame, now, wall)
            case State.STREAMING, Wanted() if frame.nonce == self.nonce:
                self.counters.ignored += not self._sending.want(frame)
                return self._pump(now)
            case State.STREAMING, Reincarnate() if frame.nonce == self.nonce and frame.inc == self.inc:
                return self._turn(frame.why, forked=True)
            case ((State.ADMITTED | State.RESUME_SENT | State.STREAMING), Stale()) if frame.nonce in {"", self.nonce}:
                self.why = frame.why
                return self._begin(now, wall)
            case _:
                self.counters.ignored += 1
                return []

    def holdings(
        self,
        asked: AskHoldings,
        incarnations: Sequence[Incarnation],
        complete: bool,
        now: int,
        backlog: Backlog | None = None,
    ) -> list[Effect]:
        """The store's answer: what it holds of what was asked for, oldest first, the present incarnation last.

        complete: there is nothing beyond it. backlog: of the present incarnation's readings; None: not known.
        """
        if not self._handshake.answered(asked):
            return []
        if self._handshake.far_behind(backlog):
            return self._turn("what is read now does not wait behind the backlog")
        self._sending.name(incarnations)
        self._patience.deadline = now + FIRST_TIMEOUT
        return [self._handshake.resume(incarnations, complete)]

    def turned(self, inc: str, now: int, wall: int) -> list[Effect]:
        """The store has begun a new incarnation, because we asked for it or on its own."""
        if inc == self.inc and self.state is not State.TURNING:
            return []
        resuming = self.state is State.TURNING and not self._handshake.resumed
        self._handshake.turned(inc)
        self.counters.turns += 1
        if self.state is State.OFFLINE:
            return []
        return self._ask(now) if resuming else self._begin(now, wall)

    def fetched(self, asked: Fetch, piece: Piece | None, losses: Sequence[Loss], last: int, now: int) -> list[Effect]:
        """The store's answer to a fetch: the next chunk or none, the losses before it, the newest number."""
        if asked != self._sending.asked:
            return []  # asked in an earlier session: what is sent belongs to this one
        self._sending.asked = None
        lane = self._sending.lanes.get((asked.inc, asked.stream))
        if self.state is not State.STREAMING or lane is None:
            return []
        lane.last = max(lane.last, last)
        if asked.after != lane.sent:  # sent again from the watermark meanwhile
            return self._pump(now)
        if piece is None and not losses:
            lane.sent = lane.last  # nothing there and nothing lost: the store knows what the cloud will say
            return self._pump(now)
        told = self._sending.batch(lane, piece, losses, self.nonce, now)
        return [self._send(told, piece), *self._pump(now)]

    def found(self, asked: FetchAgain, piece: Piece | None, now: int) -> list[Effect]:
        """The store's answer to what is wanted: the first chunk that has any of it, or none."""
        if asked != self._sending.asked:
            return []
        self._sending.asked = None
        if self.state is not State.STREAMING:
            return []
        told = self._sending.batch_again(asked, piece, self.nonce, now)
        return [self._send(told, piece), *self._pump(now)]

    def grown(self, last: Mapping[int, int], now: int) -> list[Effect]:
        """The present incarnation has more: stream → newest number."""
        if self.state is State.STREAMING:
            self._sending.grow(self.inc, last)
        return self._pump(now)

    def unheard(self, now: int) -> list[Effect]:
        """The broker says nobody listens: the cloud is away, the link is well; say hello again in a while."""
        if self.state in {State.ADMITTED, State.RESUME_SENT, State.STREAMING}:
            self._reset()
            self.state = State.HELLO_SENT
        self.why = "nobody listens at the broker; check that the cloud is running and connected to the same broker"
        self._patience.nobody_there(now)
        return []

    def forked(self) -> list[Effect]:
        """The store found that a watermark cannot be about what was made here, and took nothing of it."""
        if self.state in {State.OFFLINE, State.TURNING}:
            return []
        return self._turn(_OUTRUN, forked=True)

    def throttled(self) -> list[Effect]:
        """The broker took a message and threw it away because it limits how much we send: send less at once."""
        self._sending.slow_down()
        return []

    def posting(self, now: int, frame: UpFrame) -> None:
        """A message is handed to the link; `posted` follows when the broker has it. Without these only silence counts."""
        self._patience.posting(now)
        if (lane := self._sending.lane_of(frame, self.nonce)) is not None:
            lane.posting += 1

    def posted(self, now: int, frame: UpFrame) -> None:
        """The broker has taken one."""
        self._patience.posted(now)
        if (lane := self._sending.lane_of(frame, self.nonce)) is not None:
            lane.posting -= 1
            # On a slow line the time-out begins when the chunk is through: sent again before, it would be slower still.
            # A heartbeat's passage says nothing about chunks.
            lane.due = max(lane.due, now + lane.timeout)

    def tick(self, now: int, wall: int) -> list[Effect]:
        """Time has passed; call it a few times a second."""
        if self.state in {State.OFFLINE, State.TURNING}:  # the store answers, or the process ends
            return []
        if (due := self._patience.link_due) is not None and now >= due:
            self.state = State.OFFLINE
            return [
                HangUp(f"for {LINK_TIMEOUT // SECOND} s the link took nothing and brought nothing; check the network")
            ]
        if self.state is State.STREAMING:
            return self._tick_streaming(now, wall)
        if now < self._patience.deadline:
            return []
        if self.state is State.ADMITTED:
            return self._ask(now)
        self._patience.longer()
        return self._hello(now, wall)

    # --- answers of the cloud ---

    def _challenged(self, frame: Challenge, now: int) -> list[Effect]:
        if frame.protocol not in PROTOCOLS:
            self.why = f"the cloud speaks protocol {frame.protocol}, this gateway {PROTOCOLS}; update one of them"
            return []
        self._handshake.nonce = frame.nonce
        self.protocol, self.cloud_key = frame.protocol, frame.public_key
        self._patience.answered()
        if frame.delay_ms <= 0:
            return self._ask(now)
        self.state = State.ADMITTED
        self._patience.deadline = now + min(LONGEST_DELAY, frame.delay_ms * SECOND // 1000)
        return []

    def _ask(self, now: int) -> list[Effect]:
        self.state = State.RESUME_SENT
        self._patience.deadline = now + FIRST_TIMEOUT
        return [self._handshake.ask()]

    def _welcomed(self, frame: Welcome, now: int, wall: int) -> list[Effect]:
        if self._sending.outrun(self.inc, frame.watermarks):
            return self._turn(_OUTRUN, forked=True)
        marks = self._sending.begin(frame.watermarks)
        self.state, self.why, self.identity = State.STREAMING, "", frame.identity
        self._sending.open(frame.window)
        self._patience.deadline = now + STOPPED_WAIT
        # The store must have these before anything is fetched: it may turn a latent loss into a declared one.
        effects: list[Effect] = [Apply(marks, welcome=True)]
        readings = self._sending.lanes.get((self.inc, Stream.FACT))
        if readings is not None and readings.stored < readings.floor:
            # What the readings that follow are read with (their tag dictionary) may be among what neither side has now.
            # A new incarnation begins with it, and goes before what was left behind.
            return effects + self._turn("the cloud lost what was forgotten here; its tags are told anew")
        return effects + self._next_part(now, wall)

    def _receipt(self, frame: Receipt, now: int, wall: int) -> list[Effect]:
        self._number = frame.number
        self.counters.receipts += 1
        self.counters.rejected += len(frame.rejected)
        marks = frame.watermarks
        if self._sending.set_back(marks):
            # None of it is applied: the next welcome says where that cloud really is.
            self.why = "the cloud has less than it had: restored from a backup"
            return self._begin(now, wall)
        if self._sending.outrun(self.inc, marks):
            return self._turn(_OUTRUN, forked=True)
        progress, resent = self._sending.confirm(marks, now)
        self.counters.resent += resent
        if frame.window is not None:
            self._sending.open(frame.window)
        if progress or not self._sending.window:
            self._patience.deadline = now + STOPPED_WAIT
        effects: list[Effect] = []
        if marks or frame.rejected or frame.witnessed:
            effects.append(Apply(marks, frame.rejected, frame.witnessed))
        return effects + self._next_part(now, wall)

    def _next_part(self, now: int, wall: int) -> list[Effect]:
        """Go on; when there are more incarnations than were named, and those named are all there, name the next ones."""
        if self._handshake.named_all or not self._sending.left_behind_is_there():
            return self._pump(now)
        self._patience.begin()
        self._handshake.from_the_next()
        return self._hello(now, wall)

    # --- doing ---

    def _turn(self, why: str, *, forked: bool = False) -> list[Effect]:
        self.state, self.why = State.TURNING, why
        return [Turn(why, forked)]

    def _begin(self, now: int, wall: int) -> list[Effect]:
        """Say hello as often as it takes: the cloud answered, or there is a new link."""
        self._patience.begin()
        self._handshake.from_the_first()
        return self._hello(now, wall)

    def _hello(self, now: int, wall: int) -> list[Effect]:
        if not self._patience.hello(now):
            self.state = State.OFFLINE
            return [HangUp(self.why or "the cloud does not answer; check that it runs and knows this gateway's key")]
        self._reset()
        self.counters.hellos += 1
        self.state = State.HELLO_SENT
        return [self._handshake.hello(wall)]

    def _reset(self) -> None:
        """Forget the session: nothing that was asked or sent in it counts in the next."""
        self._sending.reset()
        self._handshake.reset()
        self._number = 0

    def _tick_streaming(self, now: int, wall: int) -> list[Effect]:
        if now >= self._patience.deadline and not self._sending.window:
            # A receipt that opens the window may be lost on the way: nothing else would ever move us.
            self.why = "the cloud stopped the flow and says nothing more"
            return self._begin(now, wall)
        self._sending.give_up_waiting(now)
        resent = self._sending.resend_late(now)
        if resent is None:
            self.why = "no receipt came in time"
            effects = self._begin(now, wall)
            self._patience.begin(HELLOS_AFTER_SILENCE - 1)  # a half-open link must not be kept
            return effects
        self.counters.resent += resent
        return self._pump(now)

    def _pump(self, now: int) -> list[Effect]:
        """Ask for the next chunk, one at a time, while the window has room."""
        if self.state is not State.STREAMING or self._sending.asked is not None:
            return []
        wanted = self._sending.next(now)
        return [] if wanted is None else [wanted]

    def _send(self, told: Batch, piece: Piece | None) -> Send:
        self.counters.count(told, piece)
        # An older cloud does not know what to do with a chain.
        return Send(told, b"") if piece is None else carrying(told, piece, chained=self.protocol > 1)
