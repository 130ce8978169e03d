"""The dashboard in a real browser over the real application: what it shows, and what it must never do."""

from __future__ import annotations

import time

import httpx
import pytest
from playwright.async_api import Page, expect

from cloud.dashboard.render import VERSION
from cloud.wording import formats
from cloud.wording.texts import TEXTS, Words
from sync import facts as f
from sync.frames import Loss
from tests.cloud.dashboard.conftest import LINE_1, LINE_2, Door, Hall, Switch, shift_of_work


async def field(page: Page, scope: str, name: str) -> str:
    return (await page.locator(f'{scope} [data-field="{name}"]').inner_text()).strip()


@pytest.mark.parametrize("language", ["en-GB", "ko-KR"])
async def test_every_figure_of_the_hall_equals_the_api(cloud: Hall, door: Door, language: str) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    sent = cloud.start.last[2]
    await cloud.beat(waiting=7, losses=[Loss(sent + 1, sent + 3, "shed")])
    words = Words("ko" if language == "ko-KR" else "en")
    async with door.visitor(language=language) as visitor:
        page = await visitor.open("/")
        overview = await cloud.get("/api/v1/overview")
        assert await page.locator("html").get_attribute("lang") == words.language
        assert len(overview["lines"]) == 2
        for line in overview["lines"]:
            card = f'[data-work-unit="{line["work_unit"]}"]'
            assert await page.locator(f"{card} h3").inner_text() == line["name"][words.language]
            assert await field(page, card, "state") == words.label("state", line["state"])
            oee = "–" if line["oee"]["oee"] is None else f"{round(line['oee']['oee'] * 100, 1)}%"
            assert await field(page, card, "oee") == oee
            for part in ("availability", "effectiveness", "quality_ratio"):
                assert await field(page, card, part) == formats.percent(line["oee"][part])
            if line["oee"]["reason"]:
                assert words.label("oee_reason", line["oee"]["reason"]) in await field(page, card, "oee-reason")
            assert await field(page, card, "good") == formats.number(line["output"]["good"])
            assert await field(page, card, "scrap") == formats.number(line["output"]["scrap"])
            assert await field(page, card, "verdict") == line["verdict"]["summary"][words.language]
        (proof,) = overview["proof"]
        assert (proof["waiting"], proof["lost"], proof["balanced"]) == (7, 3, True)
        for term in ("produced", "stored", "waiting", "lost"):
            shown = await page.locator(f'[data-gateway="gw-opcua"] [data-field="{term}"]').inner_text()
            assert shown == formats.number(proof[term])
        assert words("proof.balanced") in await field(page, '[data-gateway="gw-opcua"]', "balance")
        assert await page.locator("#alarms [data-alarm]").count() == len(overview["alarms"]) == 1
        visitor.check()


async def test_what_happens_while_the_page_is_open_appears_and_is_said_aloud(cloud: Hall, door: Door) -> None:
    now = time.time_ns()
    await cloud.say(*shift_of_work(now))
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        card = f'[data-work-unit="{LINE_1}"]'
        await page.locator(f"{card} a.whole").focus()
        summary = {"ko": "온도가 높습니다.", "en": "Temperature is 83 °C, too high."}
        await cloud.say(
            f.StateChanged(at=now, work_unit=LINE_1, state="HELD", reason="jam"),
            f.AlarmChanged(at=now, work_unit=LINE_1, alarm="heat", active=True, severity="warning", summary=summary),
        )
        await expect(page.locator(f'{card} [data-field="state"]')).to_have_text("Held")
        await expect(page.locator(f'{card} [data-field="reason"]')).to_have_text("Jam")
        await expect(page.locator("#announcer")).to_have_text(
            "New alarm on Line 1 filler: Temperature is 83 °C, too high."
        )
        assert await page.locator("#alarms [data-alarm]").count() == 2
        assert await page.evaluate("document.activeElement.className") == "whole"
        await cloud.say(f.AlarmChanged(at=now + 1, work_unit=LINE_1, alarm="heat", active=False, severity="warning"))
        await expect(page.locator("#alarms [data-alarm]")).to_have_count(1)
        visitor.check()


async def test_the_network_is_cut_only_after_asking_and_healed_at_once(cloud: Hall, door: Door, switch: Switch) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    await cloud.beat()
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        await page.get_by_role("button", name="Cut the network").click()
        await page.get_by_role("button", name="Leave it on").click()
        assert switch.orders == []
        await page.get_by_role("button", name="Cut the network").click()
        await page.get_by_role("button", name="Cut it").click()
        await expect(page.locator("#link")).to_contain_text("The lines are still judged")
        await expect(page.get_by_role("link", name="See gw-opcua")).to_have_attribute("href", "http://127.0.0.1:8091/")
        assert switch.orders == [True]
        await page.get_by_role("button", name="Restore the network").click()
        await expect(page.locator("#link")).to_contain_text("Gateways and cloud are connected.")
        assert switch.orders == [True, False]
        visitor.check()


async def test_a_verdict_shows_its_evidence_by_keyboard_and_closes_with_escape(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        await page.locator("#alarms button[data-verdict]").focus()
        await page.keyboard.press("Enter")
        drawer = page.get_by_role("dialog", name="Why this verdict")
        await expect(drawer).to_contain_text("12.4 mm/s")
        await expect(drawer).to_contain_text("Stop the line.")
        await expect(drawer).to_contain_text("version 1.0.0, hash abababababab")
        await page.keyboard.press("Escape")
        await expect(drawer).not_to_be_visible()
        assert await page.evaluate("document.activeElement.dataset.verdict") == "b" * 32
        visitor.check()


async def test_a_lost_stream_is_shown_and_the_page_comes_back_with_it(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        await visitor.context.set_offline(True)
        cloud.bus.closing.set()  # the streams end, as they do when the cloud stops
        await expect(page.locator("#lost")).to_contain_text("The connection to the cloud is lost.")
        assert await page.locator("body").get_attribute("data-stream") == "lost"
        cloud.bus.closing.clear()
        await visitor.context.set_offline(False)
        await page.wait_for_selector("body[data-stream=live]")
        await expect(page.locator("#lost")).not_to_be_visible()


async def test_light_and_dark_follow_the_system_until_one_is_chosen(cloud: Hall, door: Door) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    async with door.visitor(scheme="dark") as visitor:
        page = await visitor.open("/")
        dark = await page.evaluate(ground)
        await page.get_by_role("button", name="Light or dark").click()
        light = await page.evaluate(ground)
        assert dark != light
        await page.reload()
        assert await page.evaluate(ground) == light
        visitor.check()
    async with door.visitor(scheme="light") as visitor:
        assert await (await visitor.open("/")).evaluate(ground) == light


async def test_the_language_chosen_once_is_kept_on_every_page(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor(language="en-US") as visitor:
        page = await visitor.open(f"/lines/{LINE_2}?range=8h")
        await page.get_by_role("link", name="한국어").click()
        await expect(page.locator("h1")).to_have_text("2라인 충전기")
        assert "range=8h" in page.url
        await page.goto(door.home + "/gateways")
        await expect(page.locator("h1")).to_have_text("게이트웨이 현황")
        visitor.check()


@pytest.mark.parametrize("path", ["/", f"/lines/{LINE_2}", "/gateways", "/completeness", "/audit", "/nowhere"])
async def test_nothing_scrolls_sideways_on_a_phone(cloud: Hall, door: Door, path: str) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    await cloud.beat(waiting=123_456)
    for language in ("ko-KR", "en-GB"):
        async with door.visitor(width=360, height=740, language=language) as visitor:
            await visitor.page.goto(door.home + path)
            assert await visitor.page.evaluate("document.documentElement.scrollWidth") == 360


async def test_a_lines_page_shows_its_day(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = await visitor.open(f"/lines/{LINE_2}?range=8h")
        detail = await cloud.get(f"/api/v1/lines/{LINE_2}")
        await expect(page.locator("h1")).to_have_text("Line 2 filler")
        assert await field(page, ".now-state", "state") == "Aborted"
        good = await page.locator('.figures [data-field="good"]').inner_text()
        assert good == formats.number(detail["line"]["output"]["good"])
        for chart in ("State timeline", "Output by hour"):
            await expect(page.get_by_role("img", name=chart).first).to_be_visible()
        await page.locator("#states-table summary").click()
        await expect(page.locator("#states-table")).to_contain_text("Bearing fault")
        await cloud.say(f.StateChanged(at=time.time_ns(), work_unit=LINE_2, state="CLEARING"))
        await expect(page.locator(".now-state [data-field=state]")).to_have_text("Clearing", timeout=15_000)
        await expect(page.locator("#states-table table")).to_be_visible()  # opened by the reader, left open
        visitor.check()


async def test_the_fleet_page_accounts_for_every_stream(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    await cloud.beat(waiting=5)
    async with door.visitor() as visitor:
        page = await visitor.open("/gateways")
        ledger = (await cloud.get("/api/v1/completeness"))["gateways"][0]["streams"]
        rows = page.locator(".accounts tbody tr")
        assert await rows.count() == len(ledger) == 1
        cells = await rows.first.locator("td").all_inner_texts()
        terms = [formats.number(ledger[0][term]) for term in ("produced", "stored", "waiting", "lost")]
        assert cells == [cloud.start.inc[:8], "Events", *terms, "Balanced"]
        visitor.check()


async def test_an_unknown_line_says_which_lines_there_are(cloud: Hall, door: Door) -> None:
    async with door.visitor() as visitor:
        answer = await visitor.page.goto(f"{door.home}/lines/bottling/line-9/filler")
        assert answer is not None
        assert answer.status == 404
        await expect(visitor.page.locator("h1")).to_have_text("No line called bottling/line-9/filler")
        assert await visitor.page.locator(".known a").count() == 2
    async with httpx.AsyncClient(base_url=door.home) as program:
        refused = await program.get("/lines/bottling/line-9/filler", headers={"accept": "application/json"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "NOT_FOUND")
        assert (await program.get("/api/v1/nowhere", headers={"accept": "text/html"})).json()["error"]["code"]


async def test_an_empty_cloud_says_what_to_do_next(cloud: Hall, door: Door) -> None:
    async with door.visitor(language="ko-KR") as visitor:
        page = await visitor.open("/")
        await expect(page.locator(".lines article")).to_have_count(2)
        await expect(page.locator("#proof")).to_contain_text(TEXTS["proof.none"]["ko"])
        await expect(page.locator(".lines article").first).to_contain_text("데이터 없음")
        visitor.check()


async def test_a_database_that_does_not_answer_is_a_page_that_tries_again(cloud: Hall, door: Door) -> None:
    await cloud.database.write(lambda connection: connection.execute("alter table work_unit rename to elsewhere"))
    async with door.visitor() as visitor:
        answer = await visitor.page.goto(door.home + "/")
        assert answer is not None
        assert answer.status == 503
        await expect(visitor.page.locator("h1")).to_have_text("The database is busy")
        await cloud.database.write(lambda connection: connection.execute("alter table elsewhere rename to work_unit"))
        await expect(visitor.page.locator(".lines article")).to_have_count(2, timeout=15_000)


async def test_durations_count_on_by_the_same_rule_on_server_and_page(cloud: Hall, door: Door) -> None:
    seconds = [0, 1, 59, 60, 61, 3599, 3600, 3660, 86_399, 86_400, 90_000, 200_000]
    for language in ("ko-KR", "en-GB"):
        async with door.visitor(language=language) as visitor:
            page = await visitor.open("/")
            script = f"import('/static/{VERSION}/ticks.js').then((m) => {seconds}.map((s) => m.duration(s)))"
            words = Words("ko" if language == "ko-KR" else "en")
            assert await page.evaluate(script) == [formats.duration(s, words) for s in seconds]


async def test_pages_forbid_scripts_and_styles_from_anywhere_else(cloud: Hall) -> None:
    async with httpx.AsyncClient(base_url=cloud.url) as client:
        page = await client.get("/", headers={"accept-language": "en"})
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        style = await client.get(f"/static/{VERSION}/page.css")
        assert "immutable" in style.headers["cache-control"]
        assert (await client.get("/static/old/page.css")).headers["cache-control"] == "no-cache"
        assert (await client.get(f"/static/{VERSION}/../routes.py")).status_code == 404


async def test_everything_on_the_hall_page_can_be_reached_with_the_tab_key(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    await cloud.beat()
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        seen: list[str] = []
        for _ in range(50):
            await page.keyboard.press("Tab")
            seen.append(await page.evaluate("document.activeElement.textContent.trim().slice(0, 40)"))
        assert seen[0] == "Skip to content"
        for stop in (
            "Hall",
            "Quality",
            "Gateways",
            "English",
            "Line 1 filler",
            "Line 2 filler",
            "Show why",
            "Cut the network",
        ):
            assert any(text.startswith(stop) for text in seen), stop
        outline = await page.evaluate(
            "(document.querySelector('.switch').focus(), getComputedStyle(document.activeElement).outlineStyle)"
        )
        assert outline in {"solid", "auto"}
