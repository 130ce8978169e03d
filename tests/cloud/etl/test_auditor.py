from __future__ import annotations

import random

import pytest

from cloud.bi.alerts import Watch, found
from cloud.etl.auditor import BUSY, Auditor
from cloud.etl.recompute import differences, every_bucket, reaches
from cloud.plant import Plants
from sync import facts as f
from tests.cloud.etl.conftest import HOUR, MS, Cloud, now_ms
from tests.cloud.gateway import LINE, produced, state, verdict


@pytest.fixture
async def day(cloud: Cloud) -> Cloud:
    """A cloud with a day and a half of one line, all of it refreshed."""
    begin = now_ms() - 60 * HOUR
    facts: list[f.Fact] = []
    for hour in range(36):
        at = (begin + hour * HOUR) * MS
        name, reason = [("EXECUTE", None), ("HELD", "jam"), ("EXECUTE", None)][hour % 3]
        defects = {"scratch": 2} if hour % 4 == 0 else {}
        good = 18 if defects else 20
        facts += [state(at, name, reason), produced(at, at + 600_000 * MS, 20, good, defects=defects), verdict(at)]
        facts.append(
            f.QualityMeasured(at=at, work_unit=LINE, characteristic="fill", value=5.0 + hour, unit="GRM", passed=True)
        )
        count = f.InventoryCounted(
            at=at, material="M1", location="A", quantity=100.0 - hour, unit="EA", daily_usage=9.0
        )
        facts.append(count)
    await cloud.send(*facts, state((now_ms() - 60_000) * MS, "EXECUTE"))
    await cloud.refresh()
    return cloud


async def all_differences(cloud: Cloud):
    def look(connection):
        buckets = every_bucket(cloud.plants, "demo", reaches(connection, "demo", now_ms()))
        return [one for bucket in buckets for one in differences(connection, cloud.plants, bucket, now_ms()) or ()]

    return await cloud.database.read(look)


async def watched(cloud: Cloud, watch: Watch) -> None:
    def look(connection):
        for sql, values in watch.changes(
            connection, "demo", found(connection, cloud.plants, "demo", now_ms()), now_ms()
        ):
            connection.execute(sql, values)

    await cloud.do(look)


TAMPERED = [
    ("update mart_shift set good=good-1 where shift<>'' and produced>0", "mart_shift", "good"),
    ("update mart_hour set produced=produced+1", "mart_hour", "produced"),
    ("delete from mart_stop where reason='jam'", "mart_stop", "duration_ms"),
    ("update mart_defect set quantity=7", "mart_defect", "quantity"),
    ("update mart_judgment set judgments=0", "mart_judgment", "judgments"),
    ("update mart_quality set total_micro=total_micro+1", "mart_quality", "total_micro"),
    ("update mart_order set energy_wh=5", "mart_order", "energy_wh"),
    ("update mart_day set apt_ms=apt_ms+1 where produced>0", "mart_day", "apt_ms"),
    ("update mart_inventory set quantity_micro=1", "mart_inventory", "quantity_micro"),
    ("update mv_oee_daily set oee=0.99", "mv_oee_daily", "oee"),
    ("update mv_defect_trend set rejected=0", "mv_defect_trend", "rejected"),
    ("update mv_line_performance set good=0", "mv_line_performance", "good"),
    ("update mv_quality_summary set measured=0", "mv_quality_summary", "measured"),
    ("delete from mv_inventory_coverage", "mv_inventory_coverage", "quantity_micro"),
]


async def test_every_mart_is_what_its_records_come_to_until_somebody_changes_it(day: Cloud) -> None:
    assert await all_differences(day) == []
    for sql, mart, measure in TAMPERED:
        before = await day.marts()
        await day.do(lambda c, sql=sql: c.execute(sql))
        wrong = await all_differences(day)
        assert (mart, measure) in {(one.mart, one.measure) for one in wrong}, mart
        await day.do(lambda c, mart=mart, rows=before[mart]: restore(c, mart, rows))
    assert await all_differences(day) == []


def restore(connection, mart: str, rows) -> None:
    connection.execute(f"delete from {mart}")
    connection.many(f"insert into {mart} values({','.join('?' * len(rows[0]))})", rows)


async def test_the_auditor_finds_a_changed_figure_names_it_and_leaves_it(day: Cloud, plants: Plants) -> None:
    (start, good) = (
        await day.rows("select start_ms, good from mart_shift where produced>0 order by start_ms limit 1")
    )[0]
    await day.do(lambda c: c.execute("update mart_shift set good=good+5 where start_ms=? and produced>0", (start,)))
    auditor = Auditor(day.database, plants, random.Random(7), again_s=0)
    named = []
    for _ in range(400):
        named += [one for one in await auditor.look(now_ms()) if one.mart == "mart_shift"]
        if named:
            break
    assert [(one.place, one.start_ms, one.measure, one.stored, one.recomputed) for one in named] == [
        (("demo", "seoul", LINE), start, "good", str(good + 5), str(good))
    ]
    watch = Watch()
    await watched(day, watch)
    (alert,) = await day.rows("select severity, detail from alert where kind='mart_mismatch' and cleared_ms is null")
    assert alert[0] == "critical"
    assert await day.rows("select good from mart_shift where start_ms=? and produced>0", start) == [(good + 5,)]
    assert await auditor.recheck(now_ms()) == 0
    ((checked, differing, last, mismatch),) = await day.rows(
        "select checked, differing, last_ms, mismatch_ms from mart_audit where tenant='demo'"
    )
    assert checked >= differing >= 1
    assert last
    assert mismatch
    # A person mends it: the shift is computed anew, and the auditor sees that it is right.
    await day.do(lambda c: c.execute("update mart_shift set good=? where start_ms=? and produced>0", (good, start)))
    await auditor.recheck(now_ms())
    await watched(day, watch)
    assert await day.rows("select count(*) from alert where kind='mart_mismatch' and cleared_ms is null") == [(0,)]


async def test_a_bucket_that_waits_to_be_refreshed_is_no_alarm(day: Cloud) -> None:
    at = (now_ms() - 40 * HOUR) * MS
    await day.send(produced(at + 1, at + 60_000 * MS, 3, 3))
    assert await all_differences(day) == []
    await day.refresh()
    assert await all_differences(day) == []


async def test_what_is_right_when_it_is_looked_at_again_is_no_difference(day: Cloud, plants: Plants) -> None:
    """A bucket that a refresh wrote between two looks: nobody is told."""
    bucket = next(
        one
        for one in await day.database.read(lambda c: every_bucket(plants, "demo", reaches(c, "demo", now_ms())))
        if one.kind == "day"
    )
    before = await day.marts()
    await day.do(lambda c: c.execute("update mart_day set good=good+1"))
    seen = await day.database.read(lambda c: differences(c, plants, bucket, now_ms()))
    assert seen
    await day.do(lambda c: restore(c, "mart_day", before["mart_day"]))
    auditor = Auditor(day.database, plants, again_s=0)
    assert await auditor.settle(bucket, seen, now_ms()) == []
    assert (auditor.unwritten("demo").checked, auditor.unwritten("demo").differing) == (1, 0)
    assert await day.rows("select count(*) from mart_mismatch") == [(0,)]


async def test_while_much_waits_to_be_refreshed_the_auditor_rests(day: Cloud, plants: Plants) -> None:
    auditor = Auditor(day.database, plants, random.Random(7), again_s=0)
    waiting = [("demo", "seoul", "nowhere", "shift", number, 1, 0) for number in range(BUSY + 1)]
    await day.do(lambda c: c.many("insert into dirty_bucket values(?,?,?,?,?,?,?)", waiting))
    assert [await auditor.look(now_ms()) for _ in range(5)] == [[]] * 5
    assert auditor.unwritten("demo").checked == 0
    await day.do(lambda c: c.execute("delete from dirty_bucket where start_ms=0"))  # as many as it looks beside
    for _ in range(20):
        await auditor.look(now_ms())
    assert auditor.unwritten("demo").checked > 0
