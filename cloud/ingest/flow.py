"""The listening side: frames in, transactions, receipts out; one broker connection, found again whenever it is lost.

Three tasks: `_listen` hands messages to the door and queues what has to be stored, `_store` gathers what is waiting
into one transaction, `_answer` publishes. The broker's acknowledgements mean nothing here: what is lost on the way, in
a queue or with this process is sent again from the watermark.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

from cloud.bus import Bus
from cloud.database import Database, DatabaseError, DataError, TryAgainError
from cloud.ingest.door import WINDOW, Door, Say
from cloud.ingest.fair import FairQueue, Quota, records
from cloud.ingest.items import Committed, Item
from cloud.ingest.metrics import Metrics
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import failpoint
from sync.clock import WallClock, backoff
from sync.frames import Batch
from sync.signing import Signer
from sync.transport import NobodyListensError, Transport, TransportError

log = logging.getLogger(__name__)

GATHER_S: Final = 0.02
MAX_RECORDS_AT_ONCE: Final = 10_000
MAX_ITEMS_AT_ONCE: Final = 256
FULL: Final = 2_000
"""Items that wait: from here on gateways may have only one chunk on its way each."""
SLOW_S: Final = 2.0
"""… and likewise when a transaction takes this long."""
OUTBOX: Final = 8_192
PUBLISHES: Final = 64
"""Messages handed to the broker and not acknowledged yet."""
AGAIN: Final = 6
"""Times that a transaction which another one got in the way of is tried anew, before the database counts as broken."""
MAX_BACKOFF_S: Final = 10.0
STEADY_S: Final = 30.0
"""A connection that held this long starts again with a short wait."""
SAID_ONCE: Final = 1_000

_POISON: Final = (
    DataError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    sqlite3.ProgrammingError,
)
"""What one impossible chunk may make the storing side raise: it is set aside, and the others go on."""


class Flow:
    """Ingest of one process: a door, queues, and what was said already."""

    def __init__(
        self, database: Database, plants: Plants, bus: Bus, metrics: Metrics, signer: Signer | None = None
    ) -> None:
        self._database = database
        self._bus = bus
        self._metrics = metrics
        clock, limits = WallClock(), plants.file.ingest
        self._ingest = Ingest(plants, clock, signer)
        self._door = Door(
            plants.keys,
            clock=clock,
            token=lambda: secrets.token_hex(16),
            note=self._note,
            public_key="" if signer is None else signer.public_key.hex(),
            hellos_per_s=limits.hellos_per_s,
            quota=Quota(limits.messages_per_s, limits.bytes_per_s),
        )
        self._said: dict[str, None] = {}
        self._inbox = FairQueue()
        self._several = True
        """Whether the last transaction had company."""
        self._something = asyncio.Event()
        self._outbox: asyncio.Queue[Say] = asyncio.Queue(OUTBOX)
        self._database_broken = False
        self.broker = "connecting"
        """How the connection to the broker is, in words."""

    async def run(self, connect: Callable[[], Transport]) -> None:
        """Listen for ever; `connect` makes a new transport for every attempt."""
        waits = backoff(0.5, MAX_BACKOFF_S)
        while True:
            began, wait_s = time.monotonic(), 0.0
            try:
                async with connect() as transport:
                    log.info("broker connected")
                    self.broker = "connected"
                    await self._serve(transport)
            except* TransportError as errors:
                first = _first(errors)
                why, wait_s = str(first), getattr(first, "wait_s", 0.0) * random.uniform(1.0, 1.5)  # noqa: S311 - spreading
                if self.broker != why:
                    log.warning("no broker: %s; pages and API go on, trying again", why)
                self.broker = why
            if time.monotonic() - began > STEADY_S:
                waits = backoff(0.5, MAX_BACKOFF_S)
            await asyncio.sleep(max(next(waits), wait_s))

    async def _serve(self, transport: Transport) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(transport), name="ingest listen")
            tasks.create_task(self._store(), name="ingest store")
            tasks.create_task(self._answer(transport), name="ingest answer")

    # --- in ---

    async def _listen(self, transport: Transport) -> None:
        messages = transport.messages()
        async with aclosing(messages) as arriving:  # pyright: ignore[reportArgumentType] - an async generator in all but name
            async for message in arriving:
                self._metrics.messages.inc()
                if message.retained:  # genuine or not, it is of before: some brokers give it whatever one asks for
                    self._note("retained", f"a message kept by the broker on {message.topic}")
                    continue
                for one in self._door.take(message.topic, message.payload):
                    if isinstance(one, Say):
                        self._say(one)
                    else:
                        self._queue(one)

    def _queue(self, item: Item) -> None:
        if self._inbox.put(item):
            self._something.set()
        else:  # it sends again from the watermark
            self._metrics.full.inc()

    def _note(self, kind: str, what: str) -> None:
        if kind == "stale":
            self._metrics.stale.inc()
            return
        self._metrics.foreign.labels(kind).inc()
        if what not in self._said and len(self._said) < SAID_ONCE:
            self._said[what] = None
            log.warning("foreign message, nothing stored (said once, counted always): %s", what)

    # --- storing ---

    async def _store(self) -> None:
        while True:
            await self._settle(await self._gather())

    async def _settle(self, items: Sequence[Item]) -> None:
        """Store items, however long the database is away; chunks carry their keys, so trying again is never wrong."""
        tries = 0
        while True:
            try:
                await self._commit(items)
            except _POISON as error:
                if not isinstance(error, DataError):
                    log.exception("a chunk cannot be processed; looking for it")
                await self._one_by_one(items)
            except TryAgainError as error:
                self._ingest.forget()
                tries += 1
                if tries < AGAIN:
                    await asyncio.sleep(random.uniform(0, 0.02 * 2**tries))  # noqa: S311 - spreading, not a secret
                    continue
                tries = 0
                await self._broken(error)
                continue
            except DatabaseError as error:
                await self._broken(error)
                tries += 1
                if tries >= 2 and len(items) > 1:  # perhaps it is too much at once
                    await self._settle(items[: len(items) // 2])
                    await self._settle(items[len(items) // 2 :])
                    return
                continue
            return

    async def _broken(self, error: DatabaseError) -> None:
        self._ingest.forget()
        if not self._database_broken:
            log.warning("database cannot store; gateways keep what they have and wait: %s", error)
            for say in self._door.throttle(0):
                self._say(say)
        self._database_broken = True
        await asyncio.sleep(1.0)

    async def _gather(self) -> list[Item]:
        """Give what is waiting, and what comes within a moment: small transactions are dear.

        Nobody is waited for while they come one at a time: a gateway with one chunk on its way would wait for itself.
        """
        wait_s = GATHER_S if self._several else 0.0
        items: list[Item] = []
        weight, deadline = 0, 0.0
        while weight < MAX_RECORDS_AT_ONCE and len(items) < MAX_ITEMS_AT_ONCE:
            if (item := self._inbox.take()) is not None:
                deadline = deadline or time.monotonic() + wait_s
                items.append(item)
                weight += records(item)
                continue
            self._something.clear()
            left = None if not items else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await self._something.wait()
            except TimeoutError:
                break
        self._several = len(items) > 1
        return items

    async def _one_by_one(self, items: Sequence[Item]) -> None:
        """Find the item that the database refuses, and set that one aside."""
        self._ingest.forget()
        for item in items:
            try:
                await self._commit([item])
            except _POISON as error:
                self._ingest.forget()
                if not isinstance(item.frame, Batch):
                    self._note("header", f"gateway {item.address}: the database refuses its numbers: {error}")
                    continue
                why = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
                refused = Item(item.address, item.frame, item.body, refused=why)
                try:
                    await self._commit([refused])
                except _POISON as again:
                    self._ingest.forget()
                    self._note("header", f"gateway {item.address}: the database refuses its numbers: {again}")

    async def _commit(self, items: Sequence[Item]) -> None:
        began = time.monotonic()
        done = await self._database.write(lambda connection: self._ingest.store(connection, items))
        seconds = time.monotonic() - began
        if done.chunks:
            failpoint.reach("cloud.after_commit_before_receipt")
        if any(answer.welcome for answer in done.answers.values()):
            failpoint.reach("cloud.after_welcome")
        self._pace(seconds)
        self._metrics.committed(done, seconds)
        self._report(done)
        for say in self._door.told(done):
            self._say(say)
        for tenant, values in done.newest.items():
            self._bus.readings(tenant, values)
        self._bus.changed.set()

    def _pace(self, seconds: float) -> None:
        """Let gateways have as many chunks on their way as we can take. seconds: how long the last transaction took."""
        load = max(len(self._inbox) / FULL, seconds / SLOW_S)
        window = max(1, round(WINDOW * (1 - load)))
        if self._database_broken:
            log.info("database stores again")
            self._database_broken = False
            for say in self._door.throttle(window):
                self._say(say)
        self._door.window = window

    def _report(self, done: Committed) -> None:
        for what in done.conflicts:
            log.error("conflict, kept apart: %s; was this gateway cloned or its disk restored?", what)
        for what in done.dead_letters:
            log.error("chunk set aside in dead_letter: %s", what)
        for what in done.findings:
            log.error("chain broken: %s; kept all the same", what)
        for kind, what in done.events:
            log.log(logging.INFO if kind == "started" else logging.WARNING, "gateway %s", what)
        for what in done.lost:
            log.warning("declared lost: %s", what)

    # --- out ---

    def _say(self, say: Say) -> None:
        try:
            self._outbox.put_nowait(say)
        except asyncio.QueueFull:  # the gateway asks again
            self._metrics.unanswered.inc()

    async def _answer(self, transport: Transport) -> None:
        """Publish answers in their order, without waiting for each to be acknowledged: a broker may be far away."""
        room = asyncio.Semaphore(PUBLISHES)
        async with asyncio.TaskGroup() as tasks:
            while True:
                say = await self._outbox.get()
                await room.acquire()
                tasks.create_task(self._publish(transport, say, room), name="ingest publish")

    async def _publish(self, transport: Transport, say: Say, room: asyncio.Semaphore) -> None:
        try:
            await transport.publish(say.topic, self._door.seal(say), expiry_s=say.expiry_s)
        except NobodyListensError:  # it went away meanwhile, and resumes when it is back
            self._metrics.unanswered.inc()
        finally:
            room.release()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
