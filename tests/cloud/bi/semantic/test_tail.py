"""The hall and a question say the same OEE of the running shift, whatever was silent."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.bi.overview import overview
from cloud.bi.semantic.plan import Filter, Period
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.snapshot import Snapshot
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from tests.cloud.gateway import LINE, LINE_2, Start, produced, state

MS = 1_000_000
MINUTE = 60_000
HERE = f"seoul:{LINE}"
THIS = Period(relative="this_shift")
PARTS = ("oee", "availability", "effectiveness", "quality_ratio")
BEGIN = 1_774_854_000_000 - 1_774_854_000_000 % 86_400_000 + 21 * 3_600_000
"""06:00 at Seoul: the begin of shift A, whose break is from 10:00 to 10:15."""


async def tell(database: Database, plants: Plants, until: int) -> None:
    """One line that produced and stood until a minute of its shift, and one that said nothing of this shift."""
    at = BEGIN + until * MINUTE
    facts = [
        state((BEGIN + 2 * MINUTE) * MS, "EXECUTE"),
        state((BEGIN + 40 * MINUTE) * MS, "ABORTED", "jam"),
        state((BEGIN + 55 * MINUTE) * MS, "EXECUTE"),
        produced(BEGIN * MS, at * MS, 900, 850, scrap=50, cycle_ms=2_500.0),
        state((BEGIN - 600 * MINUTE) * MS, "EXECUTE", line=LINE_2),
    ]
    start = Start()
    items = [Item(start.address, start.resume()), Item(start.address, *start.facts(*facts))]
    await database.write(lambda c: Ingest(plants).store(c, items))
    await database.write(lambda c: c.execute("update dirty_bucket set due_ms=0"))  # the ledger reads the wall's clock
    while await database.write(lambda c: refresh(c, plants, at + 20_000)):
        pass


@pytest.mark.parametrize(
    ("until", "now"),
    [(60, 60.2), (60, 61), (60, 75), (230, 250), (230, 480 + 30), (60, 479.99)],
    ids=["fresh", "just silent", "silent", "silent through a break", "the next shift", "to the end"],
)
async def test_the_hall_and_a_question_say_the_same(database: Database, plants: Plants, until: int, now: float) -> None:
    await tell(database, plants, until)
    at = BEGIN + int(now * MINUTE)

    def read(connection: Any) -> None:
        hall = overview(connection, plants, "demo", now_ms=at, link={})
        look = Snapshot(connection, plants, Scope("demo"), at)
        rows = {row.keys[0]: row for row in look.table(PARTS, period=THIS, dimensions=("line",)).rows}
        assert (HERE in rows) == (now < 480)
        for card in hall["lines"]:
            row = rows.get(f"{card['site']}:{card['work_unit']}") or rows.get(card["work_unit"])
            if row is None:
                assert card["oee"]["oee"] is None
                continue
            assert [cell.value for cell in row.cells] == [card["oee"][name] for name in PARTS], card
            assert row.cells[0].reason == card["oee"]["reason"]
        # … split or not, and by whichever mart.
        lines = (Filter(dimension="line", values=(HERE,)),)
        one = look.table(PARTS, period=THIS, filters=lines).rows
        if HERE in rows:
            assert one[0].cells == rows[HERE].cells
        times = ("setup_time", "delay_time", "downtime", "planned_downtime", "unknown_time")
        day = look.table((*times, "calendar_time", "production_time"), period=Period(relative="today"), filters=lines)
        stops = look.table(("stop_time",), period=Period(relative="today"), filters=lines, dimensions=("time_element",))
        if day.rows:
            assert day.mart == ("mart_day",)
            values = [cell.numerator for cell in day.rows[0].cells]
            assert sum(values[:5]) == sum(row.cells[0].numerator for row in stops.rows)
            assert sum(values[:5]) + values[6] == values[5]
            shift = look.table(times, period=Period(relative="today"), filters=lines, grain="shift")
            assert [sum(row.cells[i].numerator for row in shift.rows) for i in range(5)] == values[:5]

    await database.read(read)


async def test_a_filter_on_a_product_does_not_count_the_silence(database: Database, plants: Plants) -> None:
    await tell(database, plants, 60)
    at = BEGIN + 75 * MINUTE

    def read(connection: Any) -> None:
        look = Snapshot(connection, plants, Scope("demo"), at)
        seoul = (Filter(dimension="site", values=("seoul",)),)
        rows = look.table(("unknown_time",), period=THIS, dimensions=("product",), filters=seoul).rows
        assert {row.keys[0]: row.cells[0].value for row in rows} == {"": 120 + 15 * 60, "P1": 0}
        only = (Filter(dimension="product", values=("P1",)),)
        assert look.table(("unknown_time",), period=THIS, filters=only).rows[0].cells[0].value == 0

    await database.read(read)


async def test_silence_of_a_line_that_is_not_asked_for_is_not_counted(database: Database, plants: Plants) -> None:
    await tell(database, plants, 60)
    at = BEGIN + 75 * MINUTE
    other = (Filter(dimension="line", op="not_in", values=(HERE,)),)

    def read(connection: Any) -> None:
        whole = Snapshot(connection, plants, Scope("demo"), at)
        narrow = Snapshot(connection, plants, Scope("demo", lines=frozenset({("seoul", LINE_2)})), at)
        everybody = whole.table(("unknown_time",), period=THIS, dimensions=("line",)).rows
        rest = sum(row.cells[0].numerator for row in everybody if row.keys != (HERE,))
        for rows in (
            whole.table(("unknown_time",), period=THIS, filters=other).rows,
            narrow.table(("unknown_time",), period=THIS).rows,
        ):
            assert sum(row.cells[0].numerator for row in rows) == rest
        assert sum(row.cells[0].numerator for row in everybody) > rest

    await database.read(read)
