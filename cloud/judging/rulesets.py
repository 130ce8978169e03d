"""Which ruleset judges every line now, as its gateway told when it was activated; and which versions stand side by side."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cloud.bi.times import iso_ns
from cloud.database import Connection
from cloud.judging.fleet import named

_NEWEST: Final = (
    "select s.site, g.name, s.at, f.body from fact_subject s"
    " join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq join gateway g on g.id=s.gateway"
    " where s.tenant=? and s.kind='ruleset' and s.at=(select max(x.at) from fact_subject x where x.tenant=s.tenant"
    " and x.kind='ruleset' and x.gateway=s.gateway and x.work_unit=s.work_unit)"
    " order by s.site, g.name, s.work_unit, s.seq"
)


class _Activated(msgspec.Struct, frozen=True):
    """What of a `RulesetActivated` says which one it is; its content stays undecoded."""

    work_unit: str
    ruleset: str
    ruleset_version: str
    ruleset_hash: str


_fact: Final = msgspec.json.Decoder(_Activated)


def rulesets(connection: Connection, tenant: str) -> dict[str, Any]:
    """Give every line's ruleset in force, and every ruleset with its versions, the one most lately begun first."""
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for site, gateway, at, body in connection.execute(_NEWEST, (tenant,)):
        fact = _fact.decode(body)  # a large one comes in parts, which name it alike
        lines[site, gateway, fact.work_unit] = {
            "site": site,
            "gateway": gateway,
            "work_unit": fact.work_unit,
            "ruleset": fact.ruleset,
            "version": fact.ruleset_version,
            "hash": fact.ruleset_hash,
            "since": iso_ns(at),
        }
    told = list(lines.values())
    return {"lines": told, "rulesets": [_over_lines(name, told) for name in sorted({one["ruleset"] for one in told})]}


def _over_lines(ruleset: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    mine = sorted((one for one in lines if one["ruleset"] == ruleset), key=lambda one: one["since"], reverse=True)
    found: dict[str, dict[str, Any]] = {}
    for one in mine:
        known = found.setdefault(one["hash"], {"version": one["version"], "hash": one["hash"], "lines": []})
        known["lines"] += named([one], lines)
    return {"ruleset": ruleset, "versions": list(found.values())}
