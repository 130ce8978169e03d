"""`triflow cloud verify`: the database is whole, every chain holds, every record that was counted is a row; or what not.

Reads only, and trusts no counter: rows are counted, links are computed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import make_url

from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite
from cloud.running import file_of
from sync.chain import follow, genesis


@dataclass(slots=True)
class Report:
    """What was found."""

    faults: list[str] = field(default_factory=list[str])
    streams: int = 0
    chunks: int = 0
    linked: int = 0
    """Chunks whose place in the chain was checked."""
    rows: int = 0
    lost: int = 0


def verify(settings: Settings) -> Report:
    """Check everything; raises DatabaseError when the database cannot be read."""
    path = file_of(settings)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no database {path}")
    connection = (
        Postgresql(make_url(settings.database_url), writer=False) if path is None else Sqlite(str(path), writer=False)
    )
    try:
        if connection.postgresql:
            connection.execute("set statement_timeout = 0")
            connection.execute("begin isolation level repeatable read read only")
        else:
            connection.execute("begin")
        return _look(connection)
    finally:
        connection.rollback()
        connection.close()


def _look(connection: Connection) -> Report:
    report = Report()
    if not connection.postgresql:
        found = [row[0] for row in connection.execute("pragma integrity_check(20)")]
        report.faults += [f"database: {what}" for what in found if what != "ok"]
    counted = _count_rows(connection)
    for number, inc, gateway, stream, stored, rows in connection.execute(
        "select s.inc, i.inc, g.tenant||'/'||g.site||'/'||g.name, s.stream, s.stored, s.rows from ingest_stream s"
        " join incarnation i on i.id=s.inc join gateway g on g.id=i.gateway order by s.inc, s.stream"
    ):
        report.streams += 1
        name = f"{gateway} {inc}/{stream}"
        here = counted.pop((number, stream), 0)
        report.rows += here
        if here != rows:
            report.faults.append(f"{name}: {rows} records are counted, {here} are there")
        _account(connection, (number, stream), name, (stored, rows), report)
        _walk(connection, (number, stream), inc, name, report)
    report.faults += [
        f"{count} rows of incarnation {key[0]} stream {key[1]}, which is unknown" for key, count in counted.items()
    ]
    return report


def _count_rows(connection: Connection) -> Counter[tuple[int, int]]:
    """Count the rows of every stream; its dictionaries stand among the facts, its readings do not."""
    found: Counter[tuple[int, int]] = Counter()
    for sql in (
        "select inc, stream, count(*) from reading group by inc, stream",
        "select inc, stream, count(*) from fact group by inc, stream",
    ):
        for inc, stream, count in connection.execute(sql):
            found[inc, stream] += count
    return found


def _account(connection: Connection, key: tuple[int, int], name: str, said: tuple[int, int], report: Report) -> None:
    """Every record up to the watermark is in a chunk or declared lost, once. said: the watermark, and how many rows are counted."""
    stored, rows = said
    spans = connection.execute(
        "select first, first+count-1, 0 from ingest_chunk where inc=? and stream=?"
        " union all select first, last, 1 from loss where inc=? and stream=? order by 1",
        (*key, *key),
    )
    at, in_chunks = 1, 0
    for first, last, lost in spans:
        if first < at:
            report.faults.append(f"{name}: records {first} to {min(last, at - 1)} are accounted for twice")
        elif first > at and at <= stored:
            report.faults.append(f"{name}: records {at} to {min(first - 1, stored)} are neither stored nor lost")
        at = max(at, last + 1)
        if lost:
            report.lost += last - first + 1
        else:
            in_chunks += last - first + 1
    if at <= stored:
        report.faults.append(f"{name}: records {at} to {stored} are neither stored nor lost")
    if in_chunks != rows:
        report.faults.append(f"{name}: chunks hold {in_chunks} records, {rows} are counted")


def _walk(connection: Connection, key: tuple[int, int], inc: str, name: str, report: Report) -> None:
    """Follow the chain; the first chunk that does not follow is the one to look at."""
    end, link = 0, genesis(inc, key[1])
    known = True
    for first, count, digest, before, after in _chunks(connection, key):
        report.chunks += 1
        if before is None or after is None:
            known = False
        else:
            if known and first == end + 1 and bytes(before) != link:
                report.faults.append(f"{name}: the chain breaks at record {first}: it does not follow record {end}")
            if follow(bytes(before), bytes(digest)) != bytes(after):
                report.faults.append(f"{name}: the link of record {first} is not that of its digest")
            report.linked += 1
            link, known = bytes(after), True
        end = first + count - 1


def _chunks(connection: Connection, key: tuple[int, int]) -> Iterator[tuple[Any, ...]]:
    """Give a stream's chunks in order, a few thousand at a time."""
    at = 0
    for _ in itertools.count():
        rows = connection.execute(
            "select first, count, digest, before, link from ingest_chunk where inc=? and stream=? and first>?"
            " order by first limit 5000",
            (*key, at),
        )
        if not rows:
            return
        yield from rows
        at = rows[-1][0]
