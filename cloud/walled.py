"""Readers behind walls: whatever SQL gets here reads allowed tables only, writes nothing, ends in time, and stays small.

The compiler makes no other SQL; these walls do not trust it. SQLite: an authorizer that allows named tables and columns
and a few functions, `query_only`, a deadline that interrupts, a cap on rows. PostgreSQL: read-only transactions,
queries alone and one at a time, statement and lock timeouts, the same cap, and where [database] names a
`reader_role`, that role's own grants.
A small pool of its own keeps questions from standing before the pages' readers, and these from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql as pieces
from sqlalchemy import URL, make_url

from cloud.database import Connection, DatabaseError, Postgresql, Row, Sqlite, explain, postgresql_text
from cloud.patience import Patience

T = TypeVar("T")
Allowed = Mapping[str, frozenset[str] | None]
"""Table → the columns that may be read; None for all of them."""

READERS: Final = 2
DEADLINE_S: Final = 5.0
ROWS: Final = 50_000
LOCK_MS: Final = 1_000
_STEPS: Final = 5_000
"""SQLite looks at the clock every so many steps of its machine: a fraction of a millisecond."""
FUNCTIONS: Final = frozenset({"sum", "count", "min", "max", "coalesce", "abs", "round", "substr", "length"})


class ForbiddenError(Exception):
    """SQL reached for what it may not read or do."""


class TooLateError(Exception):
    """The deadline passed; what ran was interrupted."""


class TooManyError(Exception):
    """More rows than a reader takes."""


class WalledSqlite(Sqlite):
    """A reader of a SQLite file that is let near nothing but allowed tables."""

    def __init__(self, path: str, allowed: Allowed, rows: int) -> None:
        super().__init__(path, writer=False)
        self._allowed, self._rows = allowed, rows
        self._until = 0.0
        self._raw.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS)
        self._raw.set_authorizer(self._may)

    def _may(self, action: int, first: str | None, second: str | None, *_where: str | None) -> int:
        if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION}:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            columns = self._allowed.get(first or "", frozenset[str]())
            return sqlite3.SQLITE_OK if columns is None or second in columns else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and second in FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def start(self, deadline_s: float) -> None:
        """Begin a snapshot that lasts until the deadline."""
        self._until = time.monotonic() + deadline_s
        self._raw.execute("begin")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if time.monotonic() > self._until:
            raise TooLateError
        try:
            found = self._raw.execute(sql, values).fetchmany(self._rows + 1)
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise TooLateError from error
            raise
        except sqlite3.DatabaseError as error:
            if "prohibited" in str(error) or "not authorized" in str(error):
                raise ForbiddenError(str(error)) from error
            raise
        return _few(found, self._rows)

    def rollback(self) -> None:
        self._until = float("inf")
        super().rollback()


class WalledPostgresql(Postgresql):
    """A reader of PostgreSQL: read-only, in time, and as another role where one is named."""

    def __init__(self, url: URL, role: str | None, rows: int) -> None:
        super().__init__(url, writer=False)
        self._rows = rows
        self._raw.execute(b"set lock_timeout = %d" % LOCK_MS)
        if role is not None:
            self._raw.execute(pieces.SQL("set role {}").format(pieces.Identifier(role)))

    def start(self, deadline_s: float) -> None:
        """Begin a snapshot whose statements end at the deadline."""
        self._until = time.monotonic() + deadline_s
        # Both on one way to the server and back; several statements at once cannot be prepared.
        self._raw.execute(
            b"begin isolation level repeatable read read only; set local statement_timeout = %d"
            % max(1, int(deadline_s * 1000)),
            prepare=False,
        )

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if time.monotonic() > self._until:
            raise TooLateError
        try:
            # As a part of a query only queries can stand, so nothing sets a role back, locks or copies; with a bound
            # value there is one statement only; and no more rows leave the server than the cap.
            whole = f"select * from ({postgresql_text(sql)}) walled limit %s"  # noqa: S608 - behind every wall
            cursor = self._raw.execute(whole.encode(), (*values, self._rows + 1))
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
            raise TooLateError from error
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise ForbiddenError(str(error)) from error
        return _few(cursor.fetchall(), self._rows)


def _few(found: list[Row], most: int) -> list[Row]:
    if len(found) > most:
        raise TooManyError(f"more than {most} rows")
    return found


class Walled:
    """A few threads, each with one walled connection."""

    def __init__(
        self,
        url: str | URL,
        allowed: Allowed,
        *,
        role: str | None = None,
        deadline_s: float = DEADLINE_S,
        rows: int = ROWS,
    ) -> None:
        self._url = make_url(url)
        self._allowed, self._role, self._deadline_s, self._rows = allowed, role, deadline_s, rows
        self._pool = ThreadPoolExecutor(READERS, "ThreadPoolExecutor-walled")
        self._own = threading.local()
        self._open: list[Connection] = []
        self._server = Patience(lambda: Postgresql(self._url, writer=False).close())

    def _connection(self) -> WalledSqlite | WalledPostgresql:
        existing: WalledSqlite | WalledPostgresql | None = getattr(self._own, "connection", None)
        if existing is None:
            if self._url.get_backend_name() == "postgresql":
                with self._server.connecting():
                    existing = WalledPostgresql(self._url, self._role, self._rows)
            else:
                existing = WalledSqlite(self._url.database or ":memory:", self._allowed, self._rows)
            self._own.connection = existing
            self._open.append(existing)
        return existing

    def _read(self, work: Callable[[Connection], T], held: list[Connection]) -> T:
        try:
            connection = self._connection()
            held.append(connection)
            try:
                connection.start(self._deadline_s)
                return work(connection)
            finally:
                connection.rollback()
        except (sqlite3.DatabaseError, psycopg.OperationalError, psycopg.InternalError) as error:
            self._forget()
            raise DatabaseError(explain(error)) from error
        finally:
            held.clear()

    def _forget(self) -> None:
        broken: Connection | None = getattr(self._own, "connection", None)
        self._own.connection = None
        if broken is not None:
            self._open.remove(broken)
            with contextlib.suppress(sqlite3.Error, psycopg.Error):  # it is broken already
                broken.close()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` within one snapshot. Raises ForbiddenError, TooLateError, TooManyError, DatabaseError."""
        held: list[Connection] = []
        running = asyncio.get_running_loop().run_in_executor(self._pool, self._read, work, held)
        return await (self._server.wait(running, held) if self._url.get_backend_name() == "postgresql" else running)

    def close(self) -> None:
        """Wait for what runs, then close every connection."""
        self._pool.shutdown(cancel_futures=True)
        for connection in self._open:
            connection.close()


def grants(role: str, allowed: Allowed) -> list[str]:
    """Give what a PostgreSQL administrator runs once, so that the role reads what it may and nothing else."""
    said = [
        f'create role "{role}" nologin',
        f'grant "{role}" to current_user',
        f'grant usage on schema public to "{role}"',
    ]
    for table, columns in sorted(allowed.items()):
        which = "" if columns is None else f" ({', '.join(sorted(columns))})"
        said.append(f'grant select{which} on {table} to "{role}"')
    return said
