"""Two plants in two zones with random marts, and the same rows in plain Python."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import tables
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.snapshot import Snapshot
from cloud.config import load
from cloud.database import Database
from cloud.plant import Plants
from tests.cloud.conftest import write_cloud_toml

BERLIN = """
[[site]]
tenant = "demo"
id = "berlin"
name = {ko = "베를린", en = "Berlin"}
timezone = "Europe/Berlin"
[[site.shift]]
code = "A"
start = 06:30:00
end = 18:00:00
days = [1, 2, 3, 4, 5, 6]
[[site.shift]]
code = "N"
start = 22:00:00
end = 06:00:00
breaks = [[01:00:00, 01:30:00]]
[[site.work_unit]]
path = "bottling/line-1/filler"
name = {ko = "베를린 1호기", en = "Berlin 1"}
[[site.work_unit]]
path = "press/line-9/press"
name = {ko = "프레스", en = "Press"}
[[site]]
tenant = "rival"
id = "secret"
name = {ko = "비밀", en = "Secret"}
timezone = "UTC"
[[site.work_unit]]
path = "hidden/line-0/machine"
name = {ko = "숨김", en = "Hidden"}
"""
NOW = int(datetime(2026, 4, 1, 12, 34, 56, tzinfo=UTC).timestamp()) * 1000
FIRST, DAYS = date(2026, 3, 21), 11
"""The clocks of Berlin change on 29 March; a month ends, and two ISO weeks."""
LINES = {"seoul": ("bottling/line-1/filler", "bottling/line-2/filler"), "berlin": ("bottling/line-1/filler", "press/line-9/press")}  # fmt: skip

Record = dict[str, Any]


@pytest.fixture
def cloud_toml(tmp_path: Path, database_url: str) -> Path:
    path = write_cloud_toml(tmp_path, database_url)
    path.write_text(path.read_text(encoding="utf-8") + BERLIN, encoding="utf-8")
    return path


@pytest.fixture
def two(cloud_toml: Path) -> Plants:
    return Plants(load(cloud_toml))


@dataclass
class Truth:
    """The rows of every mart of the finest grain, as dicts."""

    marts: dict[str, list[Record]] = field(default_factory=dict)


def instances(plants: Plants, site: str) -> Iterable[Any]:
    calendar = plants["demo", site].calendar
    for back in range(DAYS):
        yield from calendar.day((FIRST + timedelta(days=back)).isoformat())


def _numbers(rng: random.Random, names: Iterable[str], most: int) -> Record:
    return {name: rng.choice((0, rng.randrange(most))) for name in names}


def make(plants: Plants, rng: random.Random) -> Truth:
    truth = Truth(
        {name: [] for name in ("shift", "stop", "defect", "order", "judgment", "quality", "hour", "inventory")}
    )
    add = {name: rows.append for name, rows in truth.marts.items()}
    for site, units in LINES.items():
        for unit in units:
            for one in instances(plants, site):
                if rng.random() < 0.15:
                    continue
                at = {"tenant": "demo", "site": site, "work_unit": unit, "start_ms": one.start_ms}
                when = {"business_date": one.business_date, "shift": one.shift}
                for product in rng.sample(("", "P1", "P2"), rng.randrange(1, 4)):
                    measures = _numbers(rng, tables.MEASURES, 40_000)
                    measures["unrated"] = rng.choice((0, 0, 0, 3))
                    add["shift"]({**at, **when, "product": product, "end_ms": one.end_ms, **measures})
                    for defect in rng.sample(("scratch", "dent", "crack"), rng.randrange(4)):
                        add["defect"](
                            {**at, **when, "product": product, "defect": defect, "quantity": rng.randrange(9)}
                        )
                    for lot in rng.sample(("L1", "L2", ""), rng.randrange(3)):
                        made = _numbers(rng, tables.marts.PIECES, 500)
                        add["order"]({**at, **when, "product": product, "job_order": f"O-{lot}", "lot": lot, **made})
                        for what, unit_of in (("weight", "g"), ("torque", rng.choice(("Nm", "lbf")))):
                            taken = _numbers(
                                rng, ("measured", "passed", "failed", "untold", "valued", "total_micro"), 90
                            )
                            keys = {"product": product, "lot": lot, "characteristic": what, "unit": unit_of}
                            add["quality"]({**at, **when, **keys, **taken, "low_micro": None, "high_micro": None})
                    for model in rng.sample(("", "wear"), rng.randrange(3)):
                        said = _numbers(rng, (*tables.marts.JUDGED, "needs_human", "confidence_ppm"), 100)
                        keys = {"product": product, "ruleset": "base", "ruleset_version": "2", "model": model}
                        add["judgment"]({**at, **when, **keys, **said})
                for element, reason in rng.sample((("down", "jam"), ("delay", "starved"), ("down", "HELD")), 2):
                    spent = {"duration_ms": rng.randrange(9_000), "stops": rng.randrange(4)}
                    add["stop"]({**at, **when, "element": element, "reason": reason, **spent})
                for hour in range(plants["demo", site].calendar.hour(one.start_ms), one.end_ms, 3_600_000):
                    if rng.random() < 0.2:
                        made = _numbers(rng, ("produced", "good", "scrap", "rework", "energy_wh"), 90)
                        row = {**at, "start_ms": hour, "product": "P1", **made}
                        if not any(old["start_ms"] == hour and old["site"] == site and old["work_unit"] == unit for old in truth.marts["hour"]):  # fmt: skip
                            add["hour"](row)
        for material in ("sugar", "caps"):
            for place in ("A1", "B2"):
                for back in range(DAYS):
                    if rng.random() < 0.4:
                        day = (FIRST + timedelta(days=back)).isoformat()
                        amount = {
                            "quantity_micro": rng.randrange(9_000_000),
                            "usage_micro": rng.choice((None, 0, 500_000)),
                        }
                        keys = {"tenant": "demo", "site": site, "material": material, "location": place}
                        add["inventory"]({**keys, "business_date": day, **amount, "unit": "EA", "at": 0})
    return truth


TABLES = {
    "shift": tables.mart_shift,
    "stop": tables.mart_stop,
    "defect": tables.mart_defect,
    "order": tables.mart_order,
    "judgment": tables.mart_judgment,
    "quality": tables.mart_quality,
    "hour": tables.mart_hour,
    "inventory": tables.mart_inventory,
}
DAY_FORMS = {
    "shift": (tables.mart_day, tables.MEASURES),
    "stop": (tables.mart_day_stop, ("duration_ms", "stops")),
    "defect": (tables.mart_day_defect, ("quantity",)),
}


def _days(table: Any, measures: tuple[str, ...], rows: list[Record]) -> list[Record]:
    keys = list(table.primary_key.columns.keys())
    found: dict[tuple[Any, ...], Record] = {}
    for row in rows:
        one = found.setdefault(
            tuple(row[key] for key in keys),
            {key: row[key] for key in keys} | {"start_ms": row["start_ms"]} | dict.fromkeys(measures, 0),
        )
        for name in measures:
            one[name] += row[name]
    return list(found.values())


async def store(database: Database, truth: Truth) -> None:
    def write(connection: Any) -> None:
        for name, rows in truth.marts.items():
            _insert(connection, TABLES[name], rows)
            if name in DAY_FORMS:
                table, measures = DAY_FORMS[name]
                _insert(connection, table, _days(table, measures, rows))

    await database.write(write)


def _insert(connection: Any, table: Any, rows: list[Record]) -> None:
    names = table.columns.keys()
    marks = ",".join("?" * len(names))
    connection.many(
        f"insert into {table.name}({','.join(names)}) values({marks})", [[row[name] for name in names] for row in rows]
    )


@pytest.fixture
async def truth(database: Database, two: Plants) -> Truth:
    made = make(two, random.Random(7))
    await store(database, made)
    return made


async def looked(database: Database, plants: Plants, ask: Any, *, scope: Scope | None = None, now: int = NOW) -> Any:
    """Run `ask(snapshot)` over one snapshot of an ordinary reader."""
    return await database.read(lambda one: ask(Snapshot(one, plants, scope or Scope("demo"), now)))
