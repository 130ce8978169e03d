"""One cloud at a time on a SQLite file: a lock beside it, held while the service runs, let go by the system if it dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from sqlalchemy import make_url

from cloud.config import Settings

try:
    import fcntl
except ModuleNotFoundError:  # Windows: there a file that is open cannot be replaced anyway
    fcntl = None


class RunningError(Exception):
    """A cloud is running on this database."""


def file_of(settings: Settings) -> Path | None:
    """Give the database's file; None for PostgreSQL."""
    url = make_url(settings.database_url)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextlib.contextmanager
def alone(settings: Settings) -> Generator[None]:
    """Hold the database for oneself until the block ends. Raises RunningError; PostgreSQL takes any number."""
    path = file_of(settings)
    if path is None or fcntl is None:
        yield
        return
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunningError(f"a cloud is running on {path}; SQLite takes one at a time") from error
        yield
    finally:
        os.close(descriptor)
