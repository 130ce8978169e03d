"""Takes the pictures of docs/images from a running demo: `triflow demo` in one terminal, `make screenshots` in another.

One picture shows the network cut; the demo's own switch is used for it and healed again, whatever happens.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

import httpx
from playwright.async_api import Browser, Page, async_playwright

from tests.servers import ROOT

IMAGES: Final = ROOT / "docs" / "images"
LINE: Final = "/lines/bottling/line-3/filler"
OFFLINE_S: Final = 12.0
"""How long the network stays cut, so that there is a backlog to see."""

Picture = tuple[str, str, str, str, str, int, int]

PICTURES: Final = (
    # file, whose page, path, language, light, width, height
    ("hall.png", "dashboard", "/", "en", "light", 1440, 1060),
    ("hall-dark-ko.png", "dashboard", "/", "ko", "dark", 1440, 1060),
    ("line.png", "dashboard", f"{LINE}?range=24h", "en", "light", 1440, 1500),
    ("fleet.png", "dashboard", "/fleet", "en", "light", 1440, 1100),
    (
        "analysis.png",
        "dashboard",
        "/analysis?analysis=FIND_CAUSE&metric=oee&period=last_7_days",
        "en",
        "light",
        1440,
        1100,
    ),
    ("analysis-dark-ko.png", "dashboard", "/analysis?analysis=WHAT_IF&metric=oee", "ko", "dark", 1440, 1100),
    ("analysis-phone-ko.png", "dashboard", "/analysis", "ko", "light", 390, 844),
    ("data.png", "dashboard", "/data", "en", "light", 1440, 1000),
    ("completeness.png", "dashboard", "/completeness", "en", "light", 1440, 740),
    ("completeness-dark-ko.png", "dashboard", "/completeness", "ko", "dark", 1440, 900),
    ("hall-phone-ko.png", "dashboard", "/", "ko", "light", 390, 844),
    ("gateway-page.png", "gateway", "/", "en", "light", 1280, 800),
    ("gateway-verdict.png", "gateway", "/", "en", "light", 1280, 800),
)
TOUCHED: Final = {"gateway-verdict.png": ".line button.verdict"}
"""What is touched before the picture is taken, and opens a dialog."""
CUT: Final = (
    ("proof-cut.png", "dashboard", "/fleet", "en", "light", 1440, 820),
    ("gateway-page-cut-ko.png", "gateway", "/", "ko", "dark", 1280, 800),
)


async def live(page: Page) -> None:
    await page.wait_for_selector("body[data-stream=live]")
    await page.wait_for_load_state("load")


async def take(browser: Browser, homes: dict[str, str], picture: Picture) -> Path:
    """Open one page as one reader would, wait until it lives, and keep what is on the screen."""
    name, whose, path, language, light, width, height = picture
    context = await browser.new_context(
        locale={"en": "en-GB", "ko": "ko-KR"}[language],
        color_scheme=light,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
    )
    page = await context.new_page()
    joint = "&" if "?" in path else "?"
    await page.goto(f"{homes[whose]}{path}{joint}lang={language}")
    await live(page)
    if name in TOUCHED:
        await page.locator(TOUCHED[name]).first.click()
        await page.locator("#verdict").wait_for()
    await page.screenshot(path=IMAGES / name)
    await context.close()
    return IMAGES / name


async def main(homes: dict[str, str]) -> int:
    dashboard = homes["dashboard"]
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with httpx.AsyncClient(base_url=dashboard, timeout=5) as cloud, async_playwright() as playwright:
        try:
            (await cloud.get("/ready")).raise_for_status()
        except httpx.HTTPError as error:
            print(f"no demo answers at {dashboard} ({error}); start one with `make demo`", file=sys.stderr)  # noqa: T201 - a command for people
            return 1
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        taken = [await take(browser, homes, picture) for picture in PICTURES]
        (await cloud.post("/api/v1/link", json={"cut": True})).raise_for_status()
        try:
            await asyncio.sleep(OFFLINE_S)
            taken += [await take(browser, homes, picture) for picture in CUT]
        finally:
            await cloud.post("/api/v1/link", json={"cut": False})
        await browser.close()
    for path in taken:
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} kB")  # noqa: T201 - a command for people
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dashboard", default="http://127.0.0.1:8080")
    parser.add_argument("--gateway", default="http://127.0.0.1:8091")
    sys.exit(asyncio.run(main(vars(parser.parse_args()))))
