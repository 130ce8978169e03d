"""Opening the gateway's file: one owner, ours and of a version we know, sound, migrated. Touches nothing it refuses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import struct
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

import apsw

from edge.durable import sync_folder
from sync import failpoint

log = logging.getLogger(__name__)

NAME: Final = "edge.db"
LOCK: Final = "edge.lock"
APPLICATION_ID: Final = 0x54464C57
SCHEMA: Final = Path(__file__).parent / "schema"
BUSY_MS: Final = 5_000
SOUND_SQLITE: Final = (3, 51, 3)
_MAGIC: Final = b"SQLite format 3\0"
_FLOCK: Final = struct.Struct("hhqqi4x")
_LOCK_AT: Final = 1 << 62
"""One byte far behind any database, where SQLite locks nothing."""
LEDGER: Final = "edge.ledger.json"


class StoreError(Exception):
    """The store cannot go on. End the process: systemd starts it again, and what was committed is on disk."""


class StoreRefusedError(StoreError):
    """The store must not be opened as it is: a person has to look. Exit 78; starting again changes nothing."""


class DamagedError(Exception):
    """The file is ours and cannot be read as a whole: put it aside, take over what verifies."""


@contextlib.contextmanager
def owned(folder: Path) -> Generator[IO[str]]:
    """Hold the folder for this process alone. Raises StoreRefusedError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreRefusedError(
            f"the store's folder {folder} cannot be written ({error.strerror}); check gateway.data, that the folder "
            f"belongs to user {os.geteuid()} and that its filesystem is not mounted read-only"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise StoreRefusedError(
                f"the store in {folder} is in use by process {lock.read().strip() or 'unknown'}; two gateways on one "
                "store would corrupt it: stop the other one, or give this one its own gateway.data"
            ) from error
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock


@contextlib.contextmanager
def seized(path: Path) -> Generator[int]:
    """Hold the database file itself, by its inode: also where somebody has removed the lock file. Raises StoreRefusedError.

    Opened before SQLite does and closed after it: a descriptor closed in between would drop SQLite's own locks.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreRefusedError(
            f"{path} cannot be opened ({error.strerror}); check that it belongs to user {os.geteuid()}"
        ) from error
    try:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _LOCK_AT, 1, 0))
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise StoreRefusedError(
                    f"{path} is open in another gateway process (its {LOCK} was removed; lsof {path} shows which); two "
                    "gateways on one store would corrupt it: stop the other one, or give this one its own gateway.data"
                ) from error
            raise StoreRefusedError(
                f"{path} cannot be locked ({error.strerror}); use a local disk for gateway.data"
            ) from error
        yield file
    finally:
        os.close(file)


def examine(path: Path) -> None:
    """Tell whether the file is ours, before anything is opened. Raises StoreRefusedError, DamagedError."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.EIO:
            raise DamagedError(f"cannot be read: {error.strerror}") from error
        raise StoreRefusedError(
            f"{path} cannot be read ({error.strerror}); check that it belongs to user {os.geteuid()}"
        ) from error
    if not os.access(path, os.W_OK):
        raise StoreRefusedError(f"{path} cannot be written; check that it belongs to user {os.geteuid()}")
    if not head:
        return  # created, and cut off before its first page
    if not head.startswith(_MAGIC):
        if (path.parent / LEDGER).exists():
            raise DamagedError("its first page is not a database's")
        raise StoreRefusedError(
            f"{path} is not a Triflow store (no SQLite file at all); it was left untouched: move it away or check "
            "gateway.data"
        )
    if not _ours(path, int.from_bytes(head[68:72], "big")):
        if (path.parent / LEDGER).exists():
            raise DamagedError("its first page does not name it as a Triflow store")
        raise StoreRefusedError(
            f"{path} is a database of another program; it was left untouched: move it away or check gateway.data"
        )
    _known_version(path, int.from_bytes(head[60:64], "big"))


def _ours(path: Path, application: int) -> bool:
    """Tell by the application id, which may still stand in the write-ahead log, or because nothing is in it yet."""
    if application == APPLICATION_ID:
        return True
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        with contextlib.closing(apsw.Connection(f"{path.absolute().as_uri()}?{how}", flags=flags)) as connection:
            if connection.pragma("application_id") == APPLICATION_ID:
                return True
            return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    except apsw.Error:
        return False


def _known_version(path: Path, version: int) -> None:
    newest = len(migrations())
    if version > newest:
        raise StoreRefusedError(
            f"{path} has schema {version}, this software knows up to {newest}; it was left untouched: install the newer "
            "version again, or start with an empty folder"
        )


def migrations() -> list[Path]:
    """Give the schema files in the order of their numbers."""
    return sorted(SCHEMA.glob("[0-9][0-9][0-9].sql"))


def connect(path: Path) -> apsw.Connection:
    """Open the file with the settings the promise rests on. Raises DamagedError, StoreError, StoreRefusedError."""
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < SOUND_SQLITE:
        raise StoreRefusedError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a write-ahead log when it is reset; install apsw >= 3.51.3"
        )
    try:
        connection = apsw.Connection(str(path))
    except apsw.CantOpenError as error:
        raise StoreRefusedError(f"{path} cannot be opened ({error}); check its folder and its permissions") from error
    try:
        _configure(connection, path)
    except BaseException as error:  # whatever it is, the file is let go; it goes on up
        connection.close()
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            raise DamagedError(str(error)) from error
        raise
    return connection


def _configure(connection: apsw.Connection, path: Path) -> None:
    connection.set_busy_timeout(BUSY_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # a damaged file is not to be written to by closing it
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreRefusedError(f"{path}: no write-ahead log on this filesystem (mode {mode}); use a local disk")
    for name, value in (
        ("synchronous", "full"),
        ("cell_size_check", "on"),
        ("mmap_size", 0),
        ("trusted_schema", "off"),
        ("temp_store", "memory"),
        ("wal_autocheckpoint", 0),
        ("journal_size_limit", 16 << 20),
        ("cache_size", -4_096),
    ):
        connection.pragma(name, value)
    if connection.pragma("synchronous") != 2:
        raise StoreError("SQLite did not accept synchronous=FULL; a commit would not be on disk")


def migrate(connection: apsw.Connection, path: Path) -> None:
    """Bring the schema to the newest number, each step one transaction."""
    _known_version(path, _version(connection))
    for number, file in enumerate(migrations(), 1):
        if _version(connection) >= number:
            continue
        with connection:
            connection.execute(file.read_text(encoding="utf-8"))
            connection.pragma("user_version", number)
            failpoint.reach("edge.migrate")


def _version(connection: apsw.Connection) -> int:
    version = connection.pragma("user_version")
    return version if isinstance(version, int) else 0


def verify(connection: apsw.Connection) -> None:
    """Check every page and index. Raises DamagedError. About 2 s per GB."""
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone() or ("no answer",)
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
        raise DamagedError(str(error)) from error
    if said != "ok":
        raise DamagedError(str(said))


def put_aside(path: Path, at: int) -> Path:
    """Link the damaged file and its log under a name of their own and give it; the old names stay for now.

    A crash before `replace` is found again by `unfinished`: the salvage then starts anew from the same copy.
    """
    kept = path.with_name(f"{path.name}.damaged-{at // 1_000_000_000}")
    while kept.exists():
        kept = kept.with_name(kept.name + "x")
    log_kept = kept.with_name(kept.name + "-wal")
    log_kept.unlink(missing_ok=True)  # of a crash between these two links
    with contextlib.suppress(FileNotFoundError):
        log_kept.hardlink_to(path.with_name(path.name + "-wal"))
    kept.hardlink_to(path)
    sync_folder(path.parent)
    return kept


def condemn(path: Path, at: int) -> None:
    """Have the next start salvage a file that was found damaged while it was open: its check may not see why."""
    with contextlib.suppress(OSError):  # the disk itself may be gone; the process ends either way
        if unfinished(path) is None:
            put_aside(path, at)


def unfinished(path: Path) -> Path | None:
    """Give the copy of a salvage that is still to be done: it is still the same file as the store."""
    for kept in sorted(path.parent.glob(f"{path.name}.damaged-*")):
        if not kept.name.endswith(("-wal", "-shm")) and path.exists() and kept.samefile(path):
            return kept
    return None


def replace(path: Path, new: Path) -> None:
    """Put a salvaged file in the damaged one's place; the old log must not be applied to it."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    new.replace(path)
    sync_folder(path.parent)
