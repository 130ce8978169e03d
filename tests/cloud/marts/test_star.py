"""Random histories, late, twice, corrected and taken back, in any order: every mart and mv_ table equals the truth."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from cloud.config import load
from cloud.database import Connection, Postgresql, Sqlite
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts import mark, over
from cloud.marts.compute import COLUMNS, TABLES
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.corrections import Corrected
from sync.judgment import Scored
from sync.topics import Address
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import Start
from tests.cloud.marts.truth import Truth

MS = 1_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
RIGHTABLE = (f.Produced, f.StateChanged, f.QualityMeasured, f.InventoryCounted, f.Gap)
LINES = ("hall/line-1/press", "hall/line-2/press")
SWITCHES = (
    ("Europe/Berlin", (2026, 3, 27)),
    ("Europe/Berlin", (2026, 10, 23)),
    ("America/New_York", (2026, 3, 6)),
    ("America/New_York", (2026, 10, 30)),
    ("Australia/Lord_Howe", (2026, 4, 3)),
    ("Australia/Lord_Howe", (2026, 10, 2)),
    ("Asia/Seoul", (2026, 6, 1)),
)
EXAMPLES = 14
SITES = "".join(
    f"""
[[site]]
tenant = "demo"
id = "s{i}"
name = {{ko = "공장", en = "Plant"}}
timezone = "{SWITCHES[i % len(SWITCHES)][0]}"
[[site.shift]]
code = "A"
start = 06:00:00
end = 14:30:00
breaks = [[10:00:00, 10:15:00]]
[[site.shift]]
code = "C"
start = 22:00:00
end = 06:00:00
breaks = [[02:15:00, 02:45:00]]
"""
    for i in range(40)
)


class At:
    """A clock that stands."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def now(self) -> int:
        return self.now_ms * MS

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def moments(rng: random.Random, begin: int, end: int, count: int) -> list[int]:
    return sorted(rng.sample(range(begin, end, 977), count))


def history(rng: random.Random, begin: int, end: int) -> list[f.Fact]:
    facts: list[f.Fact] = []
    for line in LINES:
        for at in moments(rng, begin, end, rng.randrange(2, 14)):
            names = [("EXECUTE", None), ("HELD", "jam"), ("ABORTED", None), ("IDLE", "starved"), ("UNDEFINED", None)]
            name, reason = rng.choice([*names, ("STOPPED", "changeover"), ("STOPPED", "no_order")])
            made = f.Context(product=rng.choice(["P1", "P2", None]))
            facts.append(f.StateChanged(at=at * MS, work_unit=line, state=name, reason=reason, context=made))
        for at in moments(rng, begin, end, rng.randrange(2, 16)):
            total = rng.randrange(1, 90)
            good = rng.randrange(total + 1)
            scrap = rng.randrange(total - good + 1)
            bad = total - good
            first = rng.randrange(bad + 1)
            facts.append(
                f.Produced(
                    at=at * MS + rng.randrange(2),
                    start=(at - rng.randrange(600_000, 4_000_000)) * MS,
                    work_unit=line,
                    produced=total,
                    good=good,
                    scrap=scrap,
                    rework=bad - scrap,
                    defects={k: n for k, n in (("scratch", first), ("label", bad - first)) if n},
                    ideal_cycle_ms=rng.choice([500.0, 1200.5, 1200.5, None]),
                    energy_wh=rng.choice([None, 70]),
                    context=f.Context(
                        order=rng.choice(["O1", "O2", None]),
                        product=rng.choice(["P1", "P2", None]),
                        lot=rng.choice(["L1", None]),
                    ),
                )
            )
        for at in moments(rng, begin, end, rng.randrange(5)):
            scored = Scored(model="m", version=rng.choice("12"), sha256="0" * 64)
            facts.append(
                f.Judged(
                    at=at * MS,
                    work_unit=line,
                    verdict_id=f"{line}{at}",
                    start=at * MS - 1,
                    ruleset="r",
                    ruleset_version=rng.choice(["1", "2"]),
                    ruleset_hash="0",
                    decision=rng.choice(["normal", "warning", "critical", "unknown"]),
                    severity="info",
                    confidence=rng.random(),
                    policy="p",
                    source="rule",
                    needs_human=rng.random() < 0.4,
                    ml=rng.choice([None, scored]),
                    context=f.Context(product=rng.choice(["P1", None])),
                )
            )
        for at in moments(rng, begin, end, rng.randrange(3)):
            start = (at - rng.randrange(60_000, 5 * HOUR)) * MS
            facts.append(f.Gap(at=at * MS, start=start, work_unit=line, source="plc", tags=1, reason="timeout"))
            alarm = f"a{at}"
            facts.append(
                f.AlarmChanged(at=at * MS, work_unit=line, alarm=alarm, active=rng.random() < 0.7, severity="warning")
            )
        for at in moments(rng, begin, end, rng.randrange(4)):
            start = (begin + rng.randrange(4 * DAY)) * MS
            facts.append(
                f.JobOrderPlanned(
                    at=at * MS,
                    work_unit=line,
                    order=rng.choice(["O1", "O2"]),
                    product=rng.choice(["P1", "P3"]),
                    quantity=rng.randrange(1, 5_000),
                    start=start,
                    end=start + rng.randrange(HOUR, 30 * HOUR) * MS,
                    state=rng.choice(["planned", "running", "cancelled"]),
                )
            )
        for at in moments(rng, begin, end, rng.randrange(5)):
            facts.append(quality(rng, at, rng.choice([line, line, ""])))  # noqa: PERF401 - as the others
    for at in moments(rng, begin, end, rng.randrange(8)):
        facts.append(  # noqa: PERF401 - as the others
            f.InventoryCounted(
                at=at * MS,
                work_unit="",
                material=rng.choice(["resin", "caps"]),
                location="W1",
                quantity=round(rng.uniform(0, 900), 3),
                unit="KGM",
                daily_usage=rng.choice([None, 0.0, 31.25, 40.1]),
            )
        )
    return facts


def quality(rng: random.Random, at: int, line: str) -> f.QualityMeasured:
    return f.QualityMeasured(
        at=at * MS,
        work_unit=line,
        characteristic=rng.choice(["weight", "torque"]),
        value=rng.choice([None, "ok", 1.5, 2.25, -0.000001]),
        unit="GRM",
        passed=rng.choice([True, False, None]),
        product=rng.choice(["P1", None]),
        lot=rng.choice(["L1", None]),
    )


def put_right(rng: random.Random, fact: f.Fact, now: int) -> f.Fact | None:
    """Give what a fact should have been, perhaps of another time; None to take it back."""
    moved = rng.randrange(-10 * HOUR, 10 * HOUR) * MS
    match fact:
        case f.Produced() if rng.random() < 0.7:
            at = min(fact.at + moved, now * MS - 1)
            return f.Produced(
                at=at, start=at - 3600 * 10**9, work_unit=fact.work_unit, produced=fact.produced + 1, good=fact.good,
                scrap=1, ideal_cycle_ms=700.0, context=fact.context,
            )  # fmt: skip
        case f.StateChanged() if rng.random() < 0.7:
            at = min(fact.at + moved // 8 // MS * MS + 311 * MS, now * MS - MS)
            return f.StateChanged(at=at, work_unit=fact.work_unit, state="SUSPENDED", context=fact.context)
        case f.QualityMeasured() if rng.random() < 0.5:
            return quality(rng, min(fact.at // MS + moved // MS, now - 1), fact.work_unit)
        case _:
            return None


def corrections(rng: random.Random, facts: list[f.Fact], now: int) -> tuple[list[Any], list[f.Fact]]:
    """Give corrections of some facts as (place of the fact, revision, what it should have been); and what counts."""
    told: list[Any] = []
    counts: list[f.Fact] = []
    states = {(fact.work_unit, fact.at // MS) for fact in facts if isinstance(fact, f.StateChanged)}
    for place, fact in enumerate(facts):
        latest: f.Fact | None = fact
        if isinstance(fact, RIGHTABLE) and rng.random() < 0.25:
            for rev in range(1, rng.randrange(2, 4)):
                latest = put_right(rng, fact, now)
                if isinstance(latest, f.StateChanged):  # which of two states of one moment holds is another question
                    moment = (latest.work_unit, latest.at // MS)
                    latest = None if moment in states else latest
                    states.add(moment)
                told.append((place, rev, latest))
        if latest is not None:
            counts.append(latest)
    return told, counts


def tell(rng: random.Random, start: Start, facts: list[f.Fact], told: list[Any], now: int) -> None:
    """Put everything into chunks of a few, in any order: corrections also before what they correct."""
    everything: list[Any] = [*range(len(facts)), *told]
    rng.shuffle(everything)
    seqs = {place: seq for seq, place in enumerate(everything, 1) if isinstance(place, int)}
    stream, chunk = int(f.Stream.EVENT), []
    for one in everything:
        if isinstance(one, int):
            chunk.append(facts[one])
        else:
            place, rev, fact = one
            said = None if fact is None else msgspec.to_builtins(fact)
            about = {"inc": start.inc, "stream": stream, "seq": seqs[place], "rev": rev, "replacement": said}
            chunk.append(Corrected(at=now * MS, work_unit="", by="kim", reason="r", **about))
        if rng.random() < 0.3:
            start.facts(*chunk)
            chunk = []
    if chunk:
        start.facts(*chunk)


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)
        if isinstance(a, float) and isinstance(b, float | int)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


def by_key(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: tuple(map(str, row[:9])))


@pytest.fixture
def connection(database_url: str):
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    if url.startswith("sqlite"):
        opened: Connection = Sqlite(url.removeprefix("sqlite:///"), writer=True)
    else:
        opened = Postgresql(make_url(url), writer=True)
    yield opened
    opened.close()


def test_every_mart_equals_the_truth_whatever_came_in_whatever_order(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    read = load(write_cloud_toml(tmp_path, database_url, SITES))
    by_site = {  # each alone: the time of one is not the time of another
        site.id: Plants(replace(read, file=read.file.model_copy(update={"sites": [site]}))) for site in read.file.sites
    }
    numbers = iter(range(40))

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 10**9))
    def check(number: int) -> None:
        site = next(numbers)
        compare(connection, by_site[f"s{site}"], f"s{site}", random.Random(number), SWITCHES[site % len(SWITCHES)])

    check()


def compare(connection: Connection, plants: Plants, site: str, rng: random.Random, switch: Any) -> None:
    zone, day = switch
    begin = int(datetime(*day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    now = begin + 4 * DAY + rng.randrange(DAY)
    facts = history(rng, begin, now - 1)
    start, ingest = Start(address=Address("demo", site, "gw-1")), Ingest(plants, At(now))
    told, counts = corrections(rng, facts, now)
    tell(rng, start, facts, told, now)
    items = [Item(start.address, *chunk) for chunk in start.chunks]
    with connection.transaction():
        ingest.store(connection, [Item(start.address, start.resume())])
    at = 0
    while at < len(items):
        step = rng.randrange(1, 9)
        part = items[at : at + step] + [rng.choice(items[: at + step]) for _ in range(rng.randrange(3))]
        with connection.transaction():
            ingest.store(connection, part)
        at += step
        if rng.random() < 0.3:
            with connection.transaction():
                refresh(connection, plants, now + 4_000)
        if rng.random() < 0.1:  # a shift was over meanwhile, and some of its facts come late
            with connection.transaction():
                over.close(connection, plants, rng.randrange(begin, now))
    with connection.transaction():
        over.close(connection, plants, now + 4_000)
    settle(connection, plants, now + 4_000)
    known = {
        line: ns // MS
        for line, ns in connection.execute("select work_unit, data_at from work_unit where site=?", (site,))
        if ns is not None
    }
    truth = Truth(("demo", site), plants["demo", site].calendar, counts, known, now + 4_000)
    for table in (name for names in TABLES.values() for name in names):
        rows = connection.execute(f"select {','.join(COLUMNS[table])} from {table} where site=?", (site,))
        found, wanted = by_key(rows), by_key(truth.tables[table])
        assert [row[:9] for row in found] == [row[:9] for row in wanted], table
        for one, other in zip(found, wanted, strict=True):
            assert same(one, other), (table, dict(zip(COLUMNS[table], zip(one, other, strict=True), strict=True)))
    for table, told in connection.execute("select mart, row_count from mart_version"):
        assert connection.execute(f"select count(*) from {table}") == [(told,)], table
    versions = connection.execute("select mart, version from mart_version order by mart")
    with connection.transaction():
        marked = sum(mark.everything(connection, plants, ("demo", site, line), now + 4_000) for line in (*LINES, ""))
    assert marked > 0
    settle(connection, plants, now + 4_500)  # all is done anew, and nothing is written
    assert connection.execute("select mart, version from mart_version order by mart") == versions


def settle(connection: Connection, plants: Plants, now_ms: int) -> None:
    while True:
        with connection.transaction():
            if not refresh(connection, plants, now_ms):
                return
