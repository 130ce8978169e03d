from __future__ import annotations

import random
import time
from collections import Counter
from itertools import pairwise

import pytest

from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.equipment import time_element
from tests.cloud.gateway import LINE, LINE_2, Start, produced, state, verdict

MS = 1_000_000
HOUR = 3_600_000
ELEMENT = {
    "production": "apt_ms",
    "setup": "setup_ms",
    "delay": "delay_ms",
    "down": "down_ms",
    "planned_down": "planned_down_ms",
    "unknown": "unknown_ms",
}


async def refresh_all(database: Database, plants: Plants, now_ms: int) -> None:
    while await database.write(lambda c: refresh(c, plants, now_ms)):
        pass


def history(rng: random.Random, begin_ms: int, hours: int) -> list[f.Fact]:
    """A few days of two lines, in whole ms, none of them before `begin_ms`."""
    facts: list[f.Fact] = []
    for line in (LINE, LINE_2):
        at = begin_ms + rng.randrange(HOUR)
        end = begin_ms + hours * HOUR
        while at < end:
            name, reason = rng.choice(
                [
                    ("EXECUTE", None),
                    ("HELD", "jam"),
                    ("IDLE", "starved"),
                    ("STOPPED", "changeover"),
                    ("UNDEFINED", None),
                ]
            )
            product = rng.choice(["P1", "P2", None])
            facts.append(state(at * MS, name, reason, line=line, product=product))
            step = rng.randrange(60_000, 5 * HOUR)
            if rng.random() < 0.8:
                total = rng.randrange(50)
                good = rng.randrange(total + 1)
                defects = {"scratch": total - good} if total > good and rng.random() < 0.7 else {}
                until = (at + step) * MS
                cycle = rng.choice([500.0, 1200.5, None])
                facts.append(
                    produced(at * MS, until, total, good, product=product, cycle_ms=cycle, line=line, defects=defects)
                )
            if rng.random() < 0.3:
                facts.append(verdict((at + step) * MS, rng.choice(["normal", "warning", "critical"]), line=line))
            if rng.random() < 0.2:
                facts.append(
                    f.Gap(at=(at + step) * MS, start=at * MS, work_unit=line, source="plc", tags=3, reason="timeout")
                )
            at += step
    return facts


def brute_force(plants: Plants, facts: list[f.Fact], line: str, begin_ms: int, end_ms: int):
    """Every measure of every shift of a line, computed from all facts at once, one stretch after the other."""
    mine = [fact for fact in facts if fact.work_unit == line]
    states = sorted((x for x in mine if isinstance(x, f.StateChanged)), key=lambda x: x.at)
    gaps = [(x.start // MS, x.at // MS) for x in mine if isinstance(x, f.Gap)]
    data = [x.at for x in mine if isinstance(x, f.StateChanged) or (isinstance(x, f.Produced) and x.produced)]
    known_ms = max(data, default=0) // MS
    found: dict[tuple[int, str], Counter[str]] = {}
    defects: Counter[tuple[int, str, str]] = Counter()
    for shift in plants["demo", "seoul"].calendar.between(begin_ms, end_ms):
        cuts = sorted(
            {shift.start_ms, shift.end_ms, known_ms}
            | {x.at // MS for x in states}
            | {t for pair in (*gaps, *shift.breaks) for t in pair}
        )
        cuts = [cut for cut in cuts if shift.start_ms <= cut <= shift.end_ms]
        for a, b in pairwise(cuts):
            before = [x for x in states if x.at // MS <= a]
            product = (before[-1].context.product or "") if before else ""
            element = time_element(before[-1].state, before[-1].reason) if before else "unknown"
            if a >= known_ms or any(x <= a < y for x, y in gaps):
                element, product = "unknown", ""
            if element != "production" and any(x <= a < y for x, y in shift.breaks):
                element = "planned_down"
            found.setdefault((shift.start_ms, product), Counter())[ELEMENT[element]] += b - a
    for fact in mine:
        at = (fact.at - 1) // MS
        shift = plants["demo", "seoul"].calendar.at(at)
        if isinstance(fact, f.Produced):
            key = (shift.start_ms, fact.context.product or "")
            sums = found.setdefault(key, Counter())
            sums.update(produced=fact.produced, good=fact.good)
            if fact.ideal_cycle_ms is None:
                sums.update(unrated=fact.produced)
            else:
                sums.update(
                    ideal_us=round(fact.produced * fact.ideal_cycle_ms * 1000),
                    ideal_good_us=round(fact.good * fact.ideal_cycle_ms * 1000),
                )
            for defect, quantity in fact.defects.items():
                defects[(*key, defect)] += quantity
        elif isinstance(fact, f.Judged):
            key = (shift.start_ms, fact.context.product or "")
            one = {"normal": {}, "warning": {"warnings": 1}, "critical": {"criticals": 1}}[fact.decision]
            found.setdefault(key, Counter()).update({"judgments": 1, **one})
    return {key: +sums for key, sums in found.items() if +sums}, +defects


NAMES = [
    *ELEMENT.values(),
    *("produced", "good", "unrated", "ideal_us", "ideal_good_us", "judgments", "warnings", "criticals"),
]


async def stored(database: Database, line: str):
    rows = await database.read(
        lambda c: c.execute(f"select start_ms, product, {','.join(NAMES)} from mart_shift where work_unit=?", (line,))
    )
    marts = {(row[0], row[1]): +Counter(dict(zip(NAMES, row[2:], strict=True))) for row in rows}
    rows = await database.read(
        lambda c: c.execute("select start_ms, product, defect, quantity from mart_defect where work_unit=?", (line,))
    )
    return {key: sums for key, sums in marts.items() if sums}, Counter({row[:3]: row[3] for row in rows})


@pytest.mark.parametrize("turn", range(4))
async def test_marts_equal_brute_force_whatever_the_order_facts_come_in(
    turn: int, seed: int, database: Database, plants: Plants
) -> None:
    rng = random.Random(seed + turn)
    now_ms = time.time_ns() // MS
    begin_ms = now_ms - 5 * 24 * HOUR
    facts = history(rng, begin_ms, 80)
    shuffled = facts[:]
    rng.shuffle(shuffled)  # as late as can be
    start, ingest = Start(), Ingest(plants)
    await database.write(lambda c: ingest.store(c, [Item(start.address, start.resume())]))
    while shuffled:
        part = [shuffled.pop() for _ in range(min(len(shuffled), rng.randrange(1, 30)))]
        items = [Item(start.address, *start.facts(*part))]
        items += [Item(start.address, *rng.choice(start.chunks)) for _ in range(rng.randrange(3))]  # again
        await database.write(lambda c, items=items: ingest.store(c, items))
        if rng.random() < 0.5:
            await refresh_all(database, plants, time.time_ns() // MS)
    await refresh_all(database, plants, now_ms + 60_000)
    for line in (LINE, LINE_2):
        truth, defects = brute_force(plants, facts, line, begin_ms - 24 * HOUR, now_ms)
        marts, mart_defects = await stored(database, line)
        # Shifts that no fact touches have no row: nobody saw anything, nothing was made.
        extra = {key: sums for key, sums in truth.items() if key not in marts}
        assert all(set(sums) <= {"unknown_ms", "planned_down_ms"} for sums in extra.values())
        assert {key: sums for key, sums in truth.items() if key in marts} == marts
        assert mart_defects == defects
    assert await database.read(lambda c: c.execute("select count(*) from dirty_bucket")) == [(0,)]
    hours = await database.read(lambda c: c.execute("select sum(produced), sum(good) from mart_hour"))
    shifts = await database.read(lambda c: c.execute("select sum(produced), sum(good) from mart_shift"))
    assert [tuple(map(int, row)) for row in hours] == [tuple(map(int, row)) for row in shifts]
    closure = await database.read(
        lambda c: c.execute(
            "select count(*) from mart_shift where scheduled_ms<>apt_ms+setup_ms+delay_ms+down_ms+planned_down_ms+unknown_ms"
        )
    )
    assert closure == [(0,)]


async def test_a_late_fact_costs_one_bucket(database: Database, plants: Plants) -> None:
    now_ms = time.time_ns() // MS
    start, ingest = Start(), Ingest(plants)
    old = now_ms - 10 * 24 * HOUR
    week = [produced((old + i * HOUR) * MS, (old + i * HOUR + 60_000) * MS, 5, 5) for i in range(200)]
    await database.write(
        lambda c: ingest.store(c, [Item(start.address, start.resume()), Item(start.address, *start.facts(*week))])
    )
    await refresh_all(database, plants, now_ms + 60_000)
    late = start.facts(produced((old + 7) * MS, (old + 60_007) * MS, 1, 1))
    await database.write(lambda c: ingest.store(c, [Item(start.address, *late)]))
    touched = await database.read(
        lambda c: c.execute("select mart, count(*) from dirty_bucket group by mart order by mart")
    )
    assert touched == [("hour", 1), ("shift", 1)]


async def test_a_shift_that_lasts_is_computed_once_more_when_it_is_over(database: Database, plants: Plants) -> None:
    now_ms = time.time_ns() // MS
    start, ingest = Start(), Ingest(plants)
    shift = plants["demo", "seoul"].calendar.at(now_ms)
    items = [Item(start.address, start.resume()), Item(start.address, *start.facts(state(now_ms * MS, "EXECUTE")))]
    await database.write(lambda c: ingest.store(c, items))
    await database.write(lambda c: refresh(c, plants, now_ms + 5_000))

    async def scheduled() -> int:
        return int((await database.read(lambda c: c.execute("select sum(scheduled_ms) from mart_shift")))[0][0])

    assert await scheduled() == now_ms - shift.start_ms
    assert await database.write(lambda c: refresh(c, plants, now_ms + 6_000)) == 0
    await database.write(lambda c: refresh(c, plants, shift.end_ms + 2_000))
    assert await scheduled() == shift.end_ms - shift.start_ms
    assert await database.read(lambda c: c.execute("select count(*) from dirty_bucket")) == [(0,)]


async def test_newer_data_makes_known_the_time_since_the_last_state(database: Database, plants: Plants) -> None:
    """EXECUTE in the morning, and the next sign of life at night: the line ran through all the shifts between."""
    now_ms = time.time_ns() // MS
    morning, noon, night = plants["demo", "seoul"].calendar.between(now_ms - 72 * HOUR, now_ms - 24 * HOUR)[1:4]
    start, ingest = Start(), Ingest(plants)
    begun = start.facts(state(morning.start_ms * MS, "EXECUTE"))
    await database.write(lambda c: ingest.store(c, [Item(start.address, start.resume()), Item(start.address, *begun)]))
    await refresh_all(database, plants, now_ms + 60_000)
    at = (night.start_ms + HOUR) * MS
    seen = start.facts(produced(at - 60_000 * MS, at, 5, 5))
    await database.write(lambda c: ingest.store(c, [Item(start.address, *seen)]))
    await refresh_all(database, plants, now_ms + 60_000)
    rows = await database.read(
        lambda c: c.execute("select start_ms, sum(apt_ms) from mart_shift group by start_ms order by start_ms")
    )
    known = [(shift.start_ms, shift.end_ms - shift.start_ms) for shift in (morning, noon)]
    assert [(row[0], int(row[1])) for row in rows] == [*known, (night.start_ms, HOUR)]
