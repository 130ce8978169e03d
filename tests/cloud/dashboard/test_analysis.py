"""The analysis page in a real browser: chips that answer at once, addresses that keep the question, pins, and no script at all."""

from __future__ import annotations

import time
from urllib.parse import quote

import orjson
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from cloud.bi.analyses import words
from cloud.bi.semantic.catalogue import METRICS
from cloud.dashboard import plans, questions
from cloud.wording.texts import LANGUAGES, Words
from tests.cloud.dashboard.conftest import LINE_1, LINE_2, Door, Hall, shift_of_work

CHECK = "/analysis?analysis=CHECK&metric=defect_rate&by=line&period=today"
PLAN = {"analysis": "CHECK", "metrics": ["defect_rate"], "dimensions": ["line"], "period": {"relative": "today"}}


SCRAP = METRICS["defect_rate"].title["en"]


async def ask(cloud: Hall, plan: dict[str, object] = PLAN) -> dict[str, object]:
    return await cloud.get(f"/api/v1/bi/ask?plan={quote(orjson.dumps(plan).decode())}")


async def figures(page: Page) -> list[list[str]]:
    rows = page.locator(".figures-table tbody tr")
    return [await row.locator("td").all_inner_texts() for row in await rows.all()]


async def test_the_answer_on_the_page_is_the_apis(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    for language in LANGUAGES:
        await compare(cloud, door, Words(language))


async def compare(cloud: Hall, door: Door, speech: Words) -> None:
    async with door.visitor(language={"ko": "ko-KR", "en": "en-GB"}[speech.language]) as visitor:
        page, said = await visitor.open(CHECK), await ask(cloud)
        assert await page.locator(".sentences p:not(.fresh)").all_inner_texts() == said["sentences"][speech.language]
        labels = said["findings"]["labels"]["line"]
        shown = [(row[0], row[1]) for row in await figures(page)]
        told = [(labels[r[0]][speech.language], words.figure(r[1], "1", speech.language)) for r in said["rows"]]
        assert shown == told
        assert len(shown) == 2
        definition = said["definitions"]["defect_rate"]
        assert definition["formula"][speech.language] in await page.locator(".definition").inner_text()
        await expect(page.get_by_role("img", name=said["sentences"][speech.language][0])).to_be_visible()
        visitor.check()


async def test_a_chip_changes_the_answer_the_address_and_the_way_back(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open("/analysis")
        await page.get_by_role("link", name="Which line scraps most").click()
        await expect(page.locator("#answer .first")).to_be_visible()
        await page.wait_for_load_state()  # and its script
        assert "analysis=RANK&metric=defect_rate&by=line" in page.url
        await page.locator("#kind-CHECK").click()
        await page.wait_for_url("**analysis=CHECK**")
        await page.locator("#chip-period select").select_option("today")
        await page.wait_for_url("**period=today**")
        await page.locator("#chip-filter-more select").select_option("line")
        box = page.locator(f'input[name="where.line"][value="{LINE_2}"]')
        await expect(page.locator("#pop-line input[type=checkbox]").first).to_be_focused()
        await box.check()
        await page.wait_for_url("**where.line**")
        await expect(page.locator(".figures-table tbody tr")).to_have_count(1)
        await page.keyboard.press("Escape")
        await expect(box).not_to_be_visible()
        assert await page.title() == f"{SCRAP} · Check · by Line · Line 2 filler · today · Triflow"
        await page.get_by_role("link", name="한국어").click()
        await expect(page.locator("#chip-by\\.0 .cap")).to_have_text("구분")
        assert "where.line" in page.url
        await page.go_back()
        await page.go_back()
        await expect(page.locator("#chip-where\\.line .val")).to_have_text("선택")
        await page.locator("#chip-where\\.line .x").click()
        await expect(page.locator(".figures-table tbody tr")).to_have_count(2)
        visitor.check()


async def test_an_unknown_name_is_said_at_its_chip_with_what_was_meant(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open(
            f"/analysis?analysis=CHECK&metric=defect_rtio&by=line&where.line={LINE_1}x&period=today"
        )
        fault = page.locator("#fault-metric\\.0")
        await expect(fault).to_contain_text("There is no “defect_rtio”")
        assert await page.locator("#chip-metric\\.0 select").get_attribute("aria-invalid") == "true"
        await fault.get_by_role("link", name=SCRAP).click()
        value = page.locator("#fault-where\\.line")
        await expect(value).to_be_visible()
        await value.get_by_role("link").first.click()
        await expect(page.locator(".figures-table tbody tr")).to_have_count(1)
        visitor.check()


async def test_pins_are_kept_renamed_moved_and_removed(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open(CHECK)
        for title in ("first", "second"):
            await page.locator("#pin-it summary").click()
            await page.get_by_label("Name").fill(title)
            await page.get_by_role("button", name="Keep in sight").click()
            await expect(page.locator("#pinned")).to_have_text("Pinned to the analysis page.")
        await page.get_by_role("link", name="Pins and questions").click()
        tiles = page.locator(".tile h3")
        await expect(tiles).to_have_text(["first", "second"])
        said = await ask(cloud)
        await expect(page.locator(".tile-says").first).to_have_text(said["sentences"]["en"][0])
        await page.get_by_role("button", name="Move second forward").click()
        await expect(tiles).to_have_text(["second", "first"])
        other = (await cloud.get("/api/v1/pins"))["pins"][0]
        assert other["title"] == "second"
        tile = page.locator(f"#pin-{other['id']}")
        await tile.get_by_text("Rename").click()
        await tile.get_by_label("Name").fill("renamed")
        await tile.get_by_role("button", name="Save").click()
        await expect(tiles).to_have_text(["renamed", "first"])
        await page.locator(f"#pin-{other['id']}").get_by_role("button", name="Unpin").click()
        await expect(tiles).to_have_text(["first"])
        await tiles.get_by_role("link", name="first").click()
        await expect(page.locator(".figures-table tbody tr")).to_have_count(2)
        visitor.check()


async def test_it_works_without_scripts(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    context = await door.browser.new_context(java_script_enabled=False, locale="en-GB")
    page = await context.new_page()
    await page.goto(f"{door.home}{CHECK}")
    await page.locator("#kind-RANK input").check()
    await page.locator('select[name="metric"]').first.select_option("scrap")
    await page.get_by_role("button", name="Ask").click()
    assert "analysis=RANK" in page.url
    assert await page.locator("#chip-metric\\.0 select").input_value() == "scrap"
    await expect(page.locator("#answer .first")).to_be_visible()
    await page.get_by_role("button", name="Remove: By").click()
    await expect(page.locator("#answer .first")).to_be_visible()
    await context.close()


async def test_it_is_worked_by_keyboard_alone(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open(CHECK)
        await page.locator("#kind-CHECK input").focus()
        await page.keyboard.press("ArrowRight")
        await page.wait_for_url("**analysis=TREND**")
        assert await page.evaluate("document.activeElement.value") == "TREND"
        await page.locator(".figures-table th a").nth(1).focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**sort=**")
        await expect(page.locator(".figures-table th").nth(1)).to_have_attribute("aria-sort", "descending")
        visitor.check()


async def test_a_late_fact_moves_the_figure_of_an_open_page(cloud: Hall, door: Door) -> None:
    now = time.time_ns()
    facts = shift_of_work(now)
    await cloud.say(*facts[:-4])
    plan = {"analysis": "CHECK", "metrics": ["judgments"], "period": {"relative": "today"}}
    async with door.visitor() as visitor:
        page = await visitor.open("/analysis?analysis=CHECK&metric=judgments&period=today")
        before = await page.locator("#answer .first").inner_text()
        await cloud.say(*facts[-4:])
        said = await ask(cloud, plan)
        assert said["sentences"]["en"][0] != before
        await expect(page.locator("#answer .first")).to_have_text(said["sentences"]["en"][0], timeout=15_000)
        visitor.check()


async def test_nothing_bars_anybody_and_nothing_scrolls_sideways(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    await cloud.beat()
    pages = (CHECK, "/analysis", "/analysis?analysis=WHAT_IF&metric=oeee&where.line=x", "/fleet")
    for scheme in ("light", "dark"):
        async with door.visitor(scheme=scheme, width=390, height=844, language="ko-KR") as visitor:
            for path in pages:
                page = await visitor.open(path)
                assert await page.evaluate("document.documentElement.scrollWidth") == 390, path
                found = await Axe().run(page)
                assert found.response["violations"] == [], path
            visitor.check()


async def test_every_question_to_begin_with_has_an_answer_or_says_why_not(cloud: Hall, door: Door) -> None:
    """On half a shift of data: most refuse, and every refusal is a sentence."""
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open("/analysis")
        for key, draft in questions.GALLERY:
            await page.get_by_role("link", name=Words("en").label("ask_gallery", key)).click()
            await page.wait_for_url(f"**{plans.page(draft)}")
            await expect(page.locator("#answer[aria-busy]")).to_have_count(0)
            await expect(page.locator("#answer .first")).to_be_visible()
            await page.get_by_role("link", name="Pins and questions").click()
        visitor.check()
