"""From a row of a database to the agreed row: names, NULLs, numbers, times with and without a zone. Pure.

A column carries the name of the fact's field, in upper or lower case; `job_order`, `start_at` and `end_at` stand for
`order`, `start` and `end`, which SQL reserves. Columns nobody knows are left alone. What NULL means is the field's own
affair: a field that may be missing is, one that may not is a fault of the row.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from edge.drivers.mes.records import RECORDS, RowError, agreed

ALIASES: Final = {"job_order": "order", "start_at": "start", "end_at": "end"}
_PRODUCT: Final[dict[str, tuple[bool, frozenset[str]]]] = {
    "product": (True, frozenset({"text"})),
    "name": (False, frozenset({"text"})),
    "name_ko": (False, frozenset({"text"})),
    "name_en": (False, frozenset({"text"})),
    "work_unit": (False, frozenset({"text"})),
    "ideal_cycle_ms": (False, frozenset({"number"})),
}
_TIMES: Final = frozenset({"start", "end", "at"})


def agreed_columns(kind: str) -> dict[str, tuple[bool, frozenset[str]]]:
    """Give the agreed columns of a kind: name → (required, families of types that fit)."""
    return dict(_PRODUCT) if kind == "products" else agreed(kind)


def named(names: Sequence[str]) -> list[str]:
    """Give the columns of a result under the names of our fields."""
    return [ALIASES.get(name.lower(), name.lower()) for name in names]


def rows_of(
    kind: str, rows: Sequence[Mapping[str, Any]], zone: zoneinfo.ZoneInfo | None, work_unit: str | None
) -> list[object]:
    """Give rows in the agreed shape; one that cannot be is a RowError in its place.

    zone: of times without one. work_unit: what the query was asked for; it fills a column the result has not got.
    """
    found: list[object] = []
    fields = RECORDS[kind].__struct_fields__
    for row in rows:
        given = dict(row)
        if work_unit is not None and "work_unit" in fields:
            given.setdefault("work_unit", work_unit)
        try:
            found.append(_product(given) if kind == "products" else _row(kind, given, zone))
        except RowError as error:
            found.append(error)
    return _merged(found) if kind == "products" else found


def _row(kind: str, row: Mapping[str, Any], zone: zoneinfo.ZoneInfo | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, wanted in _fields(kind):
        value = row.get(name)
        if value is None:
            continue  # a field that may be missing is; one that may not is missed
        if wanted == "time":
            found[name] = _time(name, value, zone)
        elif isinstance(value, bytes | memoryview):
            raise RowError(name, "binary; cast it in the query")
        elif wanted == "bit":
            found[name] = bool(value) if isinstance(value, int | Decimal) and value in {0, 1} else value
        elif wanted == "text":
            found[name] = _text(value)
        else:
            found[name] = _number(value)
    return found


@lru_cache
def _fields(kind: str) -> list[tuple[str, str]]:
    """Give the fields of a kind with what they want: time, bit, text or number (which may be a text too)."""
    found: list[tuple[str, str]] = []
    for field in msgspec.structs.fields(RECORDS[kind]):
        text = str(field.type)
        wanted = "bit" if "bool" in text else "text" if "str" in text and "float" not in text else "number"
        found.append((field.encode_name, "time" if field.encode_name in _TIMES else wanted))
    return found


def _product(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {"ko": row.get("name_ko"), "en": row.get("name_en", row.get("name"))}
    if row.get("name") is not None and names["ko"] is None:
        names["ko"] = row["name"]
    found: dict[str, Any] = {"name": {language: name for language, name in names.items() if name is not None}}
    if row.get("product") is not None:
        found["product"] = _text(row["product"])
    if row.get("work_unit") is not None and row.get("ideal_cycle_ms") is not None:
        found["ideal_cycle_ms"] = {row["work_unit"]: _number(row["ideal_cycle_ms"])}
    return found


def _merged(rows: Sequence[object]) -> list[object]:
    """Give one row for each product: a row each for the work units that make it."""
    found: list[object] = []
    by_product: dict[str, dict[str, Any]] = {}
    for row in rows:
        if not isinstance(row, dict) or "product" not in row:
            found.append(row)
            continue
        known = by_product.get(row["product"])
        if known is None:
            by_product[row["product"]] = row
            found.append(row)
        else:
            known["ideal_cycle_ms"] = known.get("ideal_cycle_ms", {}) | row.get("ideal_cycle_ms", {})
    return found


def _text(value: Any) -> Any:
    """Give a key as text: many databases number what we name."""
    match value:
        case bool():
            return value
        case int() | UUID():
            return str(value)
        case Decimal() if value == value.to_integral_value():
            return str(int(value))
        case str():
            return value.rstrip()  # char(n) pads
        case _:
            return value


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            return str(value)  # refused by name: no number of ours
        return int(value) if value == value.to_integral_value() else float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _time(field: str, value: Any, zone: zoneinfo.ZoneInfo | None) -> datetime:
    match value:
        case datetime():
            found = value
        case date():
            found = datetime.combine(value, time.min)
        case str():
            try:
                found = datetime.fromisoformat(value.strip())
            except ValueError as error:
                raise RowError(
                    field, f"{value[:40]!r} is no time; write it as ISO 8601 (2026-01-31T06:00:00Z)"
                ) from error
        case _:
            raise RowError(field, f"a time cannot be a {type(value).__name__}; cast it in the query")
    if found.tzinfo is not None:
        return found
    if zone is None:
        raise RowError(
            field, 'a time without zone; add timezone = "Asia/Seoul" to the connection, or cast it in the query'
        )
    return found.replace(tzinfo=zone)
