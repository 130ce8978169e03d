"""The data page: tables of figures as the API tells them, and records that are held until somebody decides."""

from __future__ import annotations

import re
import time

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from cloud.wording import formats
from cloud.wording.texts import LANGUAGES, Words
from sync import facts as f
from tests.cloud.dashboard.conftest import LINE_1, SECOND, Door, Hall, shift_of_work


async def say_nonsense(cloud: Hall) -> None:
    """A shift's work, and among it a record that sorted more pieces than were made."""
    now = time.time_ns()
    await cloud.say(*shift_of_work(now))
    made = f.Context(order="WO-2", product="water-330", lot="L-2")
    start = now - 1500 * SECOND
    await cloud.say(
        f.Produced(
            at=now - 10 * SECOND, work_unit=LINE_1, start=start, produced=1000, good=1999, scrap=1, rework=0,
            ideal_cycle_ms=1000.0, context=made,
        )
    )  # fmt: skip


async def decide(page: Page, kind: str, *, reason: str = "counted again by hand") -> None:
    form = page.locator("#decide-form")
    await form.get_by_label("Your name").fill("kim")
    await form.get_by_label("Why").fill(reason)
    await page.locator(f"#decide [data-do={kind}]").click()


async def test_every_table_stands_with_what_the_api_says_of_it(cloud: Hall, door: Door) -> None:
    await say_nonsense(cloud)
    for language in LANGUAGES:
        await compare(cloud, door, Words(language))


async def compare(cloud: Hall, door: Door, words: Words) -> None:
    async with door.visitor(language={"ko": "ko-KR", "en": "en-GB"}[words.language]) as visitor:
        page = await visitor.open("/data")
        status = await cloud.get("/api/v1/etl/status")
        names = {one["name"] for one in status["marts"]}
        assert {"mart_shift", "mart_day", "mv_oee_daily", "mv_defect_trend", "mv_inventory_coverage"} <= names
        for one in status["marts"]:
            cells = await page.locator(f"#mart-{one['name']} td").all_inner_texts()
            assert cells[0].strip() == words.label("mart_status", one["status"])
            assert (cells[1], cells[4]) == (formats.number(one["pending"]), formats.number(one["rows"]))
        assert words("data.held_n", n=1) in await page.locator(".sentence").inner_text()
        (letter,) = (await cloud.get("/api/v1/etl/dead-letters?state=open"))["items"]
        said = await page.locator(f"#letter-{letter['id']}").inner_text()
        assert letter["title"][words.language] in said
        assert letter["why"][words.language] in said
        visitor.check()


async def test_warnings_are_told_apart_from_what_is_held(cloud: Hall, door: Door) -> None:
    words = Words("en")
    await say_nonsense(cloud)
    await cloud.database.write(lambda c: c.execute("update finding set held=?", (False,)))
    async with door.visitor() as visitor:
        page = await visitor.open("/data")
        sentence = await page.locator(".sentence").inner_text()
        assert words("data.held_none") in sentence
        assert words("data.warned_n", n=1) in sentence
        assert await page.locator(".letters > li").count() == 1


async def test_what_the_api_refuses_is_said_in_the_readers_language(cloud: Hall, door: Door) -> None:
    words = Words("ko")
    await say_nonsense(cloud)
    async with door.visitor(language="ko-KR") as visitor:
        page = await visitor.open("/data")
        await page.locator("[data-release]").click()
        form, told = page.locator("#decide-form"), page.locator("#decide-answer")
        await form.locator("[name=by]").fill("김")
        await form.locator("[name=reason]").fill(" ")  # the browser lets it pass, the API does not
        await form.locator("[data-do=release]").click()
        await expect(told).to_have_text(words("refused.reason"))
        await form.locator("[name=reason]").fill("다시 세었음")
        await visitor.context.set_offline(True)
        await form.locator("[data-do=release]").click()
        await expect(told).to_have_text(words("refused.network"))
        await visitor.context.set_offline(False)
        await cloud.database.write(lambda c: c.execute("alter table finding rename to elsewhere"))
        await form.locator("[data-do=release]").click()
        await expect(told).to_contain_text(words("refused.away", why="").removesuffix("()"))


async def test_a_held_record_is_released_by_keyboard_and_counts(cloud: Hall, door: Door) -> None:
    await say_nonsense(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open("/data")
        await page.get_by_role("button", name="Release").focus()
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Release")
        await expect(dialog).to_contain_text("1999 good")
        await page.keyboard.press("Escape")
        await expect(dialog).not_to_be_visible()
        assert (await cloud.get("/api/v1/etl/status"))["dead_letters"]["held"] == 1
        await page.get_by_role("button", name="Release").click()
        await decide(page, "release")
        await expect(page.locator("#letters .flag")).to_contain_text("No record waits for a decision.")
        await page.get_by_role("link", name="Released").click()
        await expect(page.locator(".letters")).to_contain_text("kim")
        assert (await cloud.get("/api/v1/etl/status"))["dead_letters"]["held"] == 0
        visitor.check()


async def test_a_held_record_is_put_right(cloud: Hall, door: Door) -> None:
    await say_nonsense(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open("/data")
        await page.get_by_role("button", name="Put right").click()
        area = page.locator("[name=replacement]")
        await expect(area).to_have_value(re.compile(r"\"good\": 1999"))
        await page.locator("#decide").get_by_label("good", exact=True).fill("900")
        await page.locator("#decide").get_by_label("rework", exact=True).fill("2")
        await expect(area).to_have_value(re.compile(r"\"good\": 900"))
        assert (await Axe().run(page)).response["violations"] == []
        await decide(page, "correct")
        await expect(page.locator("#decided")).to_contain_text("Recorded.")
        (fact,) = (await cloud.get("/api/v1/etl/dead-letters"))["items"]
        name = f"{fact['inc']}/{fact['stream']}/{fact['seq']}"
        was, now = [one["body"] for one in (await cloud.get(f"/api/v1/facts/{name}/revisions"))["revisions"]]
        assert now == was | {"good": 900, "rework": 2}  # its times, in ns, to the last digit
        await expect(page.locator("#letters .flag")).to_contain_text("No record waits for a decision.")
        visitor.check()


async def test_everything_can_be_recomputed_from_the_page(cloud: Hall, door: Door) -> None:
    await say_nonsense(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open("/data")
        await page.get_by_role("button", name="Recompute everything").click()
        await decide(page, "rebuild")
        await expect(page.locator("#jobs li")).to_contain_text("Full rebuild")
        (job,) = (await cloud.get("/api/v1/etl/jobs"))["items"]
        assert (job["kind"], job["by"]) == ("rebuild", "kim")
        visitor.check()


async def test_the_page_reads_well_for_everybody(cloud: Hall, door: Door) -> None:
    for prepared in (False, True):
        if prepared:
            await say_nonsense(cloud)
        async with door.visitor(width=390, height=844, scheme="dark", language="ko-KR") as visitor:
            page = await visitor.open("/data")
            assert await page.evaluate("document.documentElement.scrollWidth") == 390
            assert (await Axe().run(page)).response["violations"] == []
            visitor.check()
