from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest

from cloud.etl.checks import check
from cloud.etl.letters import Filter, LetterError, counted, page, release, retry
from cloud.etl.rules import RULES, SEVERITIES
from cloud.marts import mark
from cloud.plant import Plants
from sync import facts as f
from tests.cloud.etl.conftest import HOUR, MS, Cloud, corrected, marts, now_ms, plainly
from tests.cloud.gateway import LINE, S, Start, produced, state

NOW = 1_790_000_000 * S
MINUTE = 60 * S


def made(**more) -> f.Fact:
    said = {"start": NOW - MINUTE, "at": NOW, "total": 10, "good": 8, "scrap": 2} | more
    return produced(said.pop("start"), said.pop("at"), said.pop("total"), said.pop("good"), **said)


def measured(**more) -> f.Fact:
    said = {
        "at": NOW,
        "work_unit": LINE,
        "characteristic": "fill",
        "value": 5.0,
        "unit": "GRM",
        "low": 1.0,
        "high": 9.0,
    }
    return f.QualityMeasured(**(said | more))


def stock(**more) -> f.Fact:
    said = {"at": NOW, "material": "M1", "location": "A", "quantity": 5.0, "unit": "EA"}
    return f.InventoryCounted(**(said | more))


FAULTS = [
    (made(), []),
    (made(total=-1, good=0, scrap=0), ["negative"]),
    (made(defects={"scratch": -1}), ["negative"]),
    (made(cycle_ms=0.0), ["negative"]),
    (made(energy_wh=-5), ["negative"]),
    (made(total=2**62, good=0, scrap=0), ["too_large"]),
    (made(total=0, good=0, scrap=16), ["counters_apart"]),  # read a moment later than what was produced
    (made(good=9), ["counters_apart"]),
    (made(good=700), ["more_than_produced"]),
    (made(good=700, cycle_ms=None), ["counters_apart", "no_cycle"]),
    (made(start=NOW - 3600 * S, good=700, cycle_ms=None), ["more_than_produced", "no_cycle"]),
    (made(start=NOW - 3600 * S, total=20_000, good=20_900, scrap=0), ["counters_apart", "fast_rate"]),
    (made(start=NOW - 30_000 * S, total=20_000, good=21_000, scrap=0), ["counters_apart"]),  # 5 % of them, and no more
    (made(start=NOW - 30_000 * S, total=20_000, good=21_001, scrap=0), ["more_than_produced"]),
    (made(defects={"scratch": 2, "label": 1}), ["counters_apart"]),
    (made(defects={"scratch": 700}), ["defects_exceed"]),
    (made(defects={"scratch": 2}), []),
    (made(start=NOW + 1), ["reversed"]),
    (made(start=NOW - 2 * S, total=100, good=0), ["fast_rate"]),  # all that was made in a silence
    (made(start=NOW - 3600 * S, total=50_000, good=0), ["impossible_rate"]),
    (made(start=NOW - 20 * S, total=100, good=0), ["fast_rate"]),
    (made(start=NOW - 1, total=2, good=0, scrap=0), []),
    (made(cycle_ms=None), ["no_cycle"]),
    (made(start=NOW - 1, at=NOW + 90_000 * S, cycle_ms=99_999.0), ["time_ahead", "long_interval"]),
    (made(start=5, at=6), ["time_impossible"]),
    (made(start=5), ["time_impossible"]),
    (made(at=2**62), ["time_impossible"]),
    (state(NOW, "EXECUTE"), []),
    (state(NOW + 90_000 * S, "EXECUTE"), ["time_ahead"]),
    (state(NOW - 500 * 86_400 * S, "EXECUTE"), ["time_behind"]),
    (measured(), []),
    (measured(low=9.0, high=1.0), ["limits_reversed"]),
    (measured(unit=None), ["no_unit"]),
    (measured(value=9.5, passed=True), ["contradiction"]),
    (measured(value=9.5, passed=False), []),
    (measured(value="ok", unit=None), []),
    (stock(), []),
    (stock(quantity=-1.0), ["negative_stock"]),
    (stock(daily_usage=-1.0), ["negative"]),
    (stock(unit=""), ["no_unit"]),
]


@pytest.mark.parametrize(("fact", "codes"), FAULTS)
def test_what_is_wrong_with_a_fact(fact: f.Fact, codes: list[str]) -> None:
    found = check(fact, NOW)
    assert [one.code for one in found] == codes
    for one in found:
        words = RULES[one.code].words(one.detail | {"subject": one.subject})
        assert "?" not in words["en"], words
        assert set(words) == {"ko", "en"}
        assert bool(one.subject) == bool(RULES[one.code].by)


def test_every_rule_has_words_and_a_severity() -> None:
    for code, rule in RULES.items():
        assert rule.severity in SEVERITIES
        assert set(rule.title) == set(rule.why) == {"ko", "en"}, code
        assert rule.holds != bool(rule.by) or code == "undecodable", code


async def letters(cloud: Cloud, **what):
    return await cloud.database.read(lambda c: page(c, "demo", Filter(**what), limit=100, offset=0))


async def test_the_same_pieces_in_another_record_are_held(cloud: Cloud) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + MINUTE, 10, 10)
    twice = Start(address=type(cloud.start.address)("demo", "seoul", "gw-2"))
    await cloud.begin(twice)
    await cloud.send(fact, produced(at, at + 2 * MINUTE, 10, 10))
    await cloud.store(twice.facts(fact, produced(at, at + MINUTE, 10, 10, product="P2")), start=twice)
    await cloud.refresh()
    assert await cloud.rows("select product, produced from mart_shift where produced>0 order by product") == [
        ("P1", 20),
        ("P2", 10),
    ]
    items, total = await letters(cloud)
    assert total == 2
    assert {one["code"]: (one["gateway"], one["held"], one["count"]) for one in items} == {
        "duplicate": ("gw-2", True, 1),
        "overlap": ("gw-1", False, 1),
    }


async def test_what_nobody_knows_is_warned_of_and_counts(cloud: Cloud) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    known = f.ProductDefined(at=at, product="P1", name={"en": "One"})
    await cloud.send(
        known, *(produced(at + i * MINUTE, at + (i + 1) * MINUTE, 1, 1, product=f"P{i % 3}") for i in range(6))
    )
    await cloud.send(state(at, "EXECUTE", line="nobody/knows/this"))
    await cloud.refresh()
    items, _ = await letters(cloud, severity="warning")
    assert sorted((one["code"], one["subject"], one["held"]) for one in items) == [
        ("unknown_line", "nobody/knows/this", False),
        ("unknown_product", "P0", False),
        ("unknown_product", "P2", False),
    ]
    assert await cloud.rows("select sum(produced) from mart_shift") == [(6,)]


async def test_a_held_fact_counts_once_it_is_released_and_not_twice(cloud: Cloud, plants: Plants) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    await cloud.send(produced(at, at + 60 * MINUTE, 50_000, 50_000), state(at, "EXECUTE"))
    await cloud.refresh()
    assert await cloud.rows("select count(*) from production") == [(0,)]
    items, total = await letters(cloud, held=True, state="open")
    assert (total, items[0]["code"], items[0]["held"]) == (1, "impossible_rate", True)
    number = items[0]["id"]

    async def let_go():
        return await cloud.do(
            lambda c: release(c, plants, "demo", number, actor="kim", reason="a burst", now_ns=now_ms() * MS)
        )

    assert await let_go() >= 2
    await cloud.refresh()
    assert await cloud.rows("select sum(produced) from mart_shift") == [(50_000,)]
    with pytest.raises(LetterError, match="released"):
        await let_go()
    with pytest.raises(KeyError):
        await cloud.do(lambda c: release(c, plants, "other", number, actor="k", reason="r", now_ns=now_ms() * MS))
    items, _ = await letters(cloud, held=True)
    assert [(one["state"], one["held"], one["settled_by"]) for one in items] == [("released", False, "kim")]
    assert await cloud.rows("select actor, action, reason from deed") == [("kim", "release", "a burst")]
    await cloud.store(cloud.start.chunks[0])
    await cloud.refresh()
    assert await cloud.rows("select sum(produced) from mart_shift") == [(50_000,)]


async def test_what_is_no_longer_wrong_passes_when_it_is_tried_again(cloud: Cloud, plants: Plants) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + MINUTE, 10, 10)
    await cloud.send(fact, fact, produced(at, at + MINUTE, 5, 6000))
    first = f.Corrected(
        at=at, inc=cloud.start.inc, stream=2, seq=1, rev=1, by="kim", reason="the second is the right one"
    )
    await cloud.send(first)
    done = await cloud.do(lambda c: retry(c, plants, "demo", None, actor="kim", reason="again", now_ns=now_ms() * MS))
    assert done == (1, 1)
    await cloud.refresh()
    assert await cloud.rows("select sum(produced) from mart_shift") == [(10,)]
    assert sorted(await cloud.rows("select code, state from finding where held")) == [
        ("duplicate", "passed"),
        ("more_than_produced", "open"),
    ]


async def test_a_thousand_rows_late_doubled_and_invalid_come_to_the_plain_sum(
    seed: int, cloud: Cloud, plants: Plants
) -> None:
    """Scenario 44: 1,000 rows of which 50 are there twice, 20 are invalid and 100 two days late, in three batches."""
    rng = random.Random(seed)
    end = now_ms() - 2 * HOUR
    good = [
        produced(
            (end - 50 * HOUR - i * 60_000) * MS,
            (end - 50 * HOUR - i * 60_000 + 50_000) * MS,
            n,
            n - n // 5,
            scrap=n // 5,
        )
        for i, n in enumerate(rng.choices(range(5, 40), k=100))
    ]  # two days late
    good += [
        produced((end - i * 60_000) * MS, (end - i * 60_000 + 50_000) * MS, n, n - n // 5, scrap=n // 5)
        for i, n in enumerate(rng.choices(range(5, 40), k=830))
    ]
    bad = [
        msgspec.structs.replace(fact, good=fact.produced + 9_000, start=fact.start + 1) for fact in rng.sample(good, 20)
    ]
    rows = [*good, *bad, *rng.sample(good, 50)]
    assert len(rows) == 1000
    rest, late = rows[100:], rows[:100]
    rng.shuffle(rest)
    batches = [cloud.start.facts(*part) for part in (rest[:450], rest[450:], late)]
    await cloud.store(batches[0])
    await cloud.refresh()
    await cloud.store(batches[2], batches[1], batches[2])  # out of order: what is early waits, and is sent again
    await cloud.store(batches[2])
    await cloud.refresh()
    truth: Counter[str] = Counter()
    for fact in good:
        truth.update(produced=fact.produced, good=fact.good, scrap=fact.scrap)
    for mart in ("mart_shift", "mart_hour", "mart_day"):
        sums = (await cloud.rows(f"select sum(produced), sum(good), sum(scrap) from {mart}"))[0]
        assert tuple(map(int, sums)) == (truth["produced"], truth["good"], truth["scrap"]), mart
    told = await cloud.database.read(lambda c: counted(c, "demo"))
    assert {one["code"]: one["held"] for one in told["by_rule"] if one["held"]} == {
        "duplicate": 50,
        "more_than_produced": 20,
    }
    _, total = await letters(cloud, code="more_than_produced", held=True)
    assert total == 20
    before = await cloud.marts()
    for batch in (*batches, batches[0]):
        await cloud.store(batch)
    await cloud.refresh()
    assert await cloud.marts() == before
    with plainly(plants, good, now_ms() + 60_000) as plain:
        assert marts(plain) == before


async def test_what_counters_say_when_they_are_read_one_after_the_other_counts_to_the_last_piece(cloud: Cloud) -> None:
    """Scrap before its pieces, pieces before their verdicts, and after a silence all of it at once: nothing is held."""
    at = (cloud.plants["demo", "seoul"].calendar.at(now_ms() - 30 * HOUR).start_ms + HOUR) * MS
    five = 5 * S
    facts = [
        produced(at, at + five, 0, 0, scrap=16, defects={"scratch": 16}, cycle_ms=250.0),
        produced(at + five, at + 2 * five, 36, 20, scrap=0, cycle_ms=250.0),
        produced(at + 2 * five, at + 3 * five, 204, 190, scrap=14, cycle_ms=250.0),  # ten times what five seconds make
        produced(at + 3 * five, at + 4 * five, 20, 21, scrap=0, defects={"label": 3}, cycle_ms=250.0),
    ]
    await cloud.send(*facts, state(at, "EXECUTE"))
    await cloud.refresh()
    assert await cloud.rows("select sum(produced), sum(good), sum(scrap) from mart_shift") == [(260, 231, 30)]
    assert await cloud.rows("select count(*) from finding where held") == [(0,)]
    items, _ = await letters(cloud, severity="warning")
    exceeds = next((one["subject"], one["count"]) for one in items if one["code"] == "shift_exceeds")
    assert {(one["code"], one["subject"], one["count"]) for one in items} == {
        ("counters_apart", LINE, 2),
        ("fast_rate", "P1", 1),
        ("shift_exceeds", *exceeds),  # by the last piece, nothing evened it out
    }


async def test_who_asks_again_often_enough_has_looked_at_all_that_is_held(
    cloud: Cloud, plants: Plants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.etl.letters.AT_ONCE", 1)
    at = (now_ms() - 30 * HOUR) * MS
    await cloud.send(*(produced(at + i * MINUTE, at + (i + 1) * MINUTE, 5, 6000) for i in range(3)))
    for turn in range(3):
        later = (now_ms() + turn * 1000) * MS
        assert await cloud.do(lambda c: retry(c, plants, "demo", None, actor="kim", reason="x", now_ns=later)) == (0, 1)  # noqa: B023
    looked = await cloud.rows("select seq, last_ms from finding where held order by last_ms")
    assert [seq for seq, _ in looked] == [1, 2, 3]
    assert len({last for _, last in looked}) == 3


async def test_a_shift_that_sorted_more_than_it_made_is_warned_of_until_it_fits(cloud: Cloud) -> None:
    at = (cloud.plants["demo", "seoul"].calendar.at(now_ms() - 30 * HOUR).start_ms + HOUR) * MS
    odd = msgspec.structs.replace(produced(at, at + MINUTE, 100, 100), good=99, scrap=1, rework=1)
    await cloud.send(odd, produced(at + MINUTE, at + 2 * MINUTE, 10, 10))  # a piece ahead in the whole shift
    for _ in range(2):  # computed twice, it is one shift
        await cloud.do(lambda c: mark.everything(c, cloud.plants, ("demo", "seoul", LINE), now_ms()))
        await cloud.refresh()
    assert await cloud.rows("select sum(good+scrap+rework-produced) from mart_shift") == [(1,)]  # and it counts
    items, total = await letters(cloud, code="shift_exceeds")
    assert (total, items[0]["state"], items[0]["held"], items[0]["count"]) == (1, "open", False, 1)
    assert items[0]["why"]["en"].startswith(f"{LINE} ")
    assert items[0]["why"]["en"].endswith("109 good, 1 scrap and 1 rework of 110 produced")
    await cloud.send(msgspec.structs.replace(produced(at, at + MINUTE // 2, 1, 1), good=0))
    await cloud.refresh()
    items, total = await letters(cloud, code="shift_exceeds")
    assert (total, items[0]["state"]) == (1, "passed")


async def test_an_old_value_said_again_does_not_undo_what_was_put_right(cloud: Cloud) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    said = [
        produced(at, at + MINUTE, 10, 10),
        state(at, "HELD", "jam"),
        f.QualityMeasured(at=at, work_unit=LINE, characteristic="fill", value=5.0, unit="GRM", passed=True),
        f.InventoryCounted(at=at, material="M1", location="A", quantity=100.0, unit="H87", daily_usage=9.0),
    ]
    right = [
        msgspec.structs.replace(said[0], good=8),
        msgspec.structs.replace(said[1], reason="starved"),
        None,
        msgspec.structs.replace(said[3], quantity=80.0),
    ]
    await cloud.send(*said, *(corrected(cloud.start, seq, 1, fact) for seq, fact in enumerate(right, 1)))
    await cloud.refresh()
    before = await cloud.marts()
    await cloud.send(*said)  # the same again, with other numbers
    await cloud.refresh()
    assert await cloud.marts() == before
    items, total = await letters(cloud, code="corrected_again", held=True)
    assert (total, {one["seq"] for one in items}) == (4, {9, 10, 11, 12})
    assert all("was put right since" in one["why"]["en"] for one in items)
    done = await cloud.do(lambda c: retry(c, cloud.plants, "demo", None, actor="kim", reason="r", now_ns=now_ms() * MS))
    assert done == (0, 4)
    newer = msgspec.structs.replace(said[3], at=at + HOUR * MS)
    await cloud.send(newer)  # another count at another time is news
    assert (await letters(cloud, code="corrected_again"))[1] == 4
    number = next(one["id"] for one in items if one["kind"] == "production")
    await cloud.do(lambda c: release(c, cloud.plants, "demo", number, actor="kim", reason="r", now_ns=now_ms() * MS))
    await cloud.refresh()
    assert await cloud.rows("select sum(produced), sum(good) from mart_shift") == [(20, 18)]
