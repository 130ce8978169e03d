"""The listening side: frames in, transactions, receipts out; one broker connection, found again whenever it is lost.

Three tasks and two bounded queues: `_listen` hands messages to the door and takes on what has to be stored, `_store`
gathers what is waiting into one transaction, `_answer` publishes. The broker's acknowledgements mean nothing here: what
is lost on the way, in a queue or with this process is sent again from the watermark.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from cloud.bus import Bus
from cloud.database import Database, DatabaseError, DataError
from cloud.ingest.door import Door, Say
from cloud.ingest.items import Committed, Item
from cloud.ingest.metrics import Metrics
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import failpoint
from sync.clock import WallClock, backoff
from sync.frames import Batch
from sync.transport import NobodyListensError, Transport, TransportError

log = logging.getLogger(__name__)

GATHER_S: Final = 0.02
MAX_RECORDS_AT_ONCE: Final = 10_000
MAX_ITEMS_AT_ONCE: Final = 256
QUEUE: Final = 256
MAX_BACKOFF_S: Final = 10.0
STEADY_S: Final = 30.0
"""A connection that held this long starts again with a short wait."""
SAID_ONCE: Final = 1_000


class Flow:
    """Ingest of one process: a door, queues, and what was said already."""

    def __init__(self, database: Database, plants: Plants, bus: Bus, metrics: Metrics) -> None:
        self._database = database
        self._bus = bus
        self._metrics = metrics
        clock = WallClock()
        self._ingest = Ingest(plants, clock)
        self._door = Door(plants.keys, clock=clock, token=lambda: secrets.token_hex(16), note=self._note)
        self._said: dict[str, None] = {}
        self._inbox: asyncio.Queue[Item] = asyncio.Queue(QUEUE)
        self._outbox: asyncio.Queue[Say] = asyncio.Queue(QUEUE * 4)
        self._database_broken = False
        self.broker = "connecting"
        """How the connection to the broker is, in words."""

    async def run(self, connect: Callable[[], Transport]) -> None:
        """Listen for ever; `connect` makes a new transport for every attempt."""
        waits = backoff(0.5, MAX_BACKOFF_S)
        while True:
            began = time.monotonic()
            try:
                async with connect() as transport:
                    log.info("broker connected")
                    self.broker = "connected"
                    await self._serve(transport)
            except* TransportError as errors:
                why = str(errors.exceptions[0])
                if self.broker != why:
                    log.warning("no broker: %s; pages and API go on, trying again", why)
                self.broker = why
            if time.monotonic() - began > STEADY_S:
                waits = backoff(0.5, MAX_BACKOFF_S)
            await asyncio.sleep(next(waits))

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
                for one in self._door.take(message.topic, message.payload):
                    if isinstance(one, Say):
                        self._say(one)
                    else:
                        await self._inbox.put(one)

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
            items = await self._gather()
            try:
                await self._commit(items)
            except DataError:
                await self._one_by_one(items)
            except DatabaseError as error:
                self._ingest.forget()
                if not self._database_broken:
                    log.warning("database cannot store; gateways keep what they have and send it again: %s", error)
                self._database_broken = True
                await asyncio.sleep(1.0)

    async def _gather(self) -> list[Item]:
        """Give what is waiting, and what comes within a moment: small transactions are dear."""
        items = [await self._inbox.get()]
        records = _records(items[0])
        deadline = time.monotonic() + GATHER_S
        while records < MAX_RECORDS_AT_ONCE and len(items) < MAX_ITEMS_AT_ONCE:
            if self._inbox.empty():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                try:
                    async with asyncio.timeout(left):
                        item = await self._inbox.get()
                except TimeoutError:
                    break
            else:
                item = self._inbox.get_nowait()
            items.append(item)
            records += _records(item)
        return items

    async def _one_by_one(self, items: list[Item]) -> None:
        """Find the item that the database refuses, and set that one aside."""
        self._ingest.forget()
        for item in items:
            try:
                await self._commit([item])
            except DataError as error:
                self._ingest.forget()
                if not isinstance(item.frame, Batch):
                    self._note("header", f"gateway {item.address}: the database refuses its numbers: {error}")
                    continue
                refused = Item(item.address, item.frame, item.body, refused=str(error))
                try:
                    await self._commit([refused])
                except DataError as again:
                    self._ingest.forget()
                    self._note("header", f"gateway {item.address}: the database refuses its numbers: {again}")

    async def _commit(self, items: list[Item]) -> None:
        began = time.monotonic()
        done = await self._database.write(lambda connection: self._ingest.store(connection, items))
        if done.chunks:
            failpoint.reach("cloud.after_commit_before_receipt")
        if self._database_broken:
            log.info("database stores again")
            self._database_broken = False
        self._metrics.committed(done, time.monotonic() - began)
        self._report(done)
        for say in self._door.told(done):
            self._say(say)
        for tenant, values in done.newest.items():
            self._bus.readings(tenant, values)
        self._bus.changed.set()

    def _report(self, done: Committed) -> None:
        for what in done.conflicts:
            log.error("conflict, kept apart: %s; was this gateway cloned or its disk restored?", what)
        for what in done.dead_letters:
            log.error("chunk set aside in dead_letter: %s", what)
        for what in done.findings:
            log.error("chain broken: %s; kept all the same", what)
        for what in done.events:
            log.warning("gateway %s", what)
        for what in done.lost:
            log.warning("declared lost: %s", what)

    # --- out ---

    def _say(self, say: Say) -> None:
        try:
            self._outbox.put_nowait(say)
        except asyncio.QueueFull:  # the gateway asks again
            self._metrics.unanswered.inc()

    async def _answer(self, transport: Transport) -> None:
        while True:
            say = await self._outbox.get()
            try:
                await transport.publish(say.topic, self._door.seal(say))
            except NobodyListensError:  # it went away meanwhile, and resumes when it is back
                self._metrics.unanswered.inc()


def _records(item: Item) -> int:
    return item.frame.count if isinstance(item.frame, Batch) else 1
