"""A line that nobody hears of: its shifts count when they are over, all of them unknown, from its first record on."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from cloud.config import Settings
from cloud.database import Database, migrate, open_database
from cloud.etl.recompute import differences, every_bucket, reaches
from cloud.marts import over
from cloud.plant import Plants
from tests.cloud.etl.conftest import corrected
from tests.cloud.gateway import LINE, LINE_2
from tests.cloud.marts.test_figures import DAY, HOUR, MORNING, MS, Hall, made, state
from tests.cloud.older import set_back


class Silent(Hall):
    """A hall whose shifts end while nothing comes."""

    async def pass_to(self, now_ms: int, plants: Plants | None = None) -> None:
        self.now_ms = now_ms
        while await self.database.write(lambda c: over.close(c, plants or self.plants, now_ms)) <= now_ms:
            pass
        await self.settle()

    async def shifts(self, line: str = LINE) -> list[tuple]:
        return await self.rows(
            "select start_ms, sum(calendar_ms), sum(scheduled_ms), sum(unknown_ms + planned_down_ms), sum(apt_ms)"
            " from mart_shift where work_unit=? group by start_ms order by start_ms",
            line,
        )

    async def right(self) -> bool:
        """Tell whether every mart is what the auditor and a rebuild come to."""
        every = await self.database.read(lambda c: every_bucket(self.plants, "demo", reaches(c, "demo", self.now_ms)))
        found = await self.database.read(lambda c: [differences(c, self.plants, b, self.now_ms) for b in every])
        return found.count([]) > 0 and not any(found)


async def test_a_shift_without_a_word_is_all_unknown_once_it_is_over(database: Database, plants: Plants) -> None:
    hall = Silent(database, plants)
    hall.now_ms = MORNING + 2 * HOUR
    await hall.tell(state((MORNING + HOUR) * MS, "EXECUTE"), made(MORNING + 2 * HOUR, 10, 9))
    await hall.pass_to(MORNING + 2 * HOUR)
    calendar = plants["demo", "seoul"].calendar
    assert len(await hall.shifts()) == 1  # nothing before its first record, nothing that still lasts
    end = MORNING + 2 * DAY + 9 * HOUR  # the cloud was down for two days
    await hall.pass_to(end)
    first, *silent = await hall.shifts()
    told = calendar.between(MORNING, calendar.at(end).start_ms)
    assert [row[0] for row in (first, *silent)] == [one.start_ms for one in told]
    assert (first[4], sum(first[3:])) == (HOUR, told[0].end_ms - MORNING)
    for row, one in zip(silent, told[1:], strict=True):
        length = one.end_ms - one.start_ms
        assert row[1:] == (length, length, length, 0)
    assert await hall.shifts(LINE_2) == []
    days = await hall.rows("select sum(calendar_ms) from mart_day")
    assert int(days[0][0]) == sum(one.end_ms - one.start_ms for one in told)  # TEEP's time has no hole
    assert await hall.right()
    versions = await hall.rows("select mart, version from mart_version order by mart")
    await hall.pass_to(end + 60_000)
    assert await hall.rows("select mart, version from mart_version order by mart") == versions
    assert await hall.rows("select 1 from dirty_bucket where due_ms<=?", hall.now_ms) == []


async def test_a_line_is_as_old_as_its_first_record_that_counts(database: Database, plants: Plants) -> None:
    hall = Silent(database, plants)
    hall.now_ms = MORNING + 3 * DAY + HOUR
    fact = made(MORNING + 2 * DAY + HOUR, 10, 9)
    await hall.tell(fact)
    await hall.pass_to(hall.now_ms)
    one = [row[0] for row in await hall.shifts()]
    assert one[0] == MORNING + 2 * DAY
    await hall.tell(made(MORNING + HOUR, 10, 9))  # a late one makes it older
    await hall.settle()
    assert [row[0] for row in await hall.shifts()][0] == MORNING
    assert len(await hall.shifts()) == len(one) + 6
    assert await hall.right()
    await hall.tell(made(MORNING - 500 * DAY, 10, 9))  # a wrong clock does not
    await hall.settle()
    assert len(await hall.shifts()) == len(one) + 7  # its own shift alone
    await hall.tell(corrected(hall.start, 2, 1, None), corrected(hall.start, 3, 1, None))
    await hall.settle()
    assert [row[0] for row in await hall.shifts()] == one  # taken back, it is as young as it was
    later = msgspec.structs.replace(fact, at=fact.at + DAY * MS, start=fact.start + DAY * MS)
    await hall.tell(corrected(hall.start, 1, 1, later))
    await hall.settle()
    assert [row[0] for row in await hall.shifts()] == [MORNING + 3 * DAY]
    assert await hall.right()


async def test_a_line_that_the_file_no_longer_names_keeps_its_shifts_and_gets_no_more(
    database: Database, plants: Plants
) -> None:
    hall = Silent(database, plants)
    hall.now_ms = MORNING + HOUR
    await hall.tell(made(MORNING + HOUR, 10, 9))
    await hall.pass_to(MORNING + DAY)
    before = await hall.shifts()
    file = plants.settings.file
    sites = [site.model_copy(update={"work_units": site.work_units[1:]}) for site in file.sites]
    assert LINE not in {unit.path for unit in sites[0].work_units}
    without = Plants(replace(plants.settings, file=file.model_copy(update={"sites": sites})))
    await hall.pass_to(MORNING + 9 * DAY, without)
    assert await hall.shifts() == before
    assert await hall.right()


async def test_an_older_database_gets_its_silent_shifts_once(settings: Settings, plants: Plants) -> None:
    async with open_database(settings.database_url) as database:
        hall = Silent(database, plants)
        began = hall.now_ms - 2 * DAY
        await hall.tell(made(began, 10, 9), state(began * MS, "EXECUTE"))
        await hall.pass_to(hall.now_ms)
        before = await hall.shifts()
        assert len(before) > 5
    tables = ("gateway", "incarnation", "fact", "work_unit", "equipment_state", "production", "dirty_bucket")
    tables += ("mart_version", "mart_hour")
    set_back(settings.database_url, "0011", tables)
    migrate(settings.database_url)
    async with open_database(settings.database_url) as database:
        hall = Silent(database, plants)
        counted = await hall.rows("select mart, row_count from mart_version where row_count>0")
        assert counted == [("mart_hour", 1)]
        await hall.database.write(
            lambda c: c.execute("insert into dirty_bucket values('demo','seoul',?,'all',0,1,0)", (LINE,))
        )
        await hall.settle()
        assert len(await hall.shifts()) == 1
        await hall.pass_to(hall.now_ms)
        assert await hall.shifts() == before
