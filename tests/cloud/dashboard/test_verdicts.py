"""The page of one verdict and that of the actions, in a real browser over verdicts of a real judge."""

from __future__ import annotations

import time

import msgspec
import pytest
from playwright.async_api import expect

from cloud.wording.texts import TEXTS
from models.rulesets import load
from sync.facts import ActionDecided, ApprovalAnswered, Judged
from tests.cloud.dashboard.conftest import Door, Hall
from tests.cloud.judging import fleet as line
from tests.cloud.judging.fleet import LINE, WARM, S

HOT = {"ko": "위험", "en": "Critical"}


async def judged(cloud: Hall) -> list[Judged]:
    """Let a line judge a while with rules and a model."""
    begin, ruleset = line.now_ns() - 1800 * S, line.hybrid()
    facts = line.verdicts(ruleset, line.history(begin, 40))
    await cloud.say(*line.told(ruleset, begin - S), *facts)
    return facts


async def plain(cloud: Hall) -> Judged:
    begin, ruleset = line.now_ns() - 900 * S, load(WARM, line.NAMES.environment())
    (fact,) = line.verdicts(ruleset, [line.well(begin, oil=60.0)])
    await cloud.say(*line.told(ruleset, begin), fact)
    return fact


def waiting(verdict_id: str, action: str = "a" * 32, expires_s: int = 600) -> ActionDecided:
    now = time.time_ns()
    return ActionDecided(
        at=now, work_unit=LINE, action=action, verdict_id=verdict_id, action_type="parameter_adjust",
        target=f"{LINE}/speed_setpoint", value=68.0, ruleset="filler", trust=1, score=0.71, risk="MEDIUM", mode="control",
        decision="require_approval", reasons=["trust 1 × MEDIUM: approval"], expires=now + expires_s * S,
    )  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_a_verdict_is_proved_the_same_and_a_change_shows_at_once(cloud: Hall, door: Door, language: str) -> None:
    fact = await plain(cloud)
    async with door.visitor(language={"en": "en-GB", "ko": "ko-KR"}[language]) as visitor:
        page = visitor.page
        await page.goto(f"{door.home}/verdicts/{fact.verdict_id}")
        await expect(page.locator("#again")).to_have_text(TEXTS["verdict.exact"][language])
        field = page.locator('[data-input="oil_temperature"]')
        await field.fill("95")
        answer = page.locator("#whatif-answer")
        await expect(answer).to_contain_text(f"{TEXTS['decision.normal'][language]} → {HOT[language]}")
        await expect(answer).to_contain_text("95 °C")
        await field.fill("hot")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await page.get_by_role("button", name=TEXTS["verdict.reset"][language]).click()
        await expect(answer).to_be_hidden()
        # A refused what-if is an answer of the API and stands on the page; the browser tells of its status as well.
        visitor.complaints = [text for text in visitor.complaints if "status of 400" not in text]
        visitor.check()


async def test_other_rules_judge_the_same_window_and_their_faults_have_places(cloud: Hall, door: Door) -> None:
    fact = await plain(cloud)
    async with door.visitor() as visitor:
        page = visitor.page
        await page.goto(f"{door.home}/verdicts/{fact.verdict_id}")
        rules, answer = page.locator("#compare textarea"), page.locator("#compare-answer")
        await rules.fill(WARM.replace("warning_high = 70", "warning_high = 50"))
        await page.get_by_role("button", name="Judge with these rules").click()
        await expect(answer).to_contain_text("Normal → Warning")
        await rules.fill(WARM.replace("oil_temperature", "oil_temprature"))
        await page.get_by_role("button", name="Judge with these rules").click()
        await expect(answer).to_contain_text("unknown name oil_temprature")


async def test_a_word_is_asked_of_the_gateway_once_and_shown_as_waiting(cloud: Hall, door: Door) -> None:
    fact = await plain(cloud)
    async with door.visitor() as visitor:
        page = visitor.page
        await page.goto(f"{door.home}/verdicts/{fact.verdict_id}")
        for _ in range(2):
            await page.get_by_text("Correct it").click()
            await page.locator("[name=corrected]").select_option("warning")
            await page.locator("#feedback [name=comment]").fill("<b>kept</b> warm")
            await page.locator("#feedback [name=actor]").fill("kim")
            await page.keyboard.press("Enter")
            await expect(page.locator("#feedback-answer")).to_contain_text("demo/seoul/gw-opcua records it")
        await page.reload()
        await expect(page.locator(".said-list li")).to_have_count(1)
        await expect(page.locator(".said-list")).to_contain_text("<b>kept</b> warm")
        await expect(page.locator(".said-list")).to_contain_text(TEXTS["order_state.given"]["en"])
        visitor.check()


async def test_an_action_that_waits_is_answered_and_what_others_said_is_told(cloud: Hall, door: Door) -> None:
    fact = await plain(cloud)
    await cloud.say(waiting(fact.verdict_id))
    async with door.visitor(language="ko-KR", scheme="dark", width=390) as visitor:
        page = visitor.page
        await page.goto(f"{door.home}/actions")
        button = page.get_by_role("button", name=TEXTS["acts.approve"]["ko"])
        await button.click()
        await expect(page.locator("#acts-answer")).to_have_text(TEXTS["acts.who"]["ko"])
        await page.locator("#signer").fill("김")
        await button.click()
        await expect(page.locator("#acts-answer")).to_have_text(TEXTS["acts.asked"]["ko"])
        asked = await cloud.database.read(lambda c: c.execute("select kind, actor, arguments from command"))
        assert asked == [("approve", "김", '{"action":"' + "a" * 32 + '"}')]
        first = ApprovalAnswered(at=time.time_ns(), work_unit=LINE, action="a" * 32, approved=False, actor="lee")
        late = msgspec.structs.replace(
            first, approved=True, actor="김", place="cloud", superseded=True, at=first.at + 1
        )
        await cloud.say(first, late)
        await page.goto(f"{door.home}/verdicts/{fact.verdict_id}")
        await expect(page.locator(".acts")).to_contain_text(TEXTS["acts.superseded"]["ko"])
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visitor.check()


async def test_the_drawer_leads_to_the_page_and_what_is_not_there_says_so(cloud: Hall, door: Door) -> None:
    facts = await judged(cloud)
    fact = next(one for one in reversed(facts) if one.ml is not None and one.ml.failure is None)
    async with door.visitor() as visitor:
        page = await visitor.open("/")
        await page.locator("[data-verdict]").first.click()
        await page.get_by_role("link", name=TEXTS["verdict.whole"]["en"]).click()
        await expect(page.locator("#again")).to_contain_text("byte for byte")
        await page.goto(f"{door.home}/verdicts/{fact.verdict_id}")
        await expect(page.locator("#again")).to_have_text(TEXTS["verdict.exact_model"]["en"])
        await expect(page.locator(".weights svg")).to_be_visible()
        await page.goto(f"{door.home}/actions")
        await expect(page.locator(".empty h2")).to_have_text(TEXTS["acts.empty_title"]["en"])
        visitor.check()
        await page.goto(f"{door.home}/verdicts/{'0' * 32}")
        await expect(page.locator("h1")).to_have_text(TEXTS["problem.not_found_title"]["en"])
