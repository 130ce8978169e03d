"""Hall cards, quality, lots and the wall in a real browser: figures equal the API, keyboard works."""

from __future__ import annotations

import random
import time
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from cloud.dashboard import cards
from cloud.wording import formats
from cloud.wording.texts import Words
from sync import facts as f
from sync.judgment import CcpRecorded
from tests.cloud.dashboard.conftest import LINE_1, LINE_2, SECOND, Door, Hall, shift_of_work

LOT = "L-1"


def laboratory(now: int) -> list[f.Fact]:
    """What the laboratory said of the last hours: samples of three every four minutes, the newest too heavy."""
    draw = random.Random(6)
    made = f.Context(order="WO-1", product="water-500", lot=LOT)
    facts: list[f.Fact] = []
    for number in range(30):
        at = now - (30 - number) * 55 * SECOND
        facts += [
            f.QualityMeasured(
                at=at + k,
                work_unit=LINE_1,
                characteristic="fill_weight",
                value=round(draw.gauss(509.0 if number == 29 else 500.0, 1), 3),
                unit="GRM",
                low=490,
                high=512,
                passed=True,
                sample=f"S{number}",
                product="water-500",
                lot=LOT,
            )
            for k in range(3)
        ]
        warm = 8.0 if number == 12 else 5.0
        facts.append(
            CcpRecorded(
                at=at,
                work_unit=LINE_1,
                ccp="product_temperature",
                value=warm,
                unit="CEL",
                high=7.5,
                within=warm <= 7.5,
                context=made,
            )
        )
    return facts


async def told(cloud: Hall) -> None:
    now = time.time_ns()
    await cloud.say(*shift_of_work(now), *laboratory(now))
    await cloud.beat()


async def audited(page: Page) -> list[str]:
    """Give what axe complains about, as rule and place."""
    found = await Axe().run(page)
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found.response["violations"]]


async def test_the_halls_cards_equal_the_api_and_ask_their_question(cloud: Hall, door: Door) -> None:
    await told(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        today = await cloud.get("/api/v1/today")
        assert [card["id"] for card in today["cards"]] == list(cards.PLANS)
        for card in today["cards"]:
            shown = (await page.locator(f'#kpi-{card["id"]} [data-field="{card["id"]}"]').inner_text()).strip()
            value, unit = cards.figure(card["value"], card["unit"], Words("en"))
            if card["id"] in {"oee", "downtime", "schedule_attainment"}:  # they move on while one looks
                assert shown.endswith(unit)
            else:
                assert shown.replace("\n", "") == ("–" if card["reason"] else value + unit)
        await page.locator("#kpi-defect_rate a").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/analysis**")
        assert "defect_rate" in page.url
        await expect(page.locator("h1")).to_be_visible()


async def test_the_quality_page_shows_what_the_api_says_and_leads_to_the_lot(cloud: Hall, door: Door) -> None:
    await told(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open(f"/quality?line={LINE_1}")
        found = await cloud.get(f"/api/v1/quality?work_unit={LINE_1}")
        chart = await cloud.get(
            f"/api/v1/quality/charts?work_unit={LINE_1}&characteristic=fill_weight&product=water-500"
        )
        yielded = await page.locator('[data-field="first-pass"]').inner_text()
        assert yielded.replace("\n", "") == f"{round(found['total']['first_pass_yield'] * 100, 1)}%"
        assert await page.locator('[data-field="measured"]').inner_text() == formats.number(90)
        assert await page.locator('[data-field="cpk"]').inner_text() == f"{chart['capability']['cpk']['value']:.2f}"
        await expect(page.locator("#spc")).to_contain_text("Nelson 1")
        await expect(page.get_by_role("img", name="Control chart of Fill weight: 30 points").first).to_be_visible()
        await expect(page.locator("#ccp")).to_contain_text("Out")
        await page.get_by_role("link", name="Line 2 filler").click()
        await expect(page.locator("#spc")).to_contain_text("Nothing was measured on this line")
        await page.get_by_label("Lot, order or product").fill(LOT)
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name=LOT, exact=True).click()
        await expect(page.locator("h1")).to_have_text(f"Lot {LOT}")
        trace = await cloud.get(f"/api/v1/quality/lots/{LOT}")
        shown = await page.locator('[data-field="good"]').all_inner_texts()
        assert shown == [formats.number(one["good"]) for one in trace["made"]]
        await expect(page.locator(".checks")).to_contain_text("1 of 30 looks were out of limits")
        visitor.check()


async def test_a_lines_losses_close_to_the_millisecond_and_its_verdicts_can_be_told_apart(
    cloud: Hall, door: Door
) -> None:
    await told(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open(f"/lines/{LINE_2}?range=24h")
        steps = await page.locator("#losses-table tr[data-step]").evaluate_all(
            "rows => rows.map(row => [row.className, row.cells[2].textContent])"
        )
        level = 0
        for kind, text in steps:
            ms = int(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))
            if kind == "w-total":
                assert level in {0, ms}
                level = ms
            else:
                level += ms
        assert len(steps) >= 5
        await page.locator("#verdicts nav a", has_text="Critical").click()
        await page.wait_for_selector("body[data-stream=live]")
        assert await page.locator("#verdicts .entry").count() == 1
        await page.locator("#hourly-table summary").click()
        await page.locator("#hourly-table a").first.click()
        await page.wait_for_url("**from=**")
        await expect(page.locator(".ranges").first.locator("[aria-current]")).to_have_count(0)
        visitor.check()


async def test_the_wall_takes_turns_holds_and_shouts_when_it_is_cut_off(cloud: Hall, door: Door) -> None:
    await told(cloud)
    async with door.visitor(width=1920, height=1080) as visitor:
        await visitor.page.goto(door.home + "/?wall=1&seconds=600")
        page = visitor.page
        await page.wait_for_selector("body[data-stream=live]")
        seen = page.locator("[data-scene]:visible")
        await expect(seen).to_have_attribute("data-scene", "today")
        names: list[Any] = []
        for _ in range(3):
            await page.keyboard.press("ArrowRight")
            names.append(await seen.get_attribute("data-scene"))
        assert names == ["lines-1", "alarms", "today"]
        assert await page.locator("html").get_attribute("data-theme") == "dark"
        for _ in range(3):  # what is drawn anew is not added to what is there
            before = await page.evaluate("document.querySelectorAll('*').length")
            await cloud.beat()
        await page.evaluate("performance.now = (now => () => now() + 60000)(performance.now.bind(performance))")
        await visitor.context.set_offline(True)
        cloud.bus.closing.set()
        await expect(page.locator("#stale")).to_be_visible(timeout=15_000)
        await expect(page.locator("#stale")).to_contain_text("No connection")
        cloud.bus.closing.clear()
        await visitor.context.set_offline(False)
        await expect(page.locator("#stale")).to_be_hidden(timeout=15_000)
        assert await page.evaluate("document.querySelectorAll('*').length") == before


async def test_an_empty_cloud_has_a_quality_page_a_list_of_lots_and_a_wall(cloud: Hall, door: Door) -> None:
    async with door.visitor() as visitor:
        for path, words in (
            ("/quality", "Nothing was measured"),
            ("/quality/lots", "No lot yet"),
            ("/quality/lots?search=x", "No lot like x"),
            ("/wall", "–"),
        ):
            await visitor.page.goto(door.home + path)
            await expect(visitor.page.locator("main")).to_contain_text(words)
        visitor.check()
        answer = await visitor.page.goto(door.home + "/quality/lots/none")
        assert answer is not None
        assert answer.status == 404


async def test_the_menu_of_a_phone_opens_by_keyboard_and_closes_with_escape(cloud: Hall, door: Door) -> None:
    await told(cloud)
    async with door.visitor(width=390, height=800) as visitor:
        page = await visitor.open("/")
        menu = page.get_by_role("navigation", name="Main")
        await expect(menu).to_be_hidden()
        await page.get_by_role("button", name="Menu").focus()
        await page.keyboard.press("Enter")
        await expect(menu.get_by_role("link")).to_have_count(10)
        await page.keyboard.press("Escape")
        await expect(menu).to_be_hidden()
        visitor.check()
