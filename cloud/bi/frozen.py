"""Limits that a line's rules hold a characteristic against: frozen numbers of the ruleset that was told last."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from cloud.bi.spc import Frozen
from cloud.database import Connection
from cloud.plant import Place
from edge.judgment.archive import ArchiveError, kept
from models.spc import Limits, LimitsError
from sync.judgment import RulesetActivated

_fact: Final = msgspec.json.Decoder(RulesetActivated)
_PLAIN: Final = re.compile(r"^\s*([A-Za-z_]\w*)(?:\.(?:mean|last|value))?\s*$")
"""A chart whose value is the characteristic itself, and not something made of it."""


def frozen(connection: Connection, place: Place, characteristic: str, product: str | None) -> Frozen | None:
    """Give the frozen limits in force, or None where no chart of the line's newest ruleset is about the characteristic."""
    newest = connection.one(
        "select subject, at from fact_subject where tenant=? and kind='ruleset' and site=? and work_unit=?"
        " order by at desc, seq desc limit 1",
        place,
    )
    if newest is None:
        return None
    bodies = connection.execute(
        "select f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
        " where s.tenant=? and s.kind='ruleset' and s.subject=? and s.at=? and s.site=? and s.work_unit=? order by s.seq",
        (place[0], *newest, *place[1:]),
    )
    for chart in _charts(tuple(body for (body,) in bodies)):
        name = _PLAIN.match(str(chart.get("value", "")))
        if name is not None and name[1] == characteristic and chart.get("kind") in {"individuals", "xbar"}:
            return _chosen(chart, product, _fact.decode(bodies[0][0]).ruleset)
    return None


@lru_cache(maxsize=64)
def _charts(bodies: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
    """Give the charts of a ruleset as it was told; none of one that cannot be read."""
    try:
        document = json.loads(kept([_fact.decode(body) for body in bodies]).document)
    except (ArchiveError, ValueError):
        return ()
    return tuple(one for one in document.get("chart", []) if isinstance(one, dict))


def _chosen(chart: Mapping[str, Any], product: str | None, ruleset: str) -> Frozen | None:
    given: list[Mapping[str, Any]] = chart["limits"] if isinstance(chart["limits"], list) else [chart["limits"]]
    by_product = {one.get("product"): one for one in given}
    one = by_product.get(product, by_product.get(None))
    if one is None:
        return None
    version = str(one.get("version", "1"))
    try:
        limits = Limits(
            kind=chart["kind"],
            center=one["center"],
            sigma=one.get("sigma"),
            lower=one.get("lcl"),
            upper=one.get("ucl"),
            version=version,
        )
    except (LimitsError, KeyError):
        return None
    return Frozen(limits=limits, ruleset=ruleset, version=version)
