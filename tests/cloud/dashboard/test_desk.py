"""Alerts, watches and reports in a real browser: what a person does there, and that the page says what the API says."""

from __future__ import annotations

import time
from typing import Any

import httpx
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


WATCH: dict[str, Any] = {
    "name": "OEE of line 1", "metric": "oee", "site": "seoul", "work_unit": LINE_1, "side": "below", "level": 0.65,
    "margin": 0.05, "for_s": 90, "by": "Kim",
}  # fmt: skip


async def test_a_watch_is_changed_and_removed_by_keyboard_and_what_another_did_meanwhile_is_said(
    cloud: Hall, door: Door
) -> None:
    await cloud.say(*shift_of_work(time.time_ns()))
    async with door.visitor(width=390, scheme="dark") as visitor, httpx.AsyncClient(base_url=cloud.url) as api:
        number = (await api.post("/api/v1/watches", json=WATCH)).json()["id"]
        page = await visitor.open("/alerts")
        change = page.get_by_role("button", name="Change OEE of line 1")
        form, answer = page.locator("#watch-form"), page.locator("#watch-answer")

        async def value(name: str) -> str:
            return await form.locator(f"[name={name}]").input_value()

        await change.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="Change a watch")).to_be_visible()
        assert [await value(name) for name in ("level", "margin", "minutes", "place")] == [
            "65", "5", "1.5", f"seoul|{LINE_1}",
        ]  # fmt: skip
        assert (await Axe().run(page)).response["violations"] == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await expect(page.get_by_role("button", name="Show it as it is now")).to_be_hidden()
        changed = await api.put(f"/api/v1/watches/{number}", json=WATCH | {"level": 0.5, "by": "Lee"})
        await form.locator("[name=by]").fill("Kim")
        await form.locator("[name=level]").fill("70")
        await page.keyboard.press("Enter")
        await expect(answer).to_have_text("Lee has changed this watch meanwhile. Nothing was saved.")
        assert (await cloud.get(f"/api/v1/watches/{number}"))["changed"] == changed.json()["changed"]
        await page.get_by_role("button", name="Show it as it is now").click()
        await expect(form.locator("[name=level]")).to_have_value("50")
        await expect(answer).to_be_hidden()
        await form.locator("[name=readers]").fill("nobody")
        await page.keyboard.press("Enter")
        await expect(form.locator("[name=readers]")).to_have_attribute("aria-invalid", "true")
        await expect(form.locator("[name=readers]")).to_be_focused()
        await form.locator("[name=readers]").fill("")
        await form.locator("[name=enabled]").uncheck()
        await page.keyboard.press("Enter")
        await expect(page.locator(".watched")).to_contain_text("off")
        await expect(change).to_be_focused()
        now = await cloud.get(f"/api/v1/watches/{number}")
        assert (now["level"], now["enabled"], now["changed_by"]) == (0.5, False, "Kim")
        await page.get_by_role("button", name="Remove OEE of line 1").click()
        gone = page.get_by_role("dialog", name="Remove this watch?")
        await expect(gone).to_contain_text("OEE of line 1")
        await page.keyboard.press("Escape")
        await expect(gone).not_to_be_visible()
        assert len((await cloud.get("/api/v1/watches"))["items"]) == 1
        await page.get_by_role("button", name="Remove OEE of line 1").click()
        await gone.get_by_role("button", name="Remove").click()
        await expect(page.locator(".watched")).to_have_count(0)
        await expect(page.locator("[data-add]")).to_be_focused()
        assert (await cloud.get("/api/v1/watches"))["items"] == []
        assert visitor.complaints[0:1] != []  # the browser tells of the 409 and the 400; nothing else
        visitor.complaints = [one for one in visitor.complaints if "status of 40" not in one]
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
