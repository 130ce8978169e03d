"""Acting on the gateway's page in a real browser: what waits, a person's yes, what came of it, modes and switches."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, Page, expect

from tests.edge.acting.test_acting import modbus, poke  # noqa: F401 - the same machine
from tests.edge.page.browsing import accessible, browsing, filler, wide
from tests.edge.page.test_page import browser  # noqa: F401 - the same browser

SMALL = {"viewport": {"width": 360, "height": 740}}


async def ordered(page: Page, *, name: str = "kim", reason: str = "") -> None:
    """Fill in who and why, and say yes."""
    await expect(page.locator("#order")).to_be_visible()
    await accessible(page)
    await page.locator("#order-name").fill(name)
    await page.locator("#order-reason").fill(reason)
    await page.locator("#order-yes").click()
    await expect(page.locator("#order")).to_be_hidden()


async def test_a_write_waits_for_a_yes_is_done_and_read_back(modbus, tmp_path: Path, browser: Browser):  # noqa: F811
    await poke(modbus, 1, 9)
    with filler(tmp_path, modbus) as (home, _):
        async with browsing(browser, home) as page:
            asked = page.locator("#waiting-list li")
            await expect(asked.locator("h3")).to_contain_text("speed setpoint", timeout=20_000)
            await expect(asked.locator(".old")).to_have_text("30")
            await expect(asked.locator(".new")).to_have_text("25")
            await expect(page.locator("#waiting-sum")).to_contain_text("1 waiting for approval")
            await expect(page.locator("#waiting-who")).to_contain_text("stands at the gateway")
            await expect(asked.locator(".left")).to_contain_text("9 min")
            before = await asked.locator(".left").inner_text()
            await expect(asked.locator(".left")).not_to_have_text(before)  # it counts down
            await accessible(page)
            await asked.locator(".from").click()
            await expect(page.locator("#actions-list")).to_contain_text("Slow the filler down")
            await expect(page.locator("#actions-list")).to_contain_text("speed_setpoint to 25")
            await page.locator("#sheet-close").click()
            await expect(asked.locator(".from")).to_be_focused()
            await asked.locator(".yes").click()
            await expect(page.locator("#order-text")).to_contain_text("30 → 25")
            await page.locator("#order-yes").click()
            await expect(page.locator("#order-fault")).to_have_text("Give your name.")
            await ordered(page, reason="door is shut")
            await expect(page.locator("#waiting-actions")).to_be_hidden()
            story = page.locator("#fresh-list li")
            await expect(story.locator(".result")).to_have_text("Done: 30 → 25, read back from the machine.")
            await expect(story.locator("small")).to_contain_text("kim approved: door is shut")
            assert modbus.writes == 1
            await accessible(page)


async def test_a_no_leaves_the_machine_alone_and_a_late_answer_is_said_to_be_one(
    modbus,  # noqa: F811
    tmp_path: Path,
    browser: Browser,  # noqa: F811
):
    await poke(modbus, 1, 9)
    with filler(tmp_path, modbus) as (home, _):
        async with browsing(browser, home, language="ko", **SMALL) as page:
            asked = page.locator("#waiting-list li")
            await expect(asked.locator("h3")).to_be_visible(timeout=20_000)
            assert await wide(page) == 0
            await asked.locator(".yes").click()
            (waiting,) = (await (await page.request.get(f"{home}/api/approvals")).json())["approvals"]
            no = {"approve": False, "actor": "lee", "comment": "지금은 안 됩니다"}
            place = f"{home}/api/approvals/{waiting['action']}"
            assert (await page.request.post(place, data=no, headers={"X-Triflow": "page"})).ok
            await page.locator("#order-name").fill("kim")
            await page.locator("#order-yes").click()
            await expect(page.locator("#order-fault")).to_contain_text("다른 사람이 먼저 답했거나")
            assert await wide(page) == 0
            await page.locator("#order-no").click()
            await expect(page.locator("#fresh-list small")).to_contain_text("lee 거부: 지금은 안 됩니다")
            await expect(page.locator("#fresh-list small")).to_contain_text("kim 응답은 늦어서 효과 없음")
            await expect(page.locator("#waiting-actions")).to_be_hidden()
            assert modbus.writes == 0


async def test_what_the_machine_did_not_take_is_told_as_it_is(modbus, tmp_path: Path, browser: Browser):  # noqa: F811
    modbus.clamp = 10  # it answers with another value than was asked
    await poke(modbus, 1, 9)
    with filler(tmp_path, modbus) as (home, _):
        async with browsing(browser, home) as page:
            await page.locator("#waiting-list .yes").click(timeout=20_000)
            await ordered(page)
            story = page.locator("#fresh-list li")
            await expect(story).to_have_attribute("data-status", "FAILED", timeout=15_000)
            await expect(story.locator(".result")).to_contain_text("The machine holds 30.")
            await expect(story.locator(".result")).to_contain_text("Look at the machine.")


async def test_the_switch_stops_all_writing_and_takes_a_name_and_a_reason_to_be_lifted(
    modbus,  # noqa: F811
    tmp_path: Path,
    browser: Browser,  # noqa: F811
):
    await poke(modbus, 1, 9)
    with filler(tmp_path, modbus) as (home, _):
        async with browsing(browser, home, **SMALL) as page:
            await expect(page.locator("#waiting-actions")).to_be_visible(timeout=20_000)
            await page.locator("#kill-now").click()
            await expect(page.locator("#order-text")).to_contain_text("The machines do not stop")
            await ordered(page)  # who has to be quick gives no reason
            await expect(page.locator("#killed p")).to_contain_text("All writing is stopped (kim)")
            await expect(page.locator("#waiting-actions")).to_be_hidden()
            await expect(page.locator("#mode-word")).to_have_text("Stopped by hand")
            await expect(page.locator("#kill-now")).to_be_hidden()
            assert (tmp_path / "data" / "kill").exists()
            assert await wide(page) == 0
            await accessible(page)
            await page.locator("#lift").click()
            await page.locator("#order-yes").click()
            await expect(page.locator("#order-fault")).to_contain_text("at least 5 characters")
            await ordered(page, reason="looked after it")
            await expect(page.locator("#killed")).to_be_hidden()
            assert not (tmp_path / "data" / "kill").exists()
            assert modbus.writes == 0


async def test_a_mode_is_ordered_for_the_gateway_or_one_line(modbus, tmp_path: Path, browser: Browser):  # noqa: F811
    with filler(tmp_path, modbus, mode="control") as (home, _):
        async with browsing(browser, home) as page:
            await expect(page.locator("#mode-word")).to_have_text("Control")
            await page.locator("#change-mode").click()
            await page.locator('#order input[value="hall/line-1/filler"]').check()
            await page.locator('#order input[value="monitor"]').check()
            await ordered(page, reason="the filler is being set up")
            await expect(page.locator("#mode-lines li")).to_have_text("line-1 filler: Monitor")
            await expect(page.locator("#mode-word")).to_have_text("Control")
            await page.locator("#change-mode").click()
            await page.locator('#order input[value="advise"]').check()
            await ordered(page, reason="rather ask us")
            await expect(page.locator("#mode-word")).to_have_text("Advise")
            off = {"on": True, "models": True, "actor": "lee"}
            assert (await page.request.post(f"{home}/api/kill", data=off, headers={"X-Triflow": "page"})).ok
            await expect(page.locator("#models-off p")).to_contain_text("the rules judge alone (lee)")
            await page.locator("#turn-models-on").click()
            await ordered(page, reason="it was not the model")
            await expect(page.locator("#models-off")).to_be_hidden()
            told = (await (await page.request.get(f"{home}/api/actions")).json())["ordered"]
            assert (told["actor"], told["reason"]) == ("kim", "rather ask us")
