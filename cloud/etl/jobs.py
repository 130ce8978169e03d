"""Jobs over the past: asked for by a person, kept as a row, carried out in small steps that survive a restart.

`restate` computes shifts anew and says which figures changed; dry, it only says which would. `rebuild` recomputes every
bucket of every mart and holds it against what stands: the incremental result has to equal it, and the job says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cloud.bi import kpi
from cloud.bi.times import iso
from cloud.database import Connection
from cloud.etl import deeds
from cloud.etl.recompute import reaches
from cloud.marts.calendar import Instance
from cloud.plant import Place, Plants
from sync.settings import nearest

EARLIEST_MS: Final = 946_684_800_000
LATEST_MS: Final = 4_102_444_800_000
MOST_BUCKETS: Final = 20_000
OPEN: Final = ("queued", "running", "refreshing")
MEASURES: Final = tuple(kpi.Sums.__dataclass_fields__)


class JobError(ValueError):
    """A job that cannot be done as asked; says why, and which field of the order is at fault."""

    def __init__(self, why: str, field: str) -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """What is to be computed anew, and why."""

    from_ms: int
    to_ms: int
    lines: Sequence[str]
    """Work units; empty for all."""
    actor: str
    reason: str
    dry_run: bool = False
    product: str | None = None
    """With an ideal cycle: its pieces of this time are rated by that one."""
    cycle_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

    id: int
    tenant: str
    kind: str
    state: str
    dry_run: bool
    asked: dict[str, Any]
    done_buckets: int

    @property
    def places(self) -> list[Place]:
        return [(self.tenant, site, unit) for site, unit in self.asked["places"]]

    def shifts(self, plants: Plants) -> list[tuple[Place, Instance]]:
        """Give every shift of a restatement, line by line."""
        return [
            (place, instance)
            for place in self.places
            for instance in plants[place[:2]].calendar.between(self.asked["from_ms"], self.asked["to_ms"])
        ]


def restate(connection: Connection, plants: Plants, tenant: str, order: Restatement, now_ms: int) -> int:
    """Take a restatement in; gives its number. Raises JobError."""
    if not EARLIEST_MS <= order.from_ms < order.to_ms <= LATEST_MS:
        raise JobError("the period has to begin before it ends, between 2000 and 2100", "to")
    if (order.product is None) != (order.cycle_ms is None):
        raise JobError("a product and its ideal cycle go together", "product")
    if order.cycle_ms is not None and not 0 < order.cycle_ms < 1e9:
        raise JobError(f"an ideal cycle of {order.cycle_ms} ms cannot be", "ideal_cycle_ms")
    places = _places(connection, tenant, order.lines)
    asked = {
        "from_ms": order.from_ms,
        "to_ms": order.to_ms,
        "lines": list(order.lines),
        "places": [list(place[1:]) for place in places],
        "product": order.product,
        "cycle_ms": order.cycle_ms,
    }
    days = (order.to_ms - order.from_ms) // 86_400_000 + 1
    if days * len(places) > MOST_BUCKETS:
        raise JobError(f"{days} days of {len(places)} lines are too much at once; restate a part", "period")
    try:
        buckets = len(Job(0, tenant, "restate", "", order.dry_run, asked, 0).shifts(plants))
    except KeyError as error:
        raise JobError(f"the site of a line is not configured any more: {error}", "lines") from error
    deed = deeds.Deed(tenant=tenant, actor=order.actor, action="restate", target="", reason=order.reason)
    number = _insert(connection, deed, asked, now_ms, dry_run=order.dry_run, buckets=buckets)
    if order.product is not None and not order.dry_run:
        rows = [(*place, order.product, order.from_ms, order.to_ms, order.cycle_ms, now_ms, number) for place in places]
        connection.many(
            "insert into ideal_cycle(tenant, site, work_unit, product, from_ms, to_ms, cycle_ms, recorded_ms, job)"
            " values(?,?,?,?,?,?,?,?,?)",
            rows,
        )
    return number


def rebuild(connection: Connection, tenant: str, actor: str, reason: str, now_ms: int) -> int:
    """Take a rebuild in; gives its number. One that has not ended yet is not begun twice."""
    row = connection.one(
        "select id from etl_job where tenant=? and kind='rebuild' and state in ('queued', 'running')", (tenant,)
    )
    if row is not None:
        return int(row[0])
    # What there is now: what comes while it is carried out, for hours perhaps, is none of its business.
    asked: dict[str, Any] = {"places": [], "reach": reaches(connection, tenant, now_ms)}
    deed = deeds.Deed(tenant=tenant, actor=actor, action="rebuild", target="", reason=reason)
    return _insert(connection, deed, asked, now_ms, dry_run=True, buckets=0)


def _insert(
    connection: Connection, deed: deeds.Deed, asked: dict[str, Any], now_ms: int, *, dry_run: bool, buckets: int
) -> int:
    said = json.dumps(asked, ensure_ascii=False).replace("\\u0000", "\\ufffd")
    (number,) = connection.execute(
        "insert into etl_job(tenant, kind, state, dry_run, asked, actor, reason, asked_ms, buckets)"
        " values(?,?,'queued',?,?,?,?,?,?) returning id",
        (deed.tenant, deed.action, dry_run, said, deed.actor, deed.reason, now_ms, buckets),
    )[0]
    said = {name: value for name, value in asked.items() if name != "reach"} | {"dry_run": dry_run}
    deeds.note(connection, replace(deed, target=f"job {number}"), said, now_ms)
    return int(number)


def _places(connection: Connection, tenant: str, lines: Sequence[str]) -> list[Place]:
    known: list[Place] = [
        (tenant, site, unit)
        for site, unit in connection.execute(
            "select site, work_unit from work_unit where tenant=? order by site, work_unit", (tenant,)
        )
    ]
    chosen = known if not lines else list(dict.fromkeys(_place(line, known) for line in lines))
    if not chosen:
        raise JobError("nothing ever came from any line; there is nothing to restate", "lines")
    return chosen


def _place(line: str, known: Sequence[Place]) -> Place:
    """Give the line that is named by its path, or by `site:path` where several sites have it. Raises JobError."""
    whole = [place for place in known if f"{place[1]}:{place[2]}" == line]
    found = whole or [place for place in known if place[2] == line]
    if not found:
        raise JobError(f"there is no line {line!r}; {nearest(line, [place[2] for place in known])}", "lines")
    if len(found) > 1:
        meant = " or ".join(f"{place[1]}:{place[2]}" for place in found)
        raise JobError(f"{len(found)} sites have a line {line!r}; say which: {meant}", "lines")
    return found[0]


_JOB: Final = "select id, tenant, kind, state, dry_run, asked, done_buckets from etl_job"


def next_open(connection: Connection) -> Job | None:
    """Give the job that is to be worked on, the oldest first."""
    row = connection.one(f"{_JOB} where state in ('queued', 'running', 'refreshing') order by id limit 1")
    if row is None:
        return None
    number, tenant, kind, state, dry_run, asked, done = row
    return Job(int(number), tenant, kind, state, bool(dry_run), json.loads(asked), int(done))


_SHOWN: Final = (
    "select id, kind, state, dry_run, asked, actor, reason, asked_ms, started_ms, ended_ms, buckets, done_buckets,"
    " changed, equal, error from etl_job where tenant=?"
)


def page(connection: Connection, tenant: str, *, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Give jobs, newest first, and how many there are."""
    (total,) = connection.execute("select count(*) from etl_job where tenant=?", (tenant,))[0]
    rows = connection.execute(f"{_SHOWN} order by id desc limit ? offset ?", (tenant, limit, offset))
    return [_shown(row) for row in rows], int(total)


def detail(connection: Connection, tenant: str, number: int) -> dict[str, Any] | None:
    """Give one job and the figures it changed, or would; None when there is no such job."""
    row = connection.one(f"{_SHOWN} and id=?", (tenant, number))
    if row is None:
        return None
    figures = [
        _figure(one)
        for one in connection.execute(
            "select site, work_unit, start_ms, business_date, shift, product, before, after from etl_figure where job=?"
            " order by site, work_unit, start_ms, product",
            (number,),
        )
    ]
    return {**_shown(row), "figures": figures}


def _shown(row: Sequence[Any]) -> dict[str, Any]:
    (
        number,
        kind,
        state,
        dry_run,
        asked,
        actor,
        reason,
        asked_ms,
        started,
        ended,
        buckets,
        done,
        changed,
        equal,
        error,
    ) = row
    said = json.loads(asked)
    times = {
        "asked": asked_ms,
        "started": started,
        "ended": ended,
        "from": said.get("from_ms"),
        "to": said.get("to_ms"),
    }
    return {
        "id": number,
        "kind": kind,
        "state": "running" if state == "refreshing" else state,
        "dry_run": bool(dry_run) and kind == "restate",
        "lines": said.get("lines", []),
        "product": said.get("product"),
        "ideal_cycle_ms": said.get("cycle_ms"),
        "by": actor,
        "why": reason,
        "buckets": buckets,
        "done_buckets": done,
        "changed": changed,
        "equal": None if equal is None else bool(equal),
        "error": error,
        **{name: None if at is None else iso(at) for name, at in times.items()},
    }


def _figure(row: Sequence[Any]) -> dict[str, Any]:
    site, unit, start, business_date, shift, product, before, after = row
    was, is_ = json.loads(before), json.loads(after)
    changed = [name for name in {**was, **is_} if was.get(name, 0) != is_.get(name, 0)]
    return {
        "site": site,
        "work_unit": unit,
        "start": iso(start),
        "business_date": business_date,
        "shift": shift,
        "product": product,
        "before": {name: was.get(name, 0) for name in changed},
        "after": {name: is_.get(name, 0) for name in changed},
        "oee_before": _oee(was),
        "oee_after": _oee(is_),
    }


def _oee(sums: dict[str, int]) -> float | None:
    return kpi.oee(kpi.Sums(**{name: sums.get(name, 0) for name in MEASURES})).oee
