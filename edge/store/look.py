"""A look at a store without touching it: who runs on it, whether it is sound, what it remembers. Nothing is written."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import apsw

from edge.store.file import LOCK, NAME, DamagedError, StoreRefusedError, examine, migrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What stands in the folder of a gateway."""

    exists: bool = False
    size_bytes: int = 0
    """Of edge.db and its log."""
    schema: int = 0
    newest_schema: int = 0
    """What this software brings."""
    damage: str | None = None
    """Why it cannot be read as a whole."""
    refused: str | None = None
    """Why it must not be opened."""
    checked: bool = False
    """Whether every page was looked at."""
    set_aside: tuple[str, ...] = ()
    """Damaged copies of earlier days."""


def owner(folder: Path) -> int | None:
    """Give the process that holds the folder. Takes no lock: a gateway that starts at this moment must not meet us."""
    lock = folder / LOCK
    try:
        process = int(lock.read_text("utf-8").strip() or 0)
        held = lock.stat()
    except (OSError, ValueError):
        return None
    if not process:
        return None
    try:
        links = list(Path(f"/proc/{process}/fd").iterdir())
    except FileNotFoundError:
        return None
    except OSError:  # somebody else's process: it lives, and its id stands in our lock file
        return process
    for link in links:
        with contextlib.suppress(OSError):
            if os.path.samestat(link.stat(), held):
                return process
    return None


def look(folder: Path, limit_s: float) -> Look:
    """Look at a folder's store; pages are checked for at most so long. Blocks: call it in a thread."""
    path = folder / NAME
    aside = tuple(sorted(p.name for p in folder.glob(f"{NAME}.damaged-*") if not p.name.endswith(("-wal", "-shm"))))
    if not path.exists():
        return Look(newest_schema=len(migrations()), set_aside=aside)
    log = path.with_name(path.name + "-wal")
    refused = damage = None
    checked, schema = False, 0
    try:
        examine(path)
        with reading(path) as connection:
            schema = int(str(connection.pragma("user_version")))
            checked, damage = _check(connection, limit_s)
    except StoreRefusedError as error:
        refused = str(error)
    except (DamagedError, apsw.Error) as error:
        damage = str(error)
    return Look(
        exists=True,
        size_bytes=path.stat().st_size + (log.stat().st_size if log.exists() else 0),
        schema=schema,
        newest_schema=len(migrations()),
        damage=damage,
        refused=refused,
        checked=checked,
        set_aside=aside,
    )


def remembered(folder: Path, name: str) -> bytes | None:
    """Give a checkpoint as it stands on disk, whether or not a gateway runs. None when there is none.

    Raises StoreRefusedError and DamagedError.
    """
    path = folder / NAME
    if not path.exists():
        return None
    examine(path)
    try:
        with reading(path) as connection:
            row = connection.execute("SELECT value FROM checkpoint WHERE name = ?", (name,)).fetchone()
    except apsw.SQLError:
        return None  # a file without tables yet
    except apsw.Error as error:
        raise DamagedError(str(error)) from error
    return None if row is None else bytes(row[0])


@contextlib.contextmanager
def reading(path: Path) -> Generator[apsw.Connection]:
    """Open for reading; a file without a log is opened as one that nobody changes, so that no log is made for it."""
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with contextlib.closing(apsw.Connection(f"{path.absolute().as_uri()}?{how}", flags=flags)) as connection:
        connection.set_busy_timeout(1_000)
        connection.pragma("trusted_schema", "off")
        yield connection


def _check(connection: apsw.Connection, limit_s: float) -> tuple[bool, str | None]:
    """Check every page and index for at most so long: whether it was finished, and what is wrong."""
    end = time.monotonic() + limit_s
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone() or ("no answer",)
    except apsw.InterruptError:
        return False, None
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
        return True, str(error)
    return True, None if said == "ok" else str(said)
