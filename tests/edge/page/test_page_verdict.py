"""A verdict opened on the gateway's page, with its network cut: what it stood on, what if, and what people say of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.edge.page.browsing import accessible, browsing, wide
from tests.edge.page.test_page import RULES, browser, live, press  # noqa: F401 - the same browser

CALM = RULES.replace("critical_high = 70", "warning_high = 150\ncritical_high = 200")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with press(tmp_path_factory.mktemp("calm"), rules=CALM) as (address, _):
        yield address


async def opened(page: Page) -> None:
    await page.locator(".line button.verdict").click()
    await expect(page.locator("#verdict")).to_be_visible()


async def test_a_verdict_opens_with_all_it_stood_on_in_both_languages(home: str, browser: Browser):  # noqa: F811
    async with browsing(browser, home) as page:
        await opened(page)
        await expect(page.locator("#verdict-box .decision span")).to_have_text("Normal")
        await expect(page.locator("#verdict-box .summary")).to_contain_text("Oil temperature")
        check = page.locator("#checks-list li")
        await expect(check.locator("strong")).to_have_text("Oil temperature")
        await expect(check.locator(".word")).to_have_text("passed")
        await expect(check.locator(".figures")).to_contain_text("not above 150 °C")
        await expect(page.locator("#inputs-list")).to_contain_text("Oil temperature · mean")
        await expect(page.locator("#record")).to_contain_text("Press 1.0.0")
        await expect(page.locator("#verdict-model")).to_be_hidden()  # nobody asked one
        await accessible(page)
        await page.keyboard.press("Escape")
        await expect(page.locator("#sheet")).to_be_hidden()
        await expect(page.locator(".line button.verdict")).to_be_focused()
        await page.locator("#language").click()
        await page.keyboard.press("Shift+Tab")
        await page.locator(".line button.verdict").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#verdict-box .decision span")).to_have_text("정상")
        await expect(page.locator("#checks-list .word")).to_have_text("통과")
        await expect(page.locator("#inputs-list")).to_contain_text("유온 · 평균")


async def test_a_what_if_tells_what_would_have_been_said_and_what_cannot_be(home: str, browser: Browser):  # noqa: F811
    async with browsing(browser, home) as page:
        await opened(page)
        await page.locator("#whatif > summary").click()
        oil = page.locator('[id="if-oil_temperature.mean"]')
        await expect(page.locator(".field", has=oil)).to_contain_text("°C")
        await page.locator("#whatif-form [type=submit]").click()
        await expect(page.locator("#whatif-fault")).to_contain_text("Nothing is changed yet")
        await oil.fill("very hot")
        await oil.press("Enter")
        await expect(page.locator(".field .fault:visible")).to_have_text("Give a number.")
        assert await oil.get_attribute("aria-invalid") == "true"
        await oil.fill("160")
        await oil.press("Enter")
        answer = page.locator("#whatif-answer")
        await expect(answer.locator(".decision span")).to_have_text("Normal → Warning")
        await expect(answer).to_contain_text("160")
        await expect(answer.locator("#whatif-rows")).to_contain_text("another decision")
        await accessible(page)
        await page.locator("#whatif-again").click()
        await expect(answer.locator(".decision span")).to_have_text("Identical")
        await expect(answer).to_contain_text("byte for byte")
        await page.locator("#whatif-reset").click()
        await expect(answer).to_be_hidden()
        assert float(await oil.input_value()) < 150


async def test_a_correction_is_kept_while_cut_and_stands_there_after_a_reload(home: str, browser: Browser):  # noqa: F811
    async with browsing(browser, home) as page:
        await opened(page)
        number = await page.locator("#record dd").last.inner_text()
        await page.locator("#thumb-up").click()
        await expect(page.locator("#feedback-fault")).to_have_text("Give your name.")
        await expect(page.locator("#feedback-name")).to_be_focused()
        await page.locator("#feedback-name").fill("이영희")
        await page.locator("#thumb-down").click()
        await page.locator("#feedback-corrected .choice", has_text="Warning").click()
        await page.locator("#feedback-reason .choice", has_text="something is missing").click()
        await page.locator("#feedback-comment").fill("It smells burnt.")
        await accessible(page)
        await page.locator("#feedback-form [type=submit]").click()
        await expect(page.locator("#feedback-thanks")).to_contain_text("Kept here; it goes up when the line is back.")
        await expect(page.locator("#said-list li")).to_contain_text("이영희: should be Warning")
        await page.reload()
        await live(page, f"{home}/?lang=en")
        await page.locator(".line .recent").click()
        row = page.locator(f'#recent-list [data-key="{number}"] button')
        await row.click()
        await expect(page.locator("#said-list li")).to_contain_text("something is missing · It smells burnt.")
        await expect(page.locator("#said-list li")).to_contain_text("waits for the network")
        assert await page.locator("#feedback-name").input_value() == "이영희"
        await expect(page.locator("#thumb-down")).to_have_attribute("aria-pressed", "true")
        await page.locator("#thumb-up").click()  # on second thoughts
        await expect(page.locator("#said-list li")).to_have_count(1)
        await expect(page.locator("#said-list li strong")).to_have_text("이영희: right")
        given = (await (await page.request.get(f"{home}/api/feedback")).json())["feedback"]
        assert [(one["target"], one["type"], one["offline"]) for one in given] == [(number, "positive", True)]


async def test_the_last_verdicts_of_a_line_are_listed_and_a_gateway_that_is_gone_is_said(
    tmp_path: Path,
    browser: Browser,  # noqa: F811
):
    with press(tmp_path) as (home, running):
        async with browsing(browser, home) as page:
            await page.locator(".line .recent").click()
            await expect(page.locator("#recent-list button").first).to_contain_text("Critical")
            await page.locator("#recent-only").check()
            await expect(page.locator("#recent-list button").first).to_contain_text("Oil temperature")
            await accessible(page)
            await page.locator("#recent-list button").first.click()
            await expect(page.locator("#verdict-box .decision span")).to_have_text("Critical")
            await page.locator("#sheet-back").click()
            await expect(page.locator("#recent-list button").first).to_be_visible()
            running.kill()
            running.wait()
            await page.locator("#recent-list button").first.click()
            await expect(page.locator("#sheet-fault")).to_contain_text("The gateway does not answer.")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_phone_shows_it_whole_by_day_and_by_night(home: str, browser: Browser, theme: str):  # noqa: F811
    small = {"viewport": {"width": 360, "height": 740}, "color_scheme": theme, "has_touch": True}
    async with browsing(browser, home, language="ko", **small) as page:
        assert await wide(page) == 0
        await accessible(page)
        await page.locator(".line button.verdict").tap()
        await expect(page.locator("#verdict")).to_be_visible()
        await page.locator("#whatif > summary").tap()
        await page.locator("#thumb-down").tap()
        await accessible(page)
        assert await wide(page) == 0
        sizes = await page.locator("#sheet :is(button, .choice, input[type=text], select):visible").evaluate_all(
            "(all) => all.map((one) => one.getBoundingClientRect().height)"
        )
        assert min(size for size in sizes if size != 24) >= 48  # 24: the mark of a choice, which is touched as a whole


async def test_with_a_key_it_is_asked_for_once_and_what_was_asked_is_done(tmp_path: Path, browser: Browser):  # noqa: F811
    with press(tmp_path, rules=CALM, key="482913") as (home, _):
        async with browsing(browser, home) as page:
            await opened(page)
            await page.locator("#feedback-name").fill("kim")
            await page.locator("#thumb-up").click()
            await expect(page.locator("#key")).to_be_visible()
            await accessible(page)
            await page.locator("#key [value='']").click()
            await expect(page.locator("#feedback-fault")).to_have_text("Not done: there was no key.")
            await page.locator("#thumb-up").click()
            await page.locator("#key-field").fill("0000")
            await page.locator("#key-field").press("Enter")
            await expect(page.locator("#key-wrong")).to_have_text("That is not the key. Try again.")
            await page.locator("#key-field").fill("482913")
            await page.locator("#key-field").press("Enter")
            await expect(page.locator("#feedback-thanks")).to_contain_text("on record")
            await page.reload()
            await live(page, f"{home}/?lang=en")
            await opened(page)
            await page.locator("#thumb-up").click()
            await expect(page.locator("#said-list li strong")).to_have_text("kim: right")
            await expect(page.locator("#key")).to_be_hidden()
