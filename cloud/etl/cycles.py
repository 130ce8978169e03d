"""Planned run times that were put right for a period: what production of that time is rated by, whenever it arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from cloud.database import Connection
from cloud.etl.corrections import Record
from sync.facts import Fact, Produced

MS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """A product's ideal cycle over [from_ms, to_ms), on one line or (empty) on all of a site."""

    tenant: str
    site: str
    work_unit: str
    product: str
    from_ms: int
    to_ms: int
    cycle_ms: float

    def rates(self, work_unit: str, counted_ms: int) -> bool:
        """Tell whether its product's pieces of this line and instant are rated by it."""
        return self.from_ms <= counted_ms < self.to_ms and self.work_unit in {"", work_unit}


class Cycles:
    """All of them; the newest that fits holds."""

    def __init__(self, cycles: list[Cycle]) -> None:
        self._newest_first: dict[tuple[str, str, str], list[Cycle]] = {}
        """(tenant, site, product) → its cycles: restatements add up over the years, and every fact is held against them."""
        for one in reversed(cycles):
            self._newest_first.setdefault((one.tenant, one.site, one.product), []).append(one)

    @classmethod
    def load(cls, connection: Connection) -> Cycles:
        """Read them, in the order they were given."""
        rows = connection.execute(
            "select tenant, site, work_unit, product, from_ms, to_ms, cycle_ms from ideal_cycle order by id"
        )
        return cls(
            [
                Cycle(tenant=tenant, site=site, work_unit=unit, product=product, from_ms=a, to_ms=b, cycle_ms=cycle)
                for tenant, site, unit, product, a, b, cycle in rows
            ]
        )

    def apply(self, record: Record, fact: Fact) -> Fact:
        """Give a fact as it is to be rated; the stored one is not touched."""
        if not self._newest_first or not isinstance(fact, Produced) or fact.context.product is None:
            return fact
        counted_ms = max(fact.start, fact.at - 1) // MS
        cycle_ms = self.of(record.tenant, record.site, fact.work_unit, fact.context.product, counted_ms)
        return fact if cycle_ms is None else msgspec.structs.replace(fact, ideal_cycle_ms=cycle_ms)

    def of(self, tenant: str, site: str, work_unit: str, product: str, counted_ms: int) -> float | None:
        """Give what pieces that count at an instant are rated by; None for what they said themselves."""
        known = self._newest_first.get((tenant, site, product), ())
        return next((one.cycle_ms for one in known if one.rates(work_unit, counted_ms)), None)
