"""A line's model on the gateway's page in a real browser: what it says, whether it answers, and without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.edge.page.browsing import accessible, browsing, wide
from tests.edge.page.test_page import browser  # noqa: F401 - the same browser
from tests.edge.scoring.gateway import RULES
from tests.edge.scoring.test_through_the_flow import lay_out_line
from tests.servers import free_port, listens, process, wait_until

LINE = '.line[data-key="hall/line-1/press"]'
OTHER = '.line[data-key="hall/line-2/press"]'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """Run a gateway with a line that rules and a model judge, and one that nobody judges."""
    port, log = free_port(), tmp_path / "gateway.log"
    site = lay_out_line(tmp_path)
    calm = site.read_text().replace("window_s = 0.2", "window_s = 1")
    site.write_text(calm.replace("[models]", f"[page]\nport = {port}\n[models]"))
    (tmp_path / "press.rules.toml").write_text(RULES.replace("ml_fallback", "hybrid_weighted"))
    with process("triflow", "edge", "run", str(site), log=log) as running:
        wait_until(lambda: running.poll() is not None or listens(port), "the gateway's page answers", 30)
        assert running.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"


async def opened(page: Page) -> None:
    await page.locator(f"{LINE} button.verdict").click()
    await expect(page.locator("#verdict")).to_be_visible()


async def test_what_a_model_says_and_what_it_would_say(home: str, browser: Browser):  # noqa: F811
    async with browsing(browser, home, viewport={"width": 360, "height": 740}) as page:
        model = page.locator(f"{LINE} .model")
        await expect(model.locator(".name")).to_have_text("Model · Moody 1.0.0", timeout=20_000)
        await expect(model.locator("summary .word")).to_have_text("answering", timeout=20_000)
        await expect(page.locator(f"{LINE} .summary")).to_contain_text("model moody 1.0.0 says", ignore_case=True)
        await model.locator("summary").click()
        await expect(model.locator("dl")).to_contain_text("Breakerclosed")
        await expect(model.locator("dl")).to_contain_text("Drift of its inputsnone seen")
        await opened(page)
        await expect(page.locator("#model-says span")).to_contain_text("Normal · confidence")
        await expect(page.locator("#why-list")).to_contain_text("model moody 1.0.0 says normal")
        await expect(page.locator("#score-bars li")).to_have_count(1)
        await accessible(page)
        await page.locator("#whatif > summary").click()
        await page.locator('[id="if-feature.load"]').fill("0.95")
        await page.locator("#whatif-form [type=submit]").click()
        answer = page.locator("#whatif-answer")
        await expect(answer.locator(".decision span")).to_have_text("Normal → Critical", timeout=30_000)
        await expect(answer.locator("#whatif-rows")).to_contain_text("asked again")
        assert await wide(page) == 0
        await page.locator('[id="if-feature.load"]').fill("9999999999999999999999999999999999999999999")
        await page.locator("#whatif-form [type=submit]").click()
        await expect(page.locator("#whatif-fault, #whatif-answer").locator("visible=true").first).to_be_visible()
        await page.locator("#whatif-again").click()
        await expect(answer.locator(".decision span")).to_have_text("Identical", timeout=30_000)


async def test_models_are_switched_off_and_the_rules_judge_alone(home: str, browser: Browser):  # noqa: F811
    async with browsing(browser, home) as page:
        word = page.locator(f"{LINE} .model summary .word")
        await expect(word).to_have_text("answering", timeout=20_000)
        await page.locator("#turn-models-off").click()
        await page.locator("#order-name").fill("kim")
        await page.locator("#order-yes").click()
        await expect(page.locator("#models-off p")).to_have_text("Models are off and the rules judge alone (kim).")
        await expect(word).to_have_text("switched off")
        await expect(page.locator(f"{LINE} .summary")).to_contain_text("models are switched off", timeout=15_000)
        await opened(page)
        await expect(page.locator("#model-says span")).to_contain_text("No answer: models are switched off")
        await expect(page.locator("#record")).to_contain_text("rules, the model has no answer")
        await accessible(page)


async def test_a_line_without_rules_says_so_and_has_an_empty_list(home: str, browser: Browser):  # noqa: F811
    async with browsing(browser, home) as page:
        await expect(page.locator(f"{OTHER} .decision span")).to_have_text("Not judged yet")
        await expect(page.locator(f"{OTHER} button.verdict")).to_be_disabled()
        await expect(page.locator(f"{OTHER} .model")).to_be_hidden()
        await page.locator(f"{OTHER} .recent").click()
        await expect(page.locator("#recent-none")).to_have_text("This line has no verdict yet.")
        await page.locator("#sheet-close").click()
        await expect(page.locator(f"{OTHER} .recent")).to_be_focused()
        await expect(page.locator("#done-none")).to_be_hidden()
        await page.locator("#done > summary").click()
        await expect(page.locator("#done-none")).to_have_text("Nothing has been asked of a machine yet.")
