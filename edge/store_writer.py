"""The one thread that touches edge.db: opens it, groups commits, makes room, and never says "done" before the disk has it."""

from __future__ import annotations

import contextlib
import errno
import logging
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from edge import store_file, store_rows, store_salvage
from edge.store_chunks import CommitError, Plan, Request, describe, plan, request
from edge.store_file import StoreError
from edge.store_lanes import Books
from edge.store_open import open_sound
from edge.store_rows import DigestError
from edge.store_shed import Ballast, make_room
from sync.clock import Clock
from sync.facts import Audited

log = logging.getLogger(__name__)

GROUP_NS: Final = 100_000_000
GROUP_RECORDS: Final = 1_000
WAL_PAGES: Final = 1_000
WAL_PAGES_MAX: Final = 4_000
TIDY_S: Final = 10.0
LEDGER_NS: Final = 30_000_000_000
FULL: Final = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def _settle(done: Future[Any], result: Any) -> None:
    if done.set_running_or_notify_cancel():  # else nobody waits any more
        done.set_result(result)


def _fail(done: Future[Any], error: BaseException) -> None:
    if not done.done() and done.set_running_or_notify_cancel():
        done.set_exception(error)


@dataclass(slots=True)
class Commit:
    """A call of `commit` on its way to the disk."""

    request: Request
    done: Future[None] = field(default_factory=Future[None])


@dataclass(slots=True)
class Job:
    """Anything else: a read, answered at once, or a write, which shares the next transaction."""

    run: Callable[[apsw.Connection, Books], Any]
    writes: bool
    done: Future[Any] = field(default_factory=Future[Any])


Item = Commit | Job | None
"""None: finish what is there and close."""


class _FullError(Exception):
    """The disk, the quota of the user or the file size limit is exhausted."""


class Writer:
    """Owns the connection and the books; everything here runs in its own thread, except `put`."""

    def __init__(
        self, folder: Path, clock: Clock, *, quota_bytes: int, ballast_bytes: int, software: str, incarnation: str
    ) -> None:
        self.opened: Future[None] = Future()
        self.recovery: store_salvage.Recovery | None = None
        self.checkpoints: dict[str, bytes] = {}
        self.blocked: str | None = None
        """Why nothing can be committed at present; None when all is well."""
        self.written_bytes = 0
        """Of everything committed since the start."""
        self.changed: Callable[[Books, int, bool], None] = lambda _books, _used, _old: None
        """Called after every transaction with the books, the bytes in use, and whether earlier incarnations may have
        changed; set by the owner before `run`."""
        self._folder, self._clock = folder, clock
        self._path = folder / store_file.NAME
        self._quota_bytes, self._software, self._incarnation = quota_bytes, software, incarnation
        self._ballast = Ballast(folder / "ballast", ballast_bytes)
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._held: deque[Item] = deque()
        self._failure: StoreError | None = None
        self._connection: apsw.Connection
        self._books = Books()
        self._audit_head = ""
        self._dictionary: str | None = None
        self._wal_pages = 0
        self._old_changed = True
        self._inode = 0
        self._ledger_due = 0
        self._over_quota = False

    def put(self, item: Item) -> None:
        """Hand something in; may be called from any thread. Raises StoreError when the writer has ended."""
        if self._failure is not None:
            raise StoreError(str(self._failure)) from self._failure
        self._queue.put(item)
        if self._failure is not None:  # it ended meanwhile
            self._refuse_the_rest()

    def run(self) -> None:
        """Open, serve until None is handed in, close. Every error ends up with whoever waits."""
        try:
            with store_file.owned(self._folder):
                self._open()
                self.opened.set_result(None)
                with contextlib.closing(self._connection):
                    self._serve()
                    self._close()
            self._failure = StoreError("the store is closed")
        except BaseException as error:  # noqa: BLE001 - the thread's last act: whoever waits gets it, and the process ends
            failure = error if isinstance(error, StoreError) else StoreError(f"{self._path}: {error!r}")
            failure.__cause__ = error if failure is not error else error.__cause__
            self._failure = failure
            log.critical("the store has failed: path=%s why=%s", self._path, failure)
            if not self.opened.done():
                self.opened.set_exception(failure)
        self._refuse_the_rest()

    def _refuse_the_rest(self) -> None:
        while True:
            try:
                item = self._held.popleft() if self._held else self._queue.get_nowait()
            except queue.Empty:
                return
            if item is not None:
                _fail(item.done, StoreError(str(self._failure)))

    # --- opening and closing ---

    def _open(self) -> None:
        opened = open_sound(self._path, self._clock.now())
        self._connection, self._books = opened.connection, opened.books
        self._audit_head, self.checkpoints, self.recovery = opened.audit_head, opened.checkpoints, opened.recovery
        opened.connection.set_wal_hook(self._on_commit)
        try:
            self._begin()
        except BaseException:
            opened.connection.close()
            raise

    def _on_commit(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _begin(self) -> None:
        """Begin this process's incarnation, with what was found out at opening on record."""

        def write() -> None:
            store_rows.set_meta(self._connection, "clean", 0)
            for lane, loss in store_rows.reconcile(self._connection, self._books):
                log.error("declared lost: lane=%s/%s first=%d last=%d", lane.ord, lane.stream, loss.first, loss.last)
            store_rows.seal(self._connection, self._books)
            store_rows.open_start(self._connection, self._books, self._incarnation, self._clock.now(), self._software)
            if self.recovery is not None:
                self._write(plan([self._account()], audit_head=self._audit_head, dictionary=None))

        self._transact_or_wait(write, 0)
        for lane in self._books.lanes():
            store_rows.measure(self._connection, lane)
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._inode = self._path.stat().st_ino
        self._write_ledger()
        self._ballast.fill()
        self._publish()

    def _account(self) -> Request:
        """Give the audit record of a salvage."""
        assert self.recovery is not None  # noqa: S101
        detail: dict[str, Any] = {
            "kept": self.recovery.kept.name,
            "why": self.recovery.why,
            "records": self.recovery.records,
            "lost": self.recovery.lost,
        }
        fact = Audited(at=self._clock.now(), actor="gateway", action="store.salvaged", target="edge.db", detail=detail)
        return request([fact], [], None, {}, known_dictionary=False)

    def _close(self) -> None:
        self._transact(lambda: store_rows.set_meta(self._connection, "clean", 1))
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._write_ledger()

    # --- serving ---

    def _serve(self) -> None:
        while True:
            try:
                item = self._held.popleft() if self._held else self._queue.get(timeout=TIDY_S)
            except queue.Empty:
                self._tidy()
                continue
            if item is None:
                return
            if isinstance(item, Job) and not item.writes:
                self._answer(item)
                continue
            group, more = self._gather(item)
            try:
                self._flush(group)
            except BaseException as error:
                for waiting in group:
                    _fail(waiting.done, StoreError(str(error)))
                raise
            if not more:
                return
            if self._wal_pages >= WAL_PAGES_MAX or (self._wal_pages >= WAL_PAGES and self._queue.empty()):
                self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            if self._clock.monotonic() >= self._ledger_due:
                self._tidy()

    def _gather(self, first: Commit | Job) -> tuple[list[Commit | Job], bool]:
        """Let others join for a moment, unless someone is in a hurry; give (group, whether to go on afterwards)."""
        group: list[Commit | Job] = [first]
        end = self._clock.monotonic() + GROUP_NS
        records = first.request.records if isinstance(first, Commit) else 0
        hurry = isinstance(first, Commit) and first.request.urgent
        while records < GROUP_RECORDS:
            wait_s = 0.0 if hurry else (end - self._clock.monotonic()) / 1e9
            try:
                if self._held:
                    item = self._held.popleft()
                else:
                    item = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, False
            if isinstance(item, Job) and not item.writes:
                self._answer(item)
                continue
            group.append(item)
            if isinstance(item, Commit):
                records += item.request.records
                hurry = hurry or item.request.urgent
        return group, True

    def _answer(self, job: Job) -> None:
        """Run a read now. What the disk cannot read is the end; the next start salvages."""
        try:
            result = job.run(self._connection, self._books)
        except DigestError as error:
            _fail(job.done, error)
        except apsw.Error as error:
            failure = StoreError(f"{self._path}: {error}; check the disk")
            _fail(job.done, failure)
            raise failure from error
        else:
            _settle(job.done, result)

    def _flush(self, group: list[Commit | Job]) -> None:
        """Put a group on disk in one transaction and tell everyone; blocks while there is no room at all."""
        commits: list[Commit] = []
        for item in group:
            if isinstance(item, Commit):
                try:
                    describe(item.request)
                    commits.append(item)
                except CommitError as error:
                    _fail(item.done, error)
        jobs = [item for item in group if isinstance(item, Job)]
        made = plan(
            [item.request for item in commits], audit_head=self._audit_head, dictionary=self._dictionary
        )  # encoded once, whatever happens below
        results: list[Any] = []

        def write() -> None:
            self._keep_quota(made.bytes)
            self._write(made)
            results[:] = [job.run(self._connection, self._books) for job in jobs]

        self._transact_or_wait(write, made.bytes)
        self._audit_head, self._dictionary = made.audit_head, made.dictionary
        self.written_bytes += made.bytes
        self._old_changed = self._old_changed or bool(jobs)
        self._publish()
        for item in commits:
            _settle(item.done, None)
        for job, result in zip(jobs, results, strict=True):
            _settle(job.done, result)

    def _write(self, made: Plan) -> None:
        at = self._clock.now()
        current = self._books.current
        for new in made.chunks:
            store_rows.append(self._connection, current.lane(new.stream), new, at)
        for stream in {new.stream for new in made.chunks}:
            store_rows.save_lane(self._connection, current.lane(stream))
        store_rows.save_checkpoints(self._connection, made.checkpoints)
        if made.shown:
            store_rows.show(self._connection, made.shown)
        if made.audit_head != self._audit_head:
            store_rows.set_meta(self._connection, "audit_head", made.audit_head)

    def _transact_or_wait(self, write: Callable[[], None], need_bytes: int) -> None:
        """Run one transaction, making room for as long as it takes."""
        while True:
            try:
                self._transact(write)
            except _FullError as full:
                self._relieve(need_bytes, full)
            else:
                self.blocked = None
                return

    def _transact(self, write: Callable[[], None]) -> None:
        """Run one transaction to the disk. On a full disk nothing has happened and _FullError is raised."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            write()
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            full = isinstance(error, apsw.FullError) or (
                isinstance(error, apsw.IOError) and self._connection.system_errno in FULL
            )
            why = f"{error} (errno {self._connection.system_errno})"
            if not full:
                raise StoreError(f"{self._path}: {why}; check the disk: the process ends rather than guess") from error
            self._restore()
            raise _FullError(why) from error

    def _restore(self) -> None:
        """Make the books what the disk says after a transaction that did not happen."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        offered = {(lane.ord, lane.stream): lane.offered for lane in self._books.lanes()}
        self._old_changed = True
        self._books = store_rows.read_books(self._connection)
        for lane in self._books.lanes():
            lane.offered = offered.get((lane.ord, lane.stream), 0)
            store_rows.measure(self._connection, lane)

    # --- room ---

    def _keep_quota(self, more_bytes: int) -> None:
        """Shed inside the present transaction when the outbox would outgrow its quota."""
        excess = self._used() + more_bytes - self._quota_bytes
        if excess <= 0:
            self._over_quota = False
            return
        self._old_changed = True
        freed, lost = make_room(self._connection, self._books, excess + self._quota_bytes // 50)
        if not self._over_quota:
            self._over_quota = True
            log.warning("the outbox is at its quota: quota_mb=%d; check the uplink; shedding oldest diag, aggregates and "
                        "readings from now on, never audit or events", self._quota_bytes >> 20)  # fmt: skip
        log.debug("shed for the quota: bytes=%d records=%d", freed, lost)

    def _used(self) -> int:
        pages, free, size = (self._connection.pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        assert isinstance(pages, int)  # noqa: S101 - SQLite answers these with integers
        assert isinstance(free, int)  # noqa: S101
        assert isinstance(size, int)  # noqa: S101
        return (pages - free) * size

    def _relieve(self, need_bytes: int, full: _FullError) -> None:
        """Make room on a full disk: the log into the file, the ballast, then records with their loss rows."""
        if self.blocked is None:
            log.error("the disk is full: path=%s why=%s; check what fills it (df, du) and the file size limit; shedding",
                      self._folder, full)  # fmt: skip
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        released = self._ballast.release()
        freed = lost = 0

        def shed() -> None:
            nonlocal freed, lost
            self._old_changed = True
            freed, lost = make_room(self._connection, self._books, max(4 * need_bytes, 256 * 1024))

        with contextlib.suppress(_FullError):
            self._transact(shed)
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if lost:
            log.warning("shed on a full disk: bytes=%d records=%d", freed, lost)
        if released or freed:
            self.blocked = None
            return
        self.blocked = f"the disk of {self._folder} is full and nothing may be shed ({full}): free some space"
        self._publish()
        self._wait_blocked()

    def _wait_blocked(self) -> None:
        """Wait a second for room; reads go on, and what the cloud confirms meanwhile makes some."""
        end = self._clock.monotonic() + 1_000_000_000
        while (left := (end - self._clock.monotonic()) / 1e9) > 0:
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                return
            if item is None:
                raise StoreError(self.blocked or "the disk is full")
            if isinstance(item, Job) and not item.writes:
                self._answer(item)
                continue
            self._held.append(item)
            if isinstance(item, Job):
                self._try_held()
                return

    def _try_held(self) -> None:
        """Run the writes of the uplink on their own: they delete."""
        jobs = [item for item in self._held if isinstance(item, Job)]
        results: list[Any] = []
        try:
            self._transact(lambda: results.extend(job.run(self._connection, self._books) for job in jobs))
        except _FullError:
            return
        for job, result in zip(jobs, results, strict=True):
            self._held.remove(job)
            _settle(job.done, result)

    # --- upkeep ---

    def _checkpoint(self, mode: int) -> None:
        try:
            self._connection.wal_checkpoint(mode=mode)
            self._wal_pages = 0
        except (apsw.BusyError, apsw.LockedError):
            log.debug("checkpoint put off: someone reads the file")
        except apsw.FullError:
            log.debug("checkpoint put off: the disk is full")
        except apsw.IOError as error:
            if self._connection.system_errno not in FULL:
                raise StoreError(f"{self._path}: {error} while checkpointing; check the disk") from error

    def _tidy(self) -> None:
        """Now and then: is the file still ours, has the log grown, is the ballast there, the ledger renewed."""
        try:
            inode = self._path.stat().st_ino
        except OSError as error:
            raise StoreError(
                f"{self._path} is gone ({error.strerror}); it was removed under the running gateway"
            ) from error
        if inode != self._inode:
            raise StoreError(f"{self._path} was replaced under the running gateway")
        if self._wal_pages:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
        if self._clock.monotonic() >= self._ledger_due:
            self._write_ledger()
            if self.blocked is None:
                self._ballast.fill()

    def _write_ledger(self) -> None:
        store_salvage.write_ledger(self._folder, self._books, self._audit_head)
        self._ledger_due = self._clock.monotonic() + LEDGER_NS

    def _publish(self) -> None:
        self.changed(self._books, self._used(), self._old_changed)
        self._old_changed = False
