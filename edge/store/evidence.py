"""The gateway's log as lanes to be verified: outbox and audit ring, read beside a running gateway or without one.

Nothing is written. The outbox is read in one snapshot before the ring: a chunk goes to the ring before it leaves the
outbox, so it is met in at least one of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store.file import NAME, examine
from edge.store.look import reading
from edge.store.ring import FOLDER, records
from sync.facts import Stream
from sync.testimony import Chunk, Countersigned, Lane

_CHUNKS: Final = "SELECT first, count, digest, before, body FROM chunk WHERE ord = ? AND stream = ? AND first > ? ORDER BY first LIMIT 200"


class EvidenceError(Exception):
    """The store cannot be read; the text says why."""


@dataclass(slots=True)
class _Kept:
    """One incarnation's audit chunks in the ring: where each begins, by its number."""

    places: dict[int, Path] = field(default_factory=dict[int, Path])
    lived: int = 0
    """When the youngest was committed, in time the store was open."""


@contextlib.contextmanager
def open_evidence(folder: Path) -> Generator[Evidence]:
    """Give what stands in a data folder. Raises EvidenceError, StoreRefusedError and DamagedError."""
    path = folder / NAME
    if not path.exists():
        raise EvidenceError(f"there is no {NAME} in {folder}; name the gateway's data folder")
    examine(path)
    try:
        with reading(path) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM meta LIMIT 1").fetchall()  # the snapshot is of now
            yield Evidence(connection, folder)
    except apsw.SQLError as error:
        raise EvidenceError(
            f"{path}: {error}; a store of an older version: start the gateway once, it brings it up to date"
        ) from error
    except (apsw.Error, OSError) as error:
        raise EvidenceError(f"{path}: {error}") from error


class Evidence:
    """A snapshot of a store."""

    def __init__(self, connection: apsw.Connection, folder: Path) -> None:
        self._sql = connection
        self._ring = folder / FOLDER

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._sql.execute(sql, values).fetchall()

    def checkpoint(self, name: str) -> bytes | None:
        """Give what a part of the gateway left in the store."""
        rows = self._rows("SELECT value FROM checkpoint WHERE name = ?", (name,))
        return bytes(rows[0][0]) if rows else None

    def lanes(self, address: str, *, every_stream: bool) -> Iterator[Lane]:
        """Give the lanes, oldest first; of the audit stream alone, or of all. Raises what sqlite and files raise."""
        kept = self._survey()
        starts = {
            str(inc): (int(ord_), str(previous))
            for ord_, inc, previous in self._rows("SELECT ord, inc, previous FROM incarnation ORDER BY ord")
        }
        before = ""
        for inc in sorted((inc for inc in kept if inc not in starts), key=lambda inc: kept[inc].lived):
            yield Lane(
                address=address,
                ord=0,
                inc=inc,
                previous=before,
                stream=Stream.AUDIT,
                floor=max(kept[inc].places, default=0),
                chunks=self._of_ring(inc, kept[inc]),
                countersigned=self._countersigned(inc, Stream.AUDIT),
            )
            before = inc
        for inc, (ord_, previous) in starts.items():
            for stream, last, floor, link in self._rows(
                "SELECT stream, last, floor, link FROM lane WHERE ord = ? ORDER BY stream", (ord_,)
            ):
                audit = stream == Stream.AUDIT
                if audit or every_stream:
                    yield Lane(
                        address=address,
                        ord=ord_,
                        inc=inc,
                        previous=previous,
                        stream=int(stream),
                        floor=int(floor),
                        last=int(last),
                        top=bytes(link) or None,
                        chunks=self._chunks(
                            ord_, int(stream), int(last), inc, kept.get(inc, _Kept()) if audit else _Kept()
                        ),
                        losses=self._losses(ord_, int(stream)),
                        countersigned=self._countersigned(inc, int(stream)),
                    )

    def _survey(self) -> dict[str, _Kept]:
        found: dict[str, _Kept] = {}
        for path in sorted(self._ring.glob("audit-*.seg")):
            for _, chunk, lived in records(path, bodies=False):
                one = found.setdefault(chunk.inc, _Kept())
                one.places[chunk.first] = path
                one.lived = max(one.lived, lived)
        return found

    def _of_ring(self, inc: str, kept: _Kept, below: int | None = None) -> Iterator[Chunk]:
        """Give the ring's chunks by number, below a number if one is given; what is damaged is not there."""
        files = dict.fromkeys(path for _, path in sorted(kept.places.items()))
        found: dict[int, Chunk] = {}
        for path in files:
            for _, chunk, _ in records(path, wanted=(inc, Stream.AUDIT, 1, 2**62)):
                found[chunk.first] = Chunk(
                    first=chunk.first,
                    count=chunk.count,
                    digest=chunk.digest,
                    before=chunk.before or None,
                    body=chunk.body,
                )
        for first in sorted(found):
            if below is None or first < below:
                yield found[first]

    def _chunks(self, ord_: int, stream: int, last: int, inc: str, kept: _Kept) -> Iterator[Chunk]:
        ((lowest,),) = self._rows("SELECT min(first) FROM chunk WHERE ord = ? AND stream = ?", (ord_, stream))
        # What came to the ring after the snapshot stands in the outbox as we see it, or is not of our time yet.
        yield from self._of_ring(inc, kept, last + 1 if lowest is None else int(lowest))
        after = -1
        while rows := self._rows(_CHUNKS, (ord_, stream, after)):
            for first, count, digest, before, body in rows:
                yield Chunk(
                    first=int(first),
                    count=int(count),
                    digest=bytes(digest),
                    before=bytes(before) or None,
                    body=bytes(body),
                )
            after = int(rows[-1][0])

    def _losses(self, ord_: int, stream: int) -> list[tuple[int, int, str]]:
        losses = [
            (int(first), int(last), str(reason))
            for first, last, reason in self._rows(
                "SELECT first, last, reason FROM loss WHERE ord = ? AND stream = ?", (ord_, stream)
            )
        ]
        losses += [
            (int(first), int(last), "given up after the cloud had stored it")
            for first, last in self._rows("SELECT first, last FROM latent WHERE ord = ? AND stream = ?", (ord_, stream))
        ]
        return sorted(losses)

    def _countersigned(self, inc: str, stream: int) -> list[Countersigned]:
        return [
            Countersigned(seq=int(seq), link=_bytes(link), at=int(at), signature=_bytes(signature))
            for seq, link, at, signature in self._rows(
                "SELECT seq, link, at, signature FROM witness WHERE inc = ? AND stream = ? ORDER BY seq", (inc, stream)
            )
        ]


def _bytes(hexadecimal: object) -> bytes:
    """Give what a text stands for; nothing for one that is not hexadecimal, which fits no signature."""
    try:
        return bytes.fromhex(str(hexadecimal))
    except ValueError:
        return b""
