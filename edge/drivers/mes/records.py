"""What a row of each resource is, in ISA-95 words: the agreed fields, and the fact a row becomes.

The same for REST and SQL. A field without a default is required; a row that lacks it, or gives it another type, is
never a fact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from sync.facts import (
    Context,
    Fact,
    InventoryCounted,
    JobOrderPlanned,
    LotDefined,
    ProductDefined,
    QualityMeasured,
    ShiftPlanned,
)


class RowError(Exception):
    """A row is not what was agreed on: `field` says where, the message why. It is left out, and said."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class Record(msgspec.Struct, frozen=True):
    """One row of a resource, as agreed."""


class JobOrder(Record, frozen=True):
    """What a work unit is to make: `JobOrderPlanned`."""

    order: str
    product: str
    work_unit: str
    quantity: int
    start: datetime
    end: datetime
    state: str
    lot: str | None = None
    ideal_cycle_ms: float | None = None


class Lot(Record, frozen=True):
    """A material lot: `LotDefined`."""

    lot: str
    product: str
    quantity: float | None = None
    unit: str | None = None
    state: str = ""
    order: str | None = None
    work_unit: str = ""


class Product(Record, frozen=True):
    """Master data of a product: `ProductDefined`."""

    product: str
    name: dict[str, str] = {}
    ideal_cycle_ms: dict[str, float] = {}


class Shift(Record, frozen=True):
    """A shift of a work unit: `ShiftPlanned`."""

    shift: str
    work_unit: str
    start: datetime
    end: datetime
    team: str | None = None


class Stock(Record, frozen=True):
    """What there is of a material at a location: `InventoryCounted`."""

    material: str
    location: str
    quantity: float
    unit: str
    daily_usage: float | None = None


class QualityResult(Record, frozen=True):
    """A measured characteristic: `QualityMeasured`."""

    characteristic: str
    at: datetime
    work_unit: str = ""
    value: float | str | None = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    passed: bool | None = None
    sample: str = ""
    order: str | None = None
    product: str | None = None
    lot: str | None = None


class Making(Record, frozen=True):
    """What a work unit makes now: its `Context`."""

    work_unit: str = ""
    order: str | None = None
    product: str | None = None
    lot: str | None = None
    shift: str | None = None

    @property
    def context(self) -> Context:
        return Context(order=self.order, product=self.product, lot=self.lot, shift=self.shift)


RECORDS: Final[Mapping[str, type[Record]]] = {
    "job_orders": JobOrder,
    "lots": Lot,
    "products": Product,
    "shifts": Shift,
    "inventory": Stock,
    "quality_results": QualityResult,
    "context": Making,
}
"""What a resource or query gives → what its rows are."""
LINES_OWN: Final = frozenset({"job_orders", "context"})
"""What a line cannot do without: never suspended for a field it can do without."""


def record(kind: str, row: object) -> Record:
    """Give a row in its agreed shape. Raises RowError, which names the field."""
    try:
        found = msgspec.convert(row, RECORDS[kind])
    except msgspec.ValidationError as error:
        text = str(error)
        why, _, path = text.partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        if not field and "`" in why:  # "Object missing required field `product`"
            field = why.split("`")[1] if "required field" in why else ""
        raise RowError(field, why[:1].lower() + why[1:]) from error
    for name in ("start", "end", "at"):
        when = getattr(found, name, None)
        if isinstance(when, datetime) and when.tzinfo is None:
            raise RowError(name, "a time without zone; the source must send Z or an offset")
    return found


def fact_of(row: Record, now: int) -> Fact | None:
    """Give the fact a row is, learned at `now` (ns); None for what is no fact (a context)."""
    said: dict[str, Any] = msgspec.structs.asdict(row)
    said |= {name: _ns(value) for name, value in said.items() if isinstance(value, datetime)}
    match row:
        case JobOrder():
            return JobOrderPlanned(at=now, **said)
        case Shift():
            return ShiftPlanned(at=now, **said)
        case QualityResult():
            return QualityMeasured(**said)
        case Lot():
            return LotDefined(at=now, **said)
        case Product():
            return ProductDefined(at=now, **said)
        case Stock():
            return InventoryCounted(at=now, **said)
        case _:
            return None


MARK_BYTES: Final = 8


def mark(fact: Fact) -> bytes:
    """Give 8 bytes that stand for what a fact says; the time of asking is no part of it, a measurement's time is."""
    said = fact if isinstance(fact, QualityMeasured) else msgspec.structs.replace(fact, at=0)
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=MARK_BYTES).digest()


def is_ours(row: Record, work_units: Sequence[str]) -> bool:
    """Tell whether a row concerns one of our work units, or the plant as a whole."""
    work_unit: str = getattr(row, "work_unit", "")
    return not work_unit or work_unit in work_units


@lru_cache
def agreed(kind: str) -> dict[str, tuple[bool, frozenset[str]]]:
    """Give the agreed fields of a kind: name → (required, families of types that fit)."""
    return {
        field.encode_name: (field.required, _families(field.type)) for field in msgspec.structs.fields(RECORDS[kind])
    }


def _families(kind: Any) -> frozenset[str]:
    text = str(kind)
    pairs = {"str": "text", "int": "number", "float": "number", "bool": "boolean", "dict": "object"}
    if "datetime" in text:
        return frozenset({"text", "time with zone", "time without zone", "date"})
    if "dict" in text:
        return frozenset({"object"})
    return frozenset(family for word, family in pairs.items() if word in text)


def _ns(when: datetime) -> int:
    return round(when.timestamp() * 1_000_000) * 1000
