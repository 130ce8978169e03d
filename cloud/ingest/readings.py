"""Readings of one transaction as columns: rows to insert, minutes to add up, newest values to show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cloud.bus import Value
from cloud.database import Connection
from sync.reading import Readings
from sync.timing import UNSET_BEFORE_NS

MINUTE_NS: Final = 60_000_000_000
NS: Final = 1_000_000
COLUMNS: Final = (
    "inc",
    "stream",
    "seq",
    "tenant",
    "tag",
    "source_time",
    "server_time",
    "value",
    "other",
    "status",
    "historical",
)
TYPES: Final = ("int8", "int2", "int8", "text", "int8", "int8", "int8", "float8", "text", "int8", "bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag as the cloud numbers it."""

    id: int
    name: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """One chunk of readings on its way into the table."""

    inc: int
    stream: int
    first: int
    tenant: str
    site: str
    tags: list[Tag]
    """The dictionary, in the gateway's order."""
    readings: Readings
    undated: bool = False
    """Its gateway's clock had never been set, and nobody knows yet by how much it was off."""

    def counted(self) -> Readings:
        """Give what counts in the minute it is dated in."""
        dated = self.readings.source_time >= UNSET_BEFORE_NS
        return self.readings.take(dated) if self.undated and not dated.all() else self.readings

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Give the table's rows, each column made in one go."""
        batch = self.readings
        n = len(batch)
        numbers = np.array([tag.id for tag in self.tags], np.int64)[batch.tag].tolist()
        value: list[float | None] = batch.value.tolist()
        for place in np.flatnonzero(~np.isfinite(batch.value)):
            value[place] = None
        other: list[str | None] = [None] * n
        for place, content in (batch.other or {}).items():
            other[place] = json.dumps(content, ensure_ascii=False)
        server: list[int | None] = batch.server_time.tolist()
        for place in np.flatnonzero(batch.server_time == batch.source_time):
            server[place] = None
        return zip(
            (self.inc,) * n,
            (self.stream,) * n,
            range(self.first, self.first + n),
            (self.tenant,) * n,
            numbers,
            batch.source_time.tolist(),
            server,
            value,
            other,
            batch.status.tolist(),
            (batch.historical,) * n,
            strict=True,
        )

    def newest(self) -> dict[str, Value]:
        """Give the last value of every tag in the chunk; history has none, live values are newer whenever it comes."""
        batch = self.readings
        if batch.historical:
            return {}
        # From behind, the first of each tag is its last.
        tags, from_behind = np.unique(batch.tag[::-1], return_index=True)
        return {
            self.tags[tag].name: (batch.scalar(place), int(batch.status[place]), int(batch.source_time[place]) // NS)
            for tag, place in zip(tags.tolist(), (len(batch) - 1 - from_behind).tolist(), strict=True)
        }

    def good_until(self) -> dict[str, int]:
        """Give the newest source time of good values, by line."""
        batch = self.readings
        good = batch.status < np.uint32(0x4000_0000)
        latest = np.zeros(len(self.tags), np.int64)
        np.maximum.at(latest, batch.tag[good], batch.source_time[good])
        found: dict[str, int] = {}
        for tag in np.flatnonzero(latest).tolist():
            line = self.tags[tag].line
            found[line] = max(found.get(line, 0), int(latest[tag]))
        return found


def insert(connection: Connection, chunks: list[Stored]) -> None:
    """Insert every reading, in the order of the chunks."""
    connection.bulk("reading", COLUMNS, TYPES, (row for chunk in chunks for row in chunk.rows()))


_MINUTE_TYPES: Final = ("int8", "int8", "text", "int8", "int8", "float8", "float8", "float8")
_ADD_MINUTES: Final = (
    "insert into tag_minute(minute, tag, tenant, good, bad, total, low, high) {rows}"
    " on conflict(minute, tag) do update set good=tag_minute.good+excluded.good, bad=tag_minute.bad+excluded.bad,"
    " total=tag_minute.total+excluded.total,"
    " low=least(coalesce(tag_minute.low, excluded.low), coalesce(excluded.low, tag_minute.low)),"
    " high=greatest(coalesce(tag_minute.high, excluded.high), coalesce(excluded.high, tag_minute.high))"
)


def add_minutes(connection: Connection, chunks: list[Stored]) -> None:
    """Add the readings up by tag and minute; exact once, because each chunk is stored once."""
    by_tenant: dict[str, list[Stored]] = {}
    for chunk in chunks:
        by_tenant.setdefault(chunk.tenant, []).append(chunk)
    for tenant, group in sorted(by_tenant.items()):
        counted = [(c.tags, c.counted()) for c in group]
        tag = np.concatenate([np.array([t.id for t in tags], np.int64)[batch.tag] for tags, batch in counted])
        time = np.concatenate([batch.source_time for _, batch in counted])
        value = np.concatenate([batch.value for _, batch in counted])
        status = np.concatenate([batch.status for _, batch in counted])
        connection.merge(_ADD_MINUTES, _MINUTE_TYPES, _reduce(time, tag, value, status, tenant))


def add_late(connection: Connection, tenant: str, rows: list[tuple[int, int, float | None, int]]) -> None:
    """Add (tag, source time, value, status) that were not counted while nobody knew when they were."""
    tag, time, value, status = zip(*rows, strict=True)
    numbers = np.array([np.nan if v is None else v for v in value], np.float64)
    added = _reduce(np.array(time, np.int64), np.array(tag, np.int64), numbers, np.array(status, np.uint32), tenant)
    connection.merge(_ADD_MINUTES, _MINUTE_TYPES, added)


def _reduce(
    time: NDArray[np.int64], tag: NDArray[np.int64], value: NDArray[np.float64], status: NDArray[np.uint32], tenant: str
) -> list[tuple[Any, ...]]:
    if not len(tag):
        return []
    minute, good = time // MINUTE_NS, (status < np.uint32(0x4000_0000)) & np.isfinite(value)
    order = np.lexsort((tag, minute))
    minute, tag, good = minute[order], tag[order], good[order]
    value = np.where(good, value[order], np.nan)
    starts = np.flatnonzero(np.r_[True, (minute[1:] != minute[:-1]) | (tag[1:] != tag[:-1])])
    count = np.add.reduceat(good.astype(np.int64), starts)
    everything = np.diff(np.r_[starts, len(minute)])
    total = np.add.reduceat(np.where(good, value, 0.0), starts)
    low: list[float | None] = np.fmin.reduceat(value, starts).tolist()
    high: list[float | None] = np.fmax.reduceat(value, starts).tolist()
    for place in np.flatnonzero(count == 0):
        low[place] = high[place] = None
    n = len(starts)
    return list(
        zip(
            minute[starts].tolist(),
            tag[starts].tolist(),
            (tenant,) * n,
            count.tolist(),
            (everything - count).tolist(),
            total.tolist(),
            low,
            high,
            strict=True,
        )
    )
