from __future__ import annotations

import random
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloud.config import Settings, load
from cloud.database import Database, open_database
from cloud.marts import dimensions
from cloud.plant import Plants
from sync import facts as f
from sync.settings import ConfigError
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import LINE, state
from tests.cloud.marts.test_figures import HOUR, MORNING, MS, NOW, Hall, made

FACTS = ("production", "defect", "state", "judgment", "inventory", "energy", "quality", "sensor_minute")


@pytest.fixture
def hall(database: Database, plants: Plants) -> Hall:
    return Hall(database, plants)


def defined(at_ms: int, name: str, cycle: float) -> f.Fact:
    return f.ProductDefined(at=at_ms * MS, work_unit="", product="P1", name={"en": name}, ideal_cycle_ms={LINE: cycle})


async def test_a_late_fact_meets_the_version_of_its_product_that_was_true_at_its_time(hall: Hall) -> None:
    versions = [defined(MORNING + n * HOUR, name, 1000.0 + n) for n, name in ((2, "one"), (4, "two"), (6, "three"))]
    random.Random(3).shuffle(versions)
    for one in versions:
        await hall.tell(one)
    await hall.tell(*[made(MORNING + n * HOUR - 60_000, 10 + n, 10) for n in (7, 3, 5, 1)])  # the latest comes first
    rows = await hall.rows(
        "select p.produced, v.name, v.inferred from fact_production p join dim_product v"
        " on v.version_id = p.product_version order by p.produced"
    )
    assert [(n, name) for n, name, _ in rows] == [
        (11, "{}"),
        (13, '{"en":"one"}'),
        (15, '{"en":"two"}'),
        (17, '{"en":"three"}'),
    ]
    assert [inferred for *_, inferred in rows] == [1, 0, 0, 0]


async def test_a_definition_that_says_nothing_new_makes_no_version(hall: Hall) -> None:
    for hours in (5, 1, 3):  # every morning's transfer from the MES says the same
        await hall.tell(defined(MORNING + hours * HOUR, "one", 1000.0))
    rows = await hall.rows("select valid_from_ms, valid_to_ms, inferred from dim_product order by valid_from_ms")
    begin = MORNING + HOUR
    assert rows == [(0, begin, 1), (begin, None, 0)]


async def test_codes_that_nobody_told_of_become_inferred_members_until_somebody_does(hall: Hall) -> None:
    context = f.Context(order="O9", product="P9", lot="L9")
    at = (MORNING + HOUR) * MS
    pieces = f.Produced(
        at=at, start=at - 10**12, work_unit=LINE, produced=9, good=5, defects={"odd": 4}, context=context
    )  # fmt: skip
    await hall.tell(pieces, state(MORNING * MS, "HELD", "gremlins"))
    await hall.settle()
    for sql, found in (
        ("select product, inferred from dim_product where product='P9'", [("P9", 1)]),
        ("select job_order, product, lot, inferred from dim_order", [("O9", "P9", "L9", 1)]),
        ("select lot, product, inferred from dim_lot", [("L9", "P9", 1)]),
        ("select defect, inferred from dim_defect_type", [("odd", 1)]),
        ("select inferred from dim_stop_reason where reason='gremlins'", [(1,)]),
        ("select work_unit, inferred from dim_line", [(LINE, 1)]),
    ):
        assert await hall.rows(sql) == found, sql
    told = f.LotDefined(at=at, work_unit="", lot="L9", product="P9", state="released")
    order = f.JobOrderPlanned(
        at=at,
        work_unit=LINE,
        order="O9",
        product="P9",
        lot="L9",
        quantity=5,
        start=at,
        end=at + 10**12,
        state="running",
    )
    await hall.tell(told, order)
    await hall.database.write(lambda c: dimensions.fill(c, hall.plants, NOW))
    await hall.settle()
    assert await hall.rows("select state, inferred from dim_lot") == [("released", 0)]
    assert await hall.rows("select state, inferred from dim_order") == [("running", 0)]
    assert await hall.rows("select name_en, inferred from dim_line where work_unit=?", LINE) == [("Line 1", 0)]


async def test_every_date_has_its_iso_week_its_fiscal_year_and_its_holidays(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    path = write_cloud_toml(tmp_path, database_url)
    text = path.read_text().replace('timezone = "Asia/Seoul"', 'timezone = "Asia/Seoul"\ncountry = "KR"')
    path.write_text("fiscal_year_starts = 4\n" + text)
    plants = Plants(load(path))
    await database.write(lambda c: dimensions.fill(c, plants, NOW))
    before = await database.read(lambda c: c.execute("select count(*), count(distinct date) from dim_date"))
    assert before == [(4018, 4018)]
    columns = "iso_year, iso_week, day_of_week, is_weekend, is_holiday, fiscal_year, fiscal_quarter, fiscal_month"
    days = {
        "2027-01-01": (2026, 53, 4, 0, 1, 2026, 4, 10),  # a Friday of the year before, by ISO
        "2026-02-17": (2026, 8, 1, 0, 1, 2025, 4, 11),  # the lunar new year
        "2026-04-01": (2026, 14, 2, 0, 0, 2026, 1, 1),
        "2024-02-29": (2024, 9, 3, 0, 0, 2023, 4, 11),
    }
    for day, wanted in days.items():
        found = await database.read(
            lambda c, day=day: c.execute(f"select {columns} from dim_date where date=?", (day,))
        )
        assert found == [wanted], day
    assert await database.read(lambda c: c.execute("select count(*), min(label), max(label) from dim_time")) == [
        (1440, "00:00", "23:59")
    ]
    await database.write(lambda c: dimensions.fill(c, plants, NOW))  # again: nothing twice
    assert await database.read(lambda c: c.execute("select count(*), count(distinct date) from dim_date")) == before


def test_a_country_without_known_holidays_is_said(tmp_path: Path) -> None:
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db")
    path.write_text(path.read_text().replace('timezone = "Asia/Seoul"', 'timezone = "Asia/Seoul"\ncountry = "XX"'))
    with pytest.raises(ConfigError, match="no holidays are known"):
        load(path)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 28), 7.5),
        ("America/New_York", (2026, 10, 31), 9.5),
        ("Australia/Lord_Howe", (2026, 4, 4), 9.0),
        ("Asia/Seoul", (2026, 3, 28), 8.5),
    ],
)
async def test_a_night_over_the_switch_is_planned_as_long_as_it_is_and_counts_on_the_day_it_began(
    zone: str, day: tuple[int, int, int], hours: float, tmp_path: Path
) -> None:
    """Shift C lasts from 22:00 to 06:00 with half an hour of break; here it begins at 21:30."""
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db")
    text = path.read_text().replace('timezone = "Asia/Seoul"', f'timezone = "{zone}"')
    text = text.replace("start = 22:00:00", "start = 21:30:00").replace("end = 22:00:00", "end = 21:30:00")
    path.write_text(text)
    settings: Settings = load(path)
    async with open_database(settings.database_url) as database:
        hall = Hall(database, Plants(settings))
        begin = int(datetime(*day, 21, 30, tzinfo=ZoneInfo(zone)).timestamp() * 1000)
        hall.now_ms = begin + 24 * HOUR
        await hall.tell(state(begin * MS, "EXECUTE"), state((begin + 20 * HOUR) * MS, "HELD", "jam"))
        await hall.settle()
        await database.write(lambda c: dimensions.fill(c, hall.plants, hall.now_ms))
        row = await hall.rows("select business_date, scheduled_ms, apt_ms from mart_shift where shift='C'")
        length = int(hours * HOUR)
        assert row[0] == (date(*day).isoformat(), length, length)
        instance = "select i.end_ms - i.start_ms, i.break_ms, i.zone from dim_shift_instance i where i.start_ms=?"
        breaks = HOUR // 2
        assert await hall.rows(instance, begin) == [(length, breaks, zone)]
        sql = "select sum(apt_ms), sum(scheduled_ms) from mart_day where business_date=?"
        assert (await hall.rows(sql, date(*day).isoformat()))[0][0] == length
        closure = "select count(*) from mart_shift where scheduled_ms<>apt_ms+setup_ms+delay_ms+down_ms+planned_down_ms+unknown_ms or calendar_ms<scheduled_ms"
        assert await hall.rows(closure) == [(0,)]


async def test_every_fact_of_the_star_can_be_asked(hall: Hall) -> None:
    await hall.tell(made(MORNING + HOUR, 9, 5, energy_wh=7, defects={"odd": 4}), state(MORNING * MS, "HELD", "jam"))
    await hall.database.write(lambda c: dimensions.fill(c, hall.plants, NOW))
    for name in FACTS:
        assert isinstance(await hall.rows(f"select count(*) from fact_{name}"), list)
    ((start, energy),) = await hall.rows("select shift_start_ms, energy_wh from fact_energy")
    assert (start, energy) == (MORNING, 7)
    sql = "select i.shift, i.business_date from fact_state s join dim_shift_instance i on i.start_ms = s.shift_start_ms and i.site = s.site"
    assert await hall.rows(sql) == [("A", "2026-03-04")]


async def test_targets_of_the_file_hold_until_they_are_taken_out_of_it(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    path = write_cloud_toml(tmp_path, database_url)
    plain, told = path.read_text(), "select work_unit, kpi, target, set_by from kpi_target order by set_by, work_unit"
    await database.write(
        lambda c: c.execute("insert into kpi_target values('demo','seoul','','mttr',5.0,10.0,20.0,'somebody',1)")
    )
    unit = "bottling/line-1/filler"
    aims = "".join(
        f'[[site.target]]\nkpi = "oee"\nwork_unit = "{line}"\ntarget = {aim}\nwarning = 0.5\ncritical = 0.4\n'
        for line, aim in (("", 0.8), (unit, 0.9))
    )
    others = ("", "mttr", 5.0, "somebody")
    for text, wanted in (
        (plain + aims, [("", "oee", 0.8, "cloud.toml"), (unit, "oee", 0.9, "cloud.toml"), others]),
        (plain, [others]),
    ):
        path.write_text(text)
        plants = Plants(load(path))
        await database.write(lambda c, plants=plants: dimensions.fill(c, plants, NOW))
        assert await database.read(lambda c: c.execute(told)) == wanted


async def test_safety_stocks_of_the_file_hold_until_they_are_taken_out_of_it(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    path = write_cloud_toml(tmp_path, database_url)
    plain = path.read_text()
    told = '[[site.material]]\nid = "caps"\nunit = "C62"\nsafety_stock = 100\n'
    others = '[[site.material]]\nid = "resin"\nunit = "KGM"\nsafety_stock = 50.5\nreorder_point = 60\n'
    hall = Hall(database, Plants(load(path)))
    stocks = [("caps", 120.0, "C62"), ("resin", 55.0, "GRM"), ("sugar", 9.0, "KGM")]
    await hall.tell(
        *[
            f.InventoryCounted(at=MORNING * MS, work_unit="", material=m, location="W1", quantity=q, unit=unit)
            for m, q, unit in stocks
        ]
    )
    await hall.settle()
    await database.write(lambda c: c.execute("update dim_material set safety_micro=8000000 where material='sugar'"))
    by_sql = ("sugar", 8.0, "low", 1, 3.0)
    for text, wanted in (
        (plain + told + others, [("caps", 100.0, "low", 1, 30.0), ("resin", None, None, None, None), by_sql]),
        (plain + told.replace("100", "20"), [("caps", 20.0, "excess", 0, 0.0), ("resin", *[None] * 4), by_sql]),
        (plain, [("caps", *[None] * 4), ("resin", *[None] * 4), by_sql]),
    ):
        path.write_text(text)
        plants = Plants(load(path))
        await database.write(lambda c, plants=plants: dimensions.fill(c, plants, NOW))
        await hall.settle()
        rows = "select material, safety_stock, stock_status, needs_reorder, reorder_qty from mv_inventory_coverage"
        assert await hall.rows(f"{rows} order by material") == wanted
        await database.write(lambda c, plants=plants: dimensions.fill(c, plants, NOW))  # the next day: nothing to do
        assert await hall.rows("select 1 from dirty_bucket where due_ms<=?", NOW) == []
