"""`triflow cloud restore`: a backup in the place of the database, verified first, in one step or not at all.

The watermarks go back to what the backup holds. Gateways find that out when they resume: they send what they still
have, and declare what they have not.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from cloud.commands import manifest
from cloud.commands.backup import check_sqlite, program
from cloud.commands.manifest import BackupError, Manifest
from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite, explain, migrate
from cloud.ingest.presence import note
from cloud.running import RunningError, alone, file_of


def restore(settings: Settings, backup: Path) -> str:
    """Put a backup in place; gives what to say. Raises BackupError, and then everything is as it was."""
    made = manifest.read(backup)
    path = file_of(settings)
    wanted = "postgresql" if path is None else "sqlite"
    if made.kind != wanted:
        raise BackupError(f"{backup} is a backup of {made.kind}; [database] url in cloud.toml says {wanted}")
    try:
        if path is None:
            before = _into_postgresql(settings, backup, made)
        else:
            with alone(settings):
                before = _into_sqlite(path, backup, made)
    except RunningError as error:
        raise BackupError(f"{error}; stop it first") from error
    except (OSError, sqlite3.Error, psycopg.Error, DatabaseError) as error:
        raise BackupError(f"not restored, the database is as it was: {explain(error)}") from error
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(made.made_ms / 1000))
    return f"restored what {backup.name} holds, {made.streams} streams as of {when}{before}"


def _check_marks(made: Manifest, streams: int, stored: int) -> None:
    if (streams, stored) != (made.streams, made.stored):
        raise BackupError(f"{made.file} does not hold the watermarks its manifest names; take another backup")


def _tell(connection: Connection, made: Manifest) -> None:
    """Record at every gateway that its watermarks went back."""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(made.made_ms / 1000))
    now_ms = time.time_ns() // 1_000_000
    with connection.transaction():
        for number, tenant in connection.execute("select id, tenant from gateway order by id"):
            words = f"the cloud was restored from its backup of {when}: what came later is sent again or declared lost"
            note(connection, (number, tenant), "safe regressed", words, now_ms)


# --- SQLite ---


def _into_sqlite(path: Path, backup: Path, made: Manifest) -> str:
    draft = path.with_name(path.name + ".restoring")
    for leftover in (draft, *_beside(draft)):
        leftover.unlink(missing_ok=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(backup, draft)
        marks, _ = check_sqlite(draft)
        _check_marks(made, len(marks), sum(mark[-1] for mark in marks))
        migrate(f"sqlite:///{draft}")
        connection = Sqlite(str(draft), writer=True)
        try:
            _tell(connection, made)
            connection.execute("pragma journal_mode=delete")
        finally:
            connection.close()
        manifest.sync_to_disk(draft)
    except BaseException:  # interrupted too: nothing half restored stays; it goes on up
        draft.unlink(missing_ok=True)
        raise
    aside = _move_aside(path)
    draft.replace(path)
    manifest.sync_to_disk(path.parent)
    return "" if aside is None else f"; the database of before is {aside}"


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]


def _move_aside(path: Path) -> Path | None:
    """Keep the old database under another name, whole and without a log that could be taken for the new one's."""
    if not path.exists():
        return None
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("pragma wal_checkpoint(truncate)")
        old.execute("pragma journal_mode=delete")
    aside = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for log, kept in zip(_beside(path), _beside(aside), strict=True):
        if log.exists():  # the old one is damaged: what its log holds stays with it
            log.rename(kept)
    aside.unlink(missing_ok=True)
    aside.hardlink_to(path)  # the place is never empty
    return aside


# --- PostgreSQL ---


def _into_postgresql(settings: Settings, backup: Path, made: Manifest) -> str:
    url = make_url(settings.database_url)
    connection = Postgresql(url, writer=True)
    try:
        tables = connection.execute("select tablename from pg_tables where schemaname='public'")
        if tables:
            raise BackupError(
                f"the database {url.database} is not empty ({len(tables)} tables); stop the cloud, create an empty"
                " database and name it in [database] url"
            )
        program("pg_restore", url, "--single-transaction", "--exit-on-error", "--no-owner", str(backup))
        migrate(settings.database_url)
        row = connection.one("select count(*), coalesce(sum(stored), 0) from ingest_stream")
        _check_marks(made, *(0, 0) if row is None else (int(row[0]), int(row[1])))
        _tell(connection, made)
    finally:
        connection.close()
    return ""
