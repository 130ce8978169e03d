"""A plant's worth of figures for the bench: facts straight into the base tables, marts by the real refresher."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud.config import Settings, load
from cloud.database import Connection, Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts import dimensions, mark
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.chunk import digest, encode_facts
from sync.frames import Batch, Incarnation, Resume
from sync.topics import Address

LINES = [f"hall-{number // 5}/line-{number}/machine" for number in range(10)]
PRODUCTS = 24
TENANT, SITE = "bench", "plant"
PIECES = 60_000
"""Of a line's day, whatever the number of facts."""
DAY_MS = 86_400_000
NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling cost."""

    facts: int
    fill_s: float
    buckets: int
    marts_s: float


def settings_of(folder: Path, url: str, port: int) -> Settings:
    """Write a configuration over a database; gives it."""
    (folder / "credentials").mkdir(parents=True, exist_ok=True)
    (folder / "credentials" / "gw.key").write_text(secrets.token_hex(32))
    units = "".join(f'[[site.work_unit]]\npath = "{line}"\nname = {{ko = "{line}", en = "{line}"}}\n' for line in LINES)
    shifts = "".join(
        f'[[site.shift]]\ncode = "{code}"\nstart = {start}:00:00\nend = {end}:00:00\n'
        for code, start, end in (("A", "06", "14"), ("B", "14", "22"), ("C", "22", "06"))
    )
    (folder / "cloud.toml").write_text(
        f'safe = "stored"\n[database]\nurl = "{url}"\n[http]\nport = {port}\n'
        f'[[gateway]]\ntenant = "{TENANT}"\nsite = "{SITE}"\nid = "gw"\nkey = {{credential = "gw.key"}}\n'
        f'[[site]]\ntenant = "{TENANT}"\nid = "{SITE}"\nname = {{ko = "공장", en = "Plant"}}\ntimezone = "Asia/Seoul"\n'
        + shifts
        + units
    )
    return load(folder / "cloud.toml")


class Gateway:
    """A gateway that tells a fact now and then, to a database or beside a running cloud."""

    def __init__(self, plants: Plants) -> None:
        self._ingest = Ingest(plants)
        self._inc = secrets.token_hex(16)
        self._last = 0
        self._address = Address(TENANT, SITE, "gw")

    def resume(self, connection: Connection) -> int:
        """Come in; gives the number of the incarnation."""
        frame = Resume(nonce="n", incarnations=[Incarnation(inc=self._inc, ord=1, closed=False)])
        self._ingest.store(connection, [Item(self._address, frame)])
        return int(connection.execute("select max(id) from incarnation")[0][0])

    def tell(self, connection: Connection, *facts: f.Fact) -> None:
        body, first = encode_facts(facts), self._last + 1
        self._last += len(facts)
        frame = Batch(
            nonce="n",
            inc=self._inc,
            stream=2,
            first=first,
            count=len(facts),
            last=self._last,
            digest=digest(body).hex(),
        )
        self._ingest.store(connection, [Item(self._address, frame, body)])


async def fill(database: Database, plants: Plants, facts: int, days: int) -> Filled:
    """Fill the base tables with so many production facts over so many days up to now, and have all marts computed."""
    now_ms = time.time_ns() // NS
    inc = await database.write(Gateway(plants).resume)
    each = max(24, facts // (len(LINES) * days))
    began, seq = time.perf_counter(), 0
    first = now_ms // DAY_MS * DAY_MS - days * DAY_MS
    for day in range(days):
        for number, line in enumerate(LINES):
            begin = first + day * DAY_MS
            rows = list(_production((inc, seq), line, number, begin, each))
            seq += each
            await database.write(lambda c, rows=rows: _bulk(c, "production", rows))
            defects = [row for row in rows if row[11] > 0]
            await database.write(lambda c, rows=defects: _bulk(c, "production_defect", [_defect(row) for row in rows]))
            states = list(_states(inc, 10**9 + (day * len(LINES) + number) * 10, line, number, begin))
            await database.write(lambda c, rows=states: _bulk(c, "equipment_state", rows))
            measured = list(_measured(inc, 2 * 10**9 + (day * len(LINES) + number) * 100, line, begin))
            await database.write(lambda c, rows=measured: _bulk(c, "quality_measurement", rows))
        stock = list(_stock(inc, 3 * 10**9 + day * 100, first + day * DAY_MS))
        await database.write(lambda c, rows=stock: _bulk(c, "inventory", rows))
    at = (first + days * DAY_MS) * NS
    units = [(TENANT, SITE, line, 1, at, at, "EXECUTE") for line in LINES]
    await database.write(
        lambda c: c.many(
            "insert into work_unit(tenant, site, work_unit, gateway, data_at, state_at, state) values(?,?,?,?,?,?,?)",
            units,
        )
    )
    filled, began = time.perf_counter() - began, time.perf_counter()
    await database.write(lambda c: dimensions.fill(c, plants, now_ms))
    for unit in (*LINES, ""):
        await database.write(lambda c, unit=unit: mark.everything(c, plants, (TENANT, SITE, unit), now_ms))
    buckets = 0
    while done := await database.write(lambda c: refresh(c, plants, now_ms + 10_000)):
        buckets += done
    return Filled(each * len(LINES) * days, filled, buckets, time.perf_counter() - began)


def _production(key: tuple[int, int], line: str, number: int, begin: int, each: int) -> Iterator[tuple[Any, ...]]:
    inc, seq = key
    step, pieces = DAY_MS / each, max(1, PIECES // each)
    cycle_us = int(DAY_MS * 1000 / PIECES * 0.85)
    for i in range(each):
        start, end = int(begin + i * step), int(begin + (i + 1) * step)
        scrap = 1 if (i + number) % 37 == 0 else 0
        product = f"P{(i * 8 // each + number + begin // DAY_MS) % PRODUCTS:02}"
        made = (pieces, pieces - scrap, scrap, 0, pieces * cycle_us, (pieces - scrap) * cycle_us, 3)
        yield (
            inc,
            2,
            seq + i + 10**10,
            TENANT,
            SITE,
            line,
            start * NS,
            end * NS,
            end - 1,
            *made,
            f"O-{product}",
            product,
            None,
        )


def _defect(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:3], f"d{row[2] % 6}", *row[3:6], row[8], row[17], row[11])


def _states(inc: int, seq: int, line: str, number: int, begin: int) -> Iterator[tuple[Any, ...]]:
    moments = ((0, "EXECUTE", None), (3, "HELD", "jam"), (3.2, "EXECUTE", None), (11, "STARTING", "changeover"))
    moments += ((11.3, "EXECUTE", None), (19, "ABORTED", "breakdown"), (19.5 + number / 20, "EXECUTE", None))
    for place, (hour, state, reason) in enumerate(moments):
        at = int(begin + hour * 3_600_000) * NS
        yield (inc, 2, seq + place, TENANT, SITE, line, at, state, reason, 0, None, f"P{number:02}", None)


def _measured(inc: int, seq: int, line: str, begin: int) -> Iterator[tuple[Any, ...]]:
    """Two characteristics of a sample every hour; one in fifty fails."""
    for hour in range(24):
        for place, (name, middle, unit) in enumerate((("brix", 10.0, "Bx"), ("torque", 1.5, "Nm"))):
            number = seq + 2 * hour + place
            value = round(middle * (1 + (number * 37 % 21 - 10) / 500), 6)
            at, passed = (begin + hour * 3_600_000 + 60_000) * NS, number % 50 != 0
            told = (name, value, unit, middle * 0.97, middle * 1.03, passed, f"S-{number}", round(value * 1_000_000))
            yield (inc, 2, number, TENANT, SITE, line, at, *told)


def _stock(inc: int, seq: int, begin: int) -> Iterator[tuple[Any, ...]]:
    """Eight materials, counted every morning."""
    for number in range(8):
        usage = 1_000.0 + 100 * number
        count = usage * (2 + (begin // DAY_MS + number) % 5)
        micro = (round(count * 1_000_000), round(usage * 1_000_000))
        at = (begin + 3_600_000) * NS
        yield (inc, 2, seq + number, TENANT, SITE, f"M-{number}", "store", at, count, "kg", usage, *micro)


_KEY = ("inc", "stream", "seq")
_COLUMNS = {
    "production": (
        *_KEY,
        *("tenant", "site", "work_unit", "start", "at", "counted_ms", "produced", "good", "scrap", "rework"),
        *("ideal_us", "ideal_good_us", "energy_wh", "job_order", "product", "lot"),
    ),
    "production_defect": (*_KEY, "defect", "tenant", "site", "work_unit", "counted_ms", "product", "quantity"),
    "equipment_state": (
        *_KEY,
        *("tenant", "site", "work_unit", "at", "state", "reason", "status", "job_order", "product", "lot"),
    ),
    "quality_measurement": (
        *_KEY,
        *("tenant", "site", "work_unit", "at", "characteristic", "value", "unit", "low", "high", "passed", "sample"),
        "value_micro",
    ),
    "inventory": (
        *_KEY,
        *("tenant", "site", "material", "location", "at", "quantity", "unit", "daily_usage"),
        *("quantity_micro", "usage_micro"),
    ),
}
_TEXT = (
    *("tenant", "site", "work_unit", "defect", "product", "state", "reason", "job_order", "lot"),
    *("characteristic", "unit", "sample", "material", "location"),
)
_TYPE = {
    **dict.fromkeys(_TEXT, "text"),
    **dict.fromkeys(("value", "low", "high", "quantity", "daily_usage"), "float8"),
    "stream": "int2",
    "passed": "bool",
}


def _bulk(connection: Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    columns = _COLUMNS[table]
    types = [_TYPE.get(name, "int8") for name in columns]
    if table == "production_defect":
        types[columns.index("quantity")] = "int8"
    connection.bulk(table, columns, types, rows)


def today(plants: Plants) -> datetime:
    return plants[TENANT, SITE].calendar.local(time.time_ns() // NS)
