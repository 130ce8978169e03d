"""Recorded verdicts as the fleet sent them: one by its id, or a line's in the order recorded, a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cloud.database import Connection, Row
from edge.judgment.batch import Wanted
from edge.judgment.past import Listed
from sync.facts import Context, Judged
from sync.topics import Address

PART: Final = 2_000
"""Rows read at once."""
EVER: Final = 2**62

_JOINS: Final = (
    " from judgment j join fact f on f.inc=j.inc and f.stream=j.stream and f.seq=j.seq"
    " join incarnation i on i.id=j.inc join gateway g on g.id=i.gateway"
)
_WHOLE: Final = "select f.body, g.id, j.tenant, j.site, g.name, i.inc, j.stream, j.seq, j.at, j.inc" + _JOINS
_fact: Final = msgspec.json.Decoder(Judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A verdict as it came, and where it came from."""

    fact: Judged
    raw: bytes
    """The fact as the gateway wrote it."""
    gateway: int
    """Its row."""
    address: Address
    record: str
    """Identity of the fact: incarnation/stream/seq."""


def recorded(connection: Connection, tenant: str, verdict_id: str) -> Recorded | None:
    """Give a tenant's verdict by its id, the newest where two gateways gave the same; None for one that is not here."""
    row = connection.one(
        f"{_WHOLE} where j.tenant=? and j.verdict_id=? order by j.at desc limit 1", (tenant, verdict_id)
    )
    return None if row is None else _recorded(row)


def _recorded(row: Row) -> Recorded:
    body, number, tenant, site, gateway, inc, stream, seq, *_ = row
    raw = body.encode()
    return Recorded(
        fact=_fact.decode(raw),
        raw=raw,
        gateway=number,
        address=Address(tenant, site, gateway),
        record=f"{inc}/{stream}/{seq}",
    )


def lines(connection: Connection, tenant: str, wanted: Wanted) -> list[tuple[str, str]]:
    """Give (site, work unit) of the lines that are meant, in order; one is named by its path or by `site:path`."""
    known = connection.execute(
        "select site, work_unit from work_unit where tenant=? order by site, work_unit", (tenant,)
    )
    whole = [(site, unit) for site, unit in known if f"{site}:{unit}" == wanted.line]
    return whole or [(site, unit) for site, unit in known if wanted.line in {None, unit}]


def of_line(connection: Connection, tenant: str, line: tuple[str, str], wanted: Wanted) -> Iterator[Row]:
    """Give (body, gateway's row, tenant, site, gateway, inc, stream, seq, …) of a line's verdicts in the order recorded."""
    where, values = _conditions(tenant, line, wanted)
    after = (-1, -1, -1)
    while True:
        part = connection.execute(
            f"{_WHOLE} where {where} and (j.at, j.inc, j.seq)>(?,?,?) order by j.at, j.inc, j.seq limit {PART}",
            (*values, *after),
        )
        yield from part
        if len(part) < PART:
            return
        after = (part[-1][8], part[-1][9], part[-1][7])


def whole(rows: Iterator[Row]) -> Iterator[Recorded]:
    """Give verdicts of `of_line` whole."""
    return (_recorded(row) for row in rows)


def count(connection: Connection, tenant: str, line: tuple[str, str], wanted: Wanted) -> int:
    """Count a line's verdicts that are meant."""
    where, values = _conditions(tenant, line, wanted)
    return int(connection.execute(f"select count(*) from judgment j where {where}", values)[0][0])  # noqa: S608 - our own words


def listed(connection: Connection, tenant: str, line: tuple[str, str], wanted: Wanted) -> list[Listed]:
    """Give the part of a line's verdicts that sampling needs, from the index alone."""
    where, values = _conditions(tenant, line, wanted)
    return [
        Listed(
            at=at, verdict_id=name, work_unit=unit, ruleset=ruleset, decision=decision, context=Context(product=made)
        )
        for at, name, unit, ruleset, decision, made in connection.execute(
            f"select j.at, j.verdict_id, j.work_unit, j.ruleset, j.decision, j.product from judgment j where {where}"  # noqa: S608 - our own words
            " order by j.at, j.inc, j.seq",
            values,
        )
    ]


def _conditions(tenant: str, line: tuple[str, str], wanted: Wanted) -> tuple[str, list[Any]]:
    conditions: list[tuple[str, Any]] = [
        ("j.tenant=?", tenant),
        ("j.site=?", line[0]),
        ("j.work_unit=?", line[1]),
        ("j.at>=?", min(wanted.begin or 0, EVER)),
        ("j.at<?", EVER if wanted.end is None else min(wanted.end, EVER)),
    ]
    named = {name: getattr(wanted, name) for name in ("decision", "ruleset", "product")}
    conditions += [(f"j.{column}=?", value) for column, value in named.items() if value is not None]
    return " and ".join(text for text, _ in conditions), [value for _, value in conditions]
