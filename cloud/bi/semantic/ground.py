"""What every answer of a tenant rests on beside its marts: how new the data is, what is known, and what is aimed at.

One statement reads all of it: over a network each statement of its own would cost as much as the figures do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cloud.bi.semantic import catalogue
from cloud.bi.semantic.places import Line
from cloud.database import Connection

Aim = tuple[float, float, float]
"""Target, warning, critical."""

_SQL: Final = """
select 'line' part, site a, work_unit b, '' c, data_at i, cast(null as bigint) j, cast(null as double precision) x,
  cast(null as double precision) y, cast(null as double precision) z from work_unit where tenant=?
union all select 'gateway', site, name, '', last_seen_ms, gone_ms, null, null, null from gateway where tenant=?
union all select 'mart', mart, '', '', version, null, null, null, null from mart_version where tenant=?
union all select 'products', '', '', '', count(*), max(recorded_ms), null, null, null from dim_product where tenant=?
union all select 'everywhere', '', '', kpi, null, null, target, warning, critical from dim_kpi
  where target is not null and warning is not null and critical is not null
union all select 'here', site, work_unit, kpi, null, null, target, warning, critical from kpi_target where tenant=?
"""


@dataclass(slots=True)
class Ground:
    """All of it, of one tenant at one moment."""

    data_at: dict[Line, int | None] = field(default_factory=dict[Line, "int | None"])
    """Every line that was ever heard of, within a scope or not, and its newest datum in ns."""
    gateways: dict[tuple[str, str], tuple[int | None, int | None]] = field(
        default_factory=dict[tuple[str, str], "tuple[int | None, int | None]"]
    )
    """(site, gateway) → when it was last seen, and when it said goodbye; ms."""
    versions: dict[str, int] = field(default_factory=dict[str, int])
    """Mart → how often it was refreshed."""
    products: tuple[int, int | None] = (0, None)
    """How many rows the products' dimension has, and when the last was recorded, ms."""
    aims: dict[tuple[str, str, str], Aim] = field(default_factory=dict[tuple[str, str, str], Aim])
    """(metric, site, work unit) → levels; empty texts for everywhere."""


def ground(connection: Connection, tenant: str) -> Ground:
    """Read it."""
    found = Ground()
    here: dict[tuple[str, str, str], Aim] = {}
    for part, a, b, c, i, j, *levels in connection.execute(_SQL, (tenant,) * 5):
        match part:
            case "line":
                found.data_at[a, b] = i
            case "gateway":
                found.gateways[a, b] = (i, j)
            case "mart":
                found.versions[a] = int(i)
            case "products":
                found.products = (i, j)
            case "everywhere":
                found.aims[catalogue.proper(c), "", ""] = (levels[0], levels[1], levels[2])
            case _:
                here[catalogue.proper(c), a, b] = (levels[0], levels[1], levels[2])
    found.aims |= here
    return found
