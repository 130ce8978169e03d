"""The uplink: carries the store's chunks to the cloud and takes its receipts, for ever. The protocol is `sync.cursor`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import msgspec

from edge.store import Store
from sync.clock import Clock, backoff
from sync.cursor import (
    Apply,
    AskHoldings,
    Counters,
    Cursor,
    Effect,
    Fetch,
    HangUp,
    Piece,
    Say,
    Send,
    State,
)
from sync.facts import Stream
from sync.frames import MAX_FRAME_BYTES, FrameError, Heartbeat, Hello, Incarnation, Resume, open_down, seal
from sync.topics import Address
from sync.transport import Message, NobodyListensError, Transport, TransportError

log = logging.getLogger(__name__)

TICK_S: Final = 0.25
BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 10.0
STEADY_NS: Final = 30_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkVitals:
    """What the heartbeat says beside the store's numbers."""

    disk_free_bytes: int
    data_at: int | None
    """Newest source time among good readings, ns."""
    sources: Mapping[str, str]
    """Source → connected, connecting or down."""


@dataclass(slots=True)
class UplinkState:
    """How the uplink is, for the page and for metrics."""

    state: str = "offline"
    """offline (no broker), connecting, waiting for the cloud, resuming, streaming."""
    since: int = 0
    """Wall clock when it became so, ns."""
    why: str = ""
    """What to check, when it is not streaming."""
    last_receipt_at: int | None = None
    """Wall clock of the last receipt, ns."""
    attempts: int = 0
    """Connections tried."""
    connects: int = 0
    """Connections that came about."""
    foreign: int = 0
    """Messages that were no frame of our cloud: wrong seal, wrong form."""
    in_flight: int = 0
    counters: Counters = field(default_factory=Counters)


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
) -> None:
    """Keep a session with the cloud until cancelled; `connect` makes a new transport for every attempt.

    The broker and the cloud may come and go: that is waited for here and nowhere else. Raises StoreError.
    """
    seen = state if state is not None else UplinkState()
    waits = backoff(BACKOFF_S, MAX_BACKOFF_S)
    while True:
        began = clock.monotonic()
        _enter(seen, "connecting", seen.why, clock)
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
                    cursor=Cursor(store.incarnation, software, seen.counters),
                )
                await session.run()
        except* TransportError as errors:
            why = str(_first(errors))
            _enter(seen, "offline", why, clock)
        if clock.monotonic() - began > STEADY_NS:
            waits = backoff(BACKOFF_S, MAX_BACKOFF_S)
        await clock.sleep(next(waits))


def _first(errors: BaseExceptionGroup[TransportError]) -> BaseException:
    one: BaseException = errors
    while isinstance(one, BaseExceptionGroup):
        one = cast("BaseExceptionGroup[BaseException]", one).exceptions[0]
    return one


def _enter(seen: UplinkState, state: str, why: str, clock: Clock) -> None:
    """Note a change of state, and say in the log what a person would want to know: once gone, once back."""
    if seen.state == state and seen.why == why:
        return
    was = seen.state
    if state == "offline" and why != seen.why:
        log.warning("uplink down: why=%s; judging goes on, facts wait on disk", why)
    elif state == "waiting for the cloud" and why and why != seen.why:
        log.warning("uplink waits: why=%s", why)
    elif state == "streaming" and was != state:
        log.info("uplink streaming: connects=%d", seen.connects)
    if was != state:
        seen.since = clock.now()
    seen.state, seen.why = state, why


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
    tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    beat_due: int = 0

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
                try:
                    frame = open_down(message.payload, self.key)
                except FrameError as error:
                    if self.seen.foreign == 0:
                        log.warning("foreign message on %s: %s; check that both sides have the same key (said once)",
                                    message.topic, error)  # fmt: skip
                    self.seen.foreign += 1
                    continue
                before = self.seen.counters.receipts
                effects = self.cursor.received(frame, self.clock.monotonic(), self.clock.now())
                if self.seen.counters.receipts > before:
                    self.seen.last_receipt_at = self.clock.now()
                self._do(effects)

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
            if self.cursor.state is State.STREAMING and now >= self.beat_due:
                self.beat_due = now + round(self.heartbeat_s * 1e9)
                self.tasks.create_task(self._beat(), name="uplink heartbeat")
            await self.clock.sleep(min(TICK_S, self.heartbeat_s))

    def _grow(self) -> None:
        last = {int(stream): number for stream, number in self.store.last.items()}
        self._do(self.cursor.grown(last))

    # --- effects ---

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say():
                    self.tasks.create_task(self._say(effect.frame), name="uplink say")
                case AskHoldings():
                    self.tasks.create_task(self._ask(), name="uplink holdings")
                case Fetch():
                    self.tasks.create_task(self._fetch(effect), name="uplink fetch")
                case Send():
                    self.tasks.create_task(self._send(effect), name="uplink send")
                case Apply():
                    self.tasks.create_task(self.store.apply(effect.watermarks, effect.rejected), name="uplink apply")
                case HangUp():
                    raise TransportError(effect.why)
        self.seen.in_flight = self.cursor.in_flight()
        _enter(self.seen, self.cursor.state.value, self.cursor.why, self.clock)

    async def _say(self, frame: Hello | Resume) -> None:
        await self._publish("ctl", seal(frame, self.key))

    async def _send(self, effect: Send) -> None:
        await self._publish(f"b/{effect.frame.stream}", seal(effect.frame, self.key, effect.body))

    async def _publish(self, what: str, message: bytes) -> None:
        try:
            await self.transport.publish(self.address.up(what), message)
        except NobodyListensError:
            self._do(self.cursor.unheard(self.clock.monotonic()))

    async def _ask(self) -> None:
        held, complete = await self._holdings()
        self._do(self.cursor.holdings(held, complete, self.clock.monotonic()))

    async def _holdings(self) -> tuple[list[Incarnation], bool]:
        """Give as much as fits a frame; after many restarts offline the rest is named when the first part is done."""
        limit = 128
        while True:
            held, complete = await self.store.holdings(limit)
            if limit <= 2 or len(msgspec.json.encode(held)) < MAX_FRAME_BYTES // 2:
                return held, complete
            limit //= 2

    async def _fetch(self, asked: Fetch) -> None:
        found = await self.store.next_chunk(asked.inc, Stream(asked.stream), asked.after)
        chunk = found.chunk
        piece = None if chunk is None else Piece(chunk.first, chunk.count, chunk.digest, chunk.body)
        self._do(self.cursor.fetched(asked, piece, found.losses, found.last, self.clock.monotonic()))

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
            await self._publish("hb", seal(frame, self.key))
