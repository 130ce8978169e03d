"""The one thread that touches edge.db: opens it, groups commits, and never says "done" before the disk has it.

What happens inside transactions is `outbox`; here are the queue, the company that commits wait for, and the waiting
for room.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from edge.store import file, salvage
from edge.store.chunks import CommitError, describe, requests_of
from edge.store.disk import FullError
from edge.store.file import StoreError
from edge.store.identity import own_signer
from edge.store.jobs import Commit, Item, Job, fail, settle
from edge.store.opening import Opened, open_sound
from edge.store.outbox import Outbox
from edge.store.ring import FOLDER, Ring
from edge.store.shed import Ballast, Quotas
from sync.clock import Clock
from sync.signing import Signer
from sync.timing import ClockState

log = logging.getLogger(__name__)

T = TypeVar("T")

_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)
"""What only a damaged file says: a text that is none is one, too."""

GROUP_RECORDS: Final = 1_000
TIDY_S: Final = 10.0
BLOCKED_NS: Final = 1_000_000_000
LEDGER_NS: Final = 30_000_000_000


class Writer:
    """Owns the outbox; everything here runs in its own thread, except `put`."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        quota_bytes: int,
        ballast_bytes: int,
        software: str,
        incarnation: str,
        clock_state: Callable[[], ClockState | None],
        ring_bytes: int,
        quotas: Quotas,
        group_ms: int,
    ) -> None:
        self.opened: Future[None] = Future()
        self.recovery: salvage.Recovery | None = None
        self.checkpoints: dict[str, bytes] = {}
        self.signer: Signer | None = None
        self.blocked: str | None = None
        """Why nothing can be committed at present; None when all is well."""
        self.changed: Callable[[Outbox], None] = lambda _outbox: None
        """Called after every transaction; set by the owner before `run`."""
        self._folder, self._clock, self._clock_state = folder, clock, clock_state
        self._ring_bytes, self._quotas, self._group_ns = ring_bytes, quotas, group_ms * 1_000_000
        self._path = folder / file.NAME
        self._quota_bytes, self._software, self._incarnation = quota_bytes, software, incarnation
        self._ballast = Ballast(folder / "ballast", ballast_bytes)
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._held: deque[Commit | Job] = deque()
        self._failure: StoreError | None = None
        self._outbox: Outbox
        self._inode = 0
        self._stuck = False
        """Whether forgetting found no room; tried again now and then."""
        self._ledger_due = self._tidy_due = 0

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
            with file.owned(self._folder), contextlib.ExitStack() as hold:
                opened = open_sound(self._path, self._clock.now(), hold)
                self.checkpoints, self.recovery = opened.found.checkpoints, opened.recovery
                self.signer = own_signer(self._folder)
                self._outbox = self._make_outbox(opened, hold)
                found = [] if self.recovery is None else [self.recovery.fact(self._clock.now())]
                self._or_wait(
                    lambda: self._outbox.begin(
                        self._incarnation, self._software, found=opened.found, also=requests_of(found)
                    ),
                    0,
                )
                self._settle_in()
                self.opened.set_result(None)
                self._serve()
                self._close()
            self._failure = StoreError("the store is closed")
        except BaseException as error:  # noqa: BLE001 - the thread's last act: whoever waits gets it, and the process ends
            failure = error if isinstance(error, StoreError) else StoreError(f"{self._path}: {error!r}")
            failure.__cause__ = error if failure is not error else error.__cause__
            self._failure = failure
            log.critical("the store has failed: path=%s why=%s", self._path, failure)
            if isinstance(error, _DAMAGE) or isinstance(error.__cause__, _DAMAGE):
                file.condemn(self._path, self._clock.now())
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
                fail(item.done, StoreError(str(self._failure)))

    # --- begin and end ---

    def _make_outbox(self, opened: Opened, hold: contextlib.ExitStack) -> Outbox:
        ring = Ring(self._folder / FOLDER, self._ring_bytes) if self._ring_bytes else None
        if ring is not None:
            hold.callback(ring.close)
        return Outbox(
            opened.connection,
            clock=self._clock,
            quota_bytes=self._quota_bytes,
            path=self._path,
            ballast=self._ballast,
            ring=ring,
            quotas=self._quotas,
            clock_state=self._clock_state,
        )

    def _settle_in(self) -> None:
        self._outbox.disk.checkpoint(truncate=True)
        self._inode = self._path.stat().st_ino
        self._tidy_due = self._clock.monotonic() + round(TIDY_S * 1e9)
        self._write_ledger()
        self._ballast.fill()
        self._publish()

    def _close(self) -> None:
        for told in (True, False):
            try:
                self._outbox.close(told=told)
                break
            except FullError as full:
                log.warning("closed without a mark, the next start checks the file: why=%s", full)
        self._outbox.disk.checkpoint(truncate=True)
        self._write_ledger()

    # --- serving ---

    def _serve(self) -> None:
        while True:
            wait_s = (self._tidy_due - self._clock.monotonic()) / 1e9
            if wait_s <= 0:
                self._tidy()
                continue
            forgetting = self._outbox.behind and not self._stuck
            try:
                item = self._held.popleft() if self._held else self._queue.get(timeout=0 if forgetting else wait_s)
            except queue.Empty:
                if forgetting:
                    self._go_on_forgetting()
                continue
            if item is None:
                return
            if isinstance(item, Job) and not item.writes:
                self._answer(item)
                continue
            if isinstance(item, Job) and item.alone:
                self._run_on_its_own(item)
                continue
            group, more = self._gather(item)
            try:
                self._flush(group)
            except (
                BaseException
            ) as error:  # whatever it is, whoever waits hears of it; it goes on up and ends the thread
                for waiting in group:
                    fail(waiting.done, StoreError(str(error)))
                raise
            if not more:
                return
            self._go_on_forgetting()
            self._outbox.disk.after_commit(idle=self._queue.empty())

    def _gather(self, first: Commit | Job) -> tuple[list[Commit | Job], bool]:
        """Let others join for a moment, unless someone is in a hurry; give (group, whether to go on afterwards)."""
        group: list[Commit | Job] = [first]
        end = self._clock.monotonic() + self._group_ns
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
            if isinstance(item, Job) and item.alone:
                self._held.appendleft(item)
                break
            group.append(item)
            if isinstance(item, Commit):
                records += item.request.records
                hurry = hurry or item.request.urgent
        return group, True

    def _answer(self, job: Job) -> None:
        """Run a read now. What the disk cannot read is the end; the next start salvages."""
        try:
            result = job.run(self._outbox)
        except FullError:  # a damaged chunk was met, and there is no room to say so: with the next transaction
            job.writes = True
            self._queue.put(job)
        except apsw.Error as error:
            failure = StoreError(f"{self._path}: {error}; check the disk")
            fail(job.done, failure)
            raise failure from error
        except StoreError as error:
            fail(job.done, error)
            raise
        else:
            if self._outbox.disk.old_changed or self._outbox.disk.touched:  # a damaged chunk was put aside on the way
                self._publish()
            settle(job.done, result)

    def _run_on_its_own(self, job: Job) -> None:
        try:
            result = self._or_wait(lambda: job.run(self._outbox), 0)
        except StoreError as error:
            fail(job.done, error)
            raise
        self._publish()
        settle(job.done, result)

    def _flush(self, group: list[Commit | Job]) -> None:
        """Put a group on disk in one transaction and tell everyone; blocks while there is no room at all."""
        commits: list[Commit] = []
        for item in group:
            if isinstance(item, Commit):
                try:
                    describe(item.request, self._clock_state())
                    commits.append(item)
                except CommitError as error:
                    fail(item.done, error)
        jobs = [item for item in group if isinstance(item, Job)]
        made = self._outbox.plan([item.request for item in commits])  # encoded once, whatever happens below
        try:
            results = self._outbox.write(made, [self._bound(job) for job in jobs])
        except FullError as full:
            if not self._run_alone(jobs):
                for job in jobs:
                    self._queue.put(job)
            jobs.clear()
            self._relieve(made.bytes, full)
            results = self._or_wait(lambda: self._outbox.write(made), made.bytes)
        self.blocked = None
        self._publish()
        for item in commits:
            settle(item.done, None)
        for job, result in zip(jobs, results, strict=True):
            settle(job.done, result)

    def _go_on_forgetting(self) -> None:
        """Let what is safe leave, a step between two groups: commits do not wait for all of it."""
        try:
            if self._outbox.forget_more():
                self._publish()
        except FullError as full:
            log.debug("cannot forget yet: why=%s", full)  # the next group makes room
            self._stuck = True

    def _bound(self, job: Job) -> Callable[[], Any]:
        return lambda: job.run(self._outbox)

    # --- no room ---

    def _or_wait(self, run: Callable[[], T], need_bytes: int) -> T:
        """Run one transaction, making room for as long as it takes."""
        while True:
            try:
                result = run()
            except FullError as full:
                self._relieve(need_bytes, full)
            else:
                self.blocked = None
                return result

    def _relieve(self, need_bytes: int, full: FullError) -> None:
        if self._outbox.disk.relieve(need_bytes, full, first=self.blocked is None):
            return
        self.blocked = f"the disk of {self._folder} is full and nothing more may be shed ({full}): free some space"
        if self.opened.done():
            self._publish()
        self._wait_blocked()

    def _wait_blocked(self) -> None:
        """Wait a second for room; reads go on, and what the cloud confirms meanwhile makes some."""
        end = self._clock.monotonic() + BLOCKED_NS
        later: list[Job] = []
        while (left := (end - self._clock.monotonic()) / 1e9) > 0:
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if item is None:
                raise StoreError(self.blocked or "the disk is full")
            if isinstance(item, Commit) or item.alone:
                self._held.append(item)
            elif not item.writes:
                self._answer(item)
            elif self._run_alone([item]):
                break
            else:
                later.append(item)
        for job in later:
            self._queue.put(job)
        self._watch_file()

    def _run_alone(self, jobs: list[Job]) -> bool:
        """Run what the uplink wants written without the commits that do not fit: it deletes. False if that fails, too."""
        try:
            results = self._outbox.change([self._bound(job) for job in jobs])
        except FullError:
            return False
        self._publish()
        for job, result in zip(jobs, results, strict=True):
            settle(job.done, result)
        while self._outbox.behind and not self._stuck:  # what is safe leaves in steps that the room allows
            self._outbox.disk.checkpoint(truncate=True)
            self._go_on_forgetting()
        return True

    # --- upkeep ---

    def _watch_file(self) -> None:
        """Raise StoreError when the file is not the one we opened any more."""
        try:
            inode = self._path.stat().st_ino
        except OSError as error:
            raise StoreError(
                f"{self._path} is gone ({error.strerror}); it was removed under the running gateway"
            ) from error
        if inode != self._inode:
            raise StoreError(f"{self._path} was replaced under the running gateway")

    def _tidy(self) -> None:
        """Now and then, busy or not: is the file still ours, has the log grown, is the ballast there, the ledger renewed."""
        self._tidy_due = self._clock.monotonic() + round(TIDY_S * 1e9)
        self._watch_file()
        try:
            self._outbox.tidy()
        except FullError as full:
            log.debug("tidying put off: why=%s", full)  # the next group makes room
        self._stuck = False
        if self._outbox.disk.old_changed or self._outbox.disk.touched:
            self._publish()
        if not self._outbox.disk.log_copied:
            self._outbox.disk.checkpoint()
        if self._clock.monotonic() >= self._ledger_due:
            self._write_ledger()
            if self.blocked is None:
                self._ballast.fill()

    def _write_ledger(self) -> None:
        salvage.write_ledger(self._folder, self._outbox.books, self._outbox.audit_head)
        self._ledger_due = self._clock.monotonic() + LEDGER_NS

    def _publish(self) -> None:
        self.changed(self._outbox)
