"""From whatever stands in the folder to a sound, migrated file that is open; a damaged one is salvaged on the way."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import apsw

from edge.durable import sync_folder
from edge.store import file, rows
from edge.store.file import DamagedError
from edge.store.lanes import Books
from edge.store.salvage import Recovery, salvage

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The file and what was read of it."""

    connection: apsw.Connection
    found: Found
    recovery: Recovery | None


def open_sound(path: Path, at: int) -> Opened:
    """Open the store, or what can be saved of it. Raises StoreRefusedError, StoreError."""
    recovery = None
    kept = file.unfinished(path)
    if kept is None:
        try:
            file.examine(path)
            return _open(path, None)
        except DamagedError as damage:
            kept, why = file.put_aside(path, at), str(damage)
    else:
        why = "it was found damaged while it was open, or an earlier salvage was cut short"
    log.error("the store is damaged and was put aside: kept=%s why=%s", kept, why)
    new = path.with_name(path.name + ".new")
    recovery = salvage(kept, new, why)
    log.error("the store was salvaged: records=%d lost=%d", recovery.records, recovery.lost)
    file.replace(path, new)
    return _open(path, recovery)


def _open(path: Path, recovery: Recovery | None) -> Opened:
    new = not path.exists()
    connection = file.connect(path)
    try:
        file.migrate(connection, path)
        if not rows.meta(connection, "clean", 1):
            file.verify(connection)
        opened = Opened(connection=connection, found=look_through(connection), recovery=recovery)
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, ValueError, KeyError) as error:
        connection.close()
        raise DamagedError(str(error)) from error  # a table or a column that is not there is damage, too
    except BaseException:
        connection.close()
        raise
    if new:
        sync_folder(path.parent)
    return opened
