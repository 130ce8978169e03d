"""The database on the driver's own connections: one writer, a few readers, the same SQL on SQLite and PostgreSQL.

SQLAlchemy keeps the schema and the migrations; records go through the driver, which is 18 times faster. SQL is written
with `?` marks and `greatest`/`least`. On SQLite only the writer's connection writes or checkpoints, ever, and readers
are `query_only`: two writers resetting the WAL at once is what some SQLite versions cannot survive.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import functools
import os
import socket
import sqlite3
import tempfile
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import URL, make_url

from cloud.faults import UNUSABLE, DatabaseError, DataError, TryAgainError, explain, plainly
from cloud.patience import Patience

T = TypeVar("T")
Row = tuple[Any, ...]

READERS: Final = 3
BUSY_MS: Final = 10_000
CONNECT_S = 5
"""How long a server may take to let us in."""
STATEMENT_S: Final = 30
"""PostgreSQL gives up a statement after this."""
PATIENCE_S: Final = 60.0
"""… and we a server that does not even do that."""

__all__ = ["DataError", "DatabaseError", "TryAgainError", "explain"]  # their home is `faults`, their users are ours


@functools.cache
def _for_sqlite(sql: str) -> str:
    return sql.replace("greatest(", "max(").replace("least(", "min(").replace(" for update", "")


@functools.cache
def postgresql_text(sql: str) -> str:
    """Give SQL with `?` marks as psycopg reads it."""
    return sql.replace("%", "%%").replace("?", "%s")


class Connection(abc.ABC):
    """One driver connection of either kind."""

    postgresql: bool
    writes: bool

    @abc.abstractmethod
    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and give its rows."""

    @abc.abstractmethod
    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for every row."""

    @abc.abstractmethod
    def bulk(self, table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows as fast as the driver can; `types` are PostgreSQL's names, for its binary COPY."""

    @abc.abstractmethod
    def merge(self, sql: str, types: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Run an insert for every row in as few statements as can be; `{rows}` stands where its rows go."""

    @abc.abstractmethod
    def begin(self) -> None: ...

    @abc.abstractmethod
    def commit(self) -> None: ...

    @abc.abstractmethod
    def rollback(self) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...

    @abc.abstractmethod
    def sever(self) -> None:
        """Break the connection under whoever waits on it, from another thread."""

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """Give the first row, or None."""
        rows = self.execute(sql, values)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """Commit at the end of the block, roll back when it raises. Raises DatabaseError and DataError."""
        with plainly():
            self.begin()
            try:
                yield
            except BaseException:  # whatever it is, nothing half done stays
                with contextlib.suppress(*UNUSABLE):  # a dead connection has nothing to roll back
                    self.rollback()
                raise
            self.commit()


class Sqlite(Connection):
    """SQLite: WAL, every commit on disk before it returns."""

    postgresql = False

    def __init__(self, path: str, *, writer: bool, image: bytes = b"") -> None:
        """Open a file, or with `:memory:` a database of its own that begins as `image`."""
        self.writes = writer
        self._raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        if image:
            self._raw.deserialize(image)
        self._raw.execute(f"pragma busy_timeout={BUSY_MS}")
        # A reader's pages lie in the system's cache as well; the writer touches leaves of every index with each commit.
        self._raw.execute(f"pragma cache_size=-{65_536 if writer else 8_192}")
        if writer:
            self._raw.execute("pragma journal_mode=wal")
            self._raw.execute("pragma synchronous=full")
            self._raw.execute("pragma wal_autocheckpoint=4000")
            self._raw.execute("pragma journal_size_limit=67108864")
        else:
            self._raw.execute("pragma query_only=on")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._raw.execute(_for_sqlite(sql), values).fetchall()

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._raw.executemany(_for_sqlite(sql), rows)

    def bulk(self, table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        marks = ",".join("?" * len(types))
        self._raw.executemany(f"insert into {table}({','.join(columns)}) values({marks})", rows)

    def merge(self, sql: str, types: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.many(sql.replace("{rows}", f"values({','.join('?' * len(types))})"), rows)

    def begin(self) -> None:
        self._raw.execute("begin immediate")

    def commit(self) -> None:
        self._raw.execute("commit")

    def rollback(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("rollback")

    def close(self) -> None:
        self._raw.close()

    def sever(self) -> None:
        """A file answers or fails by itself."""

    def image(self) -> bytes:
        """Give the whole database as committed, as the bytes of a file."""
        return self._raw.serialize()


class Postgresql(Connection):
    """PostgreSQL through psycopg; commits wait for the disk (synchronous_commit is the server's default, on)."""

    postgresql = True

    def __init__(self, url: URL, *, writer: bool) -> None:
        self.writes = writer
        whole = url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            self._raw = psycopg.connect(whole, autocommit=True, connect_timeout=CONNECT_S)
        except psycopg.OperationalError as error:
            traceback.clear_frames(error.__traceback__)  # they hold the socket of one that came too late
            raise
        self._raw.execute(b"set statement_timeout = %d" % (STATEMENT_S * 1000))
        if not writer:
            self._raw.execute("set default_transaction_read_only = on")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._raw.execute(postgresql_text(sql).encode(), values)
        return cursor.fetchall() if cursor.description else []

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._raw.cursor() as cursor:
            cursor.executemany(postgresql_text(sql).encode(), rows)

    def bulk(self, table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        command = f"copy {table}({','.join(columns)}) from stdin (format binary)"
        with self._raw.cursor() as cursor, cursor.copy(command.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def merge(self, sql: str, types: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            arrays = ",".join(f"?::{name}[]" for name in types)
            columns = [list(column) for column in zip(*rows, strict=True)]
            self.execute(sql.replace("{rows}", f"select * from unnest({arrays})"), columns)  # noqa: S608 - our own types

    def begin(self) -> None:
        self._raw.execute(b"begin")

    def commit(self) -> None:
        self._raw.execute(b"commit")

    def rollback(self) -> None:
        self._raw.execute(b"rollback")

    def close(self) -> None:
        self._raw.close()

    def sever(self) -> None:
        """A server that hangs never answers; its socket can be shut."""
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._raw.fileno())) as link:
            link.shutdown(socket.SHUT_RDWR)


class Database:
    """One writer thread with one connection, and a few reader threads with one each; nothing blocks the event loop."""

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self.url = make_url(url)
        self._patience_s = patience_s
        self._writing: Connection | None = None
        self.postgresql = self.url.get_backend_name() == "postgresql"
        self._writer = ThreadPoolExecutor(1, "ThreadPoolExecutor-writer")
        self._readers = ThreadPoolExecutor(READERS, "ThreadPoolExecutor-reader")
        self._own = threading.local()
        self._open: list[Connection] = []
        self._server = Patience(lambda: Postgresql(self.url, writer=False).close())
        self.commits = 0
        """How often something of this process may have been committed: while it stands still, we changed nothing."""
        self.on_close: list[Callable[[], None]] = []
        """What else reads from here, to be closed before the writer is."""

    def _connection(self, *, writer: bool) -> Connection:
        """Give this thread's connection; make a new one after an error broke the last."""
        existing: Connection | None = getattr(self._own, "connection", None)
        if existing is None:
            try:
                if self.postgresql:
                    with self._server.connecting():
                        existing = Postgresql(self.url, writer=writer)
                else:
                    existing = Sqlite(self.url.database or ":memory:", writer=writer)
            except UNUSABLE as error:
                raise DatabaseError(explain(error)) from error
            self._own.connection = existing
            self._open.append(existing)
        return existing

    def _forget(self) -> None:
        broken: Connection = self._own.connection
        self._own.connection = None
        self._open.remove(broken)
        with contextlib.suppress(*UNUSABLE):  # it is broken already
            broken.close()

    def _write(self, work: Callable[[Connection], T]) -> T:
        connection = self._writing = self._connection(writer=True)
        try:
            with connection.transaction():
                return work(connection)
        except TryAgainError:
            raise
        except DatabaseError:
            self._forget()
            raise
        finally:
            self._writing = None
            self.commits += 1  # before anybody is told; by this thread alone

    def _read(self, work: Callable[[Connection], T], held: list[Connection]) -> T:
        connection = self._connection(writer=False)
        held.append(connection)
        try:
            # One snapshot for all statements of an answer.
            connection.execute("begin isolation level repeatable read" if self.postgresql else "begin")
            try:
                return work(connection)
            finally:
                connection.rollback()
        except UNUSABLE as error:
            self._forget()
            raise DatabaseError(explain(error)) from error
        finally:
            held.clear()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction on the writer; it is on disk when this returns."""
        running = asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)
        while not (await asyncio.wait({running}, timeout=self._patience_s))[0]:
            if self._writing is not None:
                self._writing.sever()
        return await running

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a reader, within one snapshot. Raises DatabaseError, also when PostgreSQL hangs."""
        held: list[Connection] = []
        running = asyncio.get_running_loop().run_in_executor(self._readers, self._read, work, held)
        return await (self._server.wait(running, held) if self.postgresql else running)

    def close(self) -> None:
        """Wait for what runs, then close every connection, the writer's last so that it checkpoints."""
        for close in self.on_close:
            close()
        self._readers.shutdown(cancel_futures=True)
        self._writer.shutdown()
        for connection in sorted(self._open, key=lambda one: one.writes):
            connection.close()


@contextlib.asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """Give the database with its schema brought up to date. Raises DatabaseError."""
    await asyncio.to_thread(migrate, url)
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@functools.cache
def blank() -> bytes:
    """Give an empty SQLite database with our schema, as the bytes of a file: to begin one in memory within a moment."""
    with tempfile.TemporaryDirectory(prefix="triflow-blank-") as folder:
        path = str(Path(folder, "blank.db"))
        migrate(f"sqlite:///{path}")
        raw = sqlite3.connect(path, isolation_level=None)
        try:
            raw.execute("pragma journal_mode=delete")  # an image in memory cannot have a WAL beside it
            return raw.serialize()
        finally:
            raw.close()


def migrate(url: str) -> None:
    """Bring the schema up to date. Raises DatabaseError, also when the database is newer than this program."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import exc

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseError(
            f"{error}; the database was written by a newer Triflow: install that version, or use another database"
        ) from error
    except exc.DBAPIError as error:
        raise DatabaseError(explain(error)) from error
