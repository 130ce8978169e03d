"""The independent auditor: counts records in the gateways' files and in the cloud's database, and trusts no total.

Nothing here asks the product what it thinks. A record is what has a number in a gateway's lane; it must be a row in
the cloud, lie in a chunk on the gateway, or stand in a declared loss; in exactly one of the three.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Place = tuple[str, int]
"""(incarnation, stream)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Records of one gateway."""

    produced: int
    stored: int
    waiting: int
    lost: int
    twice: int
    """Records that stand in two tables of the cloud."""
    strangers: int
    """Rows in the cloud with a number the gateway never gave."""
    incarnations: int
    holes: list[str] = field(default_factory=list[str])
    """Lanes that do not add up by themselves."""

    @property
    def balanced(self) -> bool:
        return (
            self.produced == self.stored + self.waiting + self.lost
            and self.twice == self.strangers == 0
            and not self.holes
        )


@contextlib.contextmanager
def _open(path: Path) -> Generator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def account(edge_db: Path, cloud_db: Path, gateway: str) -> Account:
    """Count one gateway's records. Exact while gateway and cloud stand still; both databases are only read."""
    with _open(edge_db) as edge, _open(cloud_db) as cloud:
        lanes: dict[Place, int] = {
            (inc, stream): last
            for inc, stream, last in edge.execute("select inc, stream, last from lane join incarnation using (ord)")
        }
        sealed = int(_one(edge, "select coalesce(max(value), 0) from meta where key = 'sealed_produced'"))
        numbers: dict[str, int] = dict(
            cloud.execute(
                "select inc, incarnation.id from incarnation join gateway on gateway.id = incarnation.gateway"
                " where gateway.name = ?",
                (gateway,),
            )
        )
        names = {number: inc for inc, number in numbers.items()}
        rows: dict[Place, int] = {}
        strangers = 0
        for table in ("fact", "reading"):
            sql = f"select inc, stream, count(*), max(seq), min(seq) from {table} group by inc, stream"  # noqa: S608
            for number, stream, count, newest, oldest in cloud.execute(sql):
                if number in names:
                    place = (names[number], stream)
                    rows[place] = rows.get(place, 0) + count
                    beyond = place in lanes and newest > lanes[place]
                    strangers += int(beyond) + int(oldest < 1)
        twice = sum(
            int(_one(cloud, "select count(*) from fact join reading using (inc, stream, seq) where inc = ?", number))
            for number in numbers.values()
        )
        losses: dict[Place, set[tuple[int, int]]] = {}
        for number, stream, first, last in cloud.execute("select inc, stream, first, last from loss"):
            if number in names:
                losses.setdefault((names[number], stream), set()).add((first, last))
        for inc, stream, first, last in edge.execute(
            "select inc, stream, first, last from loss join incarnation using (ord)"
        ):
            losses.setdefault((inc, stream), set()).add((first, last))
        waiting: dict[Place, int] = {}
        for inc, stream, first, count in edge.execute(
            "select inc, stream, first, count from chunk join incarnation using (ord)"
        ):
            there = _rows_between(cloud, numbers.get(inc), stream, first, first + count - 1)
            waiting[inc, stream] = waiting.get((inc, stream), 0) + count - there
        lost = {place: covered(ranges) for place, ranges in losses.items()}
        holes = [
            f"{inc[:8]} stream {stream}: {last} produced, {rows.get((inc, stream), 0)} stored,"
            f" {waiting.get((inc, stream), 0)} waiting, {lost.get((inc, stream), 0)} lost"
            for (inc, stream), last in sorted(lanes.items())
            if last != rows.get((inc, stream), 0) + waiting.get((inc, stream), 0) + lost.get((inc, stream), 0)
        ]
    return Account(
        produced=sealed + sum(lanes.values()),
        stored=sum(rows.values()),
        waiting=sum(waiting.values()),
        lost=sum(lost.values()),
        twice=twice,
        strangers=strangers,
        incarnations=len({inc for inc, _ in lanes} | set(numbers)),
        holes=holes,
    )


def made(cloud_db: Path) -> dict[str, dict[str, int]]:
    """Give what the cloud's production facts sum up to: work unit → produced, good, scrap and each defect."""
    totals: dict[str, dict[str, int]] = {}
    with _open(cloud_db) as cloud:
        for unit, produced, good, scrap in cloud.execute(
            "select work_unit, sum(produced), sum(good), sum(scrap) from production group by work_unit"
        ):
            totals[unit] = {"produced": produced, "good": good, "scrap": scrap}
        for unit, defect, quantity in cloud.execute(
            "select work_unit, defect, sum(quantity) from production_defect group by work_unit, defect"
        ):
            totals.setdefault(unit, {})[defect] = quantity
    return totals


def covered(ranges: Iterable[tuple[int, int]]) -> int:
    """Count the numbers that ranges (both ends included) cover, each once."""
    count, end = 0, 0
    for first, last in sorted(ranges):
        if last > end:
            count += last - max(first, end + 1) + 1
            end = last
    return count


def _one(connection: sqlite3.Connection, sql: str, *values: object) -> Any:
    return connection.execute(sql, values).fetchone()[0]


def _rows_between(cloud: sqlite3.Connection, number: int | None, stream: int, first: int, last: int) -> int:
    if number is None:
        return 0
    return sum(
        int(
            _one(
                cloud,
                f"select count(*) from {table} where inc = ? and stream = ? and seq between ? and ?",  # noqa: S608
                number,
                stream,
                first,
                last,
            )
        )
        for table in ("fact", "reading")
    )
