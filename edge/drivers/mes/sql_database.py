"""One connection to a database, for reading only; the sole home of SQLAlchemy on the gateway.

It waits in a worker thread, a statement at a time, each in a transaction that cannot write and is rolled back. A
statement has a time limit at the server and one here; who gives up waiting breaks the connection, so that no thread is
left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from edge.connections import Sql
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.mes.question import Answer, QuestionError
from edge.drivers.mes.sql_faults import explain
from edge.statement import escaped

T = TypeVar("T")

CONNECT_S: Final = 4
OPEN_S: Final = 4.8
GRACE_S: Final = 2.0
"""What a statement may take beyond its time limit before we stop believing in the connection."""
_READ_ONLY: Final = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
}


class Database:
    """A connection's life. Every method raises DriverError when it is lost."""

    def __init__(self, config: Sql, around: Surroundings, password: SecretStr | None) -> None:
        self.server_time: int | None = None
        """The database's own clock when we connected, ns; None where it tells none with a zone."""
        self._config, self._around, self._password = config, around, password
        self._connection: Connection | None = None
        self._deadline = 0.0

    @property
    def dialect(self) -> str:
        return self._config.url.partition(":")[0].partition("+")[0]

    # --- coming and going ---

    async def open(self) -> None:
        """Connect, within 5 s."""
        future = asyncio.get_running_loop().run_in_executor(None, self._connect)
        try:
            async with asyncio.timeout(OPEN_S):
                self._connection = await asyncio.shield(future)
        except TimeoutError as error:
            future.add_done_callback(_close_late)
            raise self.lost(f"no connection within {OPEN_S:g} s; check the host and the network") from error
        except asyncio.CancelledError:
            future.add_done_callback(_close_late)  # it ends by its own time limit
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, DriverError):
                await self._in_thread(connection, lambda: _close(connection), GRACE_S)

    def _connect(self) -> Connection:
        try:
            url = make_url(self._config.url)
            if self._password is not None:
                url = url.set(password=self._password.get_secret_value())
            connection = self._engine(url).connect()
        except SQLAlchemyError as error:
            if isinstance(error, NoSuchModuleError | ArgumentError):
                raise self.lost(f"{error}; check the url's beginning, e.g. postgresql+psycopg://") from error
            raise self.lost(explain(error).what) from error
        except ImportError as error:
            raise self.lost(
                f"the gateway has no library for {self._config.url.partition(':')[0]} ({error}); install it beside triflow"
            ) from error
        try:
            self._prepare(connection)
        except SQLAlchemyError as error:
            _close(connection)
            raise self.lost(explain(error).what) from error
        return connection

    def _engine(self, url: URL) -> Engine:
        """Give an engine that keeps no connections: ours is the only one, and ours to close."""
        if self.dialect == "sqlite":
            path = self._around.folder / Path(url.database or "")

            def open_file() -> sqlite3.Connection:
                address = f"file:{quote(str(path))}?mode=ro"
                return sqlite3.connect(address, uri=True, timeout=CONNECT_S, check_same_thread=False)

            return sa.create_engine("sqlite://", creator=open_file, poolclass=NullPool)
        settings: dict[str, Any] = {}
        if url.drivername.endswith("psycopg"):
            settings = {
                "connect_timeout": CONNECT_S,
                "application_name": f"triflow {self._around.gateway}",
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
            }
        return sa.create_engine(url, connect_args=settings, poolclass=NullPool)

    def _prepare(self, connection: Connection) -> None:
        """Set the session's limits, and see that it answers."""
        limit_ms = round(self._config.timeout_s * 1000)
        match self.dialect:
            case "sqlite":
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA query_only = ON")
                raw.set_progress_handler(lambda: int(time.monotonic() > self._deadline), 10_000)
                self._deadline = time.monotonic() + CONNECT_S
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # reads the file: is it a database?
            case "postgresql":
                connection.exec_driver_sql(f"SET statement_timeout = {limit_ms}")
                connection.exec_driver_sql("SET default_transaction_read_only = on")
                connection.exec_driver_sql("SET TIME ZONE 'UTC'")
                connection.commit()
                self._tell_time(connection)
            case "mysql" | "mariadb":
                connection.exec_driver_sql(f"SET SESSION max_execution_time = {limit_ms}")
                self._tell_time(connection)
            case _:
                self._tell_time(connection)
        connection.rollback()

    def _tell_time(self, connection: Connection) -> None:
        now = connection.execute(sa.select(sa.func.current_timestamp())).scalar()
        if isinstance(now, datetime) and now.tzinfo is not None:
            self.server_time = round(now.astimezone(UTC).timestamp() * 1_000_000) * 1000

    # --- asking ---

    async def ask(
        self, sql: str, parameters: Mapping[str, object], limit: int, *, order_by: str | None = None
    ) -> Answer:
        """Give the first rows of a statement's result, by a column if one is named.

        Raises QuestionError when only this question failed.
        """
        # The statement becomes a table of its own: so order and limit are the database's work in any dialect, and a
        # result of millions never leaves it. The line break ends a comment at the statement's end.
        body = escaped(sql).strip().removesuffix(";")
        rows = sa.text(f"{body}\n").columns().subquery("triflow_rows")
        question = sa.select(sa.text("*")).select_from(rows).limit(limit)
        if order_by is not None:
            question = question.order_by(sa.column(order_by))
        connection = self._connection
        if connection is None:
            raise self.lost("not connected")

        if self.dialect == "sqlite":  # it has no times, only texts
            parameters = {n: v.isoformat(" ") if isinstance(v, datetime) else v for n, v in parameters.items()}

        def read() -> Answer:
            self._deadline = time.monotonic() + self._config.timeout_s
            with contextlib.suppress(KeyError):
                connection.exec_driver_sql(_READ_ONLY[self.dialect])
            result = connection.execute(question, parameters)
            answer = Answer(list(result.keys()), [tuple(row) for row in result.fetchmany(limit)])
            connection.rollback()
            return answer

        try:
            return await self._in_thread(connection, read, self._config.timeout_s + GRACE_S)
        except SQLAlchemyError as error:
            explained = explain(error)
            if explained.lost or getattr(error, "connection_invalidated", False):
                raise self.lost(explained.what) from error
            try:
                await self._in_thread(connection, connection.rollback, GRACE_S)
            except SQLAlchemyError as broken:
                raise self.lost(explain(broken).what) from broken
            raise QuestionError(explained) from error

    async def columns(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        """Give the columns and their types of the tables we may look into: table → column → type."""
        connection = self._connection
        if connection is None:
            raise self.lost("not connected")

        def look() -> dict[str, dict[str, str]]:
            self._deadline = time.monotonic() + self._config.timeout_s
            inspector = sa.inspect(connection)
            found: dict[str, dict[str, str]] = {}
            for name in tables:
                schema, _, table = name.rpartition(".")
                with contextlib.suppress(SQLAlchemyError):  # no right to look, or no such table: the query will tell
                    columns = inspector.get_columns(table, schema=schema or None)
                    found[name] = {str(column["name"]): str(column["type"]) for column in columns}
            connection.rollback()
            return found

        try:
            return await self._in_thread(connection, look, self._config.timeout_s + GRACE_S)
        except SQLAlchemyError as error:
            raise self.lost(explain(error).what) from error

    async def _in_thread(self, connection: Connection, work: Callable[[], T], seconds: float) -> T:
        """Run blocking work in a thread; whoever stops waiting breaks the connection, which ends the work."""
        future = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError as error:
            _break(connection)
            raise self.lost(f"no answer within {seconds:g} s; check the network and the database's load") from error
        except asyncio.CancelledError:
            _break(connection)
            await asyncio.wait([future], timeout=GRACE_S)
            if future.done() and not future.cancelled():
                future.exception()  # it is known, and nobody's any more
            raise

    def lost(self, why: str) -> DriverError:
        return DriverError(f"{self._config.name} ({self._config.url}): {why}")


def _break(connection: Connection) -> None:
    """End what the connection is doing, from another thread."""
    raw: Any = None
    with contextlib.suppress(SQLAlchemyError):
        raw = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        raw.interrupt()
    elif hasattr(raw, "fileno"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(raw.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


def _close(connection: Connection) -> None:
    connection.close()
    connection.engine.dispose()


def _close_late(future: asyncio.Future[Connection]) -> None:
    """Close a connection that came when nobody waited for it any more."""
    if not future.cancelled() and future.exception() is None:
        _close(future.result())
