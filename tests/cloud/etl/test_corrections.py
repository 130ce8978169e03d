from __future__ import annotations

import hashlib
import random
from collections import Counter

import msgspec
import pytest

from cloud.etl.correct import Order, OvertakenError, correct
from cloud.etl.corrections import CorrectionError, Target, history
from cloud.plant import Plants
from sync import facts as f
from sync.chunk import decode, encode_facts
from tests.cloud.etl.conftest import HOUR, MS, Cloud, corrected, marts, now_ms, plainly
from tests.cloud.gateway import LINE, LINE_2, Start, produced, state

STATES = [("EXECUTE", None), ("HELD", "jam"), ("IDLE", "starved"), ("STOPPED", "changeover"), ("UNDEFINED", None)]


def any_fact(rng: random.Random, at_ms: int) -> f.Fact:
    line, product = rng.choice((LINE, LINE_2)), rng.choice(("P1", "P2"))
    kind = rng.random()
    if kind < 0.45:
        total = rng.randrange(1, 60)
        good = rng.randrange(total + 1)
        scrap = rng.randrange(total - good + 1) if rng.random() < 0.9 else -1  # now and then what cannot be
        defects = {"scratch": total - good} if total > good and rng.random() < 0.5 else {}
        end = at_ms + rng.randrange(120_000, 5 * HOUR)
        made = {"product": product, "line": line, "cycle_ms": rng.choice([500.0, 1200.5, None])}
        return produced(at_ms * MS, end * MS, total, good, scrap=scrap, defects=defects, energy_wh=total, **made)
    if kind < 0.8:
        return state(at_ms * MS, *rng.choice(STATES), line=line, product=product)
    value = round(rng.uniform(1, 9), 3)
    return f.QualityMeasured(
        at=at_ms * MS, work_unit=line, characteristic="fill", value=value, unit="GRM", passed=value > 2, product=product
    )


def like(rng: random.Random, fact: f.Fact, times) -> f.Fact:
    while True:
        found = any_fact(rng, next(times))
        if type(found) is type(fact):
            return found


def counts(fact: f.Fact | None) -> bool:
    return fact is not None and not (isinstance(fact, f.Produced) and fact.scrap < 0)


@pytest.mark.parametrize("turn", range(5))
async def test_corrections_in_any_order_come_to_what_was_meant(
    turn: int, seed: int, cloud: Cloud, plants: Plants
) -> None:
    rng = random.Random(seed + turn)
    end_ms = now_ms() - 60_000
    begin_ms = end_ms - 60 * HOUR
    instants = rng.sample(range(begin_ms, end_ms - 6 * HOUR), 400)
    times = iter(instants)
    last = [state(end_ms * MS, "EXECUTE", line=line) for line in (LINE, LINE_2)]
    facts = [any_fact(rng, next(times)) for _ in range(70)] + last
    revisions = [
        (seq, rev, None if rng.random() < 0.3 else like(rng, facts[seq - 1], times))
        for seq in rng.sample(range(1, 71), 35)
        for rev in rng.sample(range(1, 9), rng.randrange(1, 4))
    ]
    winners: dict[int, f.Fact | None] = dict(enumerate(facts, 1))
    highest: Counter[int] = Counter()
    for seq, rev, fact in revisions:
        if rev > highest[seq]:
            highest[seq], winners[seq] = rev, fact
    # The records are one chunk after the other; what corrects them is sent by another gateway, before, between, after.
    other = Start(address=type(cloud.start.address)("demo", "seoul", "gw-2"))
    await cloud.begin(other)
    rng.shuffle(revisions)
    left, sent = list(facts), 0
    while left or revisions:
        items = []
        if left and rng.random() < 0.5:
            part = [left.pop(0) for _ in range(min(len(left), rng.randrange(1, 25)))]
            items.append((cloud.start, cloud.start.facts(*part)))
            sent += len(part)
        if revisions and rng.random() < 0.7:
            said = [revisions.pop() for _ in range(min(len(revisions), rng.randrange(1, 12)))]
            said += rng.choices(said, k=rng.randrange(3))  # the same again, in a record of its own
            items.append((other, other.facts(*(corrected(cloud.start, *one) for one in said))))
        items += [(one, rng.choice(one.chunks)) for one in (cloud.start, other) if one.chunks and rng.random() < 0.3]
        for start, chunk in items:
            await cloud.store(chunk, start=start)
        if rng.random() < 0.4:
            await cloud.refresh()
    await cloud.refresh(end_ms + 24 * HOUR)
    right = [fact for fact in winners.values() if counts(fact)]
    with plainly(plants, right, end_ms + 24 * HOUR) as plain:
        truth = marts(plain)
    found = await cloud.marts()
    for name, rows in truth.items():
        assert found[name] == rows, name
    made = Counter[str]()
    for fact in right:
        if isinstance(fact, f.Produced):
            made.update({fact.work_unit: fact.produced})
    stored = await cloud.rows("select work_unit, sum(produced) from mart_shift group by work_unit")
    assert {unit: int(total) for unit, total in stored if total} == +made
    held = await cloud.rows("select count(*) from finding where held and state='open'")
    assert held == [(sum(fact is not None and not counts(fact) for fact in winners.values()),)]
    # What holds now is the newest of what counts.
    newest = max((x for x in right if isinstance(x, f.StateChanged) and x.work_unit == LINE), key=lambda x: x.at)
    assert await cloud.rows("select state_at, state from work_unit where work_unit=?", LINE) == [
        (newest.at, newest.state)
    ]
    # Facts stay as they came.
    bodies = await cloud.rows("select body from fact where kind<>'correction' order by seq")
    assert [decode(encode_facts([fact]), 1)[0] for fact in facts] == [
        msgspec.json.decode(body, type=f.AnyFact) for (body,) in bodies
    ]


async def test_a_correction_costs_the_old_and_the_new_bucket(cloud: Cloud) -> None:
    old, new = now_ms() - 100 * HOUR, now_ms() - 60 * HOUR
    await cloud.send(produced(old * MS, (old + 60_000) * MS, 5, 5), state((now_ms() - HOUR) * MS, "EXECUTE"))
    await cloud.refresh()
    moved = produced(new * MS, (new + 60_000) * MS, 4, 4, product="P2")
    done = await cloud.send(corrected(cloud.start, 1, 1, moved))
    assert done.chunks == 1
    touched = await cloud.rows(
        "select mart, count(*) from dirty_bucket where due_ms<=? group by mart order by mart", now_ms() + 1
    )
    assert touched == [("hour", 2), ("shift", 2)]
    await cloud.refresh()
    assert await cloud.rows("select product, produced from mart_shift where produced>0") == [("P2", 4)]
    # A late duplicate, an older one and the original again change nothing.
    await cloud.store(cloud.start.chunks[0], cloud.start.chunks[1])
    assert await cloud.rows("select count(*) from dirty_bucket where due_ms<=?", now_ms() + 1) == [(0,)]


async def test_a_person_corrects_takes_back_and_is_on_record(cloud: Cloud, plants: Plants) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + 60_000 * MS, 10, 10)
    await cloud.send(fact)
    target = Target("demo", cloud.start.inc, 2, 1)

    async def order(replacement, rev=None, actor="lee"):
        body = None if replacement is None else msgspec.to_builtins(replacement)
        asked = Order(target=target, replacement=body, actor=actor, reason="miscounted", rev=rev)
        return await cloud.do(lambda c: correct(c, plants, asked, now_ms() * MS))

    better = msgspec.structs.replace(fact, good=8, scrap=2)
    done = await order(better)
    assert (done.rev, done.state, done.new) == (1, "counts", True)
    again = await order(better, rev=1)
    assert (again.rev, again.new, again.buckets) == (1, False, 0)
    with pytest.raises(OvertakenError, match="the next one is 2"):
        await order(fact, rev=1)
    await cloud.refresh()
    assert await cloud.rows("select good, scrap from mart_shift where produced>0") == [(8, 2)]
    assert (await order(None)).state == "retracted"
    await cloud.refresh()
    assert await cloud.rows("select count(*) from mart_shift where produced>0") == [(0,)]
    assert await cloud.rows("select count(*) from production") == [(0,)]
    told = await cloud.database.read(lambda c: history(c, target))
    assert [(one["rev"], one["state"], one["by"], one["retracts"]) for one in told] == [
        (0, "superseded", "", False),
        (1, "superseded", "lee", False),
        (2, "standing", "lee", True),
    ]
    deeds = await cloud.rows("select actor, action, target, reason from deed order by id")
    assert deeds == [("lee", action, str(target), "miscounted") for action in ("correct", "retract")]


async def test_a_correction_that_cannot_be_true_is_held_in_its_turn(cloud: Cloud, plants: Plants) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + 60_000 * MS, 10, 10)
    await cloud.send(fact)
    await cloud.send(corrected(cloud.start, 1, 1, msgspec.structs.replace(fact, good=12_000)))
    await cloud.refresh()
    assert await cloud.rows("select count(*) from mart_shift where produced>0") == [(0,)]
    assert await cloud.rows("select code, rev, state from finding where held") == [("more_than_produced", 1, "open")]
    await cloud.send(corrected(cloud.start, 1, 2, msgspec.structs.replace(fact, good=9)))
    await cloud.refresh()
    assert await cloud.rows("select good from mart_shift where produced>0") == [(9,)]
    assert await cloud.rows("select rev, state from finding where held") == [(1, "corrected")]


WRONG = [
    ({"kind": "state", "at": 5, "work_unit": LINE, "state": "HELD"}, "of kind 'production', its replacement of kind 'state'"),
    ({"kind": "audit", "at": 5, "actor": "a", "action": "b"}, "cannot be corrected"),
    ({"kind": "production", "at": "soon"}, "no fact"),
    ({"at": 5}, "no fact"),
    ({"kind": "production", "at": 5, "work_unit": LINE, "start": 1, "produced": 2**80, "good": 0}, "too large"),
    ({"kind": "production", "at": 5, "work_unit": "a\0b", "start": 1, "produced": 2, "good": 0}, "NUL"),
]  # fmt: skip


@pytest.mark.parametrize(("replacement", "why"), WRONG)
async def test_a_correction_that_cannot_hold_is_refused_and_changes_nothing(
    replacement, why: str, cloud: Cloud, plants: Plants
) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    said = msgspec.structs.replace(corrected(cloud.start, 1, 1, None), replacement=replacement)
    await cloud.send(produced(at, at + 60_000 * MS, 10, 10), said, state(at, "EXECUTE"))
    await cloud.refresh()
    assert await cloud.rows("select produced from mart_shift where produced>0") == [(10,)]
    refused = await cloud.rows("select state, why from correction")
    assert [(one[0], why in one[1]) for one in refused] == [("refused", True)]
    asked = Order(target=Target("demo", cloud.start.inc, 2, 1), replacement=replacement, actor="kim", reason="test")
    with pytest.raises(CorrectionError, match=why):
        await cloud.do(lambda c: correct(c, plants, asked, now_ms() * MS))
    assert await cloud.rows("select count(*) from deed") == [(0,)]
    # … and stands in nobody's way.
    await cloud.send(corrected(cloud.start, 1, 2, produced(at, at + 60_000 * MS, 9, 9)))
    await cloud.refresh()
    assert await cloud.rows("select produced from mart_shift where produced>0") == [(9,)]


async def test_of_two_corrections_with_one_number_the_same_one_holds_whichever_came_first(cloud: Cloud) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + 60_000 * MS, 10, 10)
    await cloud.send(fact, msgspec.structs.replace(fact, start=at + 1), state(at, "EXECUTE"))  # seq 1 and 2
    both = [produced(at, at + 60_000 * MS, total, total) for total in (7, 8)]
    for seq, said in ((1, both), (2, both[::-1])):
        for right in said:
            await cloud.send(corrected(cloud.start, seq, 1, right))
    texts = {msgspec.json.encode(msgspec.to_builtins(one), order="sorted"): one.produced for one in both}
    greater = texts[max(texts, key=lambda text: hashlib.sha256(text).hexdigest())]
    rows = await cloud.rows("select seq, replacement from correction where state='standing' order by seq")
    assert [(seq, msgspec.json.decode(text)["produced"]) for seq, text in rows] == [(1, greater), (2, greater)]


async def test_another_site_or_tenant_corrects_nothing(cloud: Cloud) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    elsewhere = Start(address=type(cloud.start.address)("demo", "busan", "gw-9"))
    stranger = Start(address=type(cloud.start.address)("other", "seoul", "gw-1"))
    await cloud.begin(elsewhere, stranger)
    for one in (elsewhere, stranger):
        await cloud.store(one.facts(corrected(cloud.start, 1, 1, None)), start=one)
    await cloud.send(produced(at, at + 60_000 * MS, 10, 10))
    await cloud.refresh()
    assert await cloud.rows("select produced from mart_shift where produced>0") == [(10,)]
    assert await cloud.rows("select tenant, state from correction order by tenant") == [
        ("demo", "refused"),
        ("other", "waiting"),
    ]
