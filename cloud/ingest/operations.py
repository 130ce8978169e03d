"""Columns of what MES, ERP and laboratory tell: stock, quality results, job responses, definitions of lots and products."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from cloud.plant import Place
from sync.operations import InventoryCounted, JobResponded, LotDefined, ProductDefined, QualityMeasured

Key = tuple[int, int, int]
"""(incarnation, stream, seq)."""

LARGEST_MICRO: Final = 10**15
"""A larger quantity or result cannot be; it is kept as it came and takes part in no sum."""

_json = msgspec.json.Encoder()


def plain(text: str | None) -> str | None:
    """Give a text without NUL, which no database text has."""
    return None if text is None else text.replace("\0", "\ufffd")


def written(value: Any) -> str:
    """Give a value as JSON."""
    return _json.encode(value).decode()


def micro(value: float | None) -> int | None:
    """Give a number in millionths, so that sums are exact; None for none, and for one that cannot be."""
    if value is None or not math.isfinite(value):
        return None
    whole = round(value * 1_000_000)
    return whole if abs(whole) <= LARGEST_MICRO else None


def stock(key: Key, tenant: str, site: str, fact: InventoryCounted) -> tuple[Any, ...]:
    about = (plain(fact.material), plain(fact.location), fact.at, fact.quantity, plain(fact.unit), fact.daily_usage)
    return (*key, tenant, site, *about, micro(fact.quantity), micro(fact.daily_usage))


def quality(key: Key, place: Place, fact: QualityMeasured) -> tuple[Any, ...]:
    number = float(fact.value) if isinstance(fact.value, int | float) else None
    other = plain(fact.value) if isinstance(fact.value, str) else None
    limits = (plain(fact.unit), fact.low, fact.high, fact.passed, plain(fact.sample))
    made = (plain(fact.order), plain(fact.product), plain(fact.lot))
    return (*key, *place, fact.at, plain(fact.characteristic), number, other, *limits, *made, micro(number))


def response(key: Key, place: Place, fact: JobResponded) -> tuple[Any, ...]:
    made = (plain(fact.order), plain(fact.product), plain(fact.lot))
    pieces = (fact.produced, fact.good, fact.scrap, fact.rework)
    return (*key, *place, fact.start, fact.at, plain(fact.response), *made, *pieces, fact.complete)


def definition(key: Key, tenant: str, site: str, fact: ProductDefined, now_ms: int) -> tuple[Any, ...]:
    words = (plain(written(fact.name)), plain(written(fact.ideal_cycle_ms)))
    return (*key, tenant, site, plain(fact.product), fact.at, *words, now_ms)


def lot(tenant: str, site: str, fact: LotDefined) -> tuple[Any, ...]:
    amount = (fact.quantity, plain(fact.unit), plain(fact.state), plain(fact.order))
    return (tenant, site, plain(fact.lot), plain(fact.product), *amount, fact.at)


UPSERT_LOT: Final = (
    "insert into dim_lot(tenant, site, lot, product, quantity, unit, state, job_order, changed_at, inferred)"
    " values(?,?,?,?,?,?,?,?,?,0) on conflict(tenant, site, lot) do update set product=excluded.product,"
    " quantity=excluded.quantity, unit=excluded.unit, state=excluded.state, job_order=excluded.job_order,"
    " changed_at=excluded.changed_at, inferred=0 where dim_lot.changed_at<=excluded.changed_at"
)
COLUMNS: Final = {
    "inventory": "inc stream seq tenant site material location at quantity unit daily_usage quantity_micro usage_micro",
    "quality_measurement": "inc stream seq tenant site work_unit at characteristic value other unit low high passed"
    " sample job_order product lot value_micro",
    "job_response": "inc stream seq tenant site work_unit start at response job_order product lot produced good scrap"
    " rework complete",
    "product_definition": "inc stream seq tenant site product at name ideal_cycle_ms recorded_ms",
}
