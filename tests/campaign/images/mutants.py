"""Stores and disks that are broken on purpose: an engine that finds nothing wrong with them finds nothing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store import file
from tests.campaign.images import CUTS, run
from tests.campaign.images.script import Trace, record

TRIALS: Final = 120
LIFE: Final = 0


@contextlib.contextmanager
def _connecting(change: Callable[[Path], None], after: Callable[[apsw.Connection], None]) -> Iterator[None]:
    real = file.connect

    def connect(path: Path, *arguments: Any, **named: Any) -> apsw.Connection:
        change(path)
        connection = real(path, *arguments, **named)
        after(connection)
        return connection

    file.connect = connect
    try:
        yield
    finally:
        file.connect = real


def _normal(seed: int, folder: Path) -> Trace:
    """The log is synced before a checkpoint only: what SQLite calls synchronous=NORMAL."""
    with _connecting(lambda _path: None, lambda connection: connection.pragma("synchronous", "normal")):
        return record(seed, folder)


MUTANTS: Final[dict[str, Callable[..., Trace]]] = {
    "synchronous=NORMAL": _normal,
    "acknowledges before the commit": functools.partial(record, early=True),
    "a disk that lies about every sync": functools.partial(record, honest=lambda _name: False),
    "log used again before the file was synced": functools.partial(record, honest=lambda name: name != "edge.db"),
    "names are never synced": functools.partial(record, honest=lambda name: name != ""),
}


def try_all(log: Callable[[str], None], *, trials: int = TRIALS) -> dict[str, int]:
    """Give, for each mutant, how many trials noticed it."""
    caught: dict[str, int] = {}
    for name, recorded in MUTANTS.items():
        result = run(count=trials, seed=LIFE * CUTS, log=lambda _said: None, recorded=recorded, mutants=False)
        caught[name] = len(result.violations)
    with _connecting(lambda path: path.with_name(path.name + "-wal").unlink(missing_ok=True), lambda _connection: None):
        result = run(count=trials, seed=LIFE * CUTS, log=lambda _said: None, mutants=False)
        caught["throws the log away at the start"] = len(result.violations)
    for name, number in caught.items():
        log(f"mutant {name:45} noticed by {number} of {trials}")
    return caught
