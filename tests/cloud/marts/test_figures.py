"""The five mv_ tables by example, where a naive reading of the older definitions goes wrong (F1 to F7)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from cloud.database import Connection, Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.corrections import Corrected
from tests.cloud.gateway import LINE, LINE_2, Start, produced, state, verdict

MS = 1_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 1_772_700_000_000  # 2026-03-05 17:40 in Seoul, in shift B
MORNING = 1_772_571_600_000  # 2026-03-04 06:00 in Seoul: shift A begins


class Hall:
    """A cloud with one gateway, its clock, and its refresher."""

    def __init__(self, database: Database, plants: Plants) -> None:
        self.database, self.plants, self.now_ms = database, plants, NOW
        self.start, self.ingest = Start(), Ingest(plants, self)
        self.begun = False

    def now(self) -> int:
        return self.now_ms * MS

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)

    async def tell(self, *facts: f.Fact) -> None:
        items = [] if self.begun else [Item(self.start.address, self.start.resume())]
        self.begun = True
        items.append(Item(self.start.address, *self.start.facts(*facts)))
        await self.database.write(lambda c: self.ingest.store(c, items))

    async def settle(self) -> None:
        while await self.database.write(lambda c: refresh(c, self.plants, self.now_ms + 4_000)):
            pass

    async def rows(self, sql: str, *values: object) -> list[tuple]:
        return await self.database.read(lambda c: c.execute(sql, values))


@pytest.fixture
def hall(database: Database, plants: Plants) -> Hall:
    return Hall(database, plants)


def made(at_ms: int, total: int, good: int, *, minutes: int = 1, **more) -> f.Fact:
    return produced((at_ms - minutes * 60_000) * MS, at_ms * MS, total, good, **more)


async def test_several_defect_types_do_not_multiply_production(hall: Hall) -> None:
    """F1: a day with three defect types and 1,000 pieces has 1,000 pieces."""
    kinds = {"scratch": 30, "label": 20, "underfill": 10}
    await hall.tell(made(MORNING + HOUR, 1000, 940, minutes=50, defects=kinds))
    await hall.settle()
    sql = "select produced, rejected, classified, defect_rate, top_defects from mv_defect_trend"
    ((*figures, top),) = await hall.rows(sql)
    assert figures == [1000, 60, 60, pytest.approx(0.06)]
    assert json.loads(top) == [["scratch", 30], ["label", 20], ["underfill", 10]]
    assert await hall.rows("select produced, classified, defect_rate_pct from mv_quality_summary") == [
        (1000, 60, pytest.approx(6.0))
    ]


async def test_seven_days_are_a_ratio_of_sums_over_calendar_days(hall: Hall) -> None:
    """F2: one bad piece beside 9,999 good ones is 0.01 %, not 50 %; and a week without work is no part of it."""
    await hall.tell(
        made(MORNING - 9 * DAY + HOUR, 5, 0),
        made(MORNING - DAY + HOUR, 9_999, 9_999, minutes=300),
        made(MORNING + HOUR, 1, 0, cycle_ms=1000.0),
    )
    await hall.settle()
    rows = await hall.rows("select defect_rate, defect_rate_7d, trend from mv_defect_trend order by business_date")
    assert rows == [(1.0, 1.0, None), (0.0, 0.0, None), (1.0, pytest.approx(1 / 10_000), "increasing")]


async def test_a_late_fact_moves_the_six_days_after_it_and_no_other(hall: Hall) -> None:
    days = range(9)
    await hall.tell(*[made(MORNING - (8 - day) * DAY + HOUR, 100, 90) for day in days])
    await hall.settle()
    sql = "select business_date, defect_rate_7d from mv_defect_trend order by business_date"
    before = await hall.rows(sql)
    await hall.tell(made(MORNING - 8 * DAY + 2 * HOUR, 100, 0))
    touched = await hall.rows("select mart, count(*) from dirty_bucket group by mart order by mart")
    assert touched == [("hour", 1), ("shift", 1)]
    await hall.settle()
    after = await hall.rows(sql)
    assert [one != other for one, other in zip(before, after, strict=True)] == [True] * 7 + [False] * 2


async def test_a_mix_of_products_is_weighed_with_the_time_each_takes(hall: Hall) -> None:
    """F3: 100 at 60 s and 900 at 10 s in 300 minutes are 83.3 %, not 194.4 %."""
    start = MORNING + 8 * HOUR  # shift B has no break
    await hall.tell(
        state(start * MS, "EXECUTE"),
        made(start + 150 * 60_000, 100, 100, minutes=140, cycle_ms=60_000.0, product="slow"),
        made(start + 300 * 60_000, 900, 900, minutes=140, cycle_ms=10_000.0, product="fast"),
        state((start + 300 * 60_000) * MS, "STOPPED", "no_order"),
        state((start + 480 * 60_000) * MS, "STOPPED", "no_order"),
    )
    await hall.settle()
    sql = "select performance, availability, quality, oee, performance_pct from mv_oee_daily where shift='B'"
    assert await hall.rows(sql) == [(pytest.approx(0.8333, abs=1e-4), 1, 1, pytest.approx(0.8333, abs=1e-4), pytest.approx(83.33, abs=0.01))]  # fmt: skip


async def test_faster_than_ideal_is_shown_as_full_speed_and_flagged(hall: Hall) -> None:
    start = MORNING + 8 * HOUR
    await hall.tell(
        state(start * MS, "EXECUTE"),
        made(start + HOUR, 120, 120, minutes=60, cycle_ms=60_000.0),
        state((start + HOUR) * MS, "STOPPED", "no_order"),
        state((start + 8 * HOUR) * MS, "STOPPED", "no_order"),
    )
    await hall.settle()
    rows = await hall.rows("select performance, effectiveness, implausible from mv_oee_daily where shift='B'")
    assert rows == [(1.0, 2.0, 1)]


async def test_setup_is_a_loss_of_availability_everywhere_and_both_figures_are_told(hall: Hall) -> None:
    """F4: one definition; what availability were without setup stands beside it under a name of its own."""
    start = MORNING + 8 * HOUR
    await hall.tell(
        state(start * MS, "EXECUTE"),
        state((start + 4 * HOUR) * MS, "STOPPED", "changeover"),
        state((start + 6 * HOUR) * MS, "HELD", "jam"),
        state((start + 8 * HOUR) * MS, "EXECUTE"),
    )
    await hall.settle()
    for table, where in (("mv_oee_daily", "shift='B'"), ("mv_line_performance", "1=1")):
        sql = f"select availability, availability_excl_setup, setup_ms from {table} where business_date='2026-03-04' and {where}"
        ((whole, without, setup),) = await hall.rows(sql)
        assert setup == 2 * HOUR
        if table == "mv_oee_daily":
            assert (whole, without) == (0.5, pytest.approx(4 / 6))
    assert await hall.rows("select sum(failures), sum(setup_ms) from mart_shift") == [(1, 2 * HOUR)]


async def test_no_data_is_null_with_a_reason_and_never_zero(hall: Hall) -> None:
    """F5: a line that stood still on purpose has no OEE; one that was planned and made nothing has a true 0."""
    start = MORNING + 8 * HOUR
    await hall.tell(
        state(start * MS, "STOPPED", "no_order"),
        state((start + 8 * HOUR) * MS, "STOPPED", "no_order"),
        state(start * MS, "HELD", "jam", line=LINE_2),
        state((start + 8 * HOUR) * MS, "HELD", "jam", line=LINE_2),
    )
    await hall.settle()
    sql = (
        "select work_unit, oee, availability, performance, reason from mv_oee_daily where shift='B' order by work_unit"
    )
    assert (await hall.rows(sql))[:2] == [(LINE, None, None, None, "no_plan"), (LINE_2, 0.0, 0.0, None, None)]


async def test_an_alarm_counts_on_its_own_line_and_a_line_has_one_row_a_day(hall: Hall) -> None:
    """F6: two lines, one alarm, three shifts."""
    for line in (LINE, LINE_2):
        await hall.tell(*[made(MORNING + (1 + 8 * i) * HOUR, 10, 10, line=line) for i in range(3)])
    at = (MORNING + HOUR) * MS
    await hall.tell(f.AlarmChanged(at=at, work_unit=LINE, alarm="hot", active=True, severity="critical"))
    await hall.tell(f.AlarmChanged(at=at + 5, work_unit=LINE, alarm="hot", active=False, severity="critical"))
    await hall.settle()
    sql = "select work_unit, alarm_count, produced, performance_rank from mv_line_performance order by work_unit"
    assert await hall.rows(sql) == [(LINE, 1, 30, None), (LINE_2, 0, 30, None)]


async def test_on_the_stroke_of_the_shift_work_ends_in_the_old_one_and_samples_are_of_the_new(hall: Hall) -> None:
    stroke = MORNING + 8 * HOUR
    sample = f.QualityMeasured(
        at=stroke * MS, work_unit=LINE, characteristic="weight", value=1.0, unit="GRM", passed=True
    )
    await hall.tell(made(stroke, 7, 7), verdict(stroke * MS), sample)
    await hall.settle()
    for mart, begin in (("mart_order", MORNING), ("mart_judgment", MORNING), ("mart_quality", stroke)):
        assert await hall.rows(f"select start_ms from {mart}") == [(begin,)], mart


async def test_lines_are_ranked_by_score_and_equal_ones_share_a_rank(hall: Hall) -> None:
    third = "bottling/line-3/filler"
    start = MORNING + 8 * HOUR
    for line, total in ((LINE, 90), (LINE_2, 90), (third, 45)):
        order = f.JobOrderPlanned(
            at=start * MS, work_unit=line, order="O", product="P1", quantity=100,
            start=start * MS, end=(start + 8 * HOUR) * MS, state="running",
        )  # fmt: skip
        idle = [state((start + 8 * n * HOUR) * MS, "STOPPED", "no_order", line=line) for n in (1, 2)]
        await hall.tell(
            order,
            state(start * MS, "EXECUTE", line=line),
            *idle,
            made(start + 8 * HOUR, total, total, minutes=400, line=line),
        )
    await hall.settle()
    sql = "select work_unit, performance_score, performance_rank, achievement_rate from mv_line_performance where business_date='2026-03-04'"
    assert sorted(await hall.rows(sql)) == [
        (LINE, pytest.approx(97.0), 1, 0.9),
        (LINE_2, pytest.approx(97.0), 1, 0.9),
        (third, pytest.approx(83.5), 3, 0.45),
    ]


async def test_what_did_not_change_is_not_written(hall: Hall) -> None:
    """F7: only touched buckets are recomputed, and one that comes out the same keeps its version."""
    await hall.tell(made(MORNING + HOUR, 10, 9), made(MORNING + 9 * HOUR, 10, 9))
    await hall.settle()
    before = await hall.rows("select mart, version from mart_version order by mart")
    await hall.database.write(
        lambda c: c.execute("update dirty_bucket set due_ms=0") or c.execute(
            "insert into dirty_bucket select distinct tenant, site, work_unit, 'shift', start_ms, 1, 0 from mart_shift"
        )
    )  # fmt: skip
    await hall.settle()
    assert await hall.rows("select mart, version from mart_version order by mart") == before


async def test_a_bucket_that_is_touched_while_it_is_computed_is_computed_again(hall: Hall) -> None:
    """A trigger stands for the fact that another process commits between our reading and our writing."""
    meanwhile = "update dirty_bucket set gen=gen+1 where mart='shift'"

    def watch(connection: Connection) -> None:
        when = "create trigger meanwhile after insert on mart_shift"
        if not hall.database.postgresql:
            connection.execute(f"{when} begin {meanwhile}; end")
            return
        body = f"begin {meanwhile}; return null; end"
        connection.execute(f"create function meanwhile() returns trigger language plpgsql as $${body}$$")
        connection.execute(f"{when} for each statement execute function meanwhile()")

    await hall.database.write(watch)
    await hall.tell(made(MORNING + HOUR, 10, 8))
    await hall.database.write(lambda c: refresh(c, hall.plants, NOW))
    assert await hall.rows("select start_ms from dirty_bucket where mart='shift'") == [(MORNING,)]
    await hall.settle()  # what comes out the same is not written: nothing happens meanwhile
    assert await hall.rows("select start_ms from dirty_bucket where mart='shift'") == []


async def test_another_name_of_a_defect_or_a_stop_reaches_the_day_though_no_sum_of_the_shift_moves(hall: Hall) -> None:
    scratched = made(MORNING + HOUR, 10, 8, scrap=2, defects={"scratch": 2})
    held = state((MORNING + HOUR) * MS, "HELD", "jam")
    await hall.tell(scratched, held, state((MORNING + 2 * HOUR) * MS, "EXECUTE"))
    await hall.settle()
    stop = "select reason from mart_day_stop where reason in ('jam', 'no_label')"
    assert await hall.rows(stop) == [("jam",)]
    about: dict[str, Any] = {"inc": hall.start.inc, "stream": int(f.Stream.EVENT), "rev": 1, "by": "kim", "reason": "?"}

    async def correct(seq: int, right: f.Fact) -> None:
        await hall.tell(Corrected(at=NOW * MS, work_unit="", seq=seq, replacement=to_builtins(right), **about))
        await hall.settle()

    await correct(1, replace(scratched, defects={"label": 2}))
    assert await hall.rows("select defect, quantity from mart_day_defect") == [("label", 2)]
    assert [json.loads(top) for (top,) in await hall.rows("select top_defects from mv_defect_trend")] == [
        [["label", 2]]
    ]
    await correct(2, replace(held, reason="no_label"))
    assert await hall.rows(stop) == [("no_label",)]


async def test_planned_pieces_of_neighbouring_shifts_add_up_to_the_order(hall: Hall) -> None:
    start = MORNING + 3 * HOUR + 17
    order = f.JobOrderPlanned(
        at=start * MS, work_unit=LINE, order="O", product="P1", quantity=1_000,
        start=start * MS, end=(start + 13 * HOUR + 7) * MS, state="planned",
    )  # fmt: skip
    await hall.tell(order)
    await hall.settle()
    sql = "select shift, planned_micro from mart_shift where planned_micro<>0 order by start_ms"
    rows = await hall.rows(sql)
    assert [shift for shift, _ in rows] == ["A", "B", "C"]
    assert sum(micro for _, micro in rows) == 1_000 * 10**6
    await hall.tell(f.JobOrderPlanned(**{**{n: getattr(order, n) for n in order.__struct_fields__}, "at": start * MS + 1, "state": "cancelled"}))  # fmt: skip
    await hall.settle()
    assert await hall.rows(sql) == []


def counted(at_ms: int, quantity: float, usage: float | None = None, material: str = "resin") -> f.Fact:
    return f.InventoryCounted(
        at=at_ms * MS, work_unit="", material=material, location="W1", quantity=quantity, unit="KGM", daily_usage=usage
    )


async def test_stock_lasts_as_long_as_the_mean_usage_says_and_status_follows_the_safety_stock(hall: Hall) -> None:
    await hall.tell(counted(MORNING, 500, 40.0), counted(MORNING + HOUR, 120, 40.0), counted(MORNING + DAY, 60, 20.0))
    await hall.settle()
    sql = "select stock, avg_daily_usage, coverage_days, reason, stock_status, needs_reorder, reorder_qty from mv_inventory_coverage order by business_date"
    assert await hall.rows(sql) == [
        (120.0, 40.0, 3.0, None, None, None, None),
        (60.0, 30.0, 2.0, None, None, None, None),
    ]
    await hall.database.write(
        lambda c: (
            c.execute("update dim_material set safety_micro=50000000")
            or c.execute("insert into dirty_bucket values('demo','seoul','','all',0,1,0)")
        )
    )
    await hall.settle()
    assert [row[4:] for row in await hall.rows(sql)] == [("normal", 0, 0.0), ("low", 1, 15.0)]


LEVELS = {49.999: "critical", 50: "low", 74.999: "low", 75: "normal", 150: "normal", 150.001: "excess"}
"""Stock → status, at a safety stock of 50 and so a reorder point of 75: a level that is reached exactly is kept."""


async def test_a_level_of_the_stock_that_is_reached_exactly_is_kept(hall: Hall) -> None:
    await hall.tell(*(counted(MORNING, stock, 1.0, material=f"m{stock}") for stock in LEVELS))
    await hall.settle()
    again = "insert into dirty_bucket values('demo','seoul','','all',0,1,0)"
    await hall.database.write(lambda c: c.execute("update dim_material set safety_micro=50000000") or c.execute(again))
    await hall.settle()
    told = await hall.rows("select stock, stock_status, needs_reorder from mv_inventory_coverage")
    assert sorted(told) == [(stock, status, int(stock < 75)) for stock, status in LEVELS.items()]


@pytest.mark.parametrize(
    ("quantity", "usage", "reason"), [(5, None, "no_usage"), (5, 0.0, "no_demand"), (-1, 3.0, "below_zero")]
)
async def test_a_stock_without_demand_has_no_coverage_and_says_why(
    hall: Hall, quantity: float, usage: float | None, reason: str
) -> None:
    await hall.tell(counted(MORNING, quantity, usage))
    await hall.settle()
    assert await hall.rows("select coverage_days, reason from mv_inventory_coverage") == [(None, reason)]
