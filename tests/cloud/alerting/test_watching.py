"""Watches over real marts: what is raised, told, acknowledged and cleared, through database, API and restarts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from cloud.alerting import listing, rows, telling, watching
from cloud.alerting.listing import Wanted
from cloud.alerting.rows import Watch
from cloud.api.desk import Desk
from cloud.api.errors import ApiError
from cloud.bus import Bus
from cloud.database import Database
from cloud.plant import Plants
from tests.cloud.reports.conftest import NOW_MS

MIN = 60_000
LINE = "bottling/line-1/filler"
WATCH = Watch(
    tenant="demo",
    site="seoul",
    work_unit=LINE,
    name="OEE of line 1",
    metric="oee",
    period="last_7_days",
    side="below",
    level=0.99,
    margin=0.005,
    for_s=60,
    severity="critical",
    changed_by="test",
)


async def once(database: Database, plants: Plants, at: int) -> int:
    return await watching.once(database, plants, Bus(), at)


async def standing(database: Database) -> list[str]:
    page = await database.read(lambda c: listing.page(c, "demo", Wanted(state="standing"), page=1, page_size=50))
    return [item["kind"] for item in page["items"]]


async def test_a_figure_beyond_its_level_is_raised_once_told_acknowledged_and_cleared_when_it_recovers(
    worked: Database, plants: Plants
) -> None:
    number = await worked.write(lambda c: rows.put(c, WATCH))
    steps = [await once(worked, plants, NOW_MS + k * 30_000) for k in range(4)]
    assert steps == [0, 0, 1, 0]
    desk = Desk(worked, plants, Bus())
    found = await desk.alerts("demo", Wanted(), page=1, page_size=20)
    (alert,) = found["items"]
    assert (found["total"], alert["severity"], alert["watch"], alert["work_unit"]) == (1, "critical", number, LINE)
    assert alert["detail"]["level"] == 0.99
    shown = (await desk.watch("demo", number))["standing"]
    assert shown["state"] == "firing"
    assert alert["detail"]["value"] == pytest.approx(shown["value"], rel=0.01)  # the shift runs on
    # Another process, after a restart, looks at the same: nothing is raised or told twice.
    await asyncio.gather(
        once(worked, Plants(plants.settings), NOW_MS + 3 * MIN), once(worked, plants, NOW_MS + 3 * MIN)
    )
    assert await standing(worked) == ["kpi"]
    assert await telling.once(worked, plants, NOW_MS + 3 * MIN) == 1
    assert await telling.once(worked, plants, NOW_MS + 4 * MIN) == 0
    (letter,) = (await desk.letters("demo", "alert", page=1, page_size=5))["items"]
    assert letter["subject"].startswith("[위험] 1호기: OEE ")
    assert (await desk.acknowledge("demo", alert["id"], by="Kim", note="on it"))["acknowledged_by"] == "Kim"
    assert (await desk.acknowledge("demo", alert["id"], by="Lee", note=""))["acknowledged_by"] == "Kim"
    assert await telling.once(worked, plants, NOW_MS + 20 * MIN) == 0
    # It recovers: clear of the level by the margin, for a minute.
    await worked.write(lambda c: c.execute("update watch set level=0.01 where id=?", (number,)))
    assert [await once(worked, plants, NOW_MS + k * MIN) for k in range(20, 24)] == [0, 1, 0, 0]
    assert await standing(worked) == []
    assert await telling.once(worked, plants, NOW_MS + 25 * MIN) == 1


async def test_no_data_and_a_small_sample_raise_nothing_and_are_said_after_half_an_hour(
    worked: Database, plants: Plants
) -> None:
    await worked.write(lambda c: rows.put(c, replace(WATCH, for_s=0, min_pieces=10**9)))
    await worked.write(
        lambda c: rows.put(
            c,
            replace(
                WATCH,
                for_s=0,
                work_unit="bottling/line-2/filler",
                period="last_7_days",
                metric="mtbf",
                min_minutes=10**5,
            ),
        )
    )
    for k in range(32):
        await once(worked, plants, NOW_MS + k * MIN)
    assert await standing(worked) == ["kpi_no_data", "kpi_no_data"]
    shown = (await Desk(worked, plants, Bus()).watches("demo"))["items"][0]["standing"]
    assert (shown["state"], shown["reason"], shown["no_data"]) == ("ok", "small_sample", True)


async def test_a_watch_that_is_changed_or_removed_leaves_nothing_standing(worked: Database, plants: Plants) -> None:
    desk = Desk(worked, plants, Bus())
    number = (await desk.put_watch("demo", replace(WATCH, for_s=0)))["id"]
    await once(worked, plants, NOW_MS)
    assert await standing(worked) == ["kpi"]
    await desk.put_watch("demo", replace(WATCH, number=number, level=0.01, for_s=0))
    assert await standing(worked) == []
    await desk.put_watch("demo", replace(WATCH, number=number, for_s=0))
    await once(worked, plants, NOW_MS + MIN)
    assert await standing(worked) == ["kpi"]
    await desk.remove_watch("demo", number, by="Kim")
    assert await standing(worked) == []
    await once(worked, plants, NOW_MS + 2 * MIN)
    assert await standing(worked) == []
    with pytest.raises(ApiError, match="no watch"):
        await desk.watch("demo", number)


async def test_what_cannot_be_watched_is_said(worked: Database, plants: Plants) -> None:
    desk = Desk(worked, plants, Bus())
    for wrong, code, why in (
        ({"metric": "oei"}, "ERR_BI_METRIC_NOT_FOUND", "oei"),
        ({"work_unit": "bottling/line-9/filler"}, "NOT_FOUND", "no line"),
        ({"site": "busan"}, "NOT_FOUND", "no site"),
        ({"level": None}, "ERR_VALIDATION", "level"),
    ):
        with pytest.raises(ApiError, match=why) as caught:
            await desk.put_watch("demo", replace(WATCH, **wrong))
        assert caught.value.code == code


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten_or_removed(
    worked: Database, plants: Plants
) -> None:
    desk = Desk(worked, plants, Bus())
    first = await desk.put_watch("demo", replace(WATCH, for_s=0))
    number, read = first["id"], datetime.fromisoformat(first["changed"])
    second = await desk.put_watch("demo", replace(WATCH, number=number, level=0.5, changed_by="Lee"), read=read)
    assert second["changed"] > first["changed"]
    for late in (
        desk.put_watch("demo", replace(WATCH, number=number, level=0.4), read=read),
        desk.remove_watch("demo", number, by="Kim", read=read),
    ):
        with pytest.raises(ApiError, match="Lee changed watch") as caught:
            await late
        assert (caught.value.status, caught.value.code) == (409, "CONFLICT")
    assert (await desk.watch("demo", number))["level"] == 0.5
    assert (await desk.remove_watch("demo", number, by="Kim", read=datetime.fromisoformat(second["changed"]))) == {
        "removed": number
    }


async def test_another_name_and_other_readers_leave_an_alert_standing_and_a_silence_goes_on(
    worked: Database, plants: Plants
) -> None:
    desk = Desk(worked, plants, Bus())
    number = (await desk.put_watch("demo", replace(WATCH, for_s=0)))["id"]
    await once(worked, plants, NOW_MS)
    (alert,) = (await desk.alerts("demo", Wanted(), page=1, page_size=5))["items"]
    silent = await desk.silence("demo", alert["id"], by="Kim", minutes=60)
    await worked.write(
        lambda c: rows.put(c, replace(WATCH, number=number, for_s=0, name="Filler", readers=("a@b.example",)))
    )
    assert await standing(worked) == ["kpi"]
    assert (await desk.watch("demo", number))["silent_until"] == silent["silent_until"]
    assert await worked.read(lambda c: c.execute("select readers from alert")) == [('["a@b.example"]',)]
    await desk.put_watch("demo", replace(WATCH, number=number, for_s=0, severity="info"))
    assert await standing(worked) == []
