"""Transactions on a disk that may be full: what happens then, and how it is met before it happens."""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import apsw

from edge.store import file, rows
from edge.store.confirm import STEP_BYTES
from edge.store.file import StoreError
from edge.store.lanes import Books
from edge.store.ring import Ring
from edge.store.shed import SHEDDABLE, Ballast, Quotas, held_bytes, make_room
from sync import failpoint
from sync.facts import Stream

log = logging.getLogger(__name__)

PAGE: Final = 4096
STEP_BYTES_MIN: Final = 64 << 10
"""Deleted in one transaction at least, however little room there is."""
WAL_PAGES_MIN: Final = 250
WAL_PAGES_MAX: Final = 4_000
WAL_ALARM_BYTES: Final = 256 << 20
CHECKPOINT_MS: Final = 100
"""How long a checkpoint waits for readers: commits wait for it."""
FULL: Final = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}

T = TypeVar("T")


class FullError(Exception):
    """The disk, the user's quota or the file size limit is exhausted; nothing of the transaction happened."""


class Disk:
    """The connection, the books and the room for both; used by one thread only. Without a path it is all in memory."""

    def __init__(
        self,
        connection: apsw.Connection,
        path: Path | None,
        quota_bytes: int,
        *,
        ballast: Ballast,
        ring: Ring | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.connection, self.books, self.ring = connection, Books(), ring
        self._log_pages = self._log_tried = 0
        """Of the log: in use, and in use at the last attempt to copy them into the file."""
        self.log_copied = True
        """Whether nothing of the log is still to be copied."""
        self.old_changed = True
        """Whether lanes of any earlier incarnation may have changed since this was last set to False."""
        self.touched: set[int] = set()
        """Those of which lanes may have changed, by ord, where it is known which."""
        self.alarms: dict[str, str] = {}
        """What a person must look at, by subject; gone when it is well again."""
        self._path, self._quota_bytes, self._ballast = path, quota_bytes, ballast
        self._quotas: Quotas = quotas or {}
        self._short = False
        connection.set_wal_hook(self._on_commit)

    def _on_commit(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages < self._log_pages:
            self._log_tried = 0  # it was begun anew
        self._log_pages, self.log_copied = pages, False
        return apsw.SQLITE_OK

    @property
    def name(self) -> str:
        return ":memory:" if self._path is None else str(self._path)

    def transact(self, write: Callable[[], T]) -> T:
        """Run one transaction to the disk. Raises FullError (nothing has happened) and StoreError (the end)."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            result = write()
            failpoint.reach("edge.before_commit")
            self.connection.execute("COMMIT")
            failpoint.reach("edge.after_commit")
        except FullError:
            self._restore()
            raise
        except apsw.Error as error:
            why = f"{error} (errno {self.connection.system_errno})"
            if not self._is_full(error):
                raise StoreError(f"{self.name}: {why}; check the disk: the process ends rather than guess") from error
            self._restore()
            raise FullError(why) from error
        return result

    def _is_full(self, error: apsw.Error) -> bool:
        """Tell ENOSPC (SQLite says full) and EFBIG (SQLite says I/O error) from a broken disk."""
        return isinstance(error, apsw.FullError) or (
            isinstance(error, apsw.IOError) and self.connection.system_errno in FULL
        )

    def _restore(self) -> None:
        """Make the books what the disk says after a transaction that did not happen."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        offered = {(lane.ord, lane.stream): lane.offered for lane in self.books.lanes()}
        self.old_changed = True
        self.books = rows.read_books(self.connection)
        for lane in self.books.lanes():
            lane.offered = offered.get((lane.ord, lane.stream), 0)
            rows.measure(self.connection, lane)
            lane.behind = lane.safe > lane.floor

    # --- room ---

    def keep_room(self, more: Mapping[Stream, int]) -> None:
        """Shed inside the present transaction when the outbox, a lane in it or the disk would be outgrown.

        `more` is what will be written, in bytes by stream. A full disk is met before it is full: then even deleting would need room that is not there. Raises FullError
        when nothing more may be shed and the last reserve would be touched, which is kept for receipts.
        """
        more_bytes = sum(more.values())
        self._keep_lanes(more)
        if self.ring is not None and (short := more_bytes + self._reserve_bytes() - self._spare()) > 0:
            self.ring.release(short)  # it is the first to go, and unlinking needs no room
        used, spare = self.used(), self._spare()
        over_quota = used + more_bytes - self._quota_bytes
        excess = max(over_quota, more_bytes + self._reserve_bytes() - spare)
        if excess <= 0:
            if used < self._quota_bytes * 4 // 5 and spare > 4 * self._reserve_bytes():
                self._short = False
            return
        self.old_changed = True
        freed, lost = make_room(self.connection, self.books, excess + min(used, self._quota_bytes) // 50)
        if freed and not self._short:
            self._short = True
            why = (
                "the outbox is at its quota: check the uplink"
                if over_quota == excess
                else "the disk is full: check what fills it (df, du) and the file size limit"
            )
            log.warning(
                "%s; shedding what the cloud has, then the oldest diag, aggregates and readings, never audit or events: "
                "path=%s used_mb=%.1f quota_mb=%d",
                why,
                self.name,
                used / 2**20,
                self._quota_bytes >> 20,
            )
        log.debug("shed: bytes=%d records=%d", freed, lost)
        if self._spare() < more_bytes + self._reserve_bytes() // 4:
            raise FullError("the last reserve is kept for receipts")

    def _keep_lanes(self, more: Mapping[Stream, int]) -> None:
        """Hold every lane of `more` to its own quota; where nothing may be shed, say so."""
        for stream, size in more.items():
            quota = self._quotas.get(stream)
            most = quota.most_bytes if quota is not None else None
            if most is None and stream not in SHEDDABLE:
                most = self._quota_bytes // 10  # the share that audit and event may count on
            if most is None:
                continue
            held = held_bytes(self.books, stream)
            name = stream.name.lower()
            if stream in SHEDDABLE:
                if held + size > most:
                    self.old_changed = True
                    freed, lost = make_room(
                        self.connection, self.books, held + size - most + most // 50, streams=(stream,)
                    )
                    log.debug("a lane at its quota: lane=%s bytes=%d records=%d", name, freed, lost)
            else:
                over = f"lane {name} holds {held >> 20} MB, over its limit of {most >> 20} MB, and is never shed: "
                self.alarm(
                    f"lane.{name}", f"{over}check the uplink and the cloud's backups" if held + size > most else None
                )

    def alarm(self, subject: str, why: str | None) -> None:
        """Raise or clear what a person must look at; said in the log once each way."""
        if why is None:
            if self.alarms.pop(subject, None) is not None:
                log.warning("well again: %s", subject)
        elif subject not in self.alarms:
            self.alarms[subject] = why
            log.error("%s", why)

    def used(self) -> int:
        """Give the bytes of the file that hold something."""
        return (self._number("page_count") - self._number("freelist_count")) * PAGE

    def _spare(self) -> int:
        """Give the bytes that can be written: free pages of the file, and what it may still grow by."""
        if self._path is None:
            return 1 << 62
        size = self._number("page_count") * PAGE
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        # New pages that stand in the log only will take their room once more, in the file: without it the log can
        # never be copied, and nothing would free the disk again.
        owed = max(0, size - self._path.stat().st_size)
        growth = max(0, shutil.disk_usage(self._path.parent).free - owed)
        if limit != resource.RLIM_INFINITY:
            growth = min(growth, max(0, limit - size))
        return self._number("freelist_count") * PAGE + growth

    def step_bytes(self) -> int:
        """Give how much may be deleted in one transaction: what is deleted goes through the log, and the log needs room."""
        if self._path is None:
            return STEP_BYTES
        return max(STEP_BYTES_MIN, min(STEP_BYTES, shutil.disk_usage(self._path.parent).free // 4))

    def _number(self, pragma: str) -> int:
        value = self.connection.pragma(pragma)
        assert isinstance(value, int)  # noqa: S101 - SQLite answers these with integers
        return value

    def _wal_pages_max(self) -> int:
        """Give how far the log may grow: copying it into the file needs as much room again, at worst the ballast's."""
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        pages = min(WAL_PAGES_MAX, max(WAL_PAGES_MIN, self._ballast.size // PAGE))
        return pages if limit == resource.RLIM_INFINITY else min(pages, max(16, limit // PAGE // 4))

    def _reserve_bytes(self) -> int:
        return self._wal_pages_max() * PAGE + 256 * 1024

    def relieve(self, need_bytes: int, full: FullError, *, first: bool) -> bool:
        """Make room on a disk that was filled under us: the ballast, the log into the file, then records.

        Gives False when nothing came of it and only waiting is left. Says so in the log the first time.
        """
        if first:
            log.error(
                "the disk is full: path=%s why=%s; check what fills it (df, du) and the file size limit",
                self._path,
                full,
            )
        released = self._ballast.release()
        if self.ring is not None:
            released = self.ring.release(4 * need_bytes + self._reserve_bytes()) > 0 or released
        self.checkpoint(truncate=True)

        def shed() -> int:
            self.old_changed = True
            return make_room(self.connection, self.books, 4 * need_bytes + self._reserve_bytes())[0]

        freed = 0
        with contextlib.suppress(FullError):
            freed = self.transact(shed)
        self.checkpoint(truncate=True)
        return released or freed > 0

    # --- the log ---

    def checkpoint(self, *, truncate: bool = False) -> None:
        """Copy the log into the file, as far as readers and room allow."""
        if self._path is None:
            return
        failpoint.reach("edge.before_checkpoint")
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if truncate else apsw.SQLITE_CHECKPOINT_PASSIVE
        self.connection.set_busy_timeout(CHECKPOINT_MS)
        try:
            pages, copied = self.connection.wal_checkpoint(mode=mode)
            self._log_pages = self._log_tried = pages
            self.log_copied = copied >= pages
        except (apsw.BusyError, apsw.LockedError):
            log.debug("checkpoint put off: someone reads the file")
        except (apsw.FullError, apsw.IOError) as error:
            if not self._is_full(error):
                raise StoreError(f"{self.name}: {error} while checkpointing; check the disk") from error
            log.debug("checkpoint put off: the disk is full")
        finally:
            self.connection.set_busy_timeout(file.BUSY_MS)

    def after_commit(self, *, idle: bool) -> None:
        """Keep the log short; while others wait only when it must be."""
        most, grown = self._wal_pages_max(), self._log_pages - self._log_tried
        if grown >= most or (idle and grown >= most // 4):
            self.checkpoint()
        size = self._log_pages * PAGE
        self.alarm(
            "log",
            f"the write-ahead log of {self.name} has {size >> 20} MB: another process has been reading the file for long "
            "and keeps the log from being used again: end it (lsof shows which)"
            if size > WAL_ALARM_BYTES
            else None,
        )
