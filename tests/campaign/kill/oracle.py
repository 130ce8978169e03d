"""The judge of a killed stack: reads the gateway's files and the cloud's tables, and believes no total of the product's.

What must be there is known from two sources that are not the product: the machine's numbers, and copies of edge.db
taken each time the gateway lay dead. A record is a row in the cloud, or waits on the gateway, or stands in a declared
loss; in exactly one of the three.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

Lane = tuple[str, int]
"""(incarnation, stream)."""
Numbers = NDArray[np.int64]
NONE: Numbers = np.zeros(0, np.int64)
Reading = tuple[float, str, int, int, float | None, int, int]
"""(place of the incarnation, incarnation, seq, stream, value, status, source time)."""


@dataclass(slots=True)
class Truth:
    """What the gateway's file said whenever it lay still: it only grows."""

    last: dict[Lane, int] = field(default_factory=dict[Lane, int])
    order: dict[str, int] = field(default_factory=dict[str, int])
    """Incarnation → its place in time: when we first saw it, whatever number the gateway gave it."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    """Incarnation → its number on the gateway; a restored gateway gives numbers anew, never to the same incarnation."""
    digests: dict[tuple[str, int, int], bytes] = field(default_factory=dict[tuple[str, int, int], bytes])
    """(incarnation, stream, first) → SHA-256 of the chunk's body as it was committed."""
    violations: list[str] = field(default_factory=list[str])
    waiting: dict[Lane, Numbers] = field(default_factory=dict[Lane, Numbers])
    """As of the newest look."""
    declared: dict[Lane, Numbers] = field(default_factory=dict[Lane, Numbers])
    held: dict[Lane, int] = field(default_factory=dict[Lane, int])
    """Lane → last, in the newest look."""

    def look(self, data: Path) -> None:
        """Read a copy of the store in folder `data`; the gateway must not run."""
        with tempfile.TemporaryDirectory() as name:
            copy = Path(name) / "edge.db"
            for suffix in ("", "-wal"):
                if (source := data / f"edge.db{suffix}").exists():
                    shutil.copy(source, f"{copy}{suffix}")
            if not copy.exists():
                return
            connection = sqlite3.connect(copy)
            try:
                if connection.execute("select count(*) from sqlite_master where name = 'lane'").fetchone()[0]:
                    self._read(connection)
            finally:
                connection.close()

    def _read(self, edge: sqlite3.Connection) -> None:
        if (said := edge.execute("pragma integrity_check").fetchone()[0]) != "ok":
            self.violations.append(f"edge.db: {said}")
        self.waiting, self.declared, self.held = {}, {}, {}
        for inc, number in edge.execute("select inc, ord from incarnation order by ord"):
            self.order.setdefault(inc, len(self.order))
            if self.numbers.setdefault(inc, number) != number:
                self.violations.append(f"{inc[:8]} was incarnation {self.numbers[inc]} and is {number}")
        for inc, stream, last in edge.execute("select inc, stream, last from lane join incarnation using (ord)"):
            self.held[inc, stream] = last
            self.last[inc, stream] = max(last, self.last.get((inc, stream), 0))
        for inc, stream, first, count, digest, body in edge.execute(
            "select inc, stream, first, count, digest, body from chunk join incarnation using (ord)"
        ):
            if hashlib.sha256(body).digest() != digest:
                self.violations.append(f"{inc[:8]} stream {stream} chunk {first}: its digest does not fit")
            if self.digests.setdefault((inc, stream, first), digest) != digest:
                self.violations.append(f"{inc[:8]} stream {stream} chunk {first} is another one than before")
            self.waiting[inc, stream] = np.union1d(
                self.waiting.get((inc, stream), NONE), span(first, first + count - 1)
            )
        for inc, stream, first, last in edge.execute("select inc, stream, first, last from loss join incarnation using (ord)"):  # fmt: skip
            self.declared[inc, stream] = np.union1d(self.declared.get((inc, stream), NONE), span(first, last))


def span(first: int, last: int) -> Numbers:
    return np.arange(first, last + 1, dtype=np.int64)


@dataclass(slots=True)
class Verdict:
    """What was found at the end of a stack."""

    violations: list[str] = field(default_factory=list[str])
    produced: int = 0
    stored: int = 0
    waiting: int = 0
    declared: int = 0
    suspect: int = 0
    """Records destroyed with a store that was put back to an earlier state; the cloud shows their incarnation as suspect."""
    unannounced: int = 0
    """Of such records those that the cloud never heard of: the promise says "known as a stretch of time"."""
    uncommitted: int = 0
    """Most scans a machine had answered and a killed gateway had not committed yet."""
    reasons: Counter[str] = field(default_factory=Counter[str])

    def plain(self) -> dict[str, Any]:
        """Give it as JSON can carry it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "reasons": dict(self.reasons)}


def judge(url: str, truth: Truth, *, restored: bool) -> Verdict:
    """Compare. restored: a side was put back to an earlier state, so what a restored store lost is allowed to be an interval."""
    found = Verdict(violations=list(truth.violations))
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as cloud:
        names = {int(row[0]): str(row[1]) for row in cloud.execute(sa.text("select id, inc from incarnation"))}
        rows, twice = _rows(cloud, names)
        lost = _lost(cloud, names, found)
        found.violations += [f"{count} records stand in two tables: {lane[0][:8]} stream {lane[1]}" for lane, count in twice.items()]  # fmt: skip
        heard = _heard(cloud, names)
        for lane in sorted(set(rows) | set(truth.last)):
            said = heard.get(lane, (0, False))
            _judge_lane(found, truth, lane, rows.get(lane, NONE), lost.get(lane, NONE), said, restored=restored)
        _judge_digests(cloud, names, truth, found)
        _judge_links(cloud, names, lost, found)
        _judge_numbers(cloud, truth, names, lost, found, restored=restored)
        conflicts = cloud.execute(sa.text("select count(*) from conflict")).scalar_one()
        refused = cloud.execute(sa.text("select count(*) from dead_letter")).scalar_one()
        if conflicts and not restored:
            found.violations.append(f"{conflicts} conflicts")
        if refused:
            found.violations.append(f"{refused} chunks refused")
    engine.dispose()
    return found


def _rows(cloud: sa.Connection, names: dict[int, str]) -> tuple[dict[Lane, Numbers], dict[Lane, int]]:
    parts: dict[Lane, list[Numbers]] = defaultdict(list)
    for table in ("fact", "reading"):
        got = cloud.execute(sa.text(f"select inc, stream, seq from {table} order by inc, stream, seq")).all()
        if not got:
            continue
        columns = np.array(got, np.int64)
        edges = np.flatnonzero(np.any(np.diff(columns[:, :2], axis=0), axis=1)) + 1
        for part in np.split(columns, edges):
            parts[names.get(int(part[0, 0]), "?"), int(part[0, 1])].append(part[:, 2])
    rows = {lane: np.concatenate(found) for lane, found in parts.items()}
    twice = {lane: len(found) - len(np.unique(found)) for lane, found in rows.items()}
    return {lane: np.unique(found) for lane, found in rows.items()}, {lane: n for lane, n in twice.items() if n}


def _lost(cloud: sa.Connection, names: dict[int, str], found: Verdict) -> dict[Lane, Numbers]:
    lost: dict[Lane, Numbers] = {}
    for number, stream, first, last, reason in cloud.execute(sa.text("select inc, stream, first, last, reason from loss")):  # fmt: skip
        lane = (names.get(number, "?"), int(stream))
        lost[lane] = np.union1d(lost.get(lane, NONE), span(first, last))
        found.reasons[str(reason)] += last - first + 1
    return lost


def _heard(cloud: sa.Connection, names: dict[int, str]) -> dict[Lane, tuple[int, bool]]:
    """Give how far the cloud ever heard of each lane, and whether it shows its incarnation as suspect."""
    sql = "select s.inc, s.stream, s.last, i.suspect_ms from ingest_stream s join incarnation i on i.id = s.inc"
    return {
        (names.get(number, "?"), int(stream)): (int(last), suspect is not None)
        for number, stream, last, suspect in cloud.execute(sa.text(sql))
    }


def _judge_lane(
    found: Verdict, truth: Truth, lane: Lane, rows: Numbers, lost: Numbers, heard: tuple[int, bool], *, restored: bool
) -> None:
    what = f"{lane[0][:8]} stream {lane[1]}"
    last = truth.last.get(lane)
    if last is None:  # begun and sealed within one life of the process, or invented by the cloud: no hole either way
        last = int(max(rows.max(initial=0), lost.max(initial=0)))
    lost = np.union1d(lost, truth.declared.get(lane, NONE))
    waiting = np.setdiff1d(truth.waiting.get(lane, NONE), rows)
    missing = np.setdiff1d(span(1, last), np.union1d(rows, waiting))
    undeclared = np.setdiff1d(missing, lost)
    both = np.intersect1d(rows, lost)
    found.produced += last
    found.stored += len(rows)
    found.waiting += len(waiting)
    found.declared += len(missing) - len(undeclared)
    if rows.max(initial=0) > last:
        found.violations.append(f"{what}: the cloud has {rows.max()}, the gateway gave no number beyond {last}")
    if len(both):
        found.violations.append(f"{what}: {len(both)} records are stored and declared lost, from {both[0]}")
    if len(undeclared):
        destroyed = undeclared[undeclared > truth.held.get(lane, 0)] if restored else NONE
        known = destroyed[destroyed <= heard[0]]
        found.unannounced += len(destroyed) - len(known)
        if heard[1]:
            found.suspect += len(known)
            known = NONE
        nowhere = np.union1d(np.setdiff1d(undeclared, destroyed), known)
        if len(nowhere):
            found.violations.append(
                f"{what}: {len(nowhere)} records from {nowhere[0]} to {nowhere[-1]} are nowhere; produced {last},"
                f" stored {len(rows)}, waiting {len(waiting)}, declared {len(lost)}, heard of {heard[0]}"
            )


def _judge_digests(cloud: sa.Connection, names: dict[int, str], truth: Truth, found: Verdict) -> None:
    """Every chunk in the cloud is the one that was committed."""
    for number, stream, first, digest in cloud.execute(sa.text("select inc, stream, first, digest from ingest_chunk")):
        place = (names.get(number, "?"), int(stream), int(first))
        committed = truth.digests.get(place)
        if committed is not None and committed != bytes(digest):
            found.violations.append(f"{place[0][:8]} stream {stream} chunk {first}: the cloud has another content")


def _judge_links(cloud: sa.Connection, names: dict[int, str], lost: dict[Lane, Numbers], found: Verdict) -> None:
    """Every stream's chain holds from its first chunk to its last; a hole in it is covered by declared losses."""
    columns = {column["name"] for column in sa.inspect(cloud).get_columns("ingest_chunk")}
    if not {"before", "link"} <= columns:
        return
    sql = "select inc, stream, first, count, digest, before, link from ingest_chunk order by inc, stream, first"
    at, link, after = ("", -1), b"", 0
    for number, stream, first, count, digest, before, says in cloud.execute(sa.text(sql)):
        lane = (names.get(number, "?"), int(stream))
        if not says:
            continue
        if lane != at:
            at, link, after = lane, hashlib.sha256(f"triflow/1/{lane[0]}/{stream}".encode()).digest(), 0
        whole = first == after + 1
        covered = not len(np.setdiff1d(span(after + 1, first - 1), lost.get(lane, NONE)))
        if (whole and bytes(before) != link) or not (whole or covered):
            found.violations.append(f"{lane[0][:8]} stream {stream} chunk {first}: the chain is broken before it")
        link = hashlib.sha256(bytes(before) + bytes(digest)).digest()
        if link != bytes(says):
            found.violations.append(f"{lane[0][:8]} stream {stream} chunk {first}: its link does not fit its content")
        after = first + count - 1


def _judge_numbers(
    cloud: sa.Connection,
    truth: Truth,
    names: dict[int, str],
    lost: dict[Lane, Numbers],
    found: Verdict,
    *,
    restored: bool,
) -> None:
    """The machine's numbers: none twice, none out of order, none left out within an incarnation unless that was said."""
    gaps = [json.loads(body) for (body,) in cloud.execute(sa.text("select body from fact where kind = 'gap'"))]
    spans = [(int(gap["start"]), int(gap["at"])) for gap in gaps]
    tags = {int(row[0]): str(row[1]) for row in cloud.execute(sa.text("select id, name from tag"))}
    order = _order(cloud, truth, names)
    columns: dict[int, list[Reading]] = defaultdict(list)
    sql = "select tag, inc, stream, seq, value, status, source_time from reading"
    for tag, number, stream, seq, value, status, at in cloud.execute(sa.text(sql)):
        inc = names.get(number, "?")
        columns[tag].append((order.get(inc, 0), inc, seq, stream, value, status, at))
    before = len(found.violations)
    for tag, readings in columns.items():
        readings.sort()
        _judge_tag(tags.get(tag, str(tag)), readings, spans, lost, found, restored=restored)
    if (more := len(found.violations) - before) > 3:
        found.violations[before + 3 :] = [f"… and {more - 3} more such in {len(columns)} tags"]


def _order(cloud: sa.Connection, truth: Truth, names: dict[int, str]) -> dict[str, float]:
    """Give each incarnation its place in time; one that began and ended within one life stands where its readings are."""
    order = dict[str, float](truth.order)
    sql = "select inc, min(source_time) from reading group by inc order by 2"
    place = -1.0
    for number, _ in cloud.execute(sa.text(sql)):
        inc = names.get(number, "?")
        place = order[inc] if inc in order else order.setdefault(inc, place + 0.001)
    return order


def _judge_tag(
    tag: str,
    readings: Iterable[Reading],
    gaps: list[tuple[int, int]],
    lost: dict[Lane, Numbers],
    found: Verdict,
    *,
    restored: bool,
) -> None:
    before, before_inc, before_seq, before_at, said = 0, "", 0, 0, False
    for _, inc, seq, stream, value, status, at in readings:
        if status or value is None:
            said = True  # a scan without an answer is itself on record
            continue
        number = int(value)
        if number <= before:
            found.violations.append(f"{tag}: {number} after {before} ({inc[:8]} seq {seq})")
        elif number > before + 1 and inc == before_inc and not said:
            between = span(before_seq + 1, seq - 1)
            declared = len(np.intersect1d(between, lost.get((inc, stream), NONE)))
            if not declared and not any(start <= at and end >= before_at for start, end in gaps):
                found.violations.append(f"{tag}: {before + 1} to {number - 1} are missing and nothing says so ({inc[:8]} seq {seq})")  # fmt: skip
        elif number > before + 1 and inc != before_inc and before and not restored:
            found.uncommitted = max(found.uncommitted, number - before - 1)
        before, before_inc, before_seq, before_at, said = number, inc, seq, at, False
