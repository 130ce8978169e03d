"""What a driver's error means: try again, never, or look after the database; in words that say what to check."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from typing import Final

import psycopg


class DatabaseError(Exception):
    """The database cannot be used now: unreachable, full, locked, read-only. Nothing was committed; try again later."""


class TryAgainError(DatabaseError):
    """Another transaction was in the way (deadlock, serialization). Nothing was committed; the same again may pass."""


class DataError(Exception):
    """The database refuses these values for ever (too large a number, a NUL in a text). Nothing was committed."""


REFUSED: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    psycopg.DataError,
    psycopg.IntegrityError,
    OverflowError,
    UnicodeError,
)
IN_THE_WAY: Final = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
UNUSABLE: Final = (
    sqlite3.DatabaseError,
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.errors.UndefinedTable,  # a schema that is not there, or an older one
)

_ADVICE: Final = {
    "full": "the disk of the database is full; free space there",
    "no space left": "the disk of the database is full; free space there",
    "disk i/o error": "the disk of the database is full or fails; free space there, and look at the system's log",
    "readonly": "the database file is read-only; check its owner and permissions",
    "unable to open": "check that the folder of the database exists and is writable",
    "malformed": "the database file is damaged; restore it from a backup",
    "not a database": "the file is none of ours, or damaged; check [database] url, or restore a backup",
    "no such table": "the schema is not there or older than this program; run `triflow cloud migrate`",
    'relation "': "the schema is not there or older than this program; run `triflow cloud migrate`",
    "locked": "another process holds the database; is a second cloud running on this file?",
    "connection refused": "PostgreSQL does not answer; check that it runs and the host and port in [database] url",
    "timeout expired": "PostgreSQL does not answer; check that it runs and the host and port in [database] url",
    "password authentication": "check the user in [database] url and its password credential",
}


def explain(error: BaseException) -> str:
    """Say in one line what a driver's error means and what to check."""
    text = " ".join(str(error).split())
    for mark, what in _ADVICE.items():
        if mark in text.lower():
            return f"{text}; {what}"
    return text


@contextlib.contextmanager
def plainly() -> Generator[None]:
    """Raise what a driver raises within the block as DatabaseError, TryAgainError or DataError."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a bug of ours, and a DatabaseError by its family only
        raise
    except REFUSED as error:
        raise DataError(str(error)) from error
    except IN_THE_WAY as error:
        raise TryAgainError(explain(error)) from error
    except UNUSABLE as error:
        if str(error) == "integer overflow":  # SQLite's word for a sum that no column holds
            raise DataError(str(error)) from error
        raise DatabaseError(explain(error)) from error
