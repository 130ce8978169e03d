"""From whatever stands in the folder to a sound, migrated file that is open; a damaged one is salvaged on the way."""

from __future__ import annotations

import contextlib
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
    """Closed, and its file let go, by the stack that was handed in."""
    found: Found
    recovery: Recovery | None


def open_sound(path: Path, at: int, hold: contextlib.ExitStack) -> Opened:
    """Open the store, or what can be saved of it; `hold` lets it go. Raises StoreRefusedError, StoreError."""
    kept = file.unfinished(path)
    if kept is None:
        try:
            file.examine(path)
            return _open(path, None, hold)
        except DamagedError as damage:
            why = str(damage)
    else:
        why = "it was found damaged while it was open, or an earlier salvage was cut short"
    with file.seized(path):
        kept = kept or file.put_aside(path, at)
        log.error("the store is damaged and was put aside: kept=%s why=%s", kept, why)
        new = path.with_name(path.name + ".new")
        recovery = salvage(kept, new, why)
        log.error("the store was salvaged: records=%d lost=%d", recovery.records, recovery.lost)
        file.replace(path, new)
    return _open(path, recovery, hold)


def _open(path: Path, recovery: Recovery | None, hold: contextlib.ExitStack) -> Opened:
    new = not path.exists()
    with contextlib.ExitStack() as mine:
        mine.enter_context(file.seized(path))
        connection = file.connect(path)
        mine.callback(connection.close)
        try:
            file.migrate(connection, path)
            if not rows.meta(connection, "clean", 1):
                file.verify(connection)
            opened = Opened(connection=connection, found=look_through(connection), recovery=recovery)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, ValueError, KeyError) as error:
            raise DamagedError(str(error)) from error  # a table or a column that is not there is damage, too
        if new:
            sync_folder(path.parent)
        hold.push(mine.pop_all())
    return opened
