"""Alerts, watches and reports in a real browser: what a person does there, and that the page says what the API says."""

from __future__ import annotations

import time

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.cloud.dashboard.conftest import LINE_1, Door, Hall, shift_of_work

DETAIL = (
    '{"level": 0.6, "metric": "oee", "period": "this_shift", "reason": null, "recovery": 0.65, "side": "below",'
    ' "unit": "1", "value": 0.52, "watch": "OEE"}'
)


@pytest.mark.parametrize(("language", "scheme"), [("en-GB", "dark"), ("ko-KR", "light")])
async def test_an_alert_is_acknowledged_and_a_figure_watched(
    cloud: Hall, door: Door, language: str, scheme: str
) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    await cloud.database.write(
        lambda c: c.execute(
            "insert into alert(tenant, site, gateway, work_unit, subject, kind, severity, detail, raised_ms)"
            " values('demo','seoul','',?,'9','kpi','critical',?,?)",
            (LINE_1, DETAIL, time.time_ns() // 1_000_000),
        )
    )
    async with door.visitor(language=language, scheme=scheme, width=1280 if scheme == "dark" else 390) as visitor:
        page = await visitor.open("/alerts?state=past")
        assert (await Axe().run(page)).violations_count == 0
        await page.goto(f"{door.home}/alerts")
        await page.locator("[data-add]").click()
        await page.locator("#watch-form [name=name]").fill("OEE of line 1")
        await page.locator("#watch-form [name=place]").select_option(f"seoul|{LINE_1}")
        await page.locator("#watch-form [name=level]").fill("65")
        await page.locator("#watch-form [name=margin]").fill("5")
        await page.locator("#watch-form [name=by]").fill("Kim")
        assert (await Axe().run(page)).violations_count == 0
        await page.locator("#watch-form [type=submit]").click()
        await expect(page.locator(".watched")).to_contain_text("65.0%")
        (watch,) = (await cloud.get("/api/v1/watches"))["items"]
        assert (watch["level"], watch["recovery"], watch["for_s"]) == (0.65, pytest.approx(0.7), 300)
        await page.locator("[data-kind=kpi] [data-seen]").click()
        await page.locator("#seen-form [name=note]").fill("on it")
        await page.locator("#seen-form .button[type=submit]").click()
        await expect(page.locator("[data-kind=kpi] .seen")).to_contain_text("on it")
        (alert,) = (await cloud.get("/api/v1/alerts/list?kind=kpi"))["items"]
        assert (alert["acknowledged_by"], alert["note"]) == ("Kim", "on it")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visitor.check()


async def test_a_report_is_made_and_says_what_the_api_says(cloud: Hall, door: Door) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor() as visitor:
        page = visitor.page
        await page.goto(f"{door.home}/reports")
        assert (await Axe().run(page)).violations_count == 0
        day = (await cloud.get("/api/v1/overview"))["lines"][0]["shift"]["business_date"]
        await page.locator("#make [name=business_date]").fill(day)
        await page.locator("#make [name=by]").fill("Kim")
        await page.locator("#make [type=submit]").click()
        await page.wait_for_url("**/reports/1")
        report = (await cloud.get("/api/v1/reports/1"))["report"]
        good = next(card["value"] for card in report["cards"] if card["metric"] == "good")
        await expect(page.locator("[data-metric=good]")).to_have_text(f"{good:,.0f} pcs" if good is not None else "–")
        assert (await Axe().run(page)).violations_count == 0
        visitor.check()
