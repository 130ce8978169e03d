"""A period restated from the data page: looked at first, then done, with what the API says of it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from cloud.dashboard.restating import amount
from cloud.etl.worker import run_worker
from cloud.marts.refresh import run_refresher
from cloud.wording.texts import TEXTS, Words
from tests.cloud.dashboard.conftest import LINE_1, Door, Hall, shift_of_work

ZONE = ZoneInfo("Asia/Seoul")


async def fill(page: Page, *, cycle: str) -> None:
    now = datetime.now(ZONE)
    form = page.locator("#restate-form")
    await form.locator("[name=line]").select_option(f"seoul:{LINE_1}")
    await form.locator("[name=from]").fill(f"{now - timedelta(hours=20):%Y-%m-%dT%H:%M}")
    await form.locator("[name=to]").fill(f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    await form.locator("summary").click()
    await form.locator("[name=product]").fill("water-500")
    await form.locator("[name=cycle]").fill(cycle)
    await form.locator("[name=by]").fill("Kim")
    await form.locator("[name=reason]").fill("data sheet")


async def test_a_period_is_looked_at_and_then_restated_with_the_figures_of_the_job(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    behind = [run(cloud.database, cloud.plants, cloud.bus) for run in (run_worker, run_refresher)]
    working = [asyncio.create_task(one) for one in behind]
    async with door.visitor(width=390, scheme="dark") as visitor:
        page = await visitor.open("/data")
        await page.get_by_role("button", name="Restate a period").focus()
        await page.keyboard.press("Enter")
        dialog, found = page.get_by_role("dialog", name="Restate a period"), page.locator("#restate-found")
        await expect(dialog).to_contain_text("Asia/Seoul")
        await fill(page, cycle="800")
        sure = dialog.get_by_role("button", name="Restate", exact=True)
        await expect(sure).to_be_hidden()
        await page.keyboard.press("Enter")  # looks, and does nothing yet
        await expect(found).to_contain_text("would change")
        await expect(page.locator("#restate-said")).to_contain_text("would change")
        (dry,) = (await cloud.get("/api/v1/etl/jobs"))["items"]
        assert (dry["dry_run"], dry["product"], dry["ideal_cycle_ms"], dry["by"]) == (True, "water-500", 800.0, "Kim")
        assert datetime.fromisoformat(dry["to"]) - datetime.fromisoformat(dry["from"]) == timedelta(hours=21)
        figures = (await cloud.get(f"/api/v1/etl/jobs/{dry['id']}"))["figures"]
        assert figures != []
        rows = found.locator("tbody tr")
        await expect(rows).to_have_count(len(figures))
        words = Words("en")
        for name, after in figures[0]["after"].items():
            before = amount(name, figures[0]["before"][name], words)
            await expect(rows.first).to_contain_text(
                f"{words.label('sum', name)} {before} → {amount(name, after, words)}"
            )
        assert (await Axe().run(page)).response["violations"] == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await dialog.locator("[name=cycle]").fill("900")  # asked otherwise: to be looked at again
        await expect(sure).to_be_hidden()
        await expect(found).to_be_empty()
        await dialog.get_by_role("button", name="See what would change").click()
        await sure.click()
        await expect(found).to_contain_text("were restated")
        done = (await cloud.get("/api/v1/etl/jobs"))["items"][0]
        assert (done["dry_run"], done["state"], done["ideal_cycle_ms"]) == (False, "done", 900.0)
        await dialog.get_by_role("button", name="Close").click()
        await expect(page.locator(f"#job-{done['id']}")).to_contain_text("Done")
        visitor.check()
    for one in working:
        one.cancel()
    await asyncio.wait(working)


async def test_a_period_that_cannot_be_is_said_in_the_dialog(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open("/data")
        await page.get_by_role("button", name="Restate a period").click()
        await fill(page, cycle="800")
        await page.locator("#restate-form [name=to]").fill("2020-01-01T00:00")
        await page.keyboard.press("Enter")
        await expect(page.locator("#restate-answer")).to_have_text(TEXTS["refused.to"]["en"])
        assert (await cloud.get("/api/v1/etl/jobs"))["items"] == []
        wrong = await page.request.post(
            f"{cloud.url}/api/v1/etl/restatements",
            data={"from": "2026-01-01T00:00", "to": "2026-01-02T00:00", "timezone": "../etc", "by": "k", "reason": "r"},
        )
        assert (wrong.status, "no time zone" in await wrong.text()) == (400, True)
