"""Dimensions that the configuration and the calendar tell: dates, minutes, sites, lines, shifts and their instances."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

import holidays

from cloud.config import Shift, Site
from cloud.database import Connection
from cloud.marts.ledger import ALL
from cloud.plant import Plant, Plants
from sync.equipment import equipment

FIRST: Final = date(2020, 1, 1)
LAST: Final = date(2030, 12, 31)
DAY_MS: Final = 86_400_000
BACK_DAYS: Final = 400
AHEAD_DAYS: Final = 60
"""Shift instances are there from and to so many days around today, and wherever something is recorded."""

FILE: Final = "cloud.toml"
"""Who set a target that the configuration names."""

_WEEKEND: Final = 5


def fill(connection: Connection, plants: Plants, now_ms: int) -> None:
    """Write what is not there yet or says something else now; done at every start."""
    countries = {plant.site.country or "" for tenant in plants.tenants for plant in plants.of_tenant(tenant)}
    for country in sorted(countries or {""}):
        _replace(connection, "dim_date", {"country": country}, list(_dates(country, plants.file.fiscal_year_starts)))
    _replace(connection, "dim_time", {}, [(m, m // 60, m % 60, f"{m // 60:02}:{m % 60:02}") for m in range(1440)])
    for tenant in plants.tenants:
        for plant in plants.of_tenant(tenant):
            _fill_site(connection, plant, now_ms)


def _replace(connection: Connection, table: str, where: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    """Let a part of a table hold these rows; one that does already is left alone."""
    said = " and ".join(f"{name}=?" for name in where) or "1=1"
    values = tuple(where.values())
    if sorted(connection.execute(f"select * from {table} where {said}", values)) == sorted(rows):  # noqa: S608 - ours
        return
    connection.execute(f"delete from {table} where {said}", values)  # noqa: S608 - ours
    if rows:
        connection.many(f"insert into {table} values({','.join('?' * len(rows[0]))})", rows)


def _dates(country: str, fiscal_year_starts: int) -> Iterator[tuple[Any, ...]]:
    free: dict[date, str] = {}
    if country:
        told = holidays.country_holidays(country, years=range(FIRST.year, LAST.year + 1))
        free = {day: str(name) for day, name in told.items()}
    day = FIRST
    while day <= LAST:
        yield (country, *_date(day, free.get(day, ""), fiscal_year_starts))
        day += timedelta(days=1)


def _date(day: date, holiday: str, fiscal_year_starts: int) -> tuple[Any, ...]:
    iso = day.isocalendar()
    fiscal_month = (day.month - fiscal_year_starts) % 12 + 1
    fiscal_year = day.year if day.month >= fiscal_year_starts else day.year - 1
    quarter, weekday = (day.month - 1) // 3 + 1, day.weekday()
    ordinary = (day.year, quarter, day.month, iso.year, iso.week, day.timetuple().tm_yday, day.day, weekday)
    fiscal = (fiscal_year, (fiscal_month - 1) // 3 + 1, fiscal_month)
    return (day.isoformat(), *ordinary, int(weekday >= _WEEKEND), int(bool(holiday)), holiday, *fiscal)


def _fill_site(connection: Connection, plant: Plant, now_ms: int) -> None:
    site = plant.site
    key = {"tenant": site.tenant, "site": site.id}
    about = (site.tenant, site.id)
    _replace(connection, "dim_site", key, [(*about, site.name.ko, site.name.en, site.timezone, site.country or "")])
    _replace(connection, "dim_shift", key, [(*about, *_shift(shift, i)) for i, shift in enumerate(site.shifts)])
    for path, position in plant.order.items():
        where, name = equipment(path), plant.names[path]
        connection.execute(
            "insert into dim_line(tenant, site, work_unit, area, work_center, name_ko, name_en, position, inferred)"
            " values(?,?,?,?,?,?,?,?,0) on conflict(tenant, site, work_unit) do update set name_ko=excluded.name_ko,"
            " name_en=excluded.name_en, position=excluded.position, inferred=0",
            (*about, path, where.area, where.work_center, name.ko, name.en, position),
        )
        connection.execute(
            "insert into dim_equipment(tenant, site, work_unit, equipment, gateway, inferred) values(?,?,?,?,"
            " coalesce((select g.name from work_unit w join gateway g on g.id=w.gateway where w.tenant=? and w.site=?"
            " and w.work_unit=?), ''), 0) on conflict(tenant, site, work_unit) do update set gateway=excluded.gateway,"
            " inferred=0",
            (*about, path, where.work_unit, *about, path),
        )
    aims = {(*about, one.work_unit, one.kpi, one.target, one.warning, one.critical, FILE, 0) for one in site.targets}
    _replace(connection, "kpi_target", key | {"set_by": FILE}, sorted(aims))
    _fill_materials(connection, site, now_ms)
    _fill_instances(connection, plant, now_ms)


_STOCKED: Final = (
    "select material, unit, safety_micro, reorder_micro from dim_material where tenant=? and site=? and set_by=?"
)


def _fill_materials(connection: Connection, site: Site, now_ms: int) -> None:
    """Let the file's safety stocks hold, and those it no longer names hold no more; the site's stocks follow."""
    about = (site.tenant, site.id)
    rows = {one.id: (one.unit, _micro(one.safety_stock), _micro(one.reorder_point)) for one in site.materials}
    stand = {row[0]: tuple(row[1:]) for row in connection.execute(_STOCKED, (*about, FILE))}
    if stand == rows:
        return
    connection.many(
        "update dim_material set safety_micro=null, reorder_micro=null, set_by='' where tenant=? and site=? and material=?",
        [(*about, gone) for gone in sorted(stand.keys() - rows.keys())],
    )
    connection.many(
        "insert into dim_material(tenant, site, material, unit, safety_micro, reorder_micro, inferred, set_by)"
        " values(?,?,?,?,?,?,0,?) on conflict(tenant, site, material) do update set unit=excluded.unit,"
        " safety_micro=excluded.safety_micro, reorder_micro=excluded.reorder_micro, inferred=0, set_by=excluded.set_by",
        [(*about, material, *values, FILE) for material, values in sorted(rows.items())],
    )
    connection.execute(
        "insert into dirty_bucket(tenant, site, work_unit, mart, start_ms, gen, due_ms) values(?,?,'',?,0,1,?)"
        " on conflict(tenant, site, work_unit, mart, start_ms) do update set gen=dirty_bucket.gen+1, due_ms=excluded.due_ms",
        (*about, ALL, now_ms),
    )


def _micro(quantity: float | None) -> int | None:
    return None if quantity is None else round(quantity * 1_000_000)


def _shift(shift: Shift, position: int) -> tuple[Any, ...]:
    start, end = shift.start.hour * 60 + shift.start.minute, shift.end.hour * 60 + shift.end.minute
    night = int(end <= start)
    pauses = sum((b.hour * 60 + b.minute - a.hour * 60 - a.minute) % 1440 for a, b in shift.breaks)
    days = ",".join(map(str, sorted(shift.days)))
    times = (f"{shift.start:%H:%M}", f"{shift.end:%H:%M}", end - start + 1440 * night, pauses)
    return (shift.code, *times, night, position, days)


def _fill_instances(connection: Connection, plant: Plant, now_ms: int) -> None:
    """Write the calendar's instances around today and over all that is recorded."""
    site: Site = plant.site
    (first,) = connection.execute(
        "select min(start_ms) from mart_shift where tenant=? and site=?", (site.tenant, site.id)
    )[0]
    start = min(now_ms - BACK_DAYS * DAY_MS, now_ms if first is None else first)
    rows = [
        (
            *(site.tenant, site.id, one.start_ms, one.end_ms, one.business_date, one.shift),
            *(sum(stop - begin for begin, stop in one.breaks), site.timezone),
        )
        for one in plant.calendar.between(start, now_ms + AHEAD_DAYS * DAY_MS)
    ]
    _replace(connection, "dim_shift_instance", {"tenant": site.tenant, "site": site.id}, rows)
