"""The gateway's own page in a real browser, over a real gateway process that nobody answers on the other end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.servers import free_port, listens, process, wait_until
from tests.wrong_clock import WrongClock

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
ballast_mb = 0

[page]
port = {page}
{key}
[uplink]
host = "127.0.0.1"
port = {nobody}
tls = false
key = {{ credential = "gw-1.key" }}

[[connection]]
name = "press-plc"
driver = "simulated"
period_ms = 100

[[line]]
work_unit = "forming/line-1/press"
connection = "press-plc"
book = "press.toml"
rules = "press.rules.toml"
window_s = 1
"""
BOOK = """
title = "Press"
[[tag]]
name = "state"
address = "state"
type = "int32"
role = "state"
[[tag]]
name = "oil_temperature"
address = "oil"
type = "float64"
unit = "CEL"
low = 80.0
high = 100.0
[[tag]]
name = "strokes"
address = "strokes"
type = "int32"
role = "counter"
counter = "produced"
"""
RULES = """
[ruleset]
name = "press"
version = "1.0.0"
title = { ko = "프레스", en = "Press" }
policy = "rule_only"
[[limit]]
name = "oil"
title = { ko = "유온", en = "Oil temperature" }
value = "oil_temperature.mean"
unit = "CEL"
critical_high = 70
"""


@contextlib.contextmanager
def press(
    folder: Path, env: dict[str, str] | None = None, *, rules: str = RULES, key: str = ""
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a gateway with a simulated press that is always too hot, and a cloud that never answers.

    rules: other ones. key: what its page asks for before it changes anything.
    """
    port, log = free_port(), folder / "gateway.log"
    (folder / "credentials").mkdir()
    (folder / "credentials" / "gw-1.key").write_text("ab" * 32)
    (folder / "credentials" / "page-key").write_text(key)
    asks = 'key = { credential = "page-key" }\n' if key else ""
    (folder / "site.toml").write_text(SITE.format(page=port, nobody=free_port(), key=asks))
    (folder / "press.toml").write_text(BOOK)
    (folder / "press.rules.toml").write_text(rules)
    with process("triflow", "edge", "run", str(folder / "site.toml"), log=log, env=env) as running:
        wait_until(lambda: _up(running, port, log), "the gateway's page answers", 30)
        home = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{home}/api/status").json()["judged_while_offline"] > 0, "it judges alone", 30)
        yield home, running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    with press(tmp_path) as (home, _):
        yield home


def _up(running: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert running.poll() is None, log.read_text()
    return listens(port)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        program = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield program
        await program.close()


async def live(page: Page, address: str) -> None:
    await page.goto(address)
    await page.wait_for_selector("body[data-stream=live]")
    await page.wait_for_selector(".line")


async def test_the_page_of_a_gateway_without_a_cloud_shows_that_it_judges(gateway: str, browser: Browser) -> None:
    page = await browser.new_page(reduced_motion="reduce")
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    await live(page, f"{gateway}/?lang=en")
    before = await (await page.request.get(f"{gateway}/api/status")).json()
    await expect(page.locator("#gateway")).to_have_text("gw-1")
    assert await page.locator("#uplink").get_attribute("data-kind") in {"offline", "connecting"}
    await expect(page.locator(".line .state span")).to_have_text("Running")
    await expect(page.locator(".line .decision span")).to_have_text("Critical")
    await expect(page.locator(".line .summary")).to_contain_text("Oil temperature")
    await expect(page.locator("#sources li")).to_contain_text("press-plc")
    # It goes on: what the page counts passes what it counted a moment ago, and what the API said.
    for name, value in (("offline", before["judged_while_offline"]), ("produced", before["store"]["produced"])):
        shown = page.locator(f"#{name}")
        async with asyncio.timeout(20):
            while int((await shown.inner_text()).replace(",", "")) <= value:
                await page.wait_for_timeout(100)
    assert complaints == []
    assert [url for url in asked if not url.startswith(gateway + "/")] == []
    await page.close()


async def test_the_page_speaks_the_gateways_language_until_another_is_chosen(gateway: str, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    page = await context.new_page()
    await live(page, gateway)
    await expect(page.locator(".line .decision span")).to_have_text("위험")
    assert await page.locator("html").get_attribute("lang") == "ko"
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.locator("#language").click()
    await expect(page.locator(".line .decision span")).to_have_text("Critical")
    await page.reload()
    await expect(page.locator(".line .decision span")).to_have_text("Critical")
    sizes = await page.locator("button:visible").evaluate_all(
        "(all) => all.map((b) => b.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 48  # touched with gloves
    await context.close()


async def test_what_a_person_must_look_at_stands_on_top_and_goes_when_it_is_well(
    tmp_path: Path, browser: Browser
) -> None:
    clock = WrongClock(tmp_path)
    clock.off_by(60 - time.time())
    with press(tmp_path, env={**os.environ, **clock.environment}) as (home, _):
        page = await browser.new_page()
        await live(page, f"{home}/?lang=en")
        await expect(page.locator("#warnings li")).to_have_text(
            ["The clock was never set. Judging goes on, and times are put right once it is."]
        )
        await page.locator("#language").click()
        await expect(page.locator("#warnings li")).to_contain_text("시계가 한 번도 맞춰지지 않았습니다.")
        clock.off_by(0)
        await expect(page.locator("#warnings")).to_be_hidden(timeout=15_000)
        await page.close()


async def test_a_gateway_that_is_gone_is_said_and_its_last_figures_stay(tmp_path: Path, browser: Browser) -> None:
    page = await browser.new_page()
    with press(tmp_path) as (home, running):
        await live(page, f"{home}/?lang=en")
        running.kill()
        running.wait()
        await expect(page.locator("#lost")).to_contain_text("The gateway does not answer.")
        await expect(page.locator("#gateway")).to_have_text("gw-1")
    await page.close()


def test_nothing_on_the_page_comes_from_elsewhere() -> None:
    folder = Path(__file__).parents[3] / "edge" / "page"
    for path in (folder / "page.html", *(folder / "static").iterdir()):
        text = path.read_text()
        assert "https://" not in text, path.name
        assert "style=" not in text, path.name
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), path.name
