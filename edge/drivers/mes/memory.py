"""What a source remembers of each of its resources: what it said already, and what the resource looked like.

It is the cursor the host commits in one transaction with the facts: a restart neither repeats nor forgets. Bounded:
marks are of the rows of the last answer only, the snapshot has a limited number of fields.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from edge.drivers.mes import snapshot
from edge.drivers.mes.records import LINES_OWN, MARK_BYTES, Record, RowError, agreed, fact_of, is_ours, mark, record
from edge.drivers.mes.snapshot import Change, Shape
from sync.facts import Fact

log = logging.getLogger(__name__)

FORMAT: Final = 1


class Memory(msgspec.Struct):
    """Of one resource or query."""

    about: str = ""
    """Fingerprint of what the configuration says about it: another one begins anew."""
    marks: bytes = b""
    """8 bytes for each row of the last answer."""
    shape: Shape = {}
    said: list[str] = []
    """Differences that hold and were said."""
    since: list[Any] = []
    """SQL: the watermark, type first; empty before the first row."""
    at_watermark: bytes = b""
    """SQL: 8 bytes for each row that stands exactly at the watermark."""


class _Cursor(msgspec.Struct):
    format: int = FORMAT
    memories: dict[str, Memory] = {}


def load(cursor: bytes, source: str) -> dict[str, Memory]:
    """Give the memories in a cursor; none when there are none, or none of ours."""
    if not cursor:
        return {}
    try:
        found = msgspec.msgpack.decode(cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        log.warning("cursor not usable, everything is asked anew: source=%s why=%s", source, error)
        return {}
    return found.memories if found.format == FORMAT else {}


def dump(memories: Mapping[str, Memory]) -> bytes:
    return msgspec.msgpack.encode(_Cursor(memories=dict(memories)))


Agreed = Mapping[str, tuple[bool, frozenset[str]]]
"""Field → (required, families of types that fit)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The result of a SELECT as it came."""

    names: Sequence[str]
    rows: list[Mapping[str, Any]]
    agreed: Agreed


@dataclass(slots=True)
class Taken:
    """What became of an answer."""

    records: list[Record] = field(default_factory=list[Record])
    """Rows that fit and are ours; none while the resource is suspended."""
    facts: list[Fact] = field(default_factory=list[Fact])
    """What of them was not said before."""
    changes: list[Change] = field(default_factory=list[Change])
    """Differences that were not said before."""
    note: str = ""
    """What people should know of the resource now; empty when all is well."""
    suspended: bool = False


@dataclass(slots=True)
class _Read:
    """An answer, row by row."""

    rows: list[Mapping[str, Any]]
    fields: Agreed
    records: list[Record] = field(default_factory=list[Record])
    refused: list[tuple[int, RowError]] = field(default_factory=list[tuple[int, RowError]])
    fits: int = 0


def take(
    memory: Memory,
    kind: str,
    rows: Sequence[object],
    work_units: Sequence[str],
    now: int,
    *,
    columns: Columns | None = None,
    without: frozenset[str] = frozenset(),
    keep_marks: bool = True,
) -> Taken:
    """Take a whole answer in: rows that fit become facts unless said before, and differences are found.

    rows: one that could not be given its shape is a RowError in its place. columns: of a SELECT, None where the rows are
    as they came. without: optional fields the configuration says are no more. keep_marks: what was said is told by
    marks (else the caller knows that all rows are new).
    """
    read = _read(kind, rows, work_units)
    pairs = [(mark(fact), fact) for row in read.records if (fact := fact_of(row, now)) is not None]
    said = {memory.marks[i : i + MARK_BYTES] for i in range(0, len(memory.marks), MARK_BYTES)} if keep_marks else set()
    news = [fact for key, fact in pairs if key not in said]
    taken = Taken(records=read.records, facts=news)
    if columns is not None:
        read.rows, read.fields = columns.rows, columns.agreed
    names = None if columns is None else columns.names
    found = _differences(memory, read, names, without, len(news) if pairs else len(read.rows))
    if found is not None:
        _say(memory, kind, read, found, taken)
    if taken.suspended:
        taken.records, taken.facts = [], []
    elif keep_marks:
        memory.marks = b"".join(dict.fromkeys(key for key, _ in pairs))
    return taken


def _read(kind: str, rows: Sequence[object], work_units: Sequence[str]) -> _Read:
    read = _Read([cast("Mapping[str, Any]", row) for row in rows if isinstance(row, Mapping)], agreed(kind))
    for i, row in enumerate(rows):
        try:
            if isinstance(row, RowError):
                raise row
            found = record(kind, row)
        except RowError as error:
            read.refused.append((i, error))
            continue
        read.fits += 1
        if is_ours(found, work_units):
            read.records.append(found)
    return read


def _differences(
    memory: Memory, read: _Read, named: Sequence[str] | None, without: frozenset[str], new: int
) -> list[Change] | None:
    """Compare an answer with the snapshot and bring that up to date; None when the answer tells nothing."""
    found: list[Change] = []
    if read.rows or named is not None:
        shape = snapshot.observe(read.rows, named=named or (), new=new)
        if memory.shape:
            found = snapshot.changes(memory.shape, shape, read.fields, exact=named is not None)
            found = [c for c in found if not (c.kind == "column_deleted" and c.field in without)]
        memory.shape = snapshot.merge(memory.shape, shape, found)
        for name in without - shape.keys():
            memory.shape.pop(name, None)
    elif not read.refused:
        return None  # an empty list says nothing about its fields
    return [*found, _refusal(read)] if read.refused else found


def _say(memory: Memory, kind: str, read: _Read, found: Sequence[Change], taken: Taken) -> None:
    """Say of the differences what was not said before, and suspend what must not be believed."""
    silent = not (read.rows or read.refused)  # nothing new is known of rows that did not fit
    lasting = [c for c in found if c.severity == "critical" or c.kind == "rows_refused"]
    taken.changes = [change for key, change in {_key(c): c for c in found}.items() if key not in memory.said]
    kept = [key for key in memory.said if silent and key.startswith("rows_refused")]
    if memory.said and not lasting and not kept:
        taken.changes.append(Change("fits_again", "info", "", "fits again"))
    memory.said = [*kept, *(_key(change) for change in lasting)]
    taken.suspended = any(
        c.severity == "critical"
        and (kind not in LINES_OWN or c.kind == "rows_refused" or read.fields.get(c.field, (True,))[0])
        for c in found
    )
    sentences = "; ".join(change.what for change in lasting)
    taken.note = f"suspended until it fits again: {sentences}" if taken.suspended else sentences


def _refusal(read: _Read) -> Change:
    i, error = read.refused[0]
    place = f"[{i}].{error.field}" if error.field else f"[{i}]"
    total = len(read.refused) + read.fits
    what = f"{len(read.refused)} of {total} rows left out: {place}: {error}"
    return Change("rows_refused", "warning" if read.fits else "critical", error.field, what)


def _key(change: Change) -> str:
    """Give what makes a change the same change: numbers of rows in the sentence do not."""
    told = change.what.rpartition(": ")[2] if change.kind == "rows_refused" else change.what
    return f"{change.kind} {change.severity} {change.field} {told}"
