from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from cloud.bi import kpi
from cloud.config import load
from cloud.etl.jobs import JobError, Restatement, detail, rebuild, restate
from cloud.etl.steps import Work
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import facts as f
from tests.cloud.etl.conftest import HOUR, MS, Cloud, now_ms
from tests.cloud.etl.test_auditor import all_differences, day  # noqa: F401 - a fixture
from tests.cloud.gateway import LINE, LINE_2, produced, state


def order(**more) -> Restatement:
    said = {"from_ms": now_ms() - 90 * HOUR, "to_ms": now_ms(), "lines": [], "actor": "kim", "reason": "test"}
    return Restatement(**(said | more))


async def ask(cloud: Cloud, wanted: Restatement):
    number = await cloud.do(lambda c: restate(c, cloud.plants, "demo", wanted, now_ms()))
    await cloud.work()
    return await cloud.database.read(lambda c: detail(c, "demo", number))


async def test_a_back_dated_cycle_restates_the_shifts_of_that_product_and_time(day: Cloud) -> None:  # noqa: F811
    before = await day.rows(
        "select start_ms, ideal_us, ideal_good_us from mart_shift where produced>0 order by start_ms"
    )
    middle = before[2][0]
    wanted = {"product": "P1", "cycle_ms": 900.0, "from_ms": middle, "to_ms": now_ms(), "lines": [LINE]}
    dry = await ask(day, order(**wanted, dry_run=True))
    assert (dry["state"], dry["dry_run"]) == ("done", True)
    assert (
        await day.rows("select start_ms, ideal_us, ideal_good_us from mart_shift where produced>0 order by start_ms")
        == before
    )
    done = await ask(day, order(**wanted))
    assert (done["state"], done["changed"]) == ("done", len(dry["figures"]))
    assert done["figures"] == dry["figures"]
    assert [one["start"] for one in done["figures"]] == sorted({one["start"] for one in done["figures"]})
    after = await day.rows(
        "select start_ms, ideal_us, ideal_good_us from mart_shift where produced>0 order by start_ms"
    )
    for (start, was, was_good), (_, is_, is_good) in zip(before, after, strict=True):
        factor = 900 if start >= middle else 1000
        assert (is_ * 1000, is_good * 1000) == (was * factor, was_good * factor)
    changed = done["figures"][0]
    assert set(changed["before"]) == {"ideal_us", "ideal_good_us"}
    names = [*kpi.Sums.__dataclass_fields__]
    ((*sums,),) = await day.rows(f"select {','.join(names)} from mart_shift where produced>0 and start_ms=?", middle)
    assert changed["oee_after"] == pytest.approx(kpi.oee(kpi.Sums(**dict(zip(names, sums, strict=True)))).oee)
    assert changed["oee_after"] < changed["oee_before"]
    # What arrives late is rated likewise, and a fact that is decided anew as well.
    at = (middle + 1000) * MS
    await day.send(produced(at, at + 30_000 * MS, 10, 10))
    assert await day.rows("select ideal_us from production where start=?", at) == [(9_000_000,)]
    assert await day.rows("select actor, action, reason from deed order by id") == [("kim", "restate", "test")] * 2


async def test_a_restatement_mends_what_an_audit_found(day: Cloud, plants: Plants) -> None:  # noqa: F811
    right = await day.marts()
    await day.do(lambda c: c.execute("update mart_shift set good=0 where produced>0"))
    number = await day.do(lambda c: rebuild(c, "demo", "kim", "nightly", now_ms()))
    assert await day.do(lambda c: rebuild(c, "demo", "lee", "twice", now_ms())) == number
    await day.work()
    found = await day.database.read(lambda c: detail(c, "demo", number))
    assert (found["state"], found["equal"]) == ("done", False)
    assert found["changed"] > 0
    assert found["done_buckets"] == found["buckets"] > 90
    assert (await day.rows("select count(*) from mart_mismatch where mended_ms is null and mart='mart_shift'"))[0][
        0
    ] > 0
    done = await ask(day, order())
    assert {tuple(one["before"]) for one in done["figures"]} == {("good",)}
    assert all(one["oee_before"] == one["oee_after"] for one in done["figures"])  # by ideal time of good pieces
    assert await day.marts() == right
    assert await day.rows("select count(*) from mart_mismatch where mended_ms is null") == [(0,)]
    number = await day.do(lambda c: rebuild(c, "demo", "kim", "again", now_ms()))
    await day.work()
    found = await day.database.read(lambda c: detail(c, "demo", number))
    assert (found["equal"], found["changed"], found["error"]) == (True, 0, "")


async def test_what_comes_during_a_rebuild_is_none_of_its_business(day: Cloud, plants: Plants) -> None:  # noqa: F811
    number = await day.do(lambda c: rebuild(c, "demo", "kim", "monthly", now_ms()))
    await Work(day.database, plants).step(now_ms())
    begun = await day.database.read(lambda c: detail(c, "demo", number))
    at = (now_ms() - 45 * HOUR) * MS
    stock = {"material": "M1", "location": "A", "quantity": 50.0, "unit": "EA", "daily_usage": 90.0}
    await day.send(
        produced(at - 90 * HOUR * MS, at - 89 * HOUR * MS, 5, 5), produced(at, at + 60_000 * MS, 7, 7),
        state(at, "HELD", "jam"), f.InventoryCounted(at=at, **stock),
    )  # fmt: skip
    after = Work(day.database, plants)  # another process goes on, and the refresher is far behind
    while await after.step(now_ms()):
        pass
    done = await day.database.read(lambda c: detail(c, "demo", number))
    assert (done["equal"], done["changed"], done["error"]) == (True, 0, "")
    assert done["done_buckets"] == done["buckets"] == begun["buckets"]
    assert await day.rows("select count(*) from mart_mismatch") == [(0,)]


async def test_a_job_goes_on_where_it_was(day: Cloud, plants: Plants) -> None:  # noqa: F811
    await day.do(lambda c: c.execute("update mart_shift set good=0 where produced>0"))
    number = await day.do(lambda c: restate(c, plants, "demo", order(from_ms=now_ms() - 400 * HOUR), now_ms()))
    await Work(day.database, plants).step(now_ms())  # and the process ends
    half = await day.database.read(lambda c: detail(c, "demo", number))
    assert half["state"] == "running"
    assert 0 < half["done_buckets"] < half["buckets"]
    await day.work()
    found = await day.database.read(lambda c: detail(c, "demo", number))
    assert (found["state"], found["done_buckets"]) == ("done", found["buckets"])
    assert await day.rows("select count(*) from mart_shift where good=0 and produced>0") == [(0,)]


IMPOSSIBLE = [
    ({"from_ms": 5}, "between 2000"),
    ({"to_ms": 946_684_800_001}, "between 2000"),
    ({"lines": ["bottling/line-1/filer"]}, "filler"),
    ({"product": "P1"}, "go together"),
    ({"product": "P1", "cycle_ms": -1.0}, "cannot be"),
    ({"from_ms": 946_684_800_000, "to_ms": 4_102_444_800_000}, "too much"),
]


async def test_what_cannot_be_restated_is_said(cloud: Cloud, plants: Plants) -> None:
    at = time.time_ns() - 30 * HOUR * MS
    with pytest.raises(JobError, match="nothing ever came"):
        await cloud.do(lambda c: restate(c, plants, "demo", order(), now_ms()))
    await cloud.send(state(at, "EXECUTE"), state(at, "EXECUTE", line=LINE_2))
    for wrong, why in IMPOSSIBLE:
        with pytest.raises(JobError, match=why):
            await cloud.do(lambda c, wrong=wrong: restate(c, plants, "demo", order(**wrong), now_ms()))
    assert await cloud.rows("select count(*) from etl_job") == [(0,)]


def an_hour_later(cloud_toml: Path) -> Plants:
    """Give the same plant with every shift begun an hour later."""
    text = cloud_toml.read_text()
    for was, is_ in (("06:00:00", "07:00:00"), ("14:00:00", "15:00:00"), ("22:00:00", "23:00:00")):
        text = text.replace(was, is_)
    cloud_toml.write_text(text)
    return Plants(load(cloud_toml))


async def test_with_other_shifts_no_time_counts_twice_and_a_restated_past_is_as_if_they_had_always_been(
    day: Cloud,  # noqa: F811
    cloud_toml: Path,
) -> None:
    ((made,),) = await day.rows("select sum(produced) from mart_day")
    day.plants = an_hour_later(cloud_toml)
    day.ingest = Ingest(day.plants)
    # What comes late touches a shift that reaches into two of the shifts there were.
    at = (now_ms() - 40 * HOUR) * MS
    await day.send(produced(at, at + 1_000 * MS, 7, 7))
    await day.refresh()
    spans = await day.rows("select distinct start_ms, end_ms from mart_shift order by start_ms")
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert (await ask(day, order()))["state"] == "done"
    assert await all_differences(day) == []
    assert await day.rows("select sum(produced) from mart_day") == [(made + 7,)]


async def test_a_job_that_meets_a_bug_fails_alone(day: Cloud) -> None:  # noqa: F811
    broken = await day.do(lambda c: restate(c, day.plants, "demo", order(dry_run=True), now_ms()))
    await day.do(lambda c: c.execute("update etl_job set asked=? where id=?", ('{"places": 5}', broken)))
    assert (await ask(day, order(dry_run=True)))["state"] == "done"
    failed = await day.database.read(lambda c: detail(c, "demo", broken))
    assert failed is not None
    assert (failed["state"], failed["error"].split(":")[0]) == ("failed", "TypeError")
