"""The store's core: every method one transaction, no thread, no waiting. The writer's thread and the simulator drive it.

It works on a real file and on a `:memory:` connection. What it says is done is on disk; FullError means that nothing
of it happened and room is needed first; StoreError is the end of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store import file, rows
from edge.store.chunks import Plan, Request, plan, request
from edge.store.disk import Disk
from edge.store.lanes import Books
from edge.store.rows import DigestError, StoredChunk
from edge.store.shed import Ballast
from edge.store.witness import keep_witnesses
from sync import failpoint
from sync.chunk import digest
from sync.clock import Clock
from sync.effects import Backlog
from sync.facts import Audited, Stream
from sync.frames import Incarnation, Loss, Rejection, Watermark, Witness
from sync.timing import ClockState

log = logging.getLogger(__name__)

LIVED_STEP_NS: Final = 60_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows in a lane."""

    chunk: StoredChunk | None
    losses: list[Loss]
    """Between what was asked for and the chunk (or the end)."""
    last: int
    """Highest number assigned in the lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a sound file holds, besides its chunks."""

    books: Books
    audit_head: str
    checkpoints: dict[str, bytes]
    seen: rows.Seen


def look_through(connection: apsw.Connection) -> Found:
    """Read the books of a migrated file. Raises apsw.Error, ValueError, KeyError where it is damaged."""
    return Found(
        books=rows.read_books(connection),
        audit_head=str(rows.meta(connection, "audit_head", "")),
        checkpoints=rows.read_checkpoints(connection),
        seen=rows.survey(connection),
    )


class Outbox:
    """One file with its books. `begin` comes first; every other method may raise FullError and StoreError."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        clock: Clock,
        quota_bytes: int,
        path: Path | None = None,
        ballast: Ballast | None = None,
        clock_state: Callable[[], ClockState | None] = lambda: None,
    ) -> None:
        """Take a connection that is this outbox's alone; `path` is its file, None for one in memory."""
        self.connection = connection
        self.checkpoints: dict[str, bytes] = {}
        """As they were found at `begin`."""
        self._clock, self._clock_state, self._path = clock, clock_state, path
        self._found: Found | None = None
        self.disk = Disk(connection, Books(), path, quota_bytes, ballast or Ballast(None, 0))
        self._software = ""
        self.audit_head = ""
        self._plan = Plan()
        """The newest dictionary and the chain's end, as the next plan takes them up."""
        self._lived_before, self._opened_at, self._lived_saved = 0, clock.monotonic(), 0

    @property
    def books(self) -> Books:
        """The books as the disk has them; they belong to the outbox: look, do not touch."""
        return self.disk.books

    @property
    def incarnation(self) -> str:
        return self.books.current.inc

    @property
    def lived(self) -> int:
        """How long this store has been open in all, ns: the age of chunks is counted in it, no wall clock decides."""
        return self._lived_before + self._clock.monotonic() - self._opened_at

    # --- begin, turn, end ---

    def begin(
        self, incarnation: str, software: str, *, found: Found | None = None, also: Sequence[Request] = ()
    ) -> None:
        """Bring the file to our schema and begin an incarnation (32 hex digits, never used before) in it.

        What the books know and no chunk holds is declared lost. `also` is committed with it. May be called again
        after a FullError.
        """
        if self._found is None:
            if found is None:
                file.migrate(self.connection, self._path or Path(":memory:"))
                found = look_through(self.connection)
            self._found, self.disk.books = found, found.books
            self.checkpoints, self.audit_head = found.checkpoints, found.audit_head
            self._lived_before = self._lived_saved = int(rows.meta(self.connection, "lived", 0))
        self._software = software
        seen = self._found.seen
        # On its own and first: whatever goes wrong from here on makes the next start check every page.
        self.disk.transact(lambda: rows.set_meta(self.connection, "clean", 0))
        made = self._planned(also, dictionary=None)

        def within() -> None:
            for lane, loss in rows.reconcile(self.connection, self.books, seen):
                log.error("declared lost: lane=%s/%s first=%d last=%d", lane.ord, lane.stream, loss.first, loss.last)
            rows.seal(self.connection, self.books)
            rows.open_start(self.connection, self.books, incarnation, self._clock.now(), software)
            self._append(made)

        failpoint.reach("edge.before_begin")
        self.disk.transact(within)
        failpoint.reach("edge.after_begin")
        self._take(made)
        for lane in self.books.lanes():
            rows.measure(self.connection, lane)

    def turn(self, incarnation: str, why: str = "") -> None:
        """Close the present incarnation and go on under a new one, which begins with the newest dictionary."""
        before = self.incarnation
        detail = {"why": why, "from": before, "to": incarnation}
        fact = Audited(at=self._clock.now(), actor="gateway", action="store.turned", target="edge.db", detail=detail)
        made = self._planned([request([fact], [], None, {}, known_dictionary=False)], dictionary=None)
        known = self._plan
        if known.described is not None:
            made.chunks.insert(0, known.described)
            made.described, made.dictionary = known.described, known.dictionary

        def within() -> None:
            self.disk.keep_room(made.bytes)
            rows.open_start(self.connection, self.books, incarnation, self._clock.now(), self._software)
            self._append(made)

        failpoint.reach("edge.before_turn")
        self.disk.old_changed = True
        self.disk.transact(within)
        failpoint.reach("edge.after_turn")
        self._take(made)
        log.info("a new incarnation: from=%s to=%s why=%s", before, incarnation, why)

    def close(self) -> None:
        """Mark the file as closed in order; the connection stays its owner's to close."""

        def within() -> None:
            rows.set_meta(self.connection, "lived", self.lived)
            rows.set_meta(self.connection, "clean", 1)

        self.disk.transact(within)

    # --- commit ---

    def plan(self, requests: Sequence[Request]) -> Plan:
        """Encode calls, once, whatever becomes of the transaction. Raises CommitError."""
        return self._planned(requests, dictionary=self._plan.dictionary)

    def write(self, made: Plan, also: Sequence[Callable[[], Any]] = ()) -> list[Any]:
        """Put a plan on disk, with other work of this outbox in the same transaction; give that work's results."""
        results: list[Any] = []

        def within() -> None:
            results[:] = [run() for run in also]
            if made.bytes:
                self.disk.keep_room(made.bytes)
            self._append(made)

        self.disk.transact(within)
        self.disk.old_changed = self.disk.old_changed or bool(also)
        self._take(made)
        return results

    def commit(self, requests: Sequence[Request]) -> Plan:
        """Put calls on disk in one transaction and give what was written. Raises CommitError (nothing happened)."""
        made = self.plan(requests)
        self.write(made)
        return made

    def _planned(self, requests: Sequence[Request], dictionary: str | None) -> Plan:
        return plan(requests, audit_head=self.audit_head, dictionary=dictionary, clock=self._clock_state())

    def _append(self, made: Plan) -> None:
        at, lived = self._clock.now(), self.lived
        current = self.books.current
        for new in made.chunks:
            rows.append(self.connection, current.lane(new.stream), new, at, lived)
        for stream in {new.stream for new in made.chunks}:
            rows.save_lane(self.connection, current.lane(stream))
        rows.save_checkpoints(self.connection, made.checkpoints)
        if made.shown:
            rows.show(self.connection, made.shown)
        if made.audit_head != self.audit_head:
            rows.set_meta(self.connection, "audit_head", made.audit_head)
        if lived - self._lived_saved > LIVED_STEP_NS:
            rows.set_meta(self.connection, "lived", lived)

    def _take(self, made: Plan) -> None:
        """Take over what a plan that is on disk now leaves to the next."""
        self.audit_head = made.audit_head
        described = made.described or (self._plan.described if made.dictionary else None)
        self._plan = Plan(dictionary=made.dictionary, described=described)
        lived = self.lived
        if lived - self._lived_saved > LIVED_STEP_NS:
            self._lived_saved = lived

    # --- reading ---

    def holdings(self, limit: int = 128, after: int = 0) -> tuple[list[Incarnation], bool]:
        """Give what is held and lost of the incarnations with an order above `after`, oldest first, and the present one.

        And whether there are no more than these: at most `limit` are given.
        """
        current = self.books.current
        closed = [self.books.starts[ord_] for ord_ in sorted(self.books.starts) if after < ord_ < current.ord]
        return [start.holdings() for start in (*closed[: limit - 1], current)], len(closed) < limit

    def backlog(self) -> Backlog:
        """Give what the present incarnation's readings have that the cloud has not confirmed; aged by no wall clock."""
        lane = self.books.current.lanes.get(Stream.FACT)
        row = None if lane is None else self.connection.execute(
            "SELECT lived FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first > ? ORDER BY first LIMIT 1",
            (lane.ord, lane.stream, max(lane.stored, lane.floor)),
        ).fetchone()  # fmt: skip
        if lane is None or row is None:
            return Backlog()
        return Backlog(records=lane.waiting(), age=max(0, self.lived - int(row[0])))

    def next_chunk(self, inc: str, stream: Stream, after: int) -> Next:
        """Give the first chunk of a lane above a number, with the losses before it. It counts as handed out.

        A chunk whose bytes no longer match their digest is put aside and declared lost, and the next one given.
        """
        while True:
            start = self.books.by_inc().get(inc)
            lane = None if start is None else start.lanes.get(stream)
            if start is None or lane is None:
                return Next(chunk=None, losses=[], last=0)
            try:
                found = rows.next_chunk(self.connection, start, lane, after)
            except DigestError as error:
                bad = error.chunk
                refused = Rejection(
                    inc=bad.inc, stream=bad.stream, first=bad.first, count=bad.count, why="digest does not match"
                )
                self._transact(lambda refused=refused: self._set_aside([refused], "quarantine"))
                self.disk.old_changed = True
                continue
            end = lane.last + 1 if found is None else found.first
            if found is not None:
                lane.offered = max(lane.offered, found.first + found.count - 1)
            return Next(chunk=found, losses=lane.losses_between(after, end), last=lane.last)

    def kept(self, inc: str, stream: Stream, first: int, last: int, limit: int = 64) -> list[StoredChunk]:
        """Give the chunks that touch a range, lowest first, as far as they are still there; damaged ones are left out."""
        start = self.books.by_inc().get(inc)
        if start is None:
            return []
        found = [
            rows.placed(inc, stream, row)
            for row in self.connection.execute(
                f"SELECT {rows.PLACED} FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? "  # noqa: S608
                "AND first <= ? AND first + count > ? ORDER BY first LIMIT ?",
                (start.ord, stream, last, first, limit),
            )
        ]
        return [chunk for chunk in found if digest(chunk.body) == chunk.digest]

    def recent(self, kinds: Sequence[str], limit: int) -> list[bytes]:
        """Give the newest facts of some kinds as JSON, newest first."""
        return rows.recent(self.connection, kinds, limit)

    # --- what the cloud says ---

    def apply(
        self,
        watermarks: Sequence[Watermark],
        rejected: Sequence[Rejection] = (),
        witnessed: Sequence[Witness] = (),
    ) -> None:
        """Take what the cloud has confirmed: chunks at or below `safe` leave the disk; refused ones are put aside."""

        def within() -> None:
            starts = self.books.by_inc()
            self._set_aside(rejected, "rejected")  # before the watermark passes over them
            for mark in watermarks:
                start = starts.get(mark.inc)
                if start is not None and mark.stream in start.lanes:
                    rows.confirm(self.connection, start.lanes[Stream(mark.stream)], mark)
            keep_witnesses(self.connection, witnessed)
            rows.seal(self.connection, self.books)

        failpoint.reach("edge.before_apply")
        self.disk.old_changed = True
        self._transact(within)
        failpoint.reach("edge.after_apply")

    def _set_aside(self, rejected: Sequence[Rejection], reason: str) -> None:
        starts, at = self.books.by_inc(), self._clock.now()
        for rejection in rejected:
            start = starts.get(rejection.inc)
            if start is not None and rejection.stream in start.lanes:
                rows.set_aside(self.connection, start.lanes[Stream(rejection.stream)], rejection, at=at, reason=reason)
                log.error(
                    "chunk put aside and declared lost: stream=%s first=%d count=%d reason=%s why=%s",
                    Stream(rejection.stream).name.lower(), rejection.first, rejection.count, reason, rejection.why,
                )  # fmt: skip

    def _transact(self, within: Callable[[], None]) -> None:
        """Run a transaction, or be part of the one that runs (`write`'s `also`)."""
        if self.connection.in_transaction:
            within()
        else:
            self.disk.transact(within)

    @property
    def last(self) -> Mapping[Stream, int]:
        """Highest number assigned in each stream of the present incarnation."""
        return {lane.stream: lane.last for lane in self.books.current.lanes.values()}
