"""The store's core: every method one transaction, no thread, no waiting. The writer's thread and the simulator drive it.

It works on a real file and on a `:memory:` connection. What it says is done is on disk; FullError means that nothing
of it happened and room is needed first; StoreError is the end of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store import file, rows
from edge.store.aside import disown, mend, put_aside
from edge.store.chunks import Plan, Request, plan, requests_of
from edge.store.confirm import forget, take
from edge.store.disk import Disk
from edge.store.kept import Next, backlog, find
from edge.store.lanes import Books, Start
from edge.store.opening import Found, look_through
from edge.store.ring import Ring
from edge.store.rows import DigestError, StoredChunk
from edge.store.shed import Ballast, Quotas, expire
from edge.store.tally import Hours, ended, hour_of, tally
from edge.store.turning import cut_short, end_hours, turned
from edge.store.witness import take_witnesses
from sync import failpoint
from sync.clock import Clock
from sync.effects import Backlog
from sync.facts import Stream
from sync.frames import Incarnation, Rejection, Watermark, Witness
from sync.timing import ClockState

log = logging.getLogger(__name__)

LIVED_STEP_NS: Final = 60_000_000_000


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
        ring: Ring | None = None,
        quotas: Quotas | None = None,
        clock_state: Callable[[], ClockState | None] = lambda: None,
    ) -> None:
        """Take a connection that is this outbox's alone; `path` is its file, None for one in memory.

        Without a ring what is safe is gone. `quotas` hold for single lanes, within `quota_bytes` for all.
        """
        self.connection = connection
        self.checkpoints: dict[str, bytes] = {}
        """As they were found at `begin`."""
        self._clock, self._clock_state, self._path = clock, clock_state, path
        self._found: Found | None = None
        self.ring = ring
        self.disk = Disk(connection, path, quota_bytes, ballast=ballast or Ballast(None, 0), ring=ring, quotas=quotas)
        self._quotas: Quotas = quotas or {}
        self._hours = Hours(clock.now(), clock.monotonic())
        self.behind = False
        """Whether something that is safe may still be to leave: `forget_more`."""
        self.written: dict[Stream, int] = {}
        """Bytes of everything committed since the start, by stream."""
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
        made = self._planned([*requests_of(cut_short(self.connection, self.books)), *also], dictionary=None)

        def within() -> None:
            for lane, loss in rows.reconcile(self.connection, self.books, seen):
                log.error("declared lost: lane=%s/%s first=%d last=%d", lane.ord, lane.stream, loss.first, loss.last)
            end_hours(self.connection, self.books)
            rows.seal(self.connection, self.books)
            rows.open_start(self.connection, self.books, incarnation, self._clock.now(), software)
            self._append(made)

        failpoint.reach("edge.before_begin")
        self.disk.transact(within)
        failpoint.reach("edge.after_begin")
        self._take(made)
        for lane in self.books.lanes():
            rows.measure(self.connection, lane)
            lane.behind = lane.safe > lane.floor
        self.behind = True

    def turn(self, incarnation: str, why: str = "", *, forked: bool = False) -> None:
        """Close the present incarnation and go on under a new one, which begins with the newest dictionary.

        `forked`: another copy of this box uses the present one's numbers, too. What the cloud has not confirmed of ours
        is put aside: nobody can say any more which records those numbers mean. The audit fact names the ranges.
        """
        before, current = self.incarnation, self.books.current
        fact = turned(current, incarnation, why, self._clock.now(), forked=forked)
        told = None if forked else tally(current, self._clock.now())
        made = self._planned(requests_of([told, fact] if told is not None else [fact]), dictionary=None)
        known = self._plan
        if known.described is not None:
            made.chunks.insert(0, known.described)
            made.described, made.dictionary = known.described, known.dictionary

        def within() -> None:
            self.disk.keep_room(made.by_stream())
            end_hours(self.connection, self.books)
            for lane in list(current.lanes.values()) if forked else []:
                disown(self.connection, current, lane, self._clock.now())
            rows.open_start(self.connection, self.books, incarnation, self._clock.now(), self._software)
            rows.seal(self.connection, self.books)
            self._append(made)

        failpoint.reach("edge.before_turn")
        self.disk.old_changed = True
        self.disk.transact(within)
        failpoint.reach("edge.after_turn")
        self._take(made)
        log.info("a new incarnation: from=%s to=%s why=%s", before, incarnation, why)

    def close(self, *, told: bool = True) -> None:
        """Mark the file as closed in order, with a tally of the hour that ends if wanted (it needs a little room).

        The connection stays its owner's to close.
        """
        last = tally(self.books.current, self._clock.now(), itself=True) if told else None
        made = self._planned(requests_of([] if last is None else [last]), dictionary=self._plan.dictionary)

        def within() -> None:
            self._append(made)
            if made.chunks:
                end_hours(self.connection, self.books)
            rows.set_meta(self.connection, "lived", self.lived)
            rows.set_meta(self.connection, "clean", 1)

        self.disk.transact(within)
        self._take(made)
        if self.ring is not None:
            self.ring.close()

    # --- commit ---

    def plan(self, requests: Sequence[Request]) -> Plan:
        """Encode calls, once, whatever becomes of the transaction; write the plan before the next is made.

        When an hour is over its tally comes along. Raises CommitError.
        """
        current, now = self.books.current, self._clock.now()
        end = self._hours.over(current, now, self._clock.monotonic())
        told = None if end is None else tally(current, end)
        made = self._planned(requests_of([] if told is None else [told]) + list(requests), self._plan.dictionary)
        made.ends_hour = told is not None
        return made

    def write(self, made: Plan, also: Sequence[Callable[[], Any]] = ()) -> list[Any]:
        """Put a plan on disk, with other work of this outbox in the same transaction; give that work's results."""
        results: list[Any] = []

        def within() -> None:
            results[:] = [run() for run in also]
            if made.chunks or made.checkpoints:
                self.disk.keep_room(made.by_stream())
            self._append(made)

        self.disk.transact(within)
        if also:
            failpoint.reach("edge.after_apply")
        self._take(made)
        return results

    def commit(self, requests: Sequence[Request]) -> Plan:
        """Put calls on disk in one transaction and give what was written. Raises CommitError (nothing happened)."""
        made = self.plan(requests)
        self.write(made)
        return made

    def change(self, work: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run work of this outbox in one transaction and give its results; what deletes must not wait for room."""
        return self.write(self._planned([], self._plan.dictionary), work)

    def _planned(self, requests: Sequence[Request], dictionary: str | None) -> Plan:
        return plan(requests, audit_head=self.audit_head, dictionary=dictionary, clock=self._clock_state())

    def _append(self, made: Plan) -> None:
        at, lived = self._clock.now(), self.lived
        current = self.books.current
        touched = {new.stream for new in made.chunks}
        if made.chunks and (made.ends_hour or not current.hour):
            ended(current, hour_of(at))
            rows.save_hour(self.connection, current)
            touched |= set(current.lanes)
        for new in made.chunks:
            rows.append(self.connection, current.lane(new.stream), new, at, lived)
        for stream in touched:
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
        for stream, size in made.by_stream().items():
            self.written[stream] = self.written.get(stream, 0) + size

    def tidy(self) -> None:
        """Now and then: tally an hour that is over, let go what has had its time, in transactions of their own."""
        made = self.plan([])
        if made.chunks:
            self.write(made)
        if any(quota.most_ns is not None for quota in self._quotas.values()):
            while self.disk.transact(lambda: expire(self.connection, self.books, self._quotas, self.lived))[0]:
                self.disk.old_changed = True
        if self.ring is not None:
            self.ring.age(self.lived)

    # --- reading ---

    def holdings(self, limit: int = 128, after: int = 0, *, done: bool = False) -> tuple[list[Incarnation], bool]:
        """Give what is held and lost of incarnations with an order above `after`, oldest first, and the present one.

        And whether these are all: at most `limit` are given. With `done` the newest with nothing left are named, too.
        """
        return self.books.holdings(limit, after, done=done)

    def backlog(self) -> Backlog:
        """Give what the present incarnation's readings have that the cloud has not confirmed; aged by no wall clock."""
        lane = self.books.current.lanes.get(Stream.FACT)
        return Backlog() if lane is None else backlog(self.connection, lane, self.lived)

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
                if self._mended(bad, start):
                    continue
                refused = Rejection(
                    inc=bad.inc, stream=bad.stream, first=bad.first, count=bad.count, why="digest does not match"
                )
                self._transact(lambda refused=refused: self._quarantine(refused))
                self.disk.touched.add(start.ord)
                continue
            end = lane.last + 1 if found is None else found.first
            if found is not None:
                lane.offered = max(lane.offered, found.first + found.count - 1)
            return Next(chunk=found, losses=lane.losses_between(after, end), last=lane.last)

    def kept(self, inc: str, stream: Stream, first: int, last: int, limit: int = 64) -> list[StoredChunk]:
        """Give the chunks that touch a range, lowest first and at most `limit`, from here or from the ring.

        Damaged ones are left out.
        """
        return find(self.connection, self.books.by_inc().get(inc), self.ring, (inc, stream, first, last), limit)

    def recent(self, kinds: Sequence[str], limit: int) -> list[bytes]:
        """Give the newest facts of some kinds as JSON, newest first."""
        return rows.recent(self.connection, kinds, limit)

    # --- what the cloud says ---

    def apply(
        self,
        watermarks: Sequence[Watermark],
        rejected: Sequence[Rejection] = (),
        witnessed: Sequence[Witness] = (),
    ) -> list[Watermark]:
        """Take what the cloud has confirmed: chunks at or below `safe` leave the disk; refused ones are put aside.

        Gives the marks that cannot be ours: in a lane of the present incarnation the cloud has more than was ever made
        here, or other records, so somebody else uses its numbers (a memory image was resumed). Nothing of it is taken:
        `turn`.
        """
        foreign: list[Watermark] = []

        def within() -> None:
            at = self._clock.now()
            # Before the watermark passes over them:
            put_aside(self.connection, self.books, rejected, at=at, reason="rejected")
            foreign[:] = take(self.connection, self.books, watermarks, self.ring, at, step_bytes=self.disk.step_bytes())
            self.behind = True
            foreign.extend(take_witnesses(self.connection, self.books, witnessed))
            rows.seal(self.connection, self.books, touched)

        failpoint.reach("edge.before_apply")
        starts = self.books.by_inc()
        touched = [starts[inc] for inc in {one.inc for one in (*watermarks, *rejected)} if inc in starts]
        self.disk.touched |= {start.ord for start in touched}
        if self.connection.in_transaction:
            within()
            return foreign
        self.disk.transact(within)
        failpoint.reach("edge.after_apply")
        while self.forget_more():
            pass
        return foreign

    def _quarantine(self, refused: Rejection) -> None:
        put_aside(self.connection, self.books, [refused], at=self._clock.now(), reason="quarantine")

    def _mended(self, bad: StoredChunk, start: Start) -> bool:
        """Write the newest dictionary's chunk anew where a bit of it has turned on the disk: we still have it."""
        known = self._plan.described
        if known is None or start is not self.books.current or bad.digest != known.digest:
            return False
        self._transact(lambda: mend(self.connection, start, bad, known.body))
        return True

    def forget_more(self) -> bool:
        """Go on with what `safe` has passed and did not leave in one step; False when nothing is left of it."""
        behind = [lane for lane in self.books.lanes() if lane.behind] if self.behind else []
        self.behind = bool(behind)
        if not behind:
            return False

        lane = behind[0]
        start = self.books.starts[lane.ord]

        def within() -> None:
            forget(self.connection, start.inc, lane, self.ring, step_bytes=self.disk.step_bytes())
            rows.save_lane(self.connection, lane)
            rows.seal(self.connection, self.books, [start])

        self.disk.touched.add(lane.ord)
        self.disk.transact(within)
        return True

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
