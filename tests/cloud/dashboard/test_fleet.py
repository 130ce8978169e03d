"""The fleet page: what runs on every line, and where lines differ; the same as the API tells."""

from __future__ import annotations

import time

import httpx
from playwright.async_api import expect

from sync.judgment import ModelChanged, RulesetActivated
from tests.cloud.dashboard.conftest import LINE_1, LINE_2, SECOND, Door, Hall, shift_of_work


def activated(at: int, line: str, version: str, digest: str, part: int = 1) -> RulesetActivated:
    return RulesetActivated(
        at=at, work_unit=line, ruleset="filler", ruleset_version=version, ruleset_hash=digest * 32, part=part, parts=2
    )


async def test_the_fleet_page_says_what_judges_every_line(cloud: Hall, door: Door) -> None:
    now = time.time_ns()
    await cloud.say(*shift_of_work(now))
    wear = {"model": "bearing_wear", "version": "2.0.0", "sha256": "ef" * 32}
    await cloud.say(
        *(activated(now - 3600 * SECOND, LINE_1, "1.0.0", "ab", part) for part in (1, 2)),
        activated(now - 7200 * SECOND, LINE_2, "0.9.0", "aa"),
        activated(now - 1800 * SECOND, LINE_2, "1.1.0", "cd"),
        ModelChanged(at=now - 900 * SECOND, work_unit=LINE_2, state="active", **wear),
        ModelChanged(at=now - 300 * SECOND, work_unit=LINE_2, state="breaker_open", why="5 of 5 failed", **wear),
        ModelChanged(at=now - 200 * SECOND, work_unit=LINE_1, state="retired", **wear),
    )
    await cloud.beat(waiting=2)
    told = await cloud.get("/api/v1/rulesets")
    assert [(one["work_unit"], one["version"]) for one in told["lines"]] == [(LINE_1, "1.0.0"), (LINE_2, "1.1.0")]
    (ruleset,) = told["rulesets"]
    assert [(one["version"], one["lines"]) for one in ruleset["versions"]] == [
        ("1.1.0", [f"gw-opcua/{LINE_2}"]),
        ("1.0.0", [f"gw-opcua/{LINE_1}"]),
    ]
    async with door.visitor() as visitor:
        page = await visitor.open("/fleet")
        rows = page.locator(".versions tbody tr")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(0)).to_contain_text("1.0.0")
        await expect(rows.nth(0)).to_contain_text("other lines run a newer one")
        await expect(rows.nth(0)).not_to_contain_text("bearing_wear")
        await expect(rows.nth(1)).to_contain_text("breaker open")
        sentence = page.locator(".sentence")
        await expect(sentence).to_contain_text("rules differ between lines: filler")
        await expect(sentence).to_contain_text("switched off by its breaker: bearing_wear")
        await page.locator(".two-days").first.focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/completeness#hours-gw-opcua")
        visitor.check()


async def test_the_fleets_old_address_leads_to_it(cloud: Hall) -> None:
    async with httpx.AsyncClient(base_url=cloud.url) as web:
        moved = await web.get("/gateways?lang=ko")
        assert (moved.status_code, moved.headers["location"]) == (308, "/fleet?lang=ko")
