"""The star: marts for orders, verdicts, quality, days and stock, the mv_ tables, dimensions, and facts by their names.

Records that were kept whole until now (quality results, lots, job responses, product definitions) get their columns.
Marts are filled by the refresher: for every line a bucket is left that stands for all of its buckets.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

COLUMNS = """
mart_shift planned_micro {big} DEFAULT 0 NOT NULL
mart_shift failures {big} DEFAULT 0 NOT NULL
mart_stop business_date TEXT DEFAULT '' NOT NULL
mart_stop shift TEXT DEFAULT '' NOT NULL
mart_defect business_date TEXT DEFAULT '' NOT NULL
mart_defect shift TEXT DEFAULT '' NOT NULL
mart_hour energy_wh {big} DEFAULT 0 NOT NULL
mart_version took_us {big} DEFAULT 0 NOT NULL
mart_version error TEXT DEFAULT '' NOT NULL
judgment ruleset_version TEXT DEFAULT '' NOT NULL
judgment model TEXT DEFAULT '' NOT NULL
judgment needs_human {big} DEFAULT 0 NOT NULL
judgment confidence_ppm {big} DEFAULT 0 NOT NULL
"""
KINDS = {
    "sqlite": {"big": "INTEGER", "double": "DOUBLE", "clustered": " WITHOUT ROWID"},
    "postgresql": {"big": "BIGINT", "double": "DOUBLE PRECISION", "clustered": ""},
}
EARLIEST_NS, LATEST_NS = 946_684_800 * 10**9, 4_102_444_800 * 10**9
LARGEST_MICRO = 10**15

# kpi, code, category, unit, target, warning, critical, higher is better, aggregation
KPIS = [
    ("oee", "oee", "efficiency", "1", 0.85, 0.70, 0.60, 1, "ratio"),
    ("defect_rate", "defect_rate", "quality", "1", 0.02, 0.05, 0.10, 0, "ratio"),
    ("first_pass_yield", "yield", "quality", "1", 0.98, 0.95, 0.90, 1, "ratio"),
    ("availability", "availability", "efficiency", "1", 0.90, 0.80, 0.70, 1, "ratio"),
    ("effectiveness", "performance", "efficiency", "1", 0.95, 0.85, 0.75, 1, "ratio"),
    ("quality_ratio", "quality", "quality", "1", 0.99, 0.97, 0.95, 1, "ratio"),
    ("throughput", "throughput", "production", "pieces/h", None, None, None, 1, "ratio"),
    ("inventory_days", "inventory_days", "inventory", "d", 30.0, 45.0, 60.0, 0, "last"),
    ("downtime", "downtime", "efficiency", "s", 1800.0, 3600.0, 7200.0, 0, "sum"),
    ("cycle_time", "cycle_time", "production", "s", 60.0, 90.0, 120.0, 0, "ratio"),
    ("inventory_coverage", "inventory_coverage", "inventory", "d", 30.0, 15.0, 7.0, 1, "last"),
]


def upgrade() -> None:
    bind = op.get_bind()
    kinds = KINDS[bind.dialect.name]
    for line in COLUMNS.format(**kinds).strip().splitlines():
        table, column = line.split(" ", 1)
        bind.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    for view in ("mv_oee_daily", "mv_line_performance", "mv_defect_trend"):
        bind.exec_driver_sql(f"DROP VIEW {view}")
    bind.exec_driver_sql("DROP TABLE inventory")  # every count is a fact still, and gets its record's key below
    for part in ("tables", "views"):
        here = Path(__file__)
        text = here.with_name(f"{here.stem}.{part}.sql").read_text(encoding="utf-8")
        text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        for statement in text.format(**kinds).split(";\n"):
            if statement.strip():
                bind.exec_driver_sql(statement.strip().rstrip(";"))
    for table in ("mart_stop", "mart_defect"):  # until their buckets are computed anew
        for column in ("business_date", "shift"):
            bind.exec_driver_sql(
                f"UPDATE {table} SET {column} = coalesce((SELECT max(s.{column}) FROM mart_shift s WHERE"  # noqa: S608 - our tables
                f" s.tenant = {table}.tenant AND s.site = {table}.site AND s.work_unit = {table}.work_unit"
                f" AND s.start_ms = {table}.start_ms), '')"
            )
    _insert(bind, "dim_kpi", [list(row) for row in KPIS])
    for kind, (table, row) in PROJECTED.items():
        _project(bind, kind, table, row)
    _complete_judgments(bind)
    for sql in (
        "INSERT INTO dirty_bucket SELECT tenant, site, work_unit, 'all', 0, 1, 0 FROM work_unit",
        "INSERT INTO dirty_bucket SELECT DISTINCT tenant, site, '', 'all', 0, 1, 0 FROM gateway",
    ):
        bind.exec_driver_sql(sql)


def _insert(bind: sa.Connection, table: str, rows: list[list[Any]]) -> None:
    if rows:
        marks = ", ".join(f":v{i}" for i in range(len(rows[0])))
        bind.execute(sa.text(f"INSERT INTO {table} VALUES ({marks})"), [_named(row) for row in rows])  # noqa: S608


def _named(row: list[Any]) -> dict[str, Any]:
    return {f"v{i}": value for i, value in enumerate(row)}


def _project(bind: sa.Connection, kind: str, table: str, row: Callable[[dict[str, Any]], list[Any]]) -> None:
    """Give the facts of a kind their columns, as they are told today when this schema was made."""
    found = bind.execute(
        sa.text(
            "SELECT f.inc, f.stream, f.seq, f.tenant, g.site, f.at, f.body FROM fact f JOIN incarnation i ON i.id = f.inc"
            " JOIN gateway g ON g.id = i.gateway WHERE f.kind = :kind AND f.at >= :first AND f.at < :last"
            " AND f.tenant IN (SELECT DISTINCT tenant FROM gateway)"
        ),
        {"kind": kind, "first": EARLIEST_NS, "last": LATEST_NS},
    ).all()
    _insert(bind, table, [[*head, *row({**json.loads(body), "at": at})] for *head, at, body in found])


def _plain(text: Any) -> Any:
    return text.replace("\0", "\ufffd") if isinstance(text, str) else text


def _micro(value: Any) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    whole = round(value * 1_000_000)
    return whole if abs(whole) <= LARGEST_MICRO else None


def _inventory(said: dict[str, Any]) -> list[Any]:
    quantity, usage = said["quantity"], said.get("daily_usage")
    about = [_plain(said["material"]), _plain(said["location"]), said["at"], quantity, _plain(said["unit"]), usage]
    return [*about, _micro(quantity), _micro(usage)]


def _quality(said: dict[str, Any]) -> list[Any]:
    value = said.get("value")
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    other = _plain(value) if isinstance(value, str) else None
    limits = [_plain(said.get("unit")), said.get("low"), said.get("high"), said.get("passed")]
    made = [_plain(said.get(name)) for name in ("order", "product", "lot")]
    about = [_plain(said.get("work_unit", "")), said["at"], _plain(said["characteristic"]), number, other]
    return [*about, *limits, _plain(said.get("sample", "")), *made, _micro(number)]


def _response(said: dict[str, Any]) -> list[Any]:
    about = [_plain(said.get("work_unit", "")), said["start"], said["at"], _plain(said["response"])]
    made = [_plain(said.get(name)) for name in ("order", "product", "lot")]
    pieces = [said["produced"], said["good"], said.get("scrap", 0), said.get("rework", 0)]
    return [*about, *made, *pieces, said.get("complete", False)]


def _product(said: dict[str, Any]) -> list[Any]:
    words = [json.dumps(said.get(name, {}), ensure_ascii=False, separators=(",", ":")) for name in ("name", "ideal_cycle_ms")]  # fmt: skip
    return [_plain(said["product"]), said["at"], *map(_plain, words), None]


PROJECTED: dict[str, tuple[str, Callable[[dict[str, Any]], list[Any]]]] = {
    "inventory": ("inventory", _inventory),
    "quality": ("quality_measurement", _quality),
    "job_response": ("job_response", _response),
    "product": ("product_definition", _product),
}


def _complete_judgments(bind: sa.Connection) -> None:
    """Verdicts tell their ruleset's version, their model and whether a person was asked."""
    rows = bind.exec_driver_sql(
        "SELECT j.inc, j.stream, j.seq, f.body FROM judgment j JOIN fact f ON f.inc = j.inc AND f.stream = j.stream"
        " AND f.seq = j.seq"
    ).all()
    update = sa.text(
        "UPDATE judgment SET ruleset_version = :version, model = :model, needs_human = :human, confidence_ppm = :ppm"
        " WHERE inc = :inc AND stream = :stream AND seq = :seq"
    )
    if rows:
        bind.execute(update, [dict(zip(("inc", "stream", "seq"), key, strict=True)) | _judged(b) for *key, b in rows])


def _judged(body: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(body)
    scored = said.get("ml") or {}
    return {
        "version": _plain(said.get("ruleset_version", "")),
        "model": _plain(f"{scored['model']} {scored['version']}") if scored else "",
        "human": int(bool(said.get("needs_human", False))),
        "ppm": _micro(said.get("confidence", 0.0)) or 0,
    }
