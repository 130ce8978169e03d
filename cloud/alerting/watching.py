"""Looks at watched figures, takes one step per watch and look, and raises or clears what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cloud.alerting import rows
from cloud.alerting.rows import Watch
from cloud.alerting.states import Event, Memory, Rule, seen, step
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Filter, Period
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.snapshot import Snapshot
from cloud.bus import Bus
from cloud.database import Connection, Database, DatabaseError
from cloud.plant import Plants

log = logging.getLogger(__name__)

EVERY_S: Final = 15.0
REST_S: Final = 2.0
"""… and a rest of this length at least, however long looking took."""
HALF_MS: Final = 7_000
"""Two processes look at the same figures: the second within this time takes no step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one look saw of one watch."""

    watch: Watch
    value: float | None
    level: float | None
    """In force now; None where it is a target that nobody set."""
    enough: bool
    counts: bool
    reason: str | None = None
    """Why there is no value."""
    unit: str = ""


def figure(look: Snapshot, plants: Plants, watch: Watch) -> Figure:
    """Look at one watched figure."""
    counts = True
    if watch.in_shift:
        counts = plants[watch.tenant, watch.site].calendar.at(look.now_ms).scheduled
    filters = [Filter(dimension="site", values=(watch.site,))]
    if watch.work_unit:
        filters.append(Filter(dimension="line", values=(watch.work_unit,)))
    names = (watch.metric, *(name for name in ("produced", "planned_busy_time") if name != watch.metric))
    try:
        metric = look.metric(watch.metric)
        table = look.table(names, period=Period(relative=watch.period), filters=tuple(filters), limit=1)
    except PlanError as error:  # a metric or a line that is no longer there
        return Figure(watch=watch, value=None, level=watch.level, enough=False, counts=counts, reason=error.message)
    level = watch.level
    if watch.against != "value":
        line = f"{watch.site}:{watch.work_unit}" if watch.work_unit else None
        aim = look.target(watch.metric, line, watch.site)
        level = None if aim is None else float(getattr(aim, watch.against))
    if not table.rows:
        return Figure(
            watch=watch, value=None, level=level, enough=False, counts=counts, reason="no_states", unit=metric.unit
        )
    cells = dict(zip(names, table.rows[0].cells, strict=True))
    pieces, busy_s = cells["produced"].value or 0, cells["planned_busy_time"].value or 0
    enough = pieces >= watch.min_pieces and busy_s >= 60 * watch.min_minutes
    cell = cells[watch.metric]
    reason = cell.reason if cell.value is None else None if enough else "small_sample"
    return Figure(
        watch=watch, value=cell.value, level=level, enough=enough, counts=counts, reason=reason, unit=metric.unit
    )


def look_at(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> list[Figure]:
    """Look at every enabled watch of a tenant, from one snapshot."""
    wanted = [one for one in rows.watches(connection, tenant) if one.enabled]
    known = {(plant.site.tenant, plant.site.id) for plant in plants.of_tenant(tenant)}
    if not wanted:
        return []
    look = Snapshot(connection, plants, Scope(tenant), now_ms)
    return [figure(look, plants, one) for one in wanted if (tenant, one.site) in known]


def take_steps(connection: Connection, figures: Sequence[Figure], now_ms: int) -> int:
    """Take one step for each figure; gives how many alerts were raised or cleared."""
    changed = 0
    for one in figures:
        before = rows.memory(connection, one.watch.number)
        if before is not None and now_ms - before.looked_ms < HALF_MS:
            continue  # another process was there a moment ago
        if (
            connection.one("select 1 from watch where id=? and removed_ms is null and enabled=1", (one.watch.number,))
            is None
        ):
            continue
        what = "none" if one.level is None else "over"
        if one.level is not None:
            rule = _rule(one.watch, one.level)
            what = seen(rule, one.value, enough=one.enough, counts=one.counts)
        else:
            rule, what = _rule(one.watch, 0.0), "none" if one.counts else "off"
        after, events = step(rule, before or Memory(), what, now_ms)
        for event in events:
            changed += _happened(connection, one, rule, event, now_ms)
        reason = one.reason or ("no_target" if one.level is None else None)
        connection.execute(
            "insert into watch_state(watch, tenant, state, since_ms, looked_ms, memory, value, level, reason)"
            " values(?,?,?,?,?,?,?,?,?) on conflict(watch) do update set state=excluded.state, since_ms=excluded.since_ms,"
            " looked_ms=excluded.looked_ms, memory=excluded.memory, value=excluded.value, level=excluded.level,"
            " reason=excluded.reason",
            (
                *(one.watch.number, one.watch.tenant, after.state, after.since_ms or now_ms, after.looked_ms),
                *(json.dumps(asdict(after)), one.value, one.level, reason),
            ),
        )
    return changed


def _rule(watch: Watch, level: float) -> Rule:
    return Rule(side=watch.side, level=level, margin=watch.margin, for_ms=watch.for_s * 1000)


def _happened(connection: Connection, one: Figure, rule: Rule, event: Event, now_ms: int) -> int:
    watch = one.watch
    kind = "kpi" if event in {"raised", "cleared"} else "kpi_no_data"
    if event in {"cleared", "data"}:
        connection.execute(
            "update alert set cleared_ms=? where tenant=? and kind=? and subject=? and cleared_ms is null",
            (now_ms, watch.tenant, kind, str(watch.number)),
        )
        return 1
    detail: dict[str, Any] = {
        "watch": watch.name,
        "metric": watch.metric,
        "unit": one.unit,
        "period": watch.period,
        "value": one.value,
        "level": one.level,
        "recovery": rule.recovery,
        "side": watch.side,
        "reason": one.reason,
    }
    connection.execute(
        "insert into alert(tenant, site, gateway, kind, severity, detail, raised_ms, work_unit, subject, readers, language,"
        " silent_until_ms) values(?,?,'',?,?,?,?,?,?,?,?,?)",
        (
            *(watch.tenant, watch.site, kind, watch.severity if event == "raised" else "info"),
            *(json.dumps(detail, ensure_ascii=False, sort_keys=True), now_ms, watch.work_unit, str(watch.number)),
            *(json.dumps(watch.readers) if watch.readers else "", watch.language, watch.silent_until_ms),
        ),
    )
    return 1


async def once(database: Database, plants: Plants, bus: Bus, now_ms: int) -> int:
    """Look and step for every tenant; gives how many alerts changed. Raises DatabaseError."""
    changed = 0
    for tenant in plants.tenants:
        figures = await database.read(lambda c, tenant=tenant: look_at(c, plants, tenant, now_ms))
        if figures:
            changed += await database.write(lambda c, figures=figures: take_steps(c, figures, now_ms))
    if changed:
        bus.changed.set()
    return changed


async def run_watching(database: Database, plants: Plants, bus: Bus) -> None:
    """Watch for ever; a database that is away is said once and waited for."""
    silent = False
    while True:
        began = time.monotonic()
        try:
            await once(database, plants, bus, time.time_ns() // 1_000_000)
            if silent:
                log.info("figures are watched again")
            silent = False
        except DatabaseError as error:
            if not silent:
                log.warning("figures cannot be watched: %s", error)
            silent = True
        await asyncio.sleep(max(REST_S, EVERY_S - (time.monotonic() - began)))
