"""A walk over every page in a real browser: nothing bars anybody, nothing is complained of, and keys lead from a figure to its verdicts."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.cloud.dashboard.conftest import LINE_1, LINE_2, Door, Hall
from tests.cloud.dashboard.test_quality import LOT, audited, told

LIVE = (
    "/",
    f"/lines/{LINE_1}",
    f"/lines/{LINE_1}?range=30d",
    f"/quality?line={LINE_1}",
    "/analysis",
    "/analysis?analysis=RANK&metric=produced&by=line&by=product&period=today",
    "/alerts",
    "/fleet",
    "/completeness",
    "/data",
)
STILL = ("/quality/lots", f"/quality/lots/{LOT}", "/reports", "/actions", "/audit", "/wall", f"/verdicts/{'b' * 32}")


UNTOLD = """() => {
  const found = [];
  for (const place of document.querySelectorAll(".figure, dd"))
    if (place.offsetParent && place.textContent.trim() === "–" && !place.querySelector("[aria-hidden]"))
      found.push(`a dash without a reason: ${place.dataset.field ?? place.previousElementSibling?.textContent}`);
  for (const picture of document.querySelectorAll("svg[role=img]")) {
    const box = picture.getBoundingClientRect();
    for (const text of box.width ? picture.querySelectorAll("text:not([opacity='0'])") : []) {
      const { left, right, width } = text.getBoundingClientRect();
      if (width && (left < box.left - 1 || right > box.right + 1)) found.push(`cut off: ${text.textContent}`);
    }
  }
  return found;
}"""


async def held_up(page: Page, width: int) -> list[str]:
    """Give what would bar somebody from the page that is open, words cut off and figures that say not why they lack."""
    found = [*await audited(page), *await page.evaluate(UNTOLD)]
    wide = await page.evaluate("document.documentElement.scrollWidth")
    return found if wide <= width else [*found, f"{wide} px wide"]


@pytest.mark.parametrize(("language", "scheme", "width"), [("en-GB", "light", 1440), ("ko-KR", "dark", 390)])
async def test_every_page_is_open_to_everybody(cloud: Hall, door: Door, language: str, scheme: str, width: int) -> None:
    await told(cloud)
    async with door.visitor(language=language, scheme=scheme, width=width) as visitor:
        for path in (*LIVE, *STILL):
            if path in LIVE:
                page = await visitor.open(path)
            else:
                page = visitor.page
                await page.goto(door.home + path)
            assert await held_up(page, width) == [], path
        visitor.check()


async def test_a_plant_without_any_data_has_every_page(cloud: Hall, door: Door) -> None:
    async with door.visitor(width=390) as visitor:
        for path in ("/", f"/lines/{LINE_1}", "/quality", "/quality/lots", "/analysis", "/fleet", "/data", "/wall"):
            answer = await visitor.page.goto(door.home + path)
            assert answer is not None
            assert answer.status == 200, path
            assert await held_up(visitor.page, 390) == [], path
        visitor.check()


async def test_keys_lead_from_the_hall_to_the_analysis_the_line_and_the_verdict(cloud: Hall, door: Door) -> None:
    await told(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        await page.locator("#kpi-oee a").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/analysis?**")
        await expect(page.locator("#answer .first")).to_be_visible()
        page = await visitor.open("/")
        await page.locator(f'[data-work-unit="{LINE_2}"] h3 a').focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/lines/{LINE_2}")
        detail = await cloud.get(f"/api/v1/lines/{LINE_2}")
        shown = (await page.locator('[data-field="good"]').inner_text()).replace(",", "")
        assert int(shown) == detail["line"]["output"]["good"]
        await page.locator("#verdicts .entry.d-critical").first.focus()
        await page.keyboard.press("Enter")
        whole = page.locator("dialog[open] .whole a")
        await expect(whole).to_be_visible()
        await whole.focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/verdicts/*")
        verdict = await cloud.get(f"/api/v1/verdicts/{page.url.rpartition('/')[2]}")
        await expect(page.locator("main")).to_contain_text(verdict["summary"]["en"])
        visitor.check()
