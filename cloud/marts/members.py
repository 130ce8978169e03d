"""Members that nobody has told of: a code in a mart that is in no dimension becomes a member, marked as inferred."""

from __future__ import annotations

from typing import Any, Final

from cloud.database import Connection
from cloud.marts import products
from cloud.marts.shifts import Rows
from cloud.plant import Place
from sync.equipment import REASON_ELEMENT

_INSERT: Final = {
    "dim_order": "insert into dim_order(tenant, site, work_unit, job_order, product, lot, inferred) values(?,?,?,?,?,?,1)",
    "dim_lot": "insert into dim_lot(tenant, site, lot, product, inferred) values(?,?,?,?,1)",
    "dim_defect_type": "insert into dim_defect_type(tenant, defect, name_ko, name_en, inferred) values(?,?,'','',1)",
    "dim_stop_reason": "insert into dim_stop_reason(tenant, reason, element, name_ko, name_en, inferred)"
    " values(?,?,?,'','',1)",
    "dim_material": "insert into dim_material(tenant, site, material, unit, inferred) values(?,?,?,?,1)",
    "dim_ruleset": "insert into dim_ruleset(tenant, ruleset, version, first_seen_ms) values(?,?,?,?)",
    "dim_model": "insert into dim_model(tenant, model, first_seen_ms) values(?,?,?)",
    "dim_line": "insert into dim_line(tenant, site, work_unit, area, work_center, name_ko, name_en, position, inferred)"
    " values(?,?,?,?,?,?,?,10000,1)",
    "dim_equipment": "insert into dim_equipment(tenant, site, work_unit, equipment, gateway, inferred)"
    " values(?,?,?,?,'',1)",
}
_SEEN: Final = {
    "dim_ruleset": " on conflict(tenant, ruleset, version) do update set"
    " first_seen_ms=least(dim_ruleset.first_seen_ms, excluded.first_seen_ms)",
    "dim_model": " on conflict(tenant, model) do update set"
    " first_seen_ms=least(dim_model.first_seen_ms, excluded.first_seen_ms)",
}


class Members:
    """Codes that came up in one transaction of the refresher."""

    def __init__(self) -> None:
        self._products: set[Place] = set()
        self._rows: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {}

    def _add(self, table: str, key: tuple[Any, ...], *more: Any) -> None:
        if key[-1] != "":
            self._rows.setdefault(table, {}).setdefault(key, (*key, *more))

    def note(self, place: Place, old: Rows, new: Rows) -> None:
        """Take in the codes of rows that were not there before."""
        unit = place[2]
        for table, rows in new.items():
            known = {row[:8] for row in old.get(table, ())}
            for row in rows:
                if row[:8] not in known:
                    self._of_row(table, row)
        if "mart_shift" in new and not old.get("mart_shift") and unit.count("/") == 2:
            area, center, last = unit.split("/")
            self._add("dim_line", place, area, center, unit, unit)
            self._add("dim_equipment", place, last)

    def _of_row(self, table: str, row: tuple[Any, ...]) -> None:
        tenant, site = row[:2]
        match table:
            case "mart_shift" if row[4]:
                self._products.add((tenant, site, row[4]))
            case "mart_stop":
                self._add("dim_stop_reason", (tenant, row[5]), REASON_ELEMENT.get(row[5], ""))
            case "mart_defect":
                self._add("dim_defect_type", (tenant, row[5]))
            case "mart_order":
                order, lot, product = row[4:7]
                self._add("dim_order", (*row[:3], order), product, lot or None)
                self._add("dim_lot", (tenant, site, lot), product)
            case "mart_judgment":
                self._rows.setdefault("dim_ruleset", {}).setdefault((tenant, *row[5:7]), (tenant, *row[5:7], row[3]))
                self._add("dim_model", (tenant, row[7]), row[3])
            case "mart_inventory":
                self._add("dim_material", (tenant, site, row[2]), row[7])
            case _:
                pass

    def write(self, connection: Connection) -> None:
        """Write what is new; sorted, so that two writers never wait for each other in a circle."""
        for table, rows in sorted(self._rows.items()):
            sql = _INSERT[table] + _SEEN.get(table, " on conflict do nothing")
            connection.many(sql, [row for _, row in sorted(rows.items())])
        for one in sorted(self._products):
            products.infer(connection, *one)
