"""The MES's own database: SQLite, written by what happens in the plant, read by the HTTP face."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from demo import laboratory
from demo.plant import Plant
from demo.plant_orders import Order
from demo.plant_spec import DAY, HOUR, KST_OFFSET, LINES, MINUTE, PRODUCTS, shift_at

SCHEMA: Final = """
create table if not exists product (code text primary key, ko text not null, en text not null) strict;
create table if not exists ideal_cycle (
  product text not null references product (code), work_unit text not null, ms integer not null,
  primary key (product, work_unit)
) strict;
create table if not exists job_order (
  name text primary key, work_unit text not null, product text not null, lot text not null, quantity integer not null,
  start_ns integer not null, end_ns integer not null, state text not null, ideal_ms integer not null
) strict;
create index if not exists job_order_by_time on job_order (work_unit, start_ns);
create table if not exists stock (
  material text not null, location text not null, quantity real not null, unit text not null, daily_usage real,
  primary key (material, location)
) strict;
create table if not exists job_response (
  response text primary key, job_order text not null, work_unit text not null, complete integer not null,
  body text not null
) strict;
"""
STOCK_EVERY: Final = 10 * MINUTE
"""How often the store is told what production used, as an MES's backflush does."""


class MesStore:
    """The tables; the plant writes them, the HTTP face reads them and takes job responses; one event loop."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = off;" + SCHEMA)
        self._stock_at = 0
        self.now = 0
        """Plant time of the last update, ns."""
        self._fill_master_data()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def _fill_master_data(self) -> None:
        units = {spec.line: spec.work_unit for spec in LINES}
        with self._db as db:
            db.execute("begin")
            db.executemany("insert or replace into product values (?, ?, ?)", [(p.code, p.ko, p.en) for p in PRODUCTS])
            db.executemany(
                "insert or replace into ideal_cycle values (?, ?, ?)",
                [(p.code, units[line], ms) for p in PRODUCTS for line, ms in p.ideal_ms.items()],
            )

    def update(self, plant: Plant, *, orders: bool) -> None:
        """Take over what the plant did: all orders when one of them changed, stocks every few minutes."""
        self.now = plant.now
        if orders:
            rows = [
                (o.order, o.work_unit, o.product, o.lot, o.quantity, o.start, o.end, o.state, o.ideal_ms)
                for line in plant.lines
                for o in line.orders.recent(plant.now - 2 * DAY)
            ]
            with self._db as db:
                db.execute("begin")
                db.executemany("insert or replace into job_order values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if plant.now >= self._stock_at:
            self._stock_at = plant.now - plant.now % STOCK_EVERY + STOCK_EVERY
            rows = [
                (s.material.code, s.material.location, s.quantity, s.material.unit, s.daily_usage)
                for s in plant.stocks()
            ]
            with self._db as db:
                db.execute("begin")
                db.executemany("insert or replace into stock values (?, ?, ?, ?, ?)", rows)

    def job_orders(self, work_unit: str | None) -> list[dict[str, Any]]:
        """Give running, planned and the last day's completed orders, by begin."""
        rows = self._db.execute(
            "select * from job_order where (? is null or work_unit = ?) and (state <> 'completed' or end_ns > ?)"
            " order by work_unit, start_ns",
            (work_unit, work_unit, self.now - DAY),
        )
        return [
            {
                "order": row["name"],
                "product": row["product"],
                "lot": row["lot"],
                "work_unit": row["work_unit"],
                "quantity": row["quantity"],
                "start": iso(row["start_ns"]),
                "end": iso(row["end_ns"]),
                "state": row["state"],
                "ideal_cycle_ms": row["ideal_ms"],
            }
            for row in rows
        ]

    def products(self) -> list[dict[str, Any]]:
        cycles: dict[str, dict[str, int]] = {}
        for row in self._db.execute("select * from ideal_cycle order by product, work_unit"):
            cycles.setdefault(row["product"], {})[row["work_unit"]] = row["ms"]
        return [
            {
                "product": row["code"],
                "name": {"ko": row["ko"], "en": row["en"]},
                "ideal_cycle_ms": cycles.get(row["code"], {}),
            }
            for row in self._db.execute("select * from product order by code")
        ]

    def inventory(self) -> list[dict[str, Any]]:
        names = ("material", "location", "quantity", "unit", "daily_usage")
        rows = self._db.execute(f"select {', '.join(names)} from stock order by material")  # noqa: S608 - constants
        return [dict(zip(names, row, strict=True)) for row in rows]

    def lots(self) -> list[dict[str, Any]]:
        """Give the lots of the orders the MES tells of, by name."""
        words = {"planned": "planned", "running": "in production", "completed": "released"}
        return [
            {
                "lot": order["lot"],
                "product": order["product"],
                "quantity": order["quantity"],
                "unit": "C62",
                "state": words.get(order["state"], order["state"]),
                "order": order["order"],
                "work_unit": order["work_unit"],
            }
            for order in sorted(self.job_orders(None), key=lambda order: order["lot"])
        ]

    def shifts(self, work_unit: str) -> list[dict[str, Any]]:
        """Give the shifts of a work unit, from the one that runs to a day ahead."""
        hour = (self.now + KST_OFFSET) // HOUR - 6
        first = (hour - hour % 8 + 6) * HOUR - KST_OFFSET
        return [
            {
                "shift": shift_at(start).code,
                "work_unit": work_unit,
                "start": iso(start),
                "end": iso(start + 8 * HOUR),
                "team": ("blue", "green", "red", "yellow")[start // (8 * HOUR) % 4],
            }
            for start in range(first, first + DAY, 8 * HOUR)
        ]

    def quality_results(self) -> list[dict[str, Any]]:
        """Give the laboratory's results of the last day, by line and time."""
        rows = self._db.execute(
            "select * from job_order where state <> 'planned' and end_ns > ? order by work_unit, start_ns",
            (self.now - laboratory.TOLD_BY_MES,),
        )
        return [
            {
                "characteristic": one.characteristic,
                "at": iso(one.at),
                "work_unit": row["work_unit"],
                "value": one.value,
                "unit": one.unit,
                "low": one.low,
                "high": one.high,
                "passed": one.passed,
                "sample": one.sample,
                "order": row["name"],
                "product": row["product"],
                "lot": row["lot"],
            }
            for row in rows
            for one in laboratory.results(_order(row), self.now - laboratory.TOLD_BY_MES, self.now)
        ]

    def respond(self, response: str, body: dict[str, Any]) -> None:
        """Take what was made of an order; a later response with the same id replaces it. Raises KeyError."""
        row = (response, body["order"], body["work_unit"], int(body["complete"]), json.dumps(body))
        self._db.execute("insert or replace into job_response values (?, ?, ?, ?, ?)", row)

    def responses(self) -> list[dict[str, Any]]:
        """Give what was told of the orders, the newest last."""
        return [json.loads(row["body"]) for row in self._db.execute("select body from job_response order by rowid")]

    def context(self, work_unit: str) -> dict[str, Any] | None:
        """Give what a work unit makes now; None for a work unit the MES does not know."""
        row = self._db.execute(
            "select name, product, lot from job_order where work_unit = ? and state = 'running'"
            " order by start_ns desc limit 1",
            (work_unit,),
        ).fetchone()
        if row is None:
            return None
        return {"order": row["name"], "product": row["product"], "lot": row["lot"], "shift": shift_at(self.now).code}


def _order(row: sqlite3.Row) -> Order:
    return Order(
        order=row["name"],
        product=row["product"],
        lot=row["lot"],
        work_unit=row["work_unit"],
        quantity=row["quantity"],
        start=row["start_ns"],
        end=row["end_ns"],
        state=row["state"],
        ideal_ms=row["ideal_ms"],
    )


def iso(ns: int) -> str:
    """Give a time as ISO 8601 UTC with Z, to the second."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
