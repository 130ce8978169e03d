"""A disk that fails on purpose: SQLite's own file system, and the n-th call of a kind is an error, once or from then on."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

_names = itertools.count()
KINDS = ("write", "sync", "truncate", "read", "open")
CODES = {
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "read": apsw.SQLITE_IOERR_READ,
}


@dataclass(slots=True)
class Faults:
    """What shall fail, and what was called so far."""

    kind: str = ""
    nth: int = 0
    for_good: bool = False
    """Every call of the kind from then on, and every other write: the disk is gone."""
    slow_s: float = 0.0
    """Every sync takes so long."""
    calls: Counter[str] = field(default_factory=Counter[str])
    after: Counter[str] = field(default_factory=Counter[str])
    """Calls after the fault."""
    struck: bool = False

    def pass_by(self, kind: str) -> None:
        self.calls[kind] += 1
        if self.struck:
            self.after[kind] += 1
        if kind == self.kind and (
            self.calls[kind] == self.nth or (self.for_good and self.nth and self.calls[kind] > self.nth)
        ):
            self.struck = True
            if kind == "open":
                raise apsw.CantOpenError("the disk is gone")
            error = apsw.IOError("the disk says I/O error")
            error.extendedresult = CODES[kind]
            raise error


@contextlib.contextmanager
def failing(folder: Path, faults: Faults) -> Iterator[Faults]:
    """Have every database of a folder on such a disk until the block ends."""
    vfs = _Vfs(f"failing-{next(_names)}", folder, faults)
    try:
        yield faults
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, name: str, folder: Path, faults: Faults) -> None:
        self._folder, self._faults = folder, faults
        super().__init__(name, base="unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or self._folder not in Path(str(path)).parents:
            return apsw.VFSFile("unix", name, flags)
        self._faults.pass_by("open")
        return _File(self._faults, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, faults: Faults, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._faults, self._reads = faults, bool(flags[1] & apsw.SQLITE_OPEN_READONLY)

    def xLock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        if self._reads and level > apsw.SQLITE_LOCK_SHARED:
            raise apsw.BusyError  # SQLite shrugs when it closes, apsw would raise
        super().xLock(level)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._faults.pass_by("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._faults.slow_s:
            time.sleep(self._faults.slow_s)
        self._faults.pass_by("sync")
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._faults.pass_by("truncate")
        super().xTruncate(newsize)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._faults.pass_by("read")
        return super().xRead(amount, offset)
