"""Takes the pictures of docs/images from a running demo: `triflow demo` in one terminal, `make screenshots` in another.

One picture shows the network cut; the demo's own switch is used for it and healed again, whatever happens.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import csv
import struct
import sys
import zlib
from pathlib import Path
from typing import Final

import httpx
import numpy as np
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
    ("hall-phone-ko.png", "dashboard", "/", "ko", "light", 390, 844),
    ("line.png", "dashboard", f"{LINE}?range=7d", "en", "light", 1440, 1560),
    ("quality.png", "dashboard", "/quality?range=7d", "en", "light", 1440, 1160),
    ("lot.png", "dashboard", "/quality/lots/{lot}", "en", "light", 1440, 1040),
    (
        "analysis.png",
        "dashboard",
        "/analysis?analysis=FIND_CAUSE&metric=oee&period=last_week",
        "en",
        "light",
        1440,
        1160,
    ),
    (
        "analysis-rank.png",
        "dashboard",
        "/analysis?analysis=RANK&metric=defect_rate&by=line&by=product&period=last_7_days",
        "en",
        "light",
        1440,
        1040,
    ),
    (
        "analysis-forecast.png",
        "dashboard",
        "/analysis?analysis=PREDICT&metric=good&grain=shift&horizon=6&period=last_30_days",
        "en",
        "light",
        1440,
        1000,
    ),
    (
        "analysis-dark-ko.png",
        "dashboard",
        "/analysis?analysis=TREND&metric=oee&by=line&grain=day&period=last_30_days",
        "ko",
        "dark",
        1440,
        1100,
    ),
    (
        "analysis-phone-ko.png",
        "dashboard",
        "/analysis?analysis=WHAT_IF&metric=oee&period=last_7_days&what=setup&amount=-30&unit=percent",
        "ko",
        "light",
        390,
        844,
    ),
    ("report.png", "dashboard", "/reports/{report}", "en", "light", 1440, 1240),
    ("reports.png", "dashboard", "/reports", "en", "light", 1440, 860),
    ("alerts.png", "dashboard", "/alerts?state=all", "en", "light", 1440, 900),
    ("fleet.png", "dashboard", "/fleet", "en", "light", 1440, 1100),
    ("data.png", "dashboard", "/data", "en", "light", 1440, 1100),
    ("completeness.png", "dashboard", "/completeness", "en", "light", 1440, 740),
    ("completeness-dark-ko.png", "dashboard", "/completeness", "ko", "dark", 1440, 900),
    ("wall.png", "dashboard", "/wall", "en", "dark", 1280, 720),
    ("gateway-page.png", "gateway", "/", "en", "light", 1280, 800),
    ("gateway-verdict.png", "gateway", "/", "en", "light", 1280, 800),
)
TOUCHED: Final = {"gateway-verdict.png": ".line button.verdict"}
"""What is touched before the picture is taken, and opens a dialog."""
CUT: Final = (
    ("proof-cut.png", "dashboard", "/fleet", "en", "light", 1440, 820),
    ("gateway-page-cut-ko.png", "gateway", "/", "ko", "dark", 1280, 800),
)


WATCH: Final = {
    "name": "OEE of line 3",
    "metric": "oee",
    "site": "",
    "work_unit": LINE.removeprefix("/lines/"),
    "side": "below",
    "level": 0.75,
    "margin": 0.02,
    "for_s": 600,
    "min_minutes": 30,
    "by": "screenshots",
}
PINS: Final = (
    ("Defect rate by product", {"analysis": "RANK", "metrics": ["defect_rate"], "dimensions": ["product"]}),
    ("OEE, 30 days", {"analysis": "TREND", "metrics": ["oee"], "grain": "day", "period": {"relative": "last_30_days"}}),
)


YESTERDAY: Final = {
    "analysis": "TREND",
    "metrics": ["produced"],
    "grain": "shift",
    "period": {"relative": "yesterday"},
}


async def live(page: Page) -> None:
    await page.wait_for_load_state("load")
    if await page.locator("main[data-fragment]").count():  # others do not change by themselves
        await page.wait_for_selector("body[data-stream=live]")


async def prepare(cloud: httpx.AsyncClient) -> dict[str, str]:
    """Keep a question, watch a figure and make a report, where none is there; gives the lot and the report to show."""
    site = (await cloud.get("/api/v1/bi/values", params={"dimension": "site"})).json()["items"][0]["value"]
    if not (await cloud.get("/api/v1/pins")).json()["pins"]:
        for title, plan in PINS:
            (await cloud.post("/api/v1/pins", json={"title": title, "plan": plan})).raise_for_status()
    if not (await cloud.get("/api/v1/watches")).json()["items"]:
        (await cloud.post("/api/v1/watches", json=WATCH | {"site": site})).raise_for_status()
    shifts = (await cloud.post("/api/v1/bi/ask", json=YESTERDAY)).json()["rows"]
    date, _, shift = shifts[0][0].partition(" ")
    order = {
        "kind": "shift",
        "site": site,
        "business_date": date,
        "shift": shift,
        "language": "en",
        "by": "screenshots",
    }
    made = (await cloud.post("/api/v1/reports", json=order)).raise_for_status().json()
    looks = csv.DictReader((await cloud.get("/api/v1/quality/ccp.csv")).text.removeprefix("\ufeff").splitlines())
    out = [one["lot"] for one in looks if one["within"] == "false" and one["lot"]]
    lots = (await cloud.get("/api/v1/quality/lots")).json()["items"]
    return {"lot": out[0] if out else lots[0]["lot"], "report": str(made["id"])}


PIXELS: Final = """async (png) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  canvas.drawImage(picture, 0, 0);
  const { data } = canvas.getImageData(0, 0, picture.width, picture.height);
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return btoa(text);
}"""


def palette_png(pixels: bytes, width: int, height: int) -> bytes:
    """Give RGBA pixels as a PNG of 256 colours: a page has few, and what is in between is nearest to one of them."""
    flat = np.frombuffer(pixels, np.uint8).reshape(-1, 4)[:, :3].astype(np.int32)
    colours, back, counts = np.unique(flat @ [65536, 256, 1], return_inverse=True, return_counts=True)
    kept = colours[np.argsort(-counts, kind="stable")[:256]]
    parts = np.array([16, 8, 0])
    apart = ((colours[:, None, None] >> parts & 255) - (kept[None, :, None] >> parts & 255)) ** 2
    indices = apart.sum(axis=2).argmin(axis=1).astype(np.uint8)[back.ravel()].reshape(height, width)
    rows = np.hstack([np.zeros((height, 1), np.uint8), indices]).tobytes()
    palette = (kept[:, None] >> parts & 255).astype(np.uint8).tobytes()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts_of_it = (chunk(b"IHDR", head), chunk(b"PLTE", palette), chunk(b"IDAT", zlib.compress(rows, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts_of_it) + chunk(b"IEND", b"")


async def take(browser: Browser, homes: dict[str, str], picture: Picture, shown: dict[str, str]) -> Path:
    """Open one page as one reader would, wait until it lives, and keep what is on the screen."""
    name, whose, path, language, light, width, height = picture
    path = path.format(**shown)
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
    whole = await page.screenshot()
    await context.close()
    blank = await browser.new_page()  # its own: a page of ours lets nothing be read by scripts that are not its own
    pixels = base64.b64decode(await blank.evaluate(PIXELS, base64.b64encode(whole).decode()))
    await blank.close()
    (IMAGES / name).write_bytes(palette_png(pixels, width, height))
    return IMAGES / name


async def main(homes: dict[str, str]) -> int:
    dashboard = homes["dashboard"]
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with httpx.AsyncClient(base_url=dashboard, timeout=30) as cloud, async_playwright() as playwright:
        try:
            (await cloud.get("/ready")).raise_for_status()
        except httpx.HTTPError as error:
            print(f"no demo answers at {dashboard} ({error}); start one with `make demo`", file=sys.stderr)  # noqa: T201 - a command for people
            return 1
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        shown = await prepare(cloud)
        taken = [await take(browser, homes, picture, shown) for picture in PICTURES]
        (await cloud.post("/api/v1/link", json={"cut": True})).raise_for_status()
        try:
            await asyncio.sleep(OFFLINE_S)
            taken += [await take(browser, homes, picture, shown) for picture in CUT]
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
