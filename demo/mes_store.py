"""The MES's own database: SQLite, written by what happens in the plant, read by the HTTP face."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from demo.plant import Plant
from demo.plant_spec import BREAK_MINUTES, DAY, LINES, MINUTE, PRODUCTS, SHIFTS, shift_at

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
create table if not exists shift (
  code text primary key, start_minute integer not null, end_minute integer not null, night integer not null
) strict;
create table if not exists shift_break (
  shift text not null references shift (code), work_unit text not null, start_minute integer not null,
  end_minute integer not null, primary key (shift, work_unit)
) strict;
"""
STOCK_EVERY: Final = 10 * MINUTE
"""How often the store is told what production used, as an MES's backflush does."""


class MesStore:
    """The tables; one writer (the plant), one reader (the HTTP face), one event loop."""

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
            for shift in SHIFTS:
                start = shift.start_hour * 60
                end = (start + shift.hours * 60) % 1440
                db.execute(
                    "insert or replace into shift values (?, ?, ?, ?)", (shift.code, start, end, shift.code == "C")
                )
                for spec in LINES:
                    pause = (start + spec.break_minute) % 1440
                    db.execute(
                        "insert or replace into shift_break values (?, ?, ?, ?)",
                        (shift.code, spec.work_unit, pause, (pause + BREAK_MINUTES) % 1440),
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

    def shifts(self) -> list[dict[str, Any]]:
        pauses: dict[str, list[dict[str, str]]] = {}
        for row in self._db.execute("select * from shift_break order by shift, work_unit"):
            pauses.setdefault(row["shift"], []).append(
                {
                    "work_unit": row["work_unit"],
                    "start": _time_of_day(row["start_minute"]),
                    "end": _time_of_day(row["end_minute"]),
                }
            )
        return [
            {
                "code": row["code"],
                "start": _time_of_day(row["start_minute"]),
                "end": _time_of_day(row["end_minute"]),
                "timezone": "Asia/Seoul",
                "night": bool(row["night"]),
                "breaks": pauses.get(row["code"], []),
            }
            for row in self._db.execute("select * from shift order by code")
        ]

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


def iso(ns: int) -> str:
    """Give a time as ISO 8601 UTC with Z, to the second."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_of_day(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
