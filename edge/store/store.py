"""The gateway's store: what was committed is on disk, and leaves it only when the cloud has it.

`commit` returns when the disk has it (write-ahead log, synchronous=FULL); facts, readings, audit chain, checkpoints
and the outbox are one transaction. Behind this face one thread owns the file (`writer`); nothing else can
reach it. Everything else about the file has a module by its subject: `chunks` (encoding), `rows`
(SQL), `lanes` (the books, pure), `shed` (no room), `salvage` (damage).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
import shutil
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.store.chunks import CommitError, decode_shown, request
from edge.store.counts import Autonomy, LaneCounts, StoreCounts, Summing, Totals
from edge.store.file import StoreError, StoreRefusedError
from edge.store.outbox import Next, Outbox
from edge.store.rows import StoredChunk
from edge.store.salvage import Recovery
from edge.store.shed import Quota, Quotas
from edge.store.writer import Commit, Job, Writer
from sync.clock import Clock
from sync.effects import Backlog
from sync.facts import AnyFact, Fact, Stream, TagDictionary
from sync.frames import Incarnation, Rejection, Watermark, Witness
from sync.reading import Readings
from sync.signing import Signer
from sync.timing import ClockState

log = logging.getLogger(__name__)

__all__ = [
    "CommitError",
    "LaneCounts",
    "Next",
    "Outbox",
    "Quota",
    "Recovery",
    "Store",
    "StoreCounts",
    "StoreError",
    "StoreRefusedError",
    "StoredChunk",
    "open_store",
]


class Store:
    """The face of the store; made by `open_store`. Every method may raise StoreError: let the process end."""

    def __init__(
        self, writer: Writer, folder: Path, incarnation: str, clock: Clock, *, quota_bytes: int, quotas: Quotas
    ) -> None:
        self.incarnation = incarnation
        self.ord = 0
        self.grown = asyncio.Event()
        """Set after every transaction; who waits for more to send clears it first."""
        self._writer, self._folder, self._clock, self._quota_bytes = writer, folder, clock, quota_bytes
        self._dictionary_known = False
        self._totals = Totals()
        self._latencies: deque[int] = deque(maxlen=1024)
        self._commits = 0
        self._autonomy = Autonomy(quotas, clock.monotonic())

    @property
    def recovered(self) -> Recovery | None:
        """What became of a damaged file at open; on record as an audit fact and as losses."""
        return self._writer.recovery

    @property
    def signer(self) -> Signer | None:
        """The gateway's own key; None where there was no room to make one."""
        return self._writer.signer

    async def commit(
        self,
        *,
        facts: Sequence[Fact] = (),
        readings: Sequence[Readings] = (),
        dictionary: TagDictionary | None = None,
        checkpoints: Mapping[str, bytes] | None = None,
    ) -> None:
        """Put it all on disk, in one transaction; return when it is there.

        Readings refer to the newest dictionary committed in this incarnation (one given here comes first). Raises
        CommitError (nothing was recorded: a bug of the caller) and StoreError. Blocks while the disk is full and
        nothing may be shed.
        """
        began = self._clock.monotonic()
        call = request(facts, readings, dictionary, checkpoints or {}, self._dictionary_known)
        item = Commit(call)
        self._dictionary_known = self._dictionary_known or dictionary is not None
        self._writer.put(item)
        await asyncio.wrap_future(item.done)
        self._latencies.append(self._clock.monotonic() - began)
        self._commits += 1

    def checkpoint(self, name: str) -> bytes | None:
        """Give a checkpoint as it was found at open; None if there is none or it was damaged."""
        return self._writer.checkpoints.get(name)

    @property
    def last(self) -> Mapping[Stream, int]:
        """Highest number assigned in each stream of this incarnation."""
        return self._totals.last

    def counts(self) -> StoreCounts:
        """Give the numbers as of the last transaction; reads nothing but the free space of the disk."""
        totals = self._totals
        free = shutil.disk_usage(self._folder).free
        latencies = sorted(self._latencies)
        rates = self._autonomy.rates(totals, self._clock.monotonic())
        # What is stored but not safe gives way before anything is lost.
        spare = sum(lane.stored_bytes for lane in totals.lanes.values())
        left = min(self._quota_bytes - totals.used_bytes + spare, free + totals.ring_bytes)
        hours = self._autonomy.hours(totals, rates, left, self._clock.now())
        return StoreCounts(
            produced=totals.produced,
            waiting=sum(lane.waiting for lane in totals.lanes.values()),
            lost=totals.lost,
            waiting_bytes=sum(lane.waiting_bytes for lane in totals.lanes.values()),
            oldest_at=min(
                (lane.oldest_at for lane in totals.lanes.values() if lane.oldest_at is not None), default=None
            ),
            last=totals.last,
            lanes={
                stream: dataclasses.replace(
                    lane, bytes_per_hour=rates.get(stream, 0.0), autonomy_hours=hours.get(stream)
                )
                for stream, lane in totals.lanes.items()
            },
            used_bytes=totals.used_bytes,
            quota_bytes=self._quota_bytes,
            ring_bytes=totals.ring_bytes,
            disk_free_bytes=free,
            autonomy_hours=min((one for one in hours.values() if one is not None), default=None),
            commits=self._commits,
            commit_p50_ms=latencies[len(latencies) // 2] / 1e6 if latencies else None,
            commit_p99_ms=latencies[len(latencies) * 99 // 100] / 1e6 if latencies else None,
            blocked=self._writer.blocked,
            alarms=totals.alarms,
        )

    async def recent(self, kinds: Sequence[str], limit: int) -> list[AnyFact]:
        """Give the newest facts of some kinds ("state", "verdict", "alarm"), newest first; earlier starts included."""
        found = await self._ask(lambda outbox: outbox.recent(kinds, limit))
        return [decode_shown(raw) for raw in found]

    async def turn(self, why: str, *, forked: bool = False) -> str:
        """Go on under a new incarnation, without a restart, and give it; what waits keeps the one it has.

        On record as an audit fact. Callers go on as before: the newest dictionary is committed again along with it.
        `forked`: a copy of this box uses the same numbers; what is not confirmed under them is put aside.
        """
        incarnation = secrets.token_hex(16)
        await self._change(lambda outbox: outbox.turn(incarnation, why, forked=forked), alone=True)
        return incarnation

    # --- for the uplink ---

    async def holdings(self, limit: int = 128, after: int = 0, *, done: bool = False) -> tuple[list[Incarnation], bool]:
        """Give what is held and lost, oldest incarnation first, the present one last; and whether that is all of them.

        With `done` the newest of those of which nothing is left are named, too.
        """
        return await self._ask(lambda outbox: outbox.holdings(limit, after, done=done))

    async def backlog(self) -> Backlog:
        """Give what the present incarnation's readings have that the cloud has not confirmed."""
        return await self._ask(lambda outbox: outbox.backlog())

    async def next_chunk(self, inc: str, stream: Stream, after: int) -> Next:
        """Give the first chunk of a lane above a number, with the losses before it. It counts as handed out.

        A chunk whose bytes no longer match their digest is put aside and declared lost, and the next one given.
        """
        return await self._ask(lambda outbox: outbox.next_chunk(inc, stream, after))

    async def kept(self, inc: str, stream: Stream, first: int, last: int, limit: int = 64) -> list[StoredChunk]:
        """Give the chunks that touch a range, lowest first and at most `limit`, as far as they are still there."""
        return await self._ask(lambda outbox: outbox.kept(inc, stream, first, last, limit))

    async def apply(
        self,
        watermarks: Sequence[Watermark],
        rejected: Sequence[Rejection] = (),
        witnessed: Sequence[Witness] = (),
    ) -> list[Watermark]:
        """Take what the cloud has confirmed: chunks at or below `safe` leave the disk; refused ones are put aside.

        Gives the marks of the present incarnation that are beyond what was ever made here: `turn`, somebody else uses
        its numbers.
        """
        return await self._change(lambda outbox: outbox.apply(watermarks, rejected, witnessed))

    # --- the thread ---

    async def _ask(self, read: Callable[[Outbox], Any]) -> Any:
        item = Job(read, writes=False)
        self._writer.put(item)
        return await asyncio.wrap_future(item.done)

    async def _change(self, write: Callable[[Outbox], Any], *, alone: bool = False) -> Any:
        item = Job(write, writes=True, alone=alone)
        self._writer.put(item)
        return await asyncio.wrap_future(item.done)

    def take(self, totals: Totals, inc: str, ord_: int) -> None:
        """Take the sums of a transaction; called by the writer on the event loop."""
        self._totals, self.incarnation, self.ord = totals, inc, ord_
        self.grown.set()


@contextlib.asynccontextmanager
async def open_store(
    folder: Path,
    *,
    clock: Clock,
    quota_bytes: int,
    ballast_bytes: int,
    software: str,
    ring_bytes: int = 0,
    quotas: Quotas | None = None,
    group_ms: int = 100,
    clock_state: Callable[[], ClockState | None] = lambda: None,
) -> AsyncGenerator[Store]:
    """Open the store of a folder and begin a new incarnation; close it in order at the end.

    `ring_bytes` keeps so much of what is safe in the cloud (0: nothing); `quotas` hold for single lanes within
    `quota_bytes`; readings wait up to `group_ms` for others to share their transaction.
    `clock_state` is asked at every transaction, in the store's thread: its answer stands in every chunk.
    Raises StoreRefusedError (in use, not ours, too new, no permission: a person must look) and StoreError. A damaged
    file is put aside, salvaged and reported in `recovered`.
    """
    incarnation = secrets.token_hex(16)
    writer = Writer(
        folder,
        clock,
        quota_bytes=quota_bytes,
        ballast_bytes=ballast_bytes,
        software=software,
        incarnation=incarnation,
        clock_state=clock_state,
        ring_bytes=ring_bytes,
        quotas=quotas or {},
        group_ms=group_ms,
    )
    store = Store(writer, folder, incarnation, clock, quota_bytes=quota_bytes, quotas=quotas or {})
    writer.changed = Summing(asyncio.get_running_loop(), store.take)
    thread = threading.Thread(target=writer.run, name="store", daemon=True)
    thread.start()
    try:
        await asyncio.wrap_future(writer.opened)
        yield store
    finally:
        with contextlib.suppress(StoreError):  # it has ended already, and said so to whoever waited
            writer.put(None)
        await asyncio.to_thread(thread.join)
