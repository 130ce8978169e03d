"""`triflow cloud backup`: a consistent copy while the service runs, read back; only then is more called safe.

The watermarks come from the copy itself (SQLite) or from the very snapshot that is dumped (PostgreSQL), never from the
running database: what was committed a moment later is not in there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

from cloud.commands import manifest
from cloud.commands.manifest import BackupError, Manifest
from cloud.config import Settings
from cloud.database import Connection, Postgresql, Sqlite, explain
from cloud.ingest import orders, safe
from cloud.running import file_of


def backup(settings: Settings, folder: Path, keep: int) -> str:
    """Make and verify a backup, raise what is safe, keep the newest `keep`; gives what to say. Raises BackupError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.partial"):
            leftover.unlink()
        path = file_of(settings)
        made, marks = _of_postgresql(settings, folder) if path is None else _of_sqlite(path, folder)
    except (OSError, sqlite3.Error, psycopg.Error) as error:
        raise BackupError(f"no backup was made, and nothing more is called safe: {explain(error)}") from error
    target = folder / made.file
    order = orders.Safe(
        made_ms=made.made_ms, path=str(target.resolve()), digest=made.sha256, bytes=made.bytes, marks=marks
    )
    try:
        said = orders.give(settings, order)
    except orders.OrderError as error:
        said = str(error)
    gone = manifest.prune(folder, made.kind, keep)
    more = f"; {len(gone)} older ones removed" if gone else ""
    return f"{target}: {made.bytes} bytes, SHA-256 {made.sha256[:16]}…, {made.streams} streams; {said}{more}"


def _name(made_ms: int, ending: str) -> str:
    return time.strftime("triflow-%Y%m%dT%H%M%S", time.gmtime(made_ms / 1000)) + f"{made_ms % 1000:03d}Z{ending}"


def schema_of(connection: Connection) -> str:
    """Give the revision of a database's schema."""
    row = connection.one("select version_num from alembic_version")
    return "" if row is None else str(row[0])


def _finish(draft: Path, kind: str, made_ms: int, schema: str, marks: list[safe.Mark]) -> Manifest:
    """Give a draft that was read back its name and its manifest."""
    manifest.sync_to_disk(draft)
    target = draft.with_name(draft.name.removesuffix(".partial"))
    made = Manifest(
        kind=kind,
        made_ms=made_ms,
        file=target.name,
        bytes=draft.stat().st_size,
        sha256=manifest.digest(draft),
        schema=schema,
        streams=len(marks),
        stored=sum(mark[-1] for mark in marks),
    )
    draft.rename(target)
    manifest.write(target, made)
    return made


# --- SQLite ---


def _of_sqlite(path: Path, folder: Path) -> tuple[Manifest, list[safe.Mark]]:
    if not path.exists():
        raise BackupError(f"there is no database {path} yet; start the cloud once, or check [database] url")
    made_ms = time.time_ns() // 1_000_000
    draft = folder / (_name(made_ms, ".db") + ".partial")
    try:
        # Read only, and the whole in one step: one snapshot, and no second writer or checkpointer beside the service.
        with (
            contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy,
        ):
            source.execute("pragma busy_timeout=10000")
            copy.execute("pragma synchronous=full")
            source.backup(copy, pages=-1)
            copy.execute("pragma journal_mode=delete")
        marks, schema = check_sqlite(draft)
        return _finish(draft, "sqlite", made_ms, schema, marks), marks
    except BaseException:  # interrupted too: half a backup must not look like one; it goes on up
        draft.unlink(missing_ok=True)
        raise


def check_sqlite(path: Path) -> tuple[list[safe.Mark], str]:
    """Check a copy whole; gives its watermarks and its schema's revision. Raises BackupError."""
    connection = Sqlite(str(path), writer=False)
    try:
        found = [row[0] for row in connection.execute("pragma integrity_check(20)")]
        if found != ["ok"]:
            raise BackupError(f"{path} is damaged: {'; '.join(found)}; restore an older backup of the database")
        return safe.watermarks(connection), schema_of(connection)
    finally:
        connection.close()


# --- PostgreSQL ---


def _of_postgresql(settings: Settings, folder: Path) -> tuple[Manifest, list[safe.Mark]]:
    url = make_url(settings.database_url)
    made_ms = time.time_ns() // 1_000_000
    draft = folder / (_name(made_ms, ".dump") + ".partial")
    connection = Postgresql(url, writer=False)
    try:
        connection.execute("set statement_timeout = 0")
        connection.execute("begin isolation level repeatable read read only")
        row = connection.one("select pg_export_snapshot()")
        marks, schema = safe.watermarks(connection), schema_of(connection)
        snapshot = "" if row is None else str(row[0])
        program("pg_dump", url, "--format=custom", f"--snapshot={snapshot}", "--no-owner", f"--file={draft}")
        connection.rollback()
        check_dump(draft)
        return _finish(draft, "postgresql", made_ms, schema, marks), marks
    except BaseException:  # interrupted too: half a backup must not look like one; it goes on up
        draft.unlink(missing_ok=True)
        raise
    finally:
        connection.close()


def program(name: str, url: URL | None, *arguments: str) -> str:
    """Run a program of PostgreSQL's and give its output; the password goes by the environment. Raises BackupError."""
    environment = dict(os.environ)
    if url is not None:
        arguments = (*arguments, f"--dbname={url.set(drivername='postgresql', password=None).render_as_string()}")
        if url.password is not None:
            environment["PGPASSWORD"] = str(url.password)
    try:
        done = subprocess.run([name, *arguments], capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError as error:
        raise BackupError(f"{name} is not installed; install PostgreSQL's client programs") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise BackupError(f"{name} failed: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout


def check_dump(path: Path) -> None:
    """Read a dump to its end, and see that every table's rows are in it. Raises BackupError."""
    from cloud.tables import metadata

    listed = program("pg_restore", None, "--list", str(path))
    missing = [name for name in metadata.tables if f" TABLE DATA public {name} " not in listed]
    if missing:
        raise BackupError(f"{path} lacks the rows of {', '.join(missing)}")
    program("pg_restore", None, f"--file={os.devnull}", str(path))
