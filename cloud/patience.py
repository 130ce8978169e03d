"""How long a reader is waited for: as long as PostgreSQL still answers anybody.

A server that hangs (stopped, swapping, behind a link that swallows) ends no statement and closes no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final, Protocol, TypeVar

import psycopg

from cloud.faults import DatabaseError, explain

T = TypeVar("T")

PROBE_S: Final = 5.0
"""Whoever has waited so long has the server asked whether it answers anybody."""
SILENT_S: Final = 2.0
"""What was learnt of a server so lately is not asked again."""


class Severable(Protocol):
    """A connection that can be broken under whoever waits on it."""

    def sever(self) -> None: ...


class Patience:
    """Waits for readers of one server, and knows for a moment what is wrong with it."""

    def __init__(self, connect: Callable[[], None]) -> None:
        """connect: goes to the server and comes back; raises what the driver raises."""
        self._connect = connect
        self._silent_until, self._why, self._heard = 0.0, "", 0.0

    @contextlib.contextmanager
    def connecting(self) -> Generator[None]:
        """Connect within the block. Raises DatabaseError at once while the last that tried it waited in vain."""
        if (began := time.monotonic()) < self._silent_until:
            raise DatabaseError(self._why)
        try:
            yield
        except psycopg.OperationalError as error:
            if time.monotonic() - began > SILENT_S:
                self._silent_until, self._why = time.monotonic() + SILENT_S, explain(error)
            raise
        self._heard = time.monotonic()

    def _probe(self) -> None:
        if time.monotonic() - self._heard > SILENT_S:
            with self.connecting():
                self._connect()

    async def wait(self, running: asyncio.Future[T], held: Sequence[Severable]) -> T:
        """Give what a reader's thread gives. held: its connection, once it has one. Raises DatabaseError."""
        try:
            while not (await asyncio.wait({running}, timeout=PROBE_S))[0]:
                await asyncio.to_thread(self._probe)
        except (DatabaseError, psycopg.OperationalError) as error:
            for connection in tuple(held):
                connection.sever()  # its thread is free for others
            raise DatabaseError(str(error) if isinstance(error, DatabaseError) else explain(error)) from error
        finally:
            running.cancel()  # what still waits for its turn never begins
        return running.result()
