"""What a gateway recorded, in the order it recorded it: facts of the event lane, from the outbox and the ring of sent chunks.

Nothing is written and nobody is kept waiting: the gateway may run, and no read transaction stays open meanwhile. A chunk
goes to the ring before it leaves the outbox, so it is met in at least one of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from edge.store.file import NAME, examine
from edge.store.look import reading
from edge.store.ring import FOLDER, records
from sync.chunk import ChunkError, digest, raw_facts
from sync.facts import Stream
from sync.judgment import FeedbackGiven

_IN_TIME: Final = "SELECT ord, first, count FROM chunk WHERE stream = ? AND t1 >= ? AND t0 < ? ORDER BY ord, first"
_BODY: Final = "SELECT digest, body FROM chunk WHERE ord = ? AND stream = ? AND first = ?"
EVER: Final = 2**63 - 1
VERDICT: Final = b'"kind":"verdict"'


class HistoryError(Exception):
    """What was recorded cannot be read; the text says why."""


class _Head(msgspec.Struct):
    """The beginning of every fact."""

    kind: str
    at: int
    verdict_id: str = ""


_head = msgspec.json.Decoder(_Head)
_feedback = msgspec.json.Decoder(FeedbackGiven)


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where a chunk stands in the order of recording."""

    ord: int
    lived: int
    """Orders what an unknown start recorded; 0 for known ones."""
    first: int
    inc: str


@contextlib.contextmanager
def open_history(folder: Path, *, own: bool = False) -> Generator[History]:
    """Give what stands in a data folder. Raises HistoryError, StoreRefusedError and DamagedError.

    own: asked in the gateway's own process, which must not open its file past SQLite (that would drop its locks).
    """
    path = folder / NAME
    if not path.exists():
        raise HistoryError(f"there is no {NAME} in {folder}; name the gateway's data folder")
    if not own:
        examine(path)
    try:
        with reading(path) as connection:
            yield History(connection, folder)
    except apsw.SQLError as error:
        raise HistoryError(
            f"{path}: {error}; a store of an older version: start the gateway once, it brings it up to date"
        ) from error
    except BrokenPipeError:  # whoever was told of it listens no more: no fault of the store
        raise
    except (apsw.Error, OSError) as error:
        raise HistoryError(f"{path}: {error}") from error


class History:
    """The facts of a store's event lane. Methods raise what sqlite and files raise; `open_history` gives it a name."""

    def __init__(self, connection: apsw.Connection, folder: Path) -> None:
        self._sql = connection
        self._ring = folder / FOLDER
        self.damaged = 0
        """Chunks passed over because their digest no longer fits."""

    def facts(self, begin: int = 0, end: int = EVER, *, containing: bytes = b"") -> Iterator[bytes]:
        """Give the facts as JSON, in the order recorded, those with begin <= at < end (ns).

        containing: only of chunks in which this stands somewhere.
        """
        for body in self._bodies(begin, end):
            for raw in self._facts(body, containing):
                if begin <= _head.decode(raw).at < end:
                    yield raw

    def verdicts(self, begin: int = 0, end: int = EVER) -> Iterator[bytes]:
        """Give the verdicts as JSON, in the order recorded, each once."""
        seen: set[str] = set()
        for raw in self.facts(begin, end, containing=VERDICT):
            head = _head.decode(raw)
            if head.kind == "verdict" and head.verdict_id not in seen:
                seen.add(head.verdict_id)
                yield raw

    def verdict(self, verdict_id: str) -> bytes | None:
        """Give one verdict as JSON; None when it is not here (any more)."""
        wanted = f'"verdict_id":"{verdict_id}"'.encode()
        for (fact,) in self._rows("SELECT fact FROM recent WHERE kind = 'verdict' ORDER BY id DESC"):
            if wanted in (raw := bytes(fact)):
                return raw
        for body in self._bodies(0, EVER, newest_first=True):
            for raw in self._facts(body, wanted):
                head = _head.decode(raw)
                if head.kind == "verdict" and head.verdict_id == verdict_id:
                    return raw
        return None

    def feedback(self) -> list[FeedbackGiven]:
        """Give what people said of verdicts, in the order recorded."""
        said = (raw for raw in self.facts(containing=b'"kind":"feedback"') if _head.decode(raw).kind == "feedback")
        return [_feedback.decode(raw) for raw in said]

    # --- chunks

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._sql.execute(sql, values).fetchall()

    def _bodies(self, begin: int, end: int, *, newest_first: bool = False) -> Iterator[bytes]:
        """Give the bodies of all chunks that may hold something of a time, in their order."""
        starts = {str(inc): int(ord_) for ord_, inc in self._rows("SELECT ord, inc FROM incarnation")}
        starts |= {str(inc): int(ord_) for ord_, inc in self._rows("SELECT ord, inc FROM done") if inc not in starts}
        incs = {ord_: inc for inc, ord_ in starts.items()}
        waiting = [
            _Place(int(ord_), 0, int(first), incs.get(int(ord_), ""))
            for ord_, first, _ in self._rows(_IN_TIME, (Stream.EVENT, begin, end))
        ]
        sent: dict[_Place, bytes] = {}
        for inc, lived, first, body in self._sent():
            known = starts.get(inc)
            sent[_Place(-1 if known is None else known, lived if known is None else 0, first, inc)] = body
        for place in sorted({*waiting, *sent}, reverse=newest_first):
            body = sent.get(place)
            if body is None:
                body = self._waiting(place)
            if body is not None:
                yield body

    def _waiting(self, place: _Place) -> bytes | None:
        """Give a chunk of the outbox; one that left it meanwhile stands in the ring."""
        for stored, body in self._rows(_BODY, (place.ord, Stream.EVENT, place.first)):
            if digest(bytes(body)) == bytes(stored):
                return bytes(body)
            self.damaged += 1
            return None
        return next((body for inc, _, first, body in self._sent() if (inc, first) == (place.inc, place.first)), None)

    def _sent(self) -> Iterator[tuple[str, int, int, bytes]]:
        """Give what the ring holds of the event lane: (incarnation, lived, first, body). Damaged records are passed over."""
        for path in sorted(self._ring.glob("data-*.seg")):
            try:
                for _, chunk, lived in records(path):
                    if chunk.stream is Stream.EVENT:
                        yield chunk.inc, lived, chunk.first, chunk.body
            except FileNotFoundError:
                continue  # the oldest segment was unlinked while we looked: what it held is forgotten

    def _facts(self, body: bytes, containing: bytes) -> list[bytes]:
        try:
            return raw_facts(body, containing)
        except ChunkError:
            self.damaged += 1
            return []
