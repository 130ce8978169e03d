"""A gateway's uplink in the simulation: the effects of the product's cursor carried out by events instead of tasks.

The order is the one of edge/uplink.py: the store does one thing after the other, whatever the session does meanwhile;
what a store's answer belongs to a session that is no more is dropped; what was handed to the wire is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from edge.store.rows import StoredChunk
from sync.chain import statement
from sync.cursor import Cursor
from sync.effects import Apply, AskHoldings, Effect, Fetch, FetchAgain, HangUp, Piece, Say, Send, State, Turn
from sync.facts import Stream
from sync.frames import FrameError, Heartbeat, Reincarnate, Wanted, open_down, seal
from sync.signing import genuine
from tests.campaign.simulation.broker import Link
from tests.campaign.simulation.cloud import brief
from tests.campaign.simulation.installation import KEY
from tests.campaign.simulation.older import as_protocol_1
from tests.campaign.simulation.plan import MS
from tests.campaign.simulation.world import ViolationError

if TYPE_CHECKING:
    from tests.campaign.simulation.gateway import Box

TICK = 250 * MS


class Session:
    """One connection of one process."""

    def __init__(self, box: Box, life: int, cursor: Cursor) -> None:
        self.box, self.life, self.cursor = box, life, cursor
        self.link = Link(box.client, box.where, box.address, self.arrived, self.ended)
        self.open = True
        self._tick_at = 0

    @property
    def world(self) -> Any:
        return self.box.world

    def current(self) -> bool:
        """Tell whether this is still the session of a process that lives."""
        return self.open and self.box.life == self.life and self.box.session is self

    def begin(self) -> None:
        clock = self.box.clock
        self.do(self.cursor.connected(clock.monotonic(), clock.now()))
        self.beat()

    # --- what happens ---

    def arrived(self, topic: str, payload: bytes) -> None:
        """A message of the cloud came."""
        if not self.current():
            return
        try:
            frame = open_down(payload, KEY)
        except FrameError:
            return
        if self.box.old:
            if isinstance(frame, Wanted | Reincarnate) and frame.nonce == self.cursor.nonce:
                raise ViolationError(f"a gateway of protocol 1 is sent a {type(frame).__name__}, which it cannot read")
            frame = as_protocol_1(frame)
        self.world.say(self.box.name, f"← {brief(frame)}")
        clock = self.box.clock
        self.do(self.cursor.received(frame, clock.monotonic(), clock.now()))

    def ended(self, why: str) -> None:
        """The link is gone."""
        if self.open:
            self.open = False
            if self.box.life == self.life and self.box.session is self:
                self.world.say(self.box.name, f"link lost: {why}")
                self.box.session = None
                self.box.connect_later()

    def tick(self, when: int) -> None:
        """Time has passed; only when the cursor waits for it."""
        if self.current() and self._tick_at == when:
            self._tick_at = 0
            clock = self.box.clock
            self.do(self.cursor.tick(clock.monotonic(), clock.now()))

    def _wait(self) -> None:
        """Have time pass by the cursor when it has something to do then."""
        due = self.box.due(self.cursor)
        if due is None:
            return
        when = max(self.world.now + TICK, due - self.box.clock.monotonic() + self.world.now)
        if not self._tick_at or when < self._tick_at:
            self._tick_at = when
            self.world.at(when, self.tick, when)

    def grown(self) -> None:
        """The store has more."""
        if self.current():
            last = {int(stream): number for stream, number in self.box.outbox.last.items()}
            self.do(self.cursor.grown(last, self.box.clock.monotonic()))

    def turned(self, inc: str) -> None:
        """The store has begun a new incarnation."""
        if self.current():
            clock = self.box.clock
            self.do(self.cursor.turned(inc, clock.monotonic(), clock.now()))

    # --- effects ---

    def do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say():
                    self.publish("ctl", effect.frame)
                case AskHoldings():
                    self.box.ask(self._holdings, effect)
                case Fetch():
                    self.box.ask(self._fetch, effect)
                case FetchAgain():
                    self.box.ask(self._fetch_again, effect)
                case Send():
                    self._send(effect)
                case Apply():
                    self.box.ask(self._apply, effect)
                case Turn():
                    self.box.ask(self.box.turn, effect.why, effect.forked)
                case HangUp():
                    self.box.broker.leave(self.link)
                    self.ended(effect.why)
                    return
        if self.current():
            self._wait()

    def _send(self, effect: Send) -> None:
        frame = effect.frame
        if effect.link:
            lane, end = (frame.inc, frame.stream), frame.first + frame.count - 1
            said = statement(str(self.box.address), lane, end, effect.link)
            frame = msgspec.structs.replace(frame, signature=self.box.signer.sign(said).hex())
        self.publish(f"b/{frame.stream}", frame, effect.body)

    def publish(self, what: str, frame: Any, body: bytes = b"") -> None:
        """Seal and send."""
        frame, body = self.box.outgoing(frame, body)
        self.world.say(self.box.name, f"→ {brief(frame)}")
        self.cursor.posting(self.box.clock.monotonic(), frame)
        self.box.broker.publish(self.link, self.box.address.up(what), seal(frame, KEY, body), self._acknowledged(frame))

    def _acknowledged(self, frame: Any) -> Callable[[str], None]:
        def settle(how: str) -> None:
            if not self.current():
                return
            self.cursor.posted(self.box.clock.monotonic(), frame)
            if how == "nobody":
                self.do(self.cursor.unheard(self.box.clock.monotonic()))
            else:
                self.box.published(self, frame)
                self._wait()

        return settle

    def _holdings(self, asked: AskHoldings) -> None:
        held, complete = self.box.named(asked.after, done=True)
        if self.current():
            self.do(self.cursor.holdings(asked, held, complete, self.box.clock.monotonic(), self.box.backlog()))

    def _fetch(self, asked: Fetch) -> None:
        found = self.box.outbox.next_chunk(asked.inc, Stream(asked.stream), asked.after)
        if self.current():
            piece = _piece(found.chunk)
            self.do(self.cursor.fetched(asked, piece, found.losses, found.last, self.box.clock.monotonic()))

    def _fetch_again(self, asked: FetchAgain) -> None:
        found = self.box.outbox.kept(asked.inc, Stream(asked.stream), asked.first, asked.last, 1)
        if self.current():
            self.do(self.cursor.found(asked, _piece(found[0] if found else None), self.box.clock.monotonic()))

    def _apply(self, effect: Apply) -> None:
        public = bytes.fromhex(self.cursor.cloud_key)
        witnessed = [
            one
            for one in effect.witnessed
            if genuine(
                public,
                statement(str(self.box.address), (one.inc, one.stream), one.seq, bytes.fromhex(one.link), one.at),
                bytes.fromhex(one.signature),
            )
        ]
        if self.box.apply(effect, witnessed) and self.current():
            self.do(self.cursor.forked())

    def beat(self) -> None:
        """Say how it goes, every so often."""
        if not self.current():
            return
        self.world.after(self.box.world.plan.heartbeat, self.beat)
        if self.cursor.state is not State.STREAMING:
            return
        outbox, clock = self.box.outbox, self.box.clock
        held, _ = self.box.named(0)
        frame = Heartbeat(
            nonce=self.cursor.nonce, inc=outbox.incarnation, wall=clock.now(), holdings=held, waiting=0, waiting_bytes=0,
            oldest_at=None, lost=0, produced=0, disk_free_bytes=1, autonomy_hours=None, data_at=None, sources={},
        )  # fmt: skip
        self.publish("hb", frame)


def _piece(chunk: StoredChunk | None) -> Piece | None:
    return (
        None if chunk is None else Piece(chunk.first, chunk.count, chunk.digest, chunk.body, chunk.before, chunk.link)
    )
