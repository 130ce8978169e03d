"""The cloud's goals: facts committed per second beside a plain SQLAlchemy insert, and the first page with weeks behind it.

Both figures come from the same run on the same disk. The naive alternative is what most projects do: one row object
per reading, `insert().on_conflict_do_nothing()` through SQLAlchemy's ORM-free core, one transaction per chunk.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from bench.table import Row
from cloud import tables
from cloud.api.answers import Answers
from cloud.bus import Bus
from cloud.config import Settings, load
from cloud.database import Database, open_database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.chunk import DecodedReadings, decode, digest, encode_facts, encode_readings
from sync.frames import Batch, Incarnation, Resume
from sync.reading import Readings
from sync.topics import Address

S = 1_000_000_000
MS = 1_000_000
TAGS = 500
CHUNKS = 120
PER_CHUNK = 1_000
AT_ONCE = 8
WEEKS = 4
LINES = [f"hall/line-{i}/filler" for i in range(1, 5)]
ADDRESS = Address("bench", "plant", "gw")
EVENT, FACT = 2, 3


def _settings(folder: Path) -> Settings:
    (folder / "credentials").mkdir()
    (folder / "credentials" / "gw.key").write_text(secrets.token_hex(32))
    units = "".join(f'[[site.work_unit]]\npath = "{line}"\nname = {{ko = "{line}", en = "{line}"}}\n' for line in LINES)
    shifts = "".join(
        f'[[site.shift]]\ncode = "{code}"\nstart = {start}:00:00\nend = {end}:00:00\n'
        for code, start, end in (("A", "06", "14"), ("B", "14", "22"), ("C", "22", "06"))
    )
    (folder / "cloud.toml").write_text(
        'safe = "stored"\n[[gateway]]\ntenant = "bench"\nsite = "plant"\nid = "gw"\nkey = {credential = "gw.key"}\n'
        '[[site]]\ntenant = "bench"\nid = "plant"\nname = {ko = "공장", en = "Plant"}\ntimezone = "Asia/Seoul"\n'
        + shifts
        + units
    )
    return load(folder / "cloud.toml")


class Sender:
    """Makes items as a gateway would send them."""

    def __init__(self) -> None:
        self.inc = secrets.token_hex(16)
        self._last: dict[int, int] = {}

    def resume(self) -> Item:
        return Item(ADDRESS, Resume(nonce="n", incarnations=[Incarnation(inc=self.inc, ord=1, closed=False)]))

    def chunk(self, stream: int, body: bytes, count: int) -> Item:
        first = self._last.get(stream, 0) + 1
        last = self._last[stream] = first + count - 1
        frame = Batch(
            nonce="n", inc=self.inc, stream=stream, first=first, count=count, last=last, digest=digest(body).hex()
        )
        return Item(ADDRESS, frame, body)

    def facts(self, facts: list[f.Fact], stream: int = EVENT) -> Item:
        return self.chunk(stream, encode_facts(facts), len(facts))


def _bodies(now: int) -> list[bytes]:
    rng = np.random.default_rng(1)
    bodies: list[bytes] = []
    for i in range(CHUNKS):
        at = now - (CHUNKS - i) * 2 * S
        source = at + np.arange(PER_CHUNK, dtype=np.int64) // TAGS * S
        bodies.append(
            encode_readings(
                Readings(
                    tag=(np.arange(PER_CHUNK) % TAGS).astype(np.int32),
                    value=np.round(rng.normal(50, 7, PER_CHUNK), 3),
                    status=np.zeros(PER_CHUNK, np.uint32),
                    source_time=source,
                    server_time=source,
                    received=at,
                ),
                "bench",
            )
        )
    return bodies


async def _ours(database: Database, plants: Plants, bodies: list[bytes], now: int) -> float:
    """Commit every chunk, AT_ONCE to a transaction as the flow gathers them; gives readings per second."""
    sender, ingest = Sender(), Ingest(plants)
    entries = [f.TagEntry(id=f"{LINES[i % len(LINES)]}/tag_{i}") for i in range(TAGS)]
    first = [sender.resume(), sender.facts([f.TagDictionary(at=now, version="bench", tags=entries)], FACT)]
    await database.write(lambda c: ingest.store(c, first))
    items = [sender.chunk(FACT, body, PER_CHUNK) for body in bodies]
    began = time.perf_counter()
    for at in range(0, len(items), AT_ONCE):
        part = items[at : at + AT_ONCE]
        await database.write(lambda c, part=part: ingest.store(c, part))
    rate = CHUNKS * PER_CHUNK / (time.perf_counter() - began)
    counted = await database.read(lambda c: c.execute("select count(*) from reading"))
    assert counted == [(CHUNKS * PER_CHUNK,)], counted
    return rate


def _naive(path: Path, bodies: list[bytes]) -> float:
    """Decode the same bytes and insert row by row through SQLAlchemy; gives readings per second."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("pragma journal_mode=wal")
        tables.reading.create(connection)
    count = max(10, CHUNKS // 10)
    began = time.perf_counter()
    for number, body in enumerate(bodies[:count]):
        decoded = decode(body, PER_CHUNK)
        assert isinstance(decoded, DecodedReadings)
        with engine.begin() as connection:
            for place, (tag, value, status, at) in enumerate(decoded.readings):
                row = {
                    "inc": 1,
                    "stream": FACT,
                    "seq": number * PER_CHUNK + place + 1,
                    "tenant": "bench",
                    "tag": tag,
                    "source_time": at,
                    "value": value,
                    "status": status,
                }
                connection.execute(insert(tables.reading).values(row).on_conflict_do_nothing())
    rate = count * PER_CHUNK / (time.perf_counter() - began)
    engine.dispose()
    return rate


async def _history(database: Database, plants: Plants, now: int) -> int:
    """Store WEEKS of states, production, verdicts and orders of every line, and compute the marts; gives the facts."""
    sender, ingest = Sender(), Ingest(plants)
    await database.write(lambda c: ingest.store(c, [sender.resume()]))
    begin, total = now - WEEKS * 7 * 86_400 * S, 0
    for line in LINES:
        facts: list[f.Fact] = []
        made = f.Context(order="O", product="P1")
        for minute in range(WEEKS * 7 * 1440):
            at = begin + (minute + 1) * 60 * S
            facts.append(
                f.Produced(
                    at=at, work_unit=line, start=at - 60 * S, produced=60, good=59, ideal_cycle_ms=900.0, context=made
                )
            )
            if minute % 20 == 0:
                held = minute % 100 == 0
                name, reason = ("HELD", "jam") if held else ("EXECUTE", None)
                facts.append(f.StateChanged(at=at, work_unit=line, state=name, reason=reason, context=made))
            if minute % 5 == 0:
                facts.append(
                    f.Judged(
                        at=at,
                        work_unit=line,
                        verdict_id=f"{line}-{minute}",
                        start=at - 10 * S,
                        ruleset="r",
                        ruleset_version="1",
                        ruleset_hash="0",
                        decision="normal",
                        severity="info",
                        confidence=0.9,
                        policy="rule_only",
                        source="rule",
                        summary={"ko": "정상", "en": "normal"},
                    )
                )
        total += len(facts)
        for at in range(0, len(facts), PER_CHUNK):
            item = sender.facts(facts[at : at + PER_CHUNK])
            await database.write(lambda c, item=item: ingest.store(c, [item]))
    while await database.write(lambda c: refresh(c, plants, now // MS + 10_000)):
        pass
    return total


async def _overview(answers: Answers) -> list[float]:
    """Give the server time of the overview, built anew each time, in ms."""
    spent: list[float] = []
    for _ in range(30):
        answers._overviews.clear()  # noqa: SLF001 - measured without what an earlier reader left
        began = time.perf_counter()
        await answers.overview_bytes("bench")
        spent.append((time.perf_counter() - began) * 1000)
    lines = (await answers.overview("bench"))["lines"]
    assert len(lines) == len(LINES), lines
    assert all(line["oee"]["oee"] and line["timeline"] and line["verdict"] for line in lines), lines
    return spent


async def _measure(folder: Path) -> list[Row]:
    settings = _settings(folder)
    plants, now = Plants(settings), time.time_ns()
    bodies = _bodies(now)
    async with open_database(settings.database_url) as database:
        ours = await _ours(database, plants, bodies, now)
        naive = _naive(folder / "naive.db", bodies)
        facts = await _history(database, plants, now)
        spent = await _overview(Answers(database, plants, Bus()))
    p95 = statistics.quantiles(spent, n=20)[-1]
    return [
        Row(
            measure="cloud: readings committed per second, SQLite FULL, with cursor, minutes and buckets",
            goal="≥ 50,000/s and ≥ 6 × naive",
            figure=f"{ours:,.0f}/s",
            alternative=f"SQLAlchemy, row by row: {naive:,.0f}/s",
            ratio=f"{ours / naive:.1f} ×",
            ok=ours >= 50_000 and ours >= 6 * naive,
        ),
        Row(
            measure=f"cloud: overview, server time p95 with {WEEKS} weeks ({facts:,} facts) behind it",
            goal="< 300 ms",
            figure=f"{p95:.1f} ms (median {statistics.median(spent):.1f})",
            ok=p95 < 300,
        ),
    ]


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="triflow-bench-") as folder:
        return asyncio.run(_measure(Path(folder)))
