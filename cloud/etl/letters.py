"""Dead letters: what does not count and why, as people list it; and what they decide about it.

Two kinds stand in one list: facts that were found fault with (`finding`), and chunks that could not even be read
(`dead_letter`). Held facts are released as they are, corrected, or looked at again by the rules of today.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.times import iso, iso_ns
from cloud.database import Connection, Row
from cloud.etl import deeds
from cloud.etl.corrections import Target
from cloud.etl.redo import redo
from cloud.etl.rules import RULES, rule
from cloud.plant import Plants

STATES: Final = ("open", "released", "corrected", "passed")
AT_ONCE: Final = 500
"""Facts that are looked at again in one transaction."""
UNREADABLE: Final = "undecodable"


class LetterError(ValueError):
    """What was asked cannot be done; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What of the list; a None does not restrict."""

    state: str | None = None
    severity: str | None = None
    code: str | None = None
    held: bool | None = None
    site: str | None = None
    work_unit: str | None = None

    def facts(self, tenant: str) -> tuple[str, list[Any]]:
        """Give the condition on `finding`, and its values."""
        names = ("state", "severity", "code", "site", "work_unit")
        named = {name: getattr(self, name) for name in names}
        chosen: list[tuple[str, str | bool]] = [
            (f"{name}=?", value) for name, value in named.items() if value is not None
        ]
        if self.held is not None:
            chosen.append(("held=?", self.held))
        conditions = ["tenant=?", *(text for text, _ in chosen)]
        return " and ".join(conditions), [tenant, *(value for _, value in chosen)]

    @property
    def chunks(self) -> bool:
        """Whether chunks that cannot be read are asked for."""
        return (
            self.state in {None, "open"}
            and self.severity in {None, RULES[UNREADABLE].severity}
            and self.code in {None, UNREADABLE}
            and self.held in {None, True}
            and self.work_unit is None
        )


def _listed(tenant: str, what: Filter) -> tuple[str, list[Any]]:
    where, values = what.facts(tenant)
    sql = f"select 'f' as sort, id, recorded_ms from finding where {where}"  # noqa: S608 - our own words
    if what.chunks:
        sql += " union all select 'c' as sort, id, recorded_ms from dead_letter where tenant=?"
        values = [*values, tenant]
    return sql, values


def page(
    connection: Connection, tenant: str, what: Filter, *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Give letters, newest first, and how many there are."""
    sql, values = _listed(tenant, what)
    (total,) = connection.execute(f"select count(*) from ({sql}) letters", values)[0]  # noqa: S608 - our own words
    keys = connection.execute(
        f"select sort, id from ({sql}) letters order by recorded_ms desc, sort, id desc limit ? offset ?",  # noqa: S608
        [*values, limit, offset],
    )
    return _items(connection, keys), int(total)


def every(connection: Connection, tenant: str, what: Filter, most: int) -> Iterator[dict[str, Any]]:
    """Give all of them, at most so many, newest first."""
    sql, values = _listed(tenant, what)
    keys = connection.execute(
        f"select sort, id from ({sql}) letters order by recorded_ms desc, sort, id desc limit ?",  # noqa: S608 - our words
        [*values, most],
    )
    for place in range(0, len(keys), AT_ONCE):
        yield from _items(connection, keys[place : place + AT_ONCE])


_FACT: Final = (
    "select f.id, f.site, f.work_unit, g.name, f.code, f.severity, f.held, i.inc, f.stream, f.seq, f.rev, f.kind, f.at,"
    " f.times, f.detail, f.recorded_ms, f.last_ms, f.state, f.settled_ms, f.settled_by, f.settled_why, f.subject"
    " from finding f left join incarnation i on i.id=f.inc left join gateway g on g.id=f.gateway where f.id in ({})"
)
_CHUNK: Final = (
    "select d.id, g.site, g.name, i.inc, d.stream, d.first, d.count, d.why, d.recorded_ms from dead_letter d"
    " left join incarnation i on i.id=d.inc left join gateway g on g.id=i.gateway where d.id in ({})"
)


def _items(connection: Connection, keys: Sequence[Row]) -> list[dict[str, Any]]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for sort, select, answer in (("f", _FACT, _fact), ("c", _CHUNK, _chunk)):
        numbers = [number for kind, number in keys if kind == sort]
        if numbers:
            sql = select.format(",".join("?" * len(numbers)))
            found |= {(sort, row[0]): answer(row) for row in connection.execute(sql, numbers)}
    return [found[sort, number] for sort, number in keys if (sort, number) in found]


def _fact(row: Row) -> dict[str, Any]:
    number, site, unit, gateway, code, severity, held, inc, stream, seq, rev, kind, at, times, detail, *rest = row
    recorded, last, state, settled, by, why, subject = rest
    said = json.loads(detail)
    known = rule(code)
    return {
        "id": f"f{number}",
        "kind": kind,
        "code": code,
        "severity": severity,
        "title": known.title,
        "why": known.words(said),
        "held": bool(held) and state == "open",
        "state": state,
        "site": site,
        "gateway": gateway or "",
        "work_unit": unit,
        "inc": inc or "",
        "stream": stream,
        "seq": seq,
        "rev": rev,
        "count": times,
        "subject": "" if held else subject,
        "at": iso_ns(at) if 0 <= at < 253_402_300_800_000_000_000 else None,
        "recorded": iso(recorded),
        "last": iso(last),
        "settled": None if settled is None else iso(settled),
        "settled_by": by,
        "settled_why": why,
        "detail": said,
    }


def _chunk(row: Row) -> dict[str, Any]:
    number, site, gateway, inc, stream, first, count, why, recorded = row
    known = RULES[UNREADABLE]
    return {
        "id": f"c{number}",
        "kind": "chunk",
        "code": UNREADABLE,
        "severity": known.severity,
        "title": known.title,
        "why": known.words({"why": why}),
        "held": True,
        "state": "open",
        "site": site or "",
        "gateway": gateway or "",
        "work_unit": "",
        "inc": inc or "",
        "stream": stream,
        "seq": first,
        "rev": 0,
        "count": count,
        "subject": "",
        "at": None,
        "recorded": iso(recorded),
        "last": iso(recorded),
        "settled": None,
        "settled_by": "",
        "settled_why": "",
        "detail": {"why": why},
    }


def counted(connection: Connection, tenant: str) -> dict[str, Any]:
    """Give how many there are, by state and by rule; facts that are held count one each, warnings by how often."""
    by_rule: dict[str, dict[str, int]] = {}
    sums = {"open": 0, "held": 0, "released": 0, "total": 0}
    for code, held, state, rows, times in connection.execute(
        "select code, held, state, count(*), sum(times) from finding where tenant=? group by code, held, state",
        (tenant,),
    ):
        one = by_rule.setdefault(code, {"open": 0, "held": 0, "total": 0})
        count = int(times)
        one["total"] += count
        sums["total"] += int(rows)
        if state == "open":
            one["open"] += count
            sums["open"] += int(rows)
            if held:
                one["held"] += count
                sums["held"] += int(rows)
        elif state == "released":
            sums["released"] += int(rows)
    (chunks,) = connection.execute("select count(*) from dead_letter where tenant=?", (tenant,))[0]
    if chunks:
        by_rule[UNREADABLE] = {"open": chunks, "held": chunks, "total": chunks}
        for name in ("open", "held", "total"):
            sums[name] += int(chunks)
    order = list(RULES)
    named = [
        {"code": code, "severity": rule(code).severity, "title": rule(code).title, **by_rule[code]}
        for code in sorted(by_rule, key=lambda code: (order.index(code) if code in order else len(order), code))
    ]
    return {**sums, "by_rule": named}


def release(
    connection: Connection, plants: Plants, tenant: str, letter: str, *, actor: str, reason: str, now_ns: int
) -> int:
    """Let a held fact count as it is; gives how many buckets that touches. Raises LetterError."""
    if letter[:1] == "c":
        raise LetterError("a chunk that cannot be read holds no fact; ask its gateway again, see /completeness/request")
    row = None
    if letter[:1] == "f" and letter[1:].isdecimal() and len(letter) < 19:
        row = connection.one(
            "select f.code, f.held, f.state, i.inc, f.inc, f.stream, f.seq, f.rev from finding f join incarnation i"
            " on i.id=f.inc where f.tenant=? and f.id=?",
            (tenant, int(letter[1:])),
        )
    if row is None:
        raise KeyError(letter)
    code, held, state, name, *record, rev = row
    if code == "correction_refused":
        raise LetterError("a correction that was refused cannot hold; send another one")
    if not held or state != "open":
        raise LetterError("it is not held" if not held else f"it is not held any more: {state}")
    now_ms = now_ns // 1_000_000
    target = Target(tenant, name, record[1], record[2])
    connection.execute(
        "update finding set state='released', settled_ms=?, settled_by=?, settled_why=? where inc=? and stream=?"
        " and seq=? and rev=? and held and state='open'",
        (now_ms, actor, reason, *record, rev),
    )
    _, touched = redo(connection, plants, [target], now_ns)
    deed = deeds.Deed(tenant=tenant, actor=actor, action="release", target=str(target), reason=reason)
    deeds.note(connection, deed, {"letter": letter, "code": code, "buckets": touched}, now_ms)
    return touched


def retry(
    connection: Connection, plants: Plants, tenant: str, code: str | None, *, actor: str, reason: str, now_ns: int
) -> tuple[int, int]:
    """Look at held facts again by the rules of today; gives (how many count now, still held).

    Those that nobody looked at for longest come first: asked often enough, all have had their turn.
    """
    what, values = ("and f.code=?", [code]) if code is not None else ("", [])
    rows = connection.execute(
        "select i.inc, f.stream, f.seq from finding f join incarnation i on i.id=f.inc"  # noqa: S608 - our words
        f" where f.tenant=? and f.held and f.state='open' and f.code<>'correction_refused' {what}"
        " group by i.inc, f.stream, f.seq order by min(f.last_ms), i.inc, f.stream, f.seq limit ?",
        [tenant, *values, AT_ONCE],
    )
    targets = [Target(tenant, inc, stream, seq) for inc, stream, seq in rows]
    outcomes, touched = redo(connection, plants, targets, now_ns)
    still = sum(one.held for one in outcomes)
    passed = len(outcomes) - still
    deed = deeds.Deed(tenant=tenant, actor=actor, action="retry", target=code or "all", reason=reason)
    deeds.note(connection, deed, {"passed": passed, "held": still, "buckets": touched}, now_ns // 1_000_000)
    return passed, still
