from __future__ import annotations

import dataclasses
import time

import msgspec
import pytest

from cloud.bi.completeness import accounts
from cloud.bi.lists import count_rows
from cloud.bi.overview import active_alarms
from cloud.bi.times import iso_ns
from cloud.database import Database, DataError
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import facts as f
from sync.chunk import _compressor
from sync.frames import Loss
from sync.reading import readings
from tests.cloud.gateway import LINE, LINE_2, S, Start, produced, state, verdict

NOW = time.time_ns() // S * S


@pytest.fixture
def ingest(plants: Plants) -> Ingest:
    return Ingest(plants)


class Cloud:
    """The storing side for one test: items in, what was done out."""

    def __init__(self, database: Database, plants: Plants) -> None:
        self.database, self.ingest = database, Ingest(plants)

    async def store(self, start: Start, *chunks):
        items = [Item(start.address, *chunk) for chunk in chunks]
        return await self.database.write(lambda c: self.ingest.store(c, items))

    async def rows(self, sql: str, *values):
        return await self.database.read(lambda c: c.execute(sql, values))

    async def proof(self) -> dict:
        found = await self.database.read(lambda c: accounts(c, "demo"))
        counted = await self.database.read(lambda c: count_rows(c, "demo"))
        total = found[0].total()
        assert total["stored"] == sum(counted.values()), "the counter and the rows differ"
        return {name: total[name] for name in ("produced", "stored", "waiting", "lost", "balanced")}


@pytest.fixture
def cloud(database: Database, plants: Plants) -> Cloud:
    return Cloud(database, plants)


def watermark(done, start: Start, stream: int = 2) -> int:
    marks = [a.watermarks[start.inc, stream] for a in done.answers.values() if (start.inc, stream) in a.watermarks]
    return marks[-1].stored


async def test_a_chunk_sent_twice_is_stored_once(cloud: Cloud) -> None:
    start = Start()
    chunk = start.facts(state(NOW, "EXECUTE"), produced(NOW, NOW + S, 10, 9))
    first = await cloud.store(start, (start.resume(),), chunk)
    again = await cloud.store(start, chunk, chunk)
    assert (first.chunks, again.chunks, again.duplicates) == (1, 0, 2)
    assert watermark(again, start) == 2
    assert await cloud.rows("select count(*) from fact") == [(2,)]
    assert await cloud.rows("select produced, good from production") == [(10, 9)]


async def test_a_chunk_that_comes_early_waits_for_what_is_before_it(cloud: Cloud) -> None:
    start = Start()
    one, two, three = (start.facts(state(NOW + i, "EXECUTE")) for i in range(3))
    done = await cloud.store(start, (start.resume(),), one, three)
    assert (done.chunks, done.early, watermark(done, start)) == (1, 1, 1)
    done = await cloud.store(start, three, two, three)
    assert watermark(done, start) == 3
    assert await cloud.rows("select seq from fact order by seq") == [(1,), (2,), (3,)]


async def test_the_same_records_with_other_content_are_kept_apart(cloud: Cloud) -> None:
    start = Start()
    chunk = start.facts(state(NOW, "EXECUTE"))
    await cloud.store(start, (start.resume(),), chunk)
    clone = Start(address=start.address, inc=start.inc)
    other = clone.facts(state(NOW, "ABORTED"))
    done = await cloud.store(start, other, other)
    assert len(done.conflicts) == 1
    assert await cloud.rows("select state from equipment_state") == [("EXECUTE",)]
    ((body,),) = await cloud.rows("select body from conflict")
    assert bytes(body) == other[1]
    assert await cloud.rows("select conflicts from gateway") == [(1,)]


async def test_a_chunk_nobody_can_decode_is_set_aside_and_counts_as_lost(cloud: Cloud) -> None:
    start = Start()
    bad = start.chunk(b"not zstd at all", 3, 2)
    good = start.facts(state(NOW, "EXECUTE"))
    start.held = {}
    done = await cloud.store(start, (start.resume(),), bad, good)
    (rejection,) = done.answers[start.address, bad[0].nonce].rejected
    assert (rejection.first, rejection.count) == (1, 3)
    assert "damaged" in rejection.why
    ((body,),) = await cloud.rows("select body from dead_letter")
    assert bytes(body) == b"not zstd at all"
    assert watermark(done, start) == 4
    assert await cloud.proof() == {"produced": 4, "stored": 1, "waiting": 0, "lost": 3, "balanced": True}
    # The gateway declares them lost as well: still three, not six.
    start.losses = {2: [Loss(1, 3, "rejected")]}
    await cloud.store(start, (start.resume(),), bad)
    assert (await cloud.proof())["lost"] == 3
    assert await cloud.rows("select count(*) from conflict") == [(0,)]


async def test_what_the_database_refuses_is_refused_whole(cloud: Cloud) -> None:
    start = Start()
    good = start.facts(state(NOW, "EXECUTE"))
    huge = start.facts(f.StateChanged(at=NOW, work_unit=LINE, state="EXECUTE", status=2**63))
    with pytest.raises(DataError):
        await cloud.store(start, (start.resume(),), good, huge)
    assert await cloud.rows("select count(*) from gateway") == [(0,)]


async def test_a_kind_of_fact_nobody_knows_yet_is_kept_as_it_came(cloud: Cloud) -> None:
    start = Start()
    raw = {"kind": "from_the_future", "at": NOW, "colour": "blue"}
    newer = {"kind": "state", "at": NOW, "work_unit": LINE, "state": "EXECUTE", "mood": "fine"}
    body = _compressor.compress(msgspec.json.encode({"facts": [raw, newer]}))
    await cloud.store(start, (start.resume(),), start.chunk(body, 2, 2))
    kept = await cloud.rows("select kind, body from fact order by seq")
    assert [(kind, msgspec.json.decode(text)) for kind, text in kept] == [("from_the_future", raw), ("state", newer)]


async def test_losses_carry_the_watermark_over_what_never_comes(cloud: Cloud) -> None:
    start = Start()
    start.facts(*(state(NOW + i, "EXECUTE") for i in range(5)))
    start.losses = {2: [Loss(1, 5, "shed")]}
    start.held = {}
    after = start.facts(state(NOW + 9, "HELD", "jam"))
    done = await cloud.store(start, (start.resume(),), after)
    assert watermark(done, start) == 6
    start.held = {}
    await cloud.store(start, (start.heartbeat(),), (start.resume(),))
    assert await cloud.proof() == {"produced": 6, "stored": 1, "waiting": 0, "lost": 5, "balanced": True}


async def test_a_loss_of_records_that_are_stored_already_is_no_loss(cloud: Cloud) -> None:
    start = Start()
    chunk = start.facts(*(state(NOW + i, "EXECUTE") for i in range(5)))
    await cloud.store(start, (start.resume(),), chunk)
    start.losses, start.held = {2: [Loss(1, 5, "shed")]}, {}
    await cloud.store(start, (start.resume(),))
    assert await cloud.proof() == {"produced": 5, "stored": 5, "waiting": 0, "lost": 0, "balanced": True}


async def test_a_disk_restored_from_a_backup_declares_what_it_forgot(cloud: Cloud) -> None:
    first = Start()
    stored = first.facts(*(state(NOW + i, "EXECUTE") for i in range(4)))
    first.facts(*(state(NOW + i, "EXECUTE") for i in range(4, 10)))  # never sent
    await cloud.store(first, (first.resume(),), stored, (first.heartbeat(),))
    assert (await cloud.proof())["waiting"] == 6
    # The restored disk knows records 1 to 3 only.
    restored = Start(address=first.address, inc=first.inc, closed=True, last={2: 3}, held={2: [(1, 3)]})
    second = Start(address=first.address, ord=2)
    done = await cloud.store(second, (second.resume(restored),))
    assert watermark(done, restored) == 10
    assert await cloud.proof() == {"produced": 10, "stored": 4, "waiting": 0, "lost": 6, "balanced": True}
    assert await cloud.rows("select first, last, reason, declared_by from loss") == [(5, 10, "rollback", "cloud")]


async def test_a_record_nobody_accounts_for_shows_as_a_difference(cloud: Cloud) -> None:
    start = Start()
    start.facts(*(state(NOW + i, "EXECUTE") for i in range(5)))
    start.held = {2: [(1, 4)]}
    await cloud.store(start, (start.resume(),), (start.heartbeat(),))
    assert await cloud.proof() == {"produced": 5, "stored": 0, "waiting": 4, "lost": 0, "balanced": False}


async def test_readings_keep_value_status_and_times(cloud: Cloud) -> None:
    start = Start()
    names = [f"{LINE}/temperature", f"{LINE}/text"]
    dictionary = start.facts(start.dictionary(names), stream=3)
    rows = [(0, 61.5, 0, NOW), (1, "설비", 0, NOW + 1), (0, None, 0x80310000, NOW + 2), (0, 70.0, 0, NOW + 3)]
    batch = readings(rows, received=NOW + 5)
    done = await cloud.store(start, (start.resume(),), dictionary, start.readings(batch, "0123456789abcdef"))
    found = await cloud.rows(
        "select t.name, r.value, r.other, r.status, r.source_time from reading r join tag t on t.id=r.tag order by seq"
    )
    assert found == [
        (names[0], 61.5, None, 0, NOW),
        (names[1], None, '"설비"', 0, NOW + 1),
        (names[0], None, None, 0x80310000, NOW + 2),
        (names[0], 70.0, None, 0, NOW + 3),
    ]
    assert done.newest["demo"] == {
        names[0]: (70.0, 0, (NOW + 3) // 1_000_000),
        names[1]: ("설비", 0, (NOW + 1) // 1_000_000),
    }
    minutes = await cloud.rows(
        "select m.good, m.bad, m.total, m.low, m.high from tag_minute m join tag t on t.id=m.tag where t.name=?",
        names[0],
    )
    assert minutes == [(2, 1, 131.5, 61.5, 70.0)]
    assert await cloud.rows("select data_at from work_unit") == [(NOW + 3,)]


async def test_history_is_stored_as_such_and_never_shown_as_the_newest_value(cloud: Cloud) -> None:
    start = Start()
    name = f"{LINE}/temperature"
    dictionary = start.facts(start.dictionary([name]), stream=3)
    live = start.readings(readings([(0, 5.0, 0, NOW)], received=NOW), "0123456789abcdef")
    past = dataclasses.replace(readings([(0, 4.0, 0, NOW - 10 * S)], received=NOW + 1), historical=True)
    done = await cloud.store(start, (start.resume(),), dictionary, live, start.readings(past, "0123456789abcdef"))
    assert done.newest["demo"] == {name: (5.0, 0, NOW // 1_000_000)}
    stored = await cloud.rows("select value, historical from reading order by seq")
    assert [(value, bool(historical)) for value, historical in stored] == [(5.0, False), (4.0, True)]
    assert await cloud.rows("select sum(good), sum(total) from tag_minute") == [(2, 9.0)]


async def test_readings_without_their_dictionary_are_set_aside(cloud: Cloud) -> None:
    start = Start()
    chunk = start.readings(readings([(0, 1.0, 0, NOW)], received=NOW), "feedfeedfeedfeed")
    done = await cloud.store(start, (start.resume(),), chunk)
    assert "feedfeedfeedfeed" in done.dead_letters[0]
    assert await cloud.rows("select count(*) from reading") == [(0,)]


async def test_a_later_fact_of_an_earlier_time_does_not_change_what_holds_now(cloud: Cloud) -> None:
    start = Start()
    await cloud.store(start, (start.resume(),), start.facts(state(NOW, "HELD", "jam"), verdict(NOW, "critical")))
    await cloud.store(start, start.facts(state(NOW - 60 * S, "EXECUTE"), verdict(NOW - 60 * S)))
    found = await cloud.rows("select state, reason, state_at, decision from work_unit")
    assert found == [("HELD", "jam", NOW, "critical")]


async def test_alarms_stand_until_they_go(cloud: Cloud) -> None:
    start = Start()
    come = f.AlarmChanged(at=NOW, work_unit=LINE, alarm="hot", active=True, severity="critical")
    go = f.AlarmChanged(at=NOW + S, work_unit=LINE, alarm="hot", active=False, severity="critical")
    await cloud.store(start, (start.resume(),), start.facts(come))
    assert [bool(a) for (a,) in await cloud.rows("select active from alarm")] == [True]
    await cloud.store(start, start.facts(go, come))
    assert [bool(a) for (a,) in await cloud.rows("select active from alarm")] == [False]
    assert await cloud.rows("select count(*) from alarm_change") == [(3,)]


async def test_an_alarm_is_up_since_it_rose_whatever_its_severity_became(cloud: Cloud) -> None:
    start = Start()

    def alarm(at: int, severity: str, *, active: bool = True) -> f.AlarmChanged:
        return f.AlarmChanged(at=at, work_unit=LINE, alarm="hot", active=active, severity=severity)

    course = [alarm(NOW, "warning"), alarm(NOW + S, "warning", active=False)]
    course += [alarm(NOW + 5 * S, "warning"), alarm(NOW + 9 * S, "critical")]
    await cloud.store(start, (start.resume(),), start.facts(*course))
    (found,) = await cloud.database.read(lambda c: active_alarms(c, "demo"))
    assert (found["severity"], found["since"]) == ("critical", iso_ns(NOW + 5 * S))


async def test_facts_of_impossible_times_are_kept_and_take_no_part(cloud: Cloud) -> None:
    start = Start()
    absurd = [state(at, "EXECUTE") for at in (0, 2**62, -5)]
    done = await cloud.store(start, (start.resume(),), start.facts(*absurd))
    assert done.records == 3
    assert await cloud.rows("select count(*) from equipment_state") == [(0,)]


async def test_many_chunks_in_one_transaction_equal_one_by_one(cloud: Cloud, database: Database) -> None:
    together, apart = Start(), Start(ord=2)
    for start, line in ((together, LINE), (apart, LINE_2)):  # the same pieces of one line would be a duplicate
        for i in range(6):
            at = NOW + i * S
            start.facts(state(at, "EXECUTE", line=line), produced(at, at + S, i, i, line=line))
    await cloud.store(together, (together.resume(),), *together.chunks)
    await cloud.store(apart, (apart.resume(),))
    for chunk in apart.chunks:
        await cloud.store(apart, chunk)
    for inc in await cloud.rows("select id from incarnation order by id"):
        assert await cloud.rows("select count(*), sum(produced) from production where inc=?", *inc) == [(6, 15)]
