"""The seeded past: possible in every figure, the same for the same seed, told once however often, its stories findable."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, date, datetime, timedelta

import pytest

from cloud.config import load
from cloud.database import open_database
from cloud.marts.calendar import Calendar
from cloud.plant import Plants
from cloud.seed import example, identities, send
from cloud.seed.past import Past, dates
from sync import facts as f
from sync.clock import Clock

END = date(2026, 10, 31)


class Then(Clock):
    """A clock that stands."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> int:
        return int(self.at.timestamp() * 1000) * 1_000_000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits")


NOON_AFTER = Then(datetime(2026, 11, 2, 3, 0, tzinfo=UTC))


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return load(example.write(tmp_path_factory.mktemp("plant")))


@pytest.fixture
def settings(plant, database_url):
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    return dataclasses.replace(plant, database_url=url)


TABLES = (
    *("fact", "reading", "production", "production_defect", "equipment_state", "judgment", "inventory", "job_order"),
    *("mart_shift", "mart_stop", "mart_defect", "mart_hour", "ingest_chunk", "tally"),
)


async def counted(settings) -> dict[str, int]:
    async with open_database(settings.database_url) as database:
        return await database.read(lambda c: {name: c.execute(f"select count(*) from {name}")[0][0] for name in TABLES})


async def tell(settings, days, *, end=END, clock=NOON_AFTER, number=1):
    plants = Plants(settings)
    async with open_database(settings.database_url) as database:
        site = settings.file.sites[0]
        first = end - timedelta(days=days - 1)
        told = await send.tell(database, plants, site, seed=number, first=first, last=end, clock=clock)
        now_ms = clock.now() // 1_000_000
        await send.compute(database, plants, now_ms)
        return told, await database.read(lambda c: identities.check_all(c, plants, now_ms))


async def test_days_hold_every_identity_and_its_stories_can_be_found(settings):
    told, found = await tell(settings, 9)
    assert told.records > 15_000
    broken = [one for one in found if not one.holds]
    assert not broken, broken
    assert len(found) >= 13
    here = await counted(settings)
    silent = 3 * 3  # the day after, of which nothing is told: lines × shifts, all of them unknown
    assert here["mart_shift"] == 9 * 3 * 5 * 3 + silent  # days × lines × products × shifts


async def test_told_twice_it_is_there_once_and_a_day_more_is_added(settings):
    first, _ = await tell(settings, 2)
    before = await counted(settings)
    again, _ = await tell(settings, 2)
    assert (again.records, await counted(settings)) == (0, before)
    longer, found = await tell(settings, 1, end=END + timedelta(days=1))  # goes on from the date it began
    assert longer.first == first.first
    assert longer.records > 0
    assert all(one.holds for one in found), found
    shorter, _ = await tell(settings, 1)  # and what is there already stays
    assert shorter.records == 0


async def test_another_past_is_refused_before_anything_is_stored(settings):
    await tell(settings, 1)
    before = await counted(settings)
    with pytest.raises(send.SeedError, match="another past already"):
        await tell(settings, 1, number=2)
    with pytest.raises(send.SeedError, match="no more days"):
        await tell(settings, 3)
    assert await counted(settings) == before


async def test_a_past_that_ends_today_is_told_up_to_the_last_full_hour(settings):
    now = Then(datetime(2026, 10, 31, 4, 20, tzinfo=UTC))  # 13:20 in Seoul, shift A
    _, found = await tell(settings, 2, clock=now)
    assert all(one.holds for one in found), found
    async with open_database(settings.database_url) as database:
        newest = (await database.read(lambda c: c.execute("select max(at) from production")))[0][0]
        assert datetime.fromtimestamp(newest / 1e9, UTC) <= now.at
        later, _ = await tell(settings, 2, clock=Then(now.at + timedelta(hours=3)))
    assert later.records > 50


async def test_an_identity_that_does_not_hold_is_told(settings):
    await tell(settings, 1)
    async with open_database(settings.database_url) as database:
        await database.write(lambda c: c.execute("update production set good=good+1 where produced>0"))
        found = await database.read(lambda c: identities.check_all(c, Plants(settings), NOON_AFTER.now() // 1_000_000))
    assert {one.name for one in found if not one.holds} >= {
        "produced = good + scrap + rework",
        "defects by type = scrap + rework",
    }


def test_the_same_seed_tells_the_same_and_another_one_something_else(plant):
    site = plant.file.sites[0]
    days = list(dates(END, 2))
    assert days == [date(2026, 10, 30), END]
    told = [Past(site, 1).day(day) for day in days]
    assert told == [Past(site, 1).day(day) for day in reversed(days)][::-1]  # a day does not hang on which came before
    assert told != [Past(site, 2).day(day) for day in days]


def test_products_share_the_time_of_a_shift_and_no_machine_is_faster_than_possible(plant):
    site = plant.file.sites[0]
    past, calendar = Past(site, 3), Calendar(site)
    for day in dates(END, 5):
        for fact in past.day(day):
            if isinstance(fact, f.Produced):
                assert fact.produced == fact.good + fact.scrap + fact.rework
                assert sum(fact.defects.values()) == fact.scrap + fact.rework
                # a piece may have been begun in the quarter of an hour before
                assert (fact.produced - 1) * (fact.ideal_cycle_ms or 0) <= (fact.at - fact.start) / 1e6
        for place in range(3):
            for instance in past.instances(day):
                spells = past.around(instance.start_ms)[place][0].spells
                assert [spells[0].start_ms, spells[-1].end_ms] == [instance.start_ms, instance.end_ms]
                assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(spells))
                assert calendar.at(instance.start_ms) == instance


def test_the_first_machine_stands_still_three_or_four_times_a_month(plant):
    past = Past(plant.file.sites[0], 1)
    breakdowns: dict[str, int] = {}
    for day in dates(date(2026, 9, 30), 30):
        for fact in past.day(day):
            if isinstance(fact, f.StateChanged) and fact.reason == "breakdown":
                breakdowns[fact.work_unit] = breakdowns.get(fact.work_unit, 0) + 1
    assert set(breakdowns) == {"assembly/line-a/eq-501"}
    assert breakdowns["assembly/line-a/eq-501"] in {3, 4}


def test_every_quality_result_agrees_with_its_limits_and_the_first_lines_product_x_is_off(plant):
    found = [fact for day in dates(END, 6) for fact in Past(plant.file.sites[0], 1).day(day)]
    samples = [fact for fact in found if isinstance(fact, f.QualityMeasured)]
    assert all(one.passed == (one.low <= one.value <= one.high) for one in samples)
    torque = [one for one in samples if one.characteristic == "torque"]
    off = [one.value for one in torque if one.product == "PROD-X"]
    others = [one.value for one in torque if one.product != "PROD-X"]
    assert sum(off) / len(off) - sum(others) / len(others) > 0.6
    assert {unit.path for unit in plant.file.sites[0].work_units} == {one.work_unit for one in samples}


def test_the_command_writes_an_example_seeds_it_and_says_what_holds(tmp_path, capsys):
    from cloud.__main__ import main

    asked = ["seed", "--init", str(tmp_path / "plant"), "--days", "2", "--end", "2026-10-31"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "2026-10-30 to 2026-10-31, 3 lines" in said
    assert "BROKEN" not in said
    assert main(["seed", str(tmp_path / "plant" / "cloud.toml"), "--check"]) == 0
    assert "holds" in capsys.readouterr().out
    assert (tmp_path / "plant" / "credentials" / "seed.key").stat().st_mode & 0o077 == 0


def test_bad_wishes_are_refused_in_words(tmp_path, capsys):
    from cloud.__main__ import main

    with pytest.raises(SystemExit):
        main(["seed", "--init", str(tmp_path), "--end", "yesterday"])
    assert "no date" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["seed", "--init", str(tmp_path), "--end", "2999-01-01"])
    assert "between 2000 and 2100" in capsys.readouterr().err
    (tmp_path / "bare.toml").write_text('safe = "stored"\n')
    assert main(["seed", str(tmp_path / "bare.toml")]) != 0
