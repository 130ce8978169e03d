"""Everything a process does to the files of one folder, in order, as a disk would see it.

SQLite's own calls come through an apsw VFS; files that are written past SQLite (ledger, ring segments, keys) are seen by
what the `os` calls say and by how the folder looks at each step. Nothing of the store is changed: the VFS is the
process's default one for as long as the recorder runs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import apsw

Kind = Literal["create", "write", "truncate", "sync", "unlink", "rename", "link", "folder"]
_SQLITE: Final = "sqlite"
_names = itertools.count()


@dataclass(frozen=True, slots=True)
class Op:
    """One step. `file` is the file itself, whatever it is called at the moment."""

    kind: Kind
    file: int = 0
    name: str = ""
    """create, unlink, rename (from), link (the new name)."""
    to: str = ""
    """rename."""
    offset: int = 0
    """write; for truncate the new size."""
    data: bytes = b""
    commit: bool = False
    """The write with which a transaction is complete in the log."""


class Recorder:
    """Records one folder. `begin` (name → content) is what stood there before."""

    def __init__(
        self, folder: Path, *, honest: Callable[[str], bool] = lambda _name: True, dice: random.Random | None = None
    ) -> None:
        self.folder = folder
        self.ops: list[Op] = []
        self.commits = 0
        self.begin: dict[str, tuple[int, bytes]] = {}
        self._honest = honest
        """Whether a sync of a file of that name ("" for the folder) really happens: for the engine's own mutants."""
        self.dice = dice or random.Random(0)
        """What SQLite is told to be random, so that a seed gives the same bytes every time."""
        self._files: dict[str, int] = {}
        self._by_inode: dict[int, int] = {}
        self._past_sqlite: dict[int, tuple[int, int, bytes]] = {}
        self._of_sqlite: set[int] = set()
        self._numbers = itertools.count(1)
        self._resync: set[int] = set()
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.endswith("-shm"):
                name = path.relative_to(folder).as_posix()
                number = self._number(path)
                self.begin[name] = (number, path.read_bytes())
                self._files[name] = number
                status = path.stat()
                self._past_sqlite[number] = (status.st_size, status.st_mtime_ns, self.begin[name][1])

    def _number(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self._by_inode:
            self._by_inode[inode] = next(self._numbers)
        return self._by_inode[inode]

    @contextlib.contextmanager
    def running(self) -> Iterator[Recorder]:
        """Record until the block ends."""
        name = f"recorder-{next(_names)}"
        vfs = _Vfs(name, self)
        kept = {
            call: getattr(os, call) for call in ("replace", "rename", "unlink", "remove", "link", "fsync", "fdatasync")
        }
        for call, real in kept.items():
            setattr(os, call, self._watched(call, real))
        apsw.randomness(0)  # drawn anew, from us
        try:
            yield self
        finally:
            for call, real in kept.items():
                setattr(os, call, real)
            self.look()
            vfs.unregister()
            apsw.randomness(0)

    # --- what SQLite does ---

    def inside(self, path: str | os.PathLike[str]) -> str | None:
        """Give the name within the folder; None for files elsewhere and for what no disk keeps."""
        try:
            name = Path(path).relative_to(self.folder).as_posix()
        except ValueError:
            return None
        return None if name.endswith("-shm") else name

    def open(self, name: str) -> int:
        """SQLite has opened a file; it may be new."""
        self.look(skip=name)
        path = self.folder / name
        number = self._number(path)
        self._of_sqlite.add(number)
        if self._files.get(name) != number:
            self._files[name] = number
            self.ops.append(Op("create", number, name))
        return number

    def write(self, number: int, offset: int, data: bytes, commit: bool) -> None:
        self.look()
        self.commits += commit
        self.ops.append(Op("write", number, offset=offset, data=bytes(data), commit=commit))

    def truncate(self, number: int, size: int) -> None:
        self.look()
        self.ops.append(Op("truncate", number, offset=size))

    def sync(self, number: int, name: str, *, folder: bool) -> None:
        self.look()
        if self._honest(name):
            self.ops.append(Op("sync", number))
        if folder and self._honest(""):
            self.ops.append(Op("folder"))

    def deleted(self, name: str, *, folder: bool) -> None:
        self._files.pop(name, None)
        self.ops.append(Op("unlink", name=name))
        self._forget_the_dead()
        if folder and self._honest(""):
            self.ops.append(Op("folder"))

    # --- what is done past it ---

    def _watched(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            if call in {"fsync", "fdatasync"}:
                result = real(*arguments, **named)
                self._synced(arguments[0])
                return result
            names = [self.inside(os.fspath(a)) for a in arguments[:2] if isinstance(a, (str, os.PathLike))]
            if names[0] is not None or (len(names) > 1 and names[1] is not None):
                self.look()
            result = real(*arguments, **named)
            if names[0] is not None:
                self._renamed(call, names[0], names[1] if len(names) > 1 else None)
            return result

        return watched

    def _synced(self, descriptor: int) -> None:
        try:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
        except OSError:
            return
        if path == self.folder or self.folder in path.parents:
            self.look()
            if path.is_dir():
                if self._honest(""):
                    self.ops.append(Op("folder"))
            elif (name := self.inside(path)) is not None and name in self._files and self._honest(name):
                self.ops.append(Op("sync", self._files[name]))

    def _renamed(self, call: str, name: str, to: str | None) -> None:
        number = self._files.get(name, 0)
        match call:
            case "unlink" | "remove":
                self._files.pop(name, None)
                self.ops.append(Op("unlink", number, name))
            case "link" if to is not None:
                self._files[to] = number
                self.ops.append(Op("link", number, to))
            case _ if to is not None:
                self._files.pop(name, None)
                self._files[to] = number
                self.ops.append(Op("rename", number, name, to))
            case _:
                pass
        self._forget_the_dead()

    def _forget_the_dead(self) -> None:
        """Let go of the inodes of files that have no name any more: the disk gives their numbers to others."""
        alive = set(self._files.values())
        self._by_inode = {inode: number for inode, number in self._by_inode.items() if number in alive}

    def look(self, skip: str = "") -> None:
        """See what changed in files that SQLite does not write."""
        for path in self._there():
            name = path.relative_to(self.folder).as_posix()
            if name == skip or name.endswith("-shm"):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            number = self._by_inode.get(status.st_ino)
            if number is None:
                number = self._by_inode[status.st_ino] = next(self._numbers)
            if number in self._of_sqlite:
                continue
            if self._files.get(name) != number:
                self._files[name] = number
                self.ops.append(Op("create", number, name))
            size, changed, content = self._past_sqlite.get(number, (0, 0, b""))
            if (status.st_size, status.st_mtime_ns) == (size, changed):
                continue
            fresh = path.read_bytes()
            if not fresh.startswith(content):
                self.ops.append(Op("truncate", number, offset=0))
                content = b""
            if len(fresh) > len(content):
                self.ops.append(Op("write", number, offset=len(content), data=fresh[len(content) :]))
            self._past_sqlite[number] = (status.st_size, status.st_mtime_ns, fresh)

    def _there(self) -> Iterator[Path]:
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as inner:
                        yield from (Path(one.path) for one in inner if one.is_file())


class _Vfs(apsw.VFS):
    """SQLite's own file system, with somebody writing along."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__(name, base="unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        inside = None if path is None else self._recorder.inside(str(path))
        if inside is None:
            return apsw.VFSFile("unix", name, flags)
        return _File(self._recorder, inside, name, flags)

    def xRandomness(self, numbytes: int) -> bytes:  # noqa: N802 - SQLite's name
        return self._recorder.dice.randbytes(numbytes)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        inside = self._recorder.inside(filename)
        if inside is not None:
            self._recorder.deleted(inside, folder=syncdir)


class _File(apsw.VFSFile):
    def __init__(self, recorder: Recorder, inside: str, name: Any, flags: list[int]) -> None:
        new = not (recorder.folder / inside).exists()
        super().__init__("unix", name, flags)
        self._recorder, self._name = recorder, inside
        self._log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        self._folder_due = new and bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL))
        """unix.c syncs the folder with the first sync of a new log or journal."""
        self._ends_transaction = False
        self._reads = bool(flags[1] & apsw.SQLITE_OPEN_READONLY)
        self._number = recorder.open(inside)

    def xLock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        # Closing a connection that only reads tries for a lock that its file cannot give: SQLite shrugs, apsw would raise.
        if self._reads and level > apsw.SQLITE_LOCK_SHARED:
            raise apsw.BusyError
        super().xLock(level)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        commit = False
        if self._log and offset >= 32:
            if len(data) == 24:  # a frame's header; the size of the database stands there when it ends a transaction
                self._ends_transaction = data[4:8] != b"\0\0\0\0"
            else:
                commit, self._ends_transaction = self._ends_transaction, False
        self._recorder.write(self._number, offset, data, commit)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._recorder.truncate(self._number, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._recorder.sync(self._number, self._name, folder=self._folder_due)
        self._folder_due = False
