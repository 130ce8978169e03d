"""Is a store's file sound: every page, every number in one place, every body as it was written, every chain unbroken.

Reads only, in one snapshot, beside a running gateway or without one; files of every schema so far.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store.file import APPLICATION_ID, DamagedError, StoreRefusedError, migrations
from sync import chain
from sync.chunk import ChunkError, decode_raw, digest
from sync.facts import Audited, Stream

MOST: Final = 50
"""Faults that are listed; more are counted."""


@dataclass(slots=True)
class Soundness:
    """What was found in a file."""

    schema: int = 0
    incarnation: str = ""
    """The newest one."""
    ord: int = 0
    chunks: int = 0
    records: int = 0
    """In chunks."""
    waiting: int = 0
    """Of them, not confirmed by the cloud."""
    declared: int = 0
    """Records declared lost that the cloud has not confirmed yet."""
    put_aside: int = 0
    """Chunks the cloud refused or that were found damaged, kept for a person."""
    produced: int = 0
    audit_records: int = 0
    faults: list[str] = field(default_factory=list[str])
    more_faults: int = 0

    @property
    def sound(self) -> bool:
        return not self.faults

    def add(self, fault: str) -> None:
        if len(self.faults) < MOST:
            self.faults.append(fault)
        else:
            self.more_faults += 1


@contextlib.contextmanager
def reading(path: Path) -> Generator[apsw.Connection]:
    """Open for reading, one snapshot, its log included. Raises StoreRefusedError and DamagedError.

    Where no log can be made beside it (a read-only medium) the file is read as one that nobody changes.
    """
    _look_at_head(path)
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    uri = path.absolute().as_uri()
    try:
        connection = apsw.Connection(f"{uri}?mode=ro", flags=flags)
        try:
            _snapshot(connection)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            connection.close()
            connection = apsw.Connection(f"{uri}?mode=ro&immutable=1", flags=flags)
            _snapshot(connection)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise DamagedError(str(error)) from error
    except apsw.Error as error:
        raise StoreRefusedError(
            f"{path} cannot be read ({error}); run this as the gateway's user or with sudo"
        ) from error
    with contextlib.closing(connection):
        if connection.pragma("application_id") != APPLICATION_ID:
            raise StoreRefusedError(f"{path} is a database of another program; check the path")
        if (version := int(str(connection.pragma("user_version")))) > len(migrations()):
            raise StoreRefusedError(
                f"{path} has schema {version}, this software knows up to {len(migrations())}; use the newer version"
            )
        yield connection


def _look_at_head(path: Path) -> None:
    if not path.is_file():
        raise StoreRefusedError(f"there is no store at {path}; check the path")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreRefusedError(
            f"{path} cannot be read ({error.strerror}); run this as the gateway's user or with sudo"
        ) from error
    if head != b"SQLite format 3\0":
        raise DamagedError("its first page is not a database's")


def _snapshot(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(5_000)
    connection.pragma("trusted_schema", "off")
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()


def check(connection: apsw.Connection) -> Soundness:
    """Look at everything. Damage is among the faults; nothing is raised for it."""
    found = Soundness()
    try:
        for (said,) in connection.execute(f"PRAGMA integrity_check({MOST})"):
            if said != "ok":
                found.add(f"page or index: {said}")
        found.schema = int(str(connection.pragma("user_version")))
        _Checked(connection, found).all()
    except (apsw.Error, UnicodeDecodeError) as error:
        found.add(f"cannot be read to the end: {error}")
    return found


class _Checked:
    """The walk over one file."""

    def _rows(self, query: str, *values: Any) -> Iterator[Any]:
        return iter(self._connection.execute(query, values))

    def __init__(self, connection: apsw.Connection, found: Soundness) -> None:
        self._connection, self._found = connection, found
        columns = {str(row[1]) for row in self._rows("PRAGMA table_info(chunk)")}
        self._links = "before" if "before" in columns else "x''"

    def all(self) -> None:
        found = self._found
        meta: dict[str, Any] = {str(key): value for key, value in self._rows("SELECT key, value FROM meta")}
        found.produced = int(meta.get("sealed_produced", 0))
        found.incarnation, found.ord = str(meta.get("newest_inc", "")), int(meta.get("newest_ord", 0))
        found.put_aside = sum(1 for _ in self._rows("SELECT 1 FROM aside"))
        known: str | None = None
        before = 0
        for ord_, inc in list(self._rows("SELECT ord, inc FROM incarnation ORDER BY ord")):
            found.incarnation, found.ord = str(inc), int(ord_)
            if before + 1 != ord_:
                known = None  # the ones between are done and gone, their audit records with them
            before = int(ord_)
            for stream, last, stored, floor in list(
                self._rows("SELECT stream, last, stored, floor FROM lane WHERE ord = ? ORDER BY stream", ord_)
            ):
                head = self._lane(int(ord_), str(inc), int(stream), (int(last), int(stored), int(floor)), known)
                known = head if stream == Stream.AUDIT else known
        if known is not None and meta.get("audit_head") not in {None, known}:
            found.add("the newest audit record is not the one that the store remembers as its last")
        self._checkpoints()

    def _lane(self, ord_: int, inc: str, stream: int, numbers: tuple[int, int, int], known: str | None) -> str | None:
        """Walk one lane; give the digest of its last audit record when it is still the newest of all."""
        last, stored, floor = numbers
        found, name = self._found, f"{inc[:8]}/{_name(stream)}"
        found.produced += last
        lost = self._rows("SELECT first, last FROM loss WHERE ord = ? AND stream = ? ORDER BY first", ord_, stream)
        ranges = [(int(a), int(b)) for a, b in lost]
        found.declared += sum(b - a + 1 for a, b in ranges)
        at, link = 0, chain.genesis(inc, stream)
        for first, count, mark, body, before in self._rows(
            f"SELECT first, count, digest, body, {self._links} FROM chunk WHERE ord = ? AND stream = ? ORDER BY first",  # noqa: S608 - a column's name
            ord_,
            stream,
        ):
            ranges.append((int(first), int(first) + int(count) - 1))
            found.chunks += 1
            found.records += count
            found.waiting += count if first + count - 1 > stored else 0
            facts = self._body(f"{name}/{first}", bytes(body), bytes(mark), int(count))
            if first != at + 1:
                known, link = None, b""
            if before and link and bytes(before) != link:
                found.add(f"{name}/{first}: the chain is broken: it does not name the chunk before it")
            link = chain.follow(bytes(before), bytes(mark)) if before else b""
            for previous, own in facts if stream == Stream.AUDIT else ():
                found.audit_records += 1
                if known is not None and previous != known:
                    found.add(f"{name}/{first}: an audit record does not name the one before it")
                known = own
            at = first + count - 1
        for fault in _uncovered(floor, last, sorted(ranges)):
            found.add(f"{name}: {fault}")
        return known if at == last else None

    def _body(self, name: str, body: bytes, mark: bytes, count: int) -> list[tuple[str, str]]:
        """Check one body; give (previous, own digest) of the audit records in it."""
        if digest(body) != mark:
            self._found.add(f"{name}: the body is not what was written (its digest does not match)")
            return []
        try:
            decoded = decode_raw(body, count)
        except ChunkError as error:
            self._found.add(f"{name}: {error}")
            return []
        if not isinstance(decoded, list):
            return []
        return [(fact.previous, hashlib.sha256(raw).hexdigest()) for fact, raw in decoded if isinstance(fact, Audited)]

    def _checkpoints(self) -> None:
        for name, value, mark in self._rows("SELECT name, value, digest FROM checkpoint"):
            if hashlib.sha256(bytes(value)).digest() != bytes(mark):
                self._found.add(f"checkpoint {name}: not what was written")


def _uncovered(floor: int, last: int, ranges: list[tuple[int, int]]) -> Iterator[str]:
    """Every number in floor + 1 … last stands in one place."""
    at = floor
    for first, end in ranges:
        if end <= floor:
            continue
        if first <= at and first > floor:
            yield f"{first} to {min(at, end)} stands in two places"
        elif first > at + 1:
            yield f"{at + 1} to {first - 1} is in no chunk and not declared lost"
        at = max(at, end)
    if at < last:
        yield f"{at + 1} to {last} is in no chunk and not declared lost"
    elif at > last:
        yield f"{last + 1} to {at} is there, though the lane ends at {last}"


def _name(stream: Any) -> str:
    try:
        return Stream(stream).name.lower()
    except ValueError:
        return f"stream {stream}"
