"""Is a mart right? A bucket recomputed from what it is made of, held against what stands; both from one snapshot.

Only reads. A bucket that the ledger names is not looked at: it is known to be behind.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from cloud import tables
from cloud.database import Connection
from cloud.marts.compute import COLUMNS, TABLES, compute, stored
from cloud.marts.ledger import AFTERWARDS, ALL, DAY, DAY_MS, HOUR, QUALITY, SHIFT, SITE, STOCK, TREND, Bucket, date_ms
from cloud.plant import Place, Plants

NS: Final = 1_000_000
HOUR_MS: Final = 3_600_000
AHEAD_MS: Final = 60 * DAY_MS
"""Figures that a wrong clock dated further ahead than this are looked at when their time has come."""
OF_LINE: Final = (SHIFT, HOUR, QUALITY, DAY, TREND)
OF_SITE: Final = (SITE, STOCK, QUALITY)
_KEYS: Final = {
    name: tuple(column.name for column in tables.metadata.tables[name].primary_key.columns) for name in COLUMNS
}
_BUCKET_NAMES: Final = {"tenant", "site", "work_unit", "start_ms", "business_date"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure that is not what it should be."""

    place: Place
    kind: str
    start_ms: int
    mart: str
    line: str
    """JSON of the row's own key within its bucket."""
    measure: str
    stored: str | None
    """JSON of the value; None where there is no such row."""
    recomputed: str | None


def configured(plants: Plants, place: Place) -> bool:
    """Tell whether the configuration still names a line's site; without its calendar nothing can be recomputed."""
    try:
        return bool(plants[place[:2]])
    except KeyError:
        return False


def pending(connection: Connection, bucket: Bucket) -> bool:
    """Tell whether the ledger names a bucket, or all of its line."""
    place, kind, start_ms = bucket
    # A day's stock is held against the counts of the days before it, which are marked before it is.
    first_ms = start_ms - AFTERWARDS * DAY_MS if kind == STOCK else start_ms
    sql = (
        "select 1 from dirty_bucket where tenant=? and site=? and ((work_unit=? and mart=? and start_ms between ? and ?)"
        " or (work_unit in (?, '') and mart=?)) limit 1"
    )
    return connection.one(sql, (*place, kind, first_ms, start_ms, place[2], ALL)) is not None


def differences(connection: Connection, plants: Plants, bucket: Bucket, now_ms: int) -> list[Difference] | None:
    """Give what is wrong with a bucket; None when nobody can tell now."""
    place, kind, start_ms = bucket
    if pending(connection, bucket):
        return None
    try:
        if kind in {SHIFT, QUALITY} and plants[place[:2]].calendar.at(start_ms).end_ms > now_ms:
            return None  # its last word comes when it is over
        right = compute(connection, plants, bucket, now_ms)
    except KeyError:  # a site that the configuration no longer names keeps its figures as they are
        return None
    stand = stored(connection, bucket)
    found: list[Difference] = []
    for mart in TABLES[kind]:
        if right[mart] != stand[mart]:
            for line, measure, was, is_ in _unequal(mart, stand[mart], right[mart]):
                found.append(
                    Difference(
                        place=place,
                        kind=kind,
                        start_ms=start_ms,
                        mart=mart,
                        line=line,
                        measure=measure,
                        stored=was,
                        recomputed=is_,
                    )
                )
    return found


def _unequal(mart: str, stand: list[Any], right: list[Any]) -> Iterator[tuple[str, str, str | None, str | None]]:
    names, keys = COLUMNS[mart], _KEYS[mart]
    at = [names.index(name) for name in keys]
    was = {tuple(row[i] for i in at): row for row in stand}
    is_ = {tuple(row[i] for i in at): row for row in right}
    for key in sorted(was.keys() | is_.keys(), key=repr):
        line = json.dumps(
            {name: value for name, value in zip(keys, key, strict=True) if name not in _BUCKET_NAMES},
            ensure_ascii=False,
        )
        a, b = was.get(key), is_.get(key)
        for place, name in enumerate(names):
            if name in keys:
                continue
            x, y = None if a is None else a[place], None if b is None else b[place]
            if a is None or b is None:
                if x or y:  # of a row that is not there at all, what counts in it
                    yield line, name, None if a is None else json.dumps(x), None if b is None else json.dumps(y)
            elif x != y:
                yield line, name, json.dumps(x), json.dumps(y)


def places(connection: Connection, tenant: str) -> list[Place]:
    """Give every line that something came from, and every site of them."""
    lines: list[Place] = [
        (tenant, site, unit)
        for site, unit in connection.execute(
            "select site, work_unit from work_unit where tenant=? order by site, work_unit", (tenant,)
        )
    ]
    return lines + [(tenant, site, "") for site in dict.fromkeys(place[1] for place in lines)]


_LINE: Final = "tenant=? and site=? and work_unit=?"
_SITE: Final = "tenant=? and site=?"
_MART: Final = ("mart_shift", "start_ms", 1)
_QUALITY: Final = ("quality_measurement", "at", NS)
_REACH: Final = {
    True: [
        (_LINE, *_MART),
        (_LINE, *_QUALITY),
        (_LINE, "production", "counted_ms", 1),
        (_LINE, "equipment_state", "at", NS),
        (_LINE, "work_unit", "first_ms", 1),
        (_LINE, "work_unit", "closed_ms-1", 1),
    ],
    False: [(_SITE, *_MART), (_LINE, *_QUALITY), (_SITE, "inventory", "at", NS)],
}
"""What a line, or a site, has records and figures in: (condition, table, column, its unit in ms)."""


def reach(connection: Connection, place: Place) -> tuple[int, int] | None:
    """Give from when to when (ms) a line or site has records or figures; None when there are none."""
    ends: list[int] = []
    for where, table, column, unit in _REACH[bool(place[2])]:
        values = place if where == _LINE else place[:2]
        # One query each: SQLite finds either end in the index at once, both together only by reading all between.
        for end in ("min", "max"):
            sql = f"select {end}({column}) from {table} where {where}"  # noqa: S608 - the words above
            ends += [int(value) // unit for (value,) in connection.execute(sql, values) if value is not None]
    return (min(ends), max(ends)) if ends else None


def any_bucket(
    connection: Connection, plants: Plants, tenant: str, chance: random.Random, now_ms: int
) -> Bucket | None:
    """Give one bucket by chance, of whatever mart; None when there is none."""
    known = places(connection, tenant)
    if not known:
        return None
    place = chance.choice(known)
    kind = chance.choice(OF_LINE if place[2] else OF_SITE)
    ends = reach(connection, place)
    if ends is None or not configured(plants, place):
        return None
    at = chance.randint(ends[0], max(ends[0], min(ends[1], now_ms)))
    return Bucket(place, kind, _begin(plants, place, kind, at))


def _begin(plants: Plants, place: Place, kind: str, at: int) -> int:
    calendar = plants[place[:2]].calendar
    if kind == HOUR:
        return calendar.hour(at)
    instance = calendar.at(at)
    return instance.start_ms if kind in {SHIFT, QUALITY} else date_ms(instance.business_date)


Reach = tuple[str, str, int, int]
"""(site, line or empty for the site, from when, to when in ms)."""


def reaches(connection: Connection, tenant: str, now_ms: int) -> list[Reach]:
    """Give from when to when every line and site of a tenant has records or figures now."""
    return [
        (*place[1:], ends[0], max(ends[0], min(ends[1], now_ms + AHEAD_MS)))
        for place in places(connection, tenant)
        if (ends := reach(connection, place)) is not None
    ]


def every_bucket(plants: Plants, tenant: str, within: Iterable[Reach]) -> list[Bucket]:
    """Give all buckets of a tenant that may hold anything. Of the same reaches always the same ones, in one order."""
    found: list[Bucket] = []
    for site, unit, *ends in within:
        place: Place = (tenant, site, unit)
        if not configured(plants, place):
            continue
        calendar = plants[place[:2]].calendar
        instances = calendar.between(ends[0], ends[1] + 1)
        dates = dict.fromkeys(date_ms(one.business_date) for one in instances)
        if place[2]:
            found += [Bucket(place, kind, one.start_ms) for one in instances for kind in (SHIFT, QUALITY)]
            hours = dict.fromkeys(calendar.hour(at) for at in range(ends[0], ends[1] + HOUR_MS, HOUR_MS // 2))
            found += [Bucket(place, HOUR, hour) for hour in hours]
            found += [Bucket(place, kind, day) for day in dates for kind in (DAY, TREND)]
        else:
            found += [Bucket(place, QUALITY, one.start_ms) for one in instances]
            found += [Bucket(place, kind, day) for day in dates for kind in (SITE, STOCK)]
    return found
