"""What must hold of every plant, checked in the database: a past that breaks one of these could not have happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi import kpi
from cloud.config import Site
from cloud.database import Connection
from cloud.plant import Plants
from cloud.seed import catalogue

LOWEST, HIGHEST = 0.55, 0.90
DAY_MS: Final = 86_400_000
MICRO: Final = 1_000_000
_PARTS: Final = ("apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms")


@dataclass(frozen=True, slots=True)
class Identity:
    """One thing that must hold."""

    name: str
    holds: bool
    told: str
    """What was looked at, and what breaks it."""


def check_all(connection: Connection, plants: Plants, now_ms: int) -> list[Identity]:
    """Check every configured site, and look for the stories that are planted there."""
    found: list[Identity] = []
    for site in plants.file.sites:
        found += check(connection, plants, site, now_ms)
        found += stories(connection, site, now_ms)
    return found


def check(connection: Connection, plants: Plants, site: Site, now_ms: int) -> list[Identity]:
    """Check a site's figures, its finished shifts only; reads only."""
    place = (site.tenant, site.id)
    return [
        *_pieces(connection, place),
        *_times(connection, place, now_ms),
        *_figures(connection, place, now_ms),
        *_stores(connection, plants, site),
        *_complete(connection, place),
    ]


def stories(connection: Connection, site: Site, now_ms: int) -> list[Identity]:
    """Tell whether what was planted can be found; for a past of a month or more."""
    rows = connection.execute(
        "select work_unit, product, shift, sum(produced), sum(good) from mart_shift"
        " where tenant=? and site=? and shift<>'' and end_ms<=? group by work_unit, product, shift",
        (site.tenant, site.id, now_ms),
    )
    lines = {unit.path: number for number, unit in enumerate(site.work_units)}
    night = {shift.code for shift in site.shifts if shift.end <= shift.start or shift.start.hour < 3}
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line, product, shift, produced, good in rows:
        if line not in lines or not produced:
            continue
        low, _ = catalogue.bad_range(lines[line], product, shift in night)
        name = {0.07: "first line's PROD-X", 0.04: "night shift", 0.01: "all others"}[low]
        sums[name][0] += produced
        sums[name][1] += produced - good
    bounds = {"first line's PROD-X": (0.07, 0.10), "night shift": (0.04, 0.06), "all others": (0.01, 0.03)}
    return [
        Identity(
            f"defects of {name}",
            low <= bad / made <= high,
            f"{bad / made:.2%}, planted between {low:.0%} and {high:.0%}",
        )
        for name, (low, high) in bounds.items()
        if (made := sums[name][0]) and (bad := sums[name][1]) >= 0
    ]


def _pieces(connection: Connection, place: tuple[str, str]) -> Iterator[Identity]:
    rows, wrong, made = _row(
        connection,
        "select count(*), coalesce(sum(case when produced<>good+scrap+rework or good<0 or produced<0 then 1 else 0 end), 0),"
        " coalesce(sum(produced), 0) from production where tenant=? and site=?",
        place,
    )
    yield Identity("produced = good + scrap + rework", wrong == 0, f"{rows:,} counts, {wrong} of them differ")
    wrong = _one(
        connection,
        "select count(*) from (select p.inc from production p left join production_defect d"
        " on d.inc=p.inc and d.stream=p.stream and d.seq=p.seq where p.tenant=? and p.site=?"
        " group by p.inc, p.stream, p.seq, p.produced, p.good"
        " having coalesce(sum(d.quantity), 0)<>p.produced-p.good) as differing",
        place,
    )
    yield Identity("defects by type = scrap + rework", wrong == 0, f"{wrong} counts differ")
    for mart in ("mart_shift", "mart_hour"):
        here = _one(connection, f"select coalesce(sum(produced), 0) from {mart} where tenant=? and site=?", place)  # noqa: S608 - our tables
        yield Identity(f"{mart} = facts", here == made, f"{here:,} pieces against {made:,}")


def _times(connection: Connection, place: tuple[str, str], now_ms: int) -> Iterator[Identity]:
    parts = "+".join(f"sum({name})" for name in _PARTS)
    rows = connection.execute(
        f"select end_ms-start_ms, sum(scheduled_ms), {parts}, sum(calendar_ms) from mart_shift"  # noqa: S608 - our columns
        " where tenant=? and site=? and shift<>'' and end_ms<=? group by work_unit, start_ms, end_ms",
        (*place, now_ms),
    )
    wrong = sum(not length == scheduled == told == calendar for length, scheduled, told, calendar in rows)
    yield Identity(
        "production + set-up + waiting + down + planned stops + unknown = shift, to the millisecond",
        wrong == 0,
        f"{len(rows):,} shifts, {wrong} of them differ",
    )


def _figures(connection: Connection, place: tuple[str, str], now_ms: int) -> Iterator[Identity]:
    names = (*_PARTS, "produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us")
    sums = ", ".join(f"sum({name})" for name in names)
    rows = connection.execute(
        f"select {sums} from mart_shift where tenant=? and site=? and shift<>'' and end_ms<=?"  # noqa: S608 - our columns
        " group by work_unit, start_ms having sum(produced)>0",
        (*place, now_ms),
    )
    found = [kpi.oee(kpi.Sums(**dict(zip(names, map(int, row), strict=True)))) for row in rows]
    values = [one.oee for one in found if one.oee is not None]
    yield Identity(
        "0 < OEE ≤ 1, and an effectiveness that is possible",
        len(values) == len(found) and all(0 < value <= 1 for value in values) and not any(o.implausible for o in found),
        f"{len(values):,} shifts with production",
    )
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    yield Identity(
        f"OEE of a shift between {LOWEST:.0%} and {HIGHEST:.0%}",
        not values or LOWEST <= low <= high <= HIGHEST,
        f"{low:.1%} to {high:.1%}",
    )


def _stores(connection: Connection, plants: Plants, site: Site) -> Iterator[Identity]:
    """Material is used as the first line produces; a count's usage is the mean of the seven days before."""
    rows = connection.execute(
        "select material, location, at, quantity_micro, usage_micro from inventory where tenant=? and site=? order by at",
        (site.tenant, site.id),
    )
    yield Identity(
        "stock is never negative and covers some time",
        all(quantity >= 0 and (usage or 0) > 0 for _, _, _, quantity, usage in rows),
        f"{len(rows):,} counts",
    )
    if not site.work_units:
        return
    used: dict[tuple[str, str], int] = {
        (product, day): int(made)
        for product, day, made in connection.execute(
            "select product, business_date, sum(produced) from mart_shift where tenant=? and site=? and work_unit=?"
            " group by product, business_date",
            (site.tenant, site.id, site.work_units[0].path),
        )
    }
    calendar = plants[site.tenant, site.id].calendar
    looked = wrong = 0
    for material, _, at, _, usage in rows:
        if not material.startswith("MAT-"):
            continue
        days = [calendar.local(at // 1_000_000 - back * DAY_MS).date().isoformat() for back in range(1, 8)]
        if all((f"PROD-{material[-1]}", day) in used for day in days):
            looked += 1
            wrong += abs(sum(used[f"PROD-{material[-1]}", day] for day in days) / 7 - usage / MICRO) > 0.001
    yield Identity("daily usage = what production took", wrong == 0, f"{looked:,} counts, {wrong} of them differ")


def _complete(connection: Connection, place: tuple[str, str]) -> Iterator[Identity]:
    row = _row(
        connection,
        "select coalesce(sum(s.last-s.stored), 0), coalesce(sum(s.rows), 0) from ingest_stream s"
        " join incarnation i on i.id=s.inc join gateway g on g.id=i.gateway where g.tenant=? and g.site=?",
        place,
    )
    yield Identity("nothing is missing", row[0] == 0, f"{row[1]:,} records stored, {row[0]} missing")


def _row(connection: Connection, sql: str, values: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(int(value) for value in connection.execute(sql, values)[0])


def _one(connection: Connection, sql: str, values: tuple[Any, ...]) -> int:
    return _row(connection, sql, values)[0]
