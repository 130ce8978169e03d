"""The uplink: carries the store's chunks to the cloud and takes its receipts, for ever. The protocol is `sync.cursor`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import msgspec

from edge.cloud_key import CHECKPOINT, CloudKey
from edge.link_state import UplinkState, UplinkVitals, enter, full_jitter
from edge.store import Store, StoredChunk
from sync import failpoint
from sync.chain import statement
from sync.clock import Clock
from sync.cursor import Cursor
from sync.effects import (
    Apply,
    AskHoldings,
    Effect,
    Fetch,
    FetchAgain,
    HangUp,
    Piece,
    Say,
    Send,
    State,
    Turn,
)
from sync.facts import Stream
from sync.frames import (
    MAX_FRAME_BYTES,
    Challenge,
    Command,
    DownFrame,
    FrameError,
    Heartbeat,
    Hello,
    Incarnation,
    Offer,
    Resume,
    UnknownFrameError,
    UpFrame,
    Witness,
    open_down,
    seal,
)
from sync.signing import Signer
from sync.topics import Address
from sync.transport import Message, NobodyListensError, QuotaError, Transport, TransportError

log = logging.getLogger(__name__)

TICK_S: Final = 0.25
STEADY_NS: Final = 30_000_000_000
MAX_NAMED: Final = 128
"""Incarnations in one resume, if they fit a frame."""


async def run_uplink(  # noqa: PLR0917 - each is a different kind of thing; mixing two up does not type-check
    store: Store,
    connect: Callable[[], Transport],
    address: Address,
    key: bytes,
    clock: Clock,
    health: Callable[[], UplinkVitals],
    *,
    state: UplinkState | None = None,
    heartbeat_s: float = 5.0,
    software: str = "",
    box: str = "",
    signer: Signer | None = None,
    backlog_bytes_s: int | None = None,
    on_offset: Callable[[int], None] = lambda _ms: None,
    on_offer: Callable[[Offer], None] = lambda _offer: None,
    on_command: Callable[[Command], None] = lambda _command: None,
) -> None:
    """Keep a session with the cloud until cancelled; `connect` makes a new transport for every attempt.

    The broker and the cloud may come and go: that is waited for here and nowhere else. box: see `edge.box`. signer: signs
    what is sent. backlog_bytes_s: how fast what earlier starts left behind may go. on_offset: told at every challenge how
    many ms our clock is ahead of the cloud's. on_offer: told of packages to fetch. on_command: told of
    commands, unproven. Raises StoreError.
    """
    seen = state if state is not None else UplinkState()
    cloud_key = CloudKey(store.checkpoint(CHECKPOINT))
    waits = full_jitter()
    while True:
        wait_s, session = 0.0, None
        enter(seen, "connecting", seen.why, clock)
        seen.attempts += 1
        try:
            async with connect() as transport:
                seen.connects += 1
                session = _Session(
                    store=store,
                    transport=transport,
                    address=address,
                    key=key,
                    clock=clock,
                    health=health,
                    seen=seen,
                    heartbeat_s=heartbeat_s,
                    cursor=Cursor(
                        store.incarnation,
                        software,
                        seen.counters,
                        token=lambda: secrets.token_hex(8),
                        box=box,
                        public_key="" if signer is None else signer.public_key.hex(),
                        backlog_bytes_s=backlog_bytes_s,
                    ),
                    cloud_key=cloud_key,
                    signer=signer,
                    on_offset=on_offset,
                    on_offer=on_offer,
                    on_command=on_command,
                )
                await session.run()
        except* TransportError as errors:
            error = _first(errors)
            wait_s = error.wait_s if isinstance(error, TransportError) else 0.0
            enter(seen, "offline", str(error), clock)
        if session is not None and session.steady:
            waits = full_jitter()
        await clock.sleep(max(next(waits), wait_s * random.uniform(1, 1.5)))  # noqa: S311 - spreading, not a secret


def _first(errors: BaseExceptionGroup[TransportError]) -> BaseException:
    one: BaseException = errors
    while isinstance(one, BaseExceptionGroup):
        one = cast("BaseExceptionGroup[BaseException]", one).exceptions[0]
    return one


@dataclass(slots=True, kw_only=True)
class _Session:
    """One connection: the cursor's effects carried out."""

    store: Store
    transport: Transport
    address: Address
    key: bytes
    clock: Clock
    health: Callable[[], UplinkVitals]
    seen: UplinkState
    heartbeat_s: float
    cursor: Cursor
    cloud_key: CloudKey
    signer: Signer | None
    on_offset: Callable[[int], None]
    on_offer: Callable[[Offer], None]
    on_command: Callable[[Command], None]
    tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    beat_due: int = 0
    steady: bool = False
    """It has been streaming for so long that the next loss is a new story."""
    streaming_since: int | None = None
    welcomed: asyncio.Task[None] | None = None
    """Lets the store take the welcome; nothing is fetched before it has."""

    async def run(self) -> None:
        """Serve until the link is gone; raises TransportError (in a group), StoreError."""
        async with self.tasks:
            self.tasks.create_task(self._listen(), name="uplink listen")
            self.tasks.create_task(self._watch_store(), name="uplink store")
            self.tasks.create_task(self._keep_time(), name="uplink time")
            self._do(self.cursor.connected(self.clock.monotonic(), self.clock.now()))

    async def _listen(self) -> None:
        messages = self.transport.messages()
        async with contextlib.aclosing(cast("AsyncGenerator[Message]", messages)) as arriving:
            async for message in arriving:
                frame = self._open(message)
                if frame is None:
                    continue
                before = self.seen.counters.receipts
                effects = self.cursor.received(frame, self.clock.monotonic(), self.clock.now())
                if self.seen.counters.receipts > before:
                    self.seen.last_receipt_at = self.clock.now()
                if isinstance(frame, Challenge) and frame.nonce == self.cursor.nonce:
                    self._meet(frame)
                elif isinstance(frame, Offer) and frame.nonce == self.cursor.nonce:
                    self.on_offer(frame)
                elif isinstance(frame, Command) and frame.nonce == self.cursor.nonce:
                    self.on_command(frame)
                self._do(effects)

    def _open(self, message: Message) -> DownFrame | None:
        """Open a message; what is no frame of our cloud, or none that we know, is counted and said once."""
        try:
            if message.retained:
                raise FrameError("kept by the broker from before; nothing of ours is")  # noqa: TRY301 - one way out
            return open_down(message.payload, self.key)
        except UnknownFrameError as error:
            if self.seen.unknown == 0:
                log.warning("unknown frame on %s: %s; update this gateway (said once)", message.topic, error)
            self.seen.unknown += 1
        except FrameError as error:
            if self.seen.foreign == 0:
                log.warning("foreign message on %s: %s; check that both sides have the same key (said once)",
                            message.topic, error)  # fmt: skip
            self.seen.foreign += 1
        return None

    def _meet(self, frame: Challenge) -> None:
        """Take what a challenge says about the cloud itself."""
        self.on_offset((self.clock.now() - frame.wall) // 1_000_000)
        fact = self.cloud_key.meet(frame.public_key, self.clock.now())
        self.seen.cloud_key, self.seen.cloud_key_changed = self.cloud_key.now, self.cloud_key.changed
        self.seen.cloud_key_kept = self.cloud_key.kept
        if fact is None:
            return
        if self.cloud_key.changed:
            log.error("the cloud countersigns with another key: now=%s kept=%s; was it moved or restored without its key?",
                      self.cloud_key.now, self.cloud_key.kept)  # fmt: skip
        kept = self.store.commit(facts=[fact], checkpoints={CHECKPOINT: self.cloud_key.checkpoint()})
        self.tasks.create_task(kept, name="uplink cloud key")

    async def _watch_store(self) -> None:
        while True:
            await self.store.grown.wait()
            self.store.grown.clear()
            self._grow()

    async def _keep_time(self) -> None:
        while True:
            now = self.clock.monotonic()
            self._do(self.cursor.tick(now, self.clock.now()))
            self._grow()  # what was committed while the session was being made
            streaming = self.cursor.state is State.STREAMING
            self.streaming_since = (self.streaming_since or now) if streaming else None
            self.steady = self.steady or (streaming and now - (self.streaming_since or now) > STEADY_NS)
            if streaming and now >= self.beat_due:
                self.beat_due = now + round(self.heartbeat_s * 1e9)
                self.tasks.create_task(self._beat(), name="uplink heartbeat")
            await self.clock.sleep(min(TICK_S, self.heartbeat_s))

    def _grow(self) -> None:
        if self.store.incarnation != self.cursor.inc:  # it turned; the numbers are those of another incarnation
            if self.cursor.state is not State.TURNING:
                self._do(self.cursor.turned(self.store.incarnation, self.clock.monotonic(), self.clock.now()))
            return
        last = {int(stream): number for stream, number in self.store.last.items()}
        self._do(self.cursor.grown(last, self.clock.monotonic()))

    # --- effects ---

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say():
                    self.tasks.create_task(self._say(effect.frame), name="uplink say")
                case AskHoldings():
                    self.tasks.create_task(self._ask(effect), name="uplink holdings")
                case Fetch():
                    self.tasks.create_task(self._fetch(effect), name="uplink fetch")
                case FetchAgain():
                    self.tasks.create_task(self._fetch_again(effect), name="uplink fetch again")
                case Send():
                    self.tasks.create_task(self._send(effect), name="uplink send")
                case Apply():
                    task = self.tasks.create_task(self._apply(effect), name="uplink apply")
                    self.welcomed = task if effect.welcome else self.welcomed
                case Turn():
                    self.tasks.create_task(self._turn(effect), name="uplink turn")
                case HangUp():
                    raise TransportError(effect.why)
        cursor, seen = self.cursor, self.seen
        seen.in_flight, seen.protocol = cursor.in_flight(), cursor.protocol
        if seen.identity != cursor.identity:
            log.warning("identity: was=%s now=%s", seen.identity, cursor.identity)
            seen.identity = cursor.identity
        enter(seen, cursor.state.value, cursor.why, self.clock)

    async def _say(self, frame: Hello | Resume) -> None:
        await self._publish("ctl", frame)

    async def _send(self, effect: Send) -> None:
        frame = effect.frame
        if effect.link and self.signer is not None:
            end = frame.first + frame.count - 1
            told = statement(str(self.address), (frame.inc, frame.stream), end, effect.link)
            frame = msgspec.structs.replace(frame, signature=self.signer.sign(told).hex())
        failpoint.reach("edge.before_publish")
        await self._publish(f"b/{frame.stream}", frame, effect.body)
        failpoint.reach("edge.after_publish")

    async def _publish(self, what: str, frame: UpFrame, body: bytes = b"") -> None:
        message, effects = seal(frame, self.key, body), list[Effect]()
        self.cursor.posting(self.clock.monotonic(), frame)
        try:
            await self.transport.publish(self.address.up(what), message)
        except NobodyListensError:
            effects = self.cursor.unheard(self.clock.monotonic())
        except QuotaError as error:
            log.warning("uplink slows down: why=%s", error)
            effects = self.cursor.throttled()
        finally:
            self.cursor.posted(self.clock.monotonic(), frame)
        self._do(effects)

    async def _apply(self, effect: Apply) -> None:
        foreign = await self.store.apply(effect.watermarks, effect.rejected, self._proven(effect.witnessed))
        if foreign:
            self._do(self.cursor.forked())

    def _proven(self, witnessed: Sequence[Witness]) -> list[Witness]:
        proven = [one for one in witnessed if self.cloud_key.signed(self.address, one)]
        self.seen.unproven += len(witnessed) - len(proven)
        return proven

    async def _turn(self, effect: Turn) -> None:
        inc = await self.store.turn(effect.why, forked=effect.forked)
        self._do(self.cursor.turned(inc, self.clock.monotonic(), self.clock.now()))

    async def _ask(self, asked: AskHoldings) -> None:
        backlog = await self.store.backlog()
        held, complete = await self._holdings(asked.after, done=True)
        self._do(self.cursor.holdings(asked, held, complete, self.clock.monotonic(), backlog))

    async def _holdings(self, after: int = 0, *, done: bool = False) -> tuple[list[Incarnation], bool]:
        """Give as much as fits a frame; after many restarts offline the rest is named when the first part is done."""
        limit = MAX_NAMED
        while True:
            held, complete = await self.store.holdings(limit, after, done=done)
            if limit <= 2 or len(msgspec.json.encode(held)) < MAX_FRAME_BYTES // 2:
                return held, complete
            limit //= 2

    async def _fetch(self, asked: Fetch) -> None:
        if self.welcomed is not None:
            await self.welcomed
        found = await self.store.next_chunk(asked.inc, Stream(asked.stream), asked.after)
        effects = self.cursor.fetched(asked, _piece(found.chunk), found.losses, found.last, self.clock.monotonic())
        self._do(effects)

    async def _fetch_again(self, asked: FetchAgain) -> None:
        found = await self.store.kept(asked.inc, Stream(asked.stream), asked.first, asked.last, 1)
        self._do(self.cursor.found(asked, _piece(found[0] if found else None), self.clock.monotonic()))

    async def _beat(self) -> None:
        held, _ = await self._holdings()
        counts, vitals = self.store.counts(), self.health()
        frame = Heartbeat(
            nonce=self.cursor.nonce,
            inc=self.store.incarnation,
            wall=self.clock.now(),
            holdings=held,
            waiting=counts.waiting,
            waiting_bytes=counts.waiting_bytes,
            oldest_at=counts.oldest_at,
            lost=counts.lost,
            produced=counts.produced,
            disk_free_bytes=vitals.disk_free_bytes,
            autonomy_hours=counts.autonomy_hours,
            data_at=vitals.data_at,
            sources=dict(vitals.sources),
        )
        if self.cursor.state is State.STREAMING:
            # Lossy by intent, yet with QoS 1: its PUBACK says when the cloud is no longer listening.
            await self._publish("hb", frame)


def _piece(chunk: StoredChunk | None) -> Piece | None:
    if chunk is None:
        return None
    return Piece(chunk.first, chunk.count, chunk.digest, chunk.body, chunk.before, chunk.link)
