"""Completeness, the audit log and the banner of alerts in a real browser over the real application."""

from __future__ import annotations

import time

import httpx
import pytest
from playwright.async_api import expect

from cloud.bi.audit import Filter
from cloud.dashboard import ledger
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.wording import formats
from cloud.wording.texts import TEXTS, Words
from sync import facts as f
from sync.frames import Loss
from tests.cloud.dashboard.conftest import SECOND, Door, Hall

HOUR = 3600 * SECOND
MS = 1_000_000


async def store(cloud: Hall, *frames) -> None:
    items = [Item(cloud.start.address, frame, body) for frame, body in frames]
    await cloud.database.write(lambda c: Ingest(cloud.plants).store(c, items))
    cloud.bus.changed.set()


async def three_hours(cloud: Hall) -> int:
    """An hour that is whole, one that lost 30 records, one that waits for 200; gives the begin of the first, ns."""
    start, zero = cloud.start, time.time_ns() // HOUR * HOUR - 3 * HOUR
    await store(cloud, (start.resume(), b""))
    events = [f.Faulted(at=zero + i, work_unit="bottling/line-1/filler", why="x") for i in range(10)]
    await store(cloud, start.facts(*events))
    start.losses[2] = [Loss(11, 40, "shed")]
    lanes = [(1, 10), (11, 40), (41, 240)]
    start.last[2], start.last[5] = 240, 0
    tallies = [
        f.Tallied(at=zero + (i + 1) * HOUR, start=zero + i * HOUR, inc=start.inc, lanes={"2": span})
        for i, span in enumerate(lanes)
    ]
    start.last.pop(5)
    start.held = {2: [(41, 240)]}
    await store(cloud, (start.resume(), b""))
    # The tallies themselves come on another stream here, so that those 200 can go on waiting.
    await store(cloud, start.facts(*tallies, stream=6))
    start.held.pop(6)
    own = [
        f.Tallied(at=zero + 3 * HOUR, start=zero, inc=start.inc, lanes={"6": (1, 3)}),
        f.Tallied(at=zero + 3 * HOUR + 1, start=zero + 2 * HOUR, inc=start.inc, lanes={"6": (4, 5)}),
    ]
    await store(cloud, start.facts(*own, stream=6))
    start.held.pop(6)
    await store(cloud, (start.heartbeat(), b""))
    return zero


@pytest.mark.parametrize("language", ["en-GB", "ko-KR"])
async def test_the_grid_shows_what_the_api_says(cloud: Hall, door: Door, language: str) -> None:
    await three_hours(cloud)
    words = Words("ko" if language == "ko-KR" else "en")
    async with door.visitor(language=language) as visitor:
        page = await visitor.open("/completeness")
        (gateway,) = (await cloud.get("/api/v1/completeness/hours"))["gateways"]
        cells = page.locator("#hours-gw-opcua .hours li")
        assert await cells.count() == len(gateway["hours"]) == 48
        states = [await cells.nth(i).get_attribute("data-state") for i in range(44, 48)]
        assert (
            states == [hour["state"] for hour in gateway["hours"][-4:]] == ["complete", "lost", "arriving", "running"]
        )
        lost = await cells.nth(45).get_attribute("title")
        assert lost is not None
        assert words.label("hour_state", "lost") in lost
        assert words("hours.lost_n", n=30, why=words.label("loss", "shed")) in lost
        for term in ("produced", "stored", "waiting", "lost"):
            shown = await page.locator(f'#hours-gw-opcua [data-field="{term}"]').inner_text()
            assert shown == formats.number(gateway["total"][term])
        rows = page.locator(".look tbody tr")
        assert await rows.count() == 2
        await expect(rows.first).to_contain_text(words.label("hour_state", "lost"))
        await expect(page.locator("#safe")).to_contain_text(TEXTS["hours.safe_stored"][words.language])
        visitor.check()


async def test_an_hour_is_opened_and_asked_for_again_by_keyboard(cloud: Hall, door: Door) -> None:
    await three_hours(cloud)
    async with door.visitor() as visitor:
        page = await visitor.open("/completeness")
        mark = page.locator("#hours-gw-opcua li[data-state=lost] a")
        await mark.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".look tr:target")).to_contain_text("loss declared")
        button = page.get_by_role("button", name="Ask gw-opcua again")
        await button.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#asked")).to_have_text(
            "Asked for 30 records; they arrive as far as the gateway still has them."
        )
        rows = await cloud.database.read(lambda c: c.execute("select stream, first, last, asked_by from wanted"))
        assert rows == [(2, 11, 40, "dashboard")]
        await expect(page.locator("#requests")).to_contain_text("11–40")
        await button.click()
        await expect(page.locator("#asked")).to_contain_text("Nothing to ask for")
        visitor.check()


async def test_two_boxes_with_one_identity_are_named_with_what_to_do(cloud: Hall, door: Door) -> None:
    await three_hours(cloud)
    now = time.time_ns() // MS

    def clone(connection) -> None:
        connection.execute("update gateway set identity='conflict'")
        connection.execute(
            "update incarnation set appeared=1, resumed=3, box='8f3a11c2d4', software='triflow 1', heard_ms=?", (now,)
        )
        (gateway,) = connection.execute("select id from gateway")[0]
        connection.execute(
            "insert into incarnation(tenant, gateway, inc, ord, first_seen_ms, box, software, heard_ms, appeared, resumed)"
            " values('demo',?,?,2,?,'c07742ab19','triflow 2',?,2,4)",
            (gateway, "cd" * 16, now, now),
        )
        connection.execute(
            "insert into chain_finding(tenant, inc, stream, first, why, recorded_ms) select 'demo', id, 2, 7, 'gap', ?"
            " from incarnation where ord=1",
            (now,),
        )

    await cloud.database.write(clone)
    cloud.bus.changed.set()
    async with door.visitor(language="ko-KR", scheme="dark") as visitor:
        page = await visitor.open("/completeness")
        identities = page.locator("#identities")
        for text in ("8f3a11c2", "c07742ab", "triflow 1", "triflow 2", f"--keep {'cd' * 16}", "demo/seoul/gw-opcua"):
            await expect(identities).to_contain_text(text)
        await expect(page.locator("#chains")).to_contain_text("gw-opcua/1/이벤트/7")
        await expect(page.locator("#attention [data-kind=conflict]")).to_have_text(
            TEXTS["alert.conflict"]["ko"].format(gateway="gw-opcua"), timeout=15_000
        )
        await page.goto(door.home + "/")
        await expect(page.locator("#attention [data-kind=chain]")).to_be_visible()
        assert await page.locator("#attention a").get_attribute("href") == "/alerts"
        visitor.check()


async def test_backups_are_said_where_gateways_wait_for_them(cloud: Hall, door: Door) -> None:
    await three_hours(cloud)
    object.__setattr__(cloud.plants.file, "safe", "backup")
    async with door.visitor() as visitor:
        page = await visitor.open("/completeness")
        await expect(page.locator("#safe")).to_contain_text("none yet: run `triflow cloud backup`")
        made = time.time_ns() // MS - 30 * 3_600_000
        await cloud.database.write(
            lambda c: c.execute(
                "insert into backup(made_ms, path, digest, bytes, recorded_ms) values(?,'x','y',1200000,?)",
                (made, made),
            )
        )
        cloud.bus.changed.set()
        await expect(page.locator("#safe")).to_contain_text("1 d 6 h ago", timeout=15_000)
        await expect(page.locator("#safe")).to_contain_text("1.2 MB")
        await expect(page.locator("#attention [data-kind=backup]")).to_be_visible(timeout=15_000)
        visitor.check()


async def test_a_cloud_nobody_spoke_to_says_so(cloud: Hall, door: Door) -> None:
    async with door.visitor(language="ko-KR") as visitor:
        page = await visitor.open("/completeness")
        await expect(page.locator(".empty h2")).to_have_text(TEXTS["hours.none_title"]["ko"])
        await page.goto(door.home + "/audit")
        await expect(page.locator(".empty h2")).to_have_text(TEXTS["audit.none_title"]["ko"])
        visitor.check()


async def test_a_database_that_is_away_is_no_empty_log(cloud: Hall) -> None:
    await cloud.database.write(lambda c: c.execute("alter table audit_entry rename to elsewhere"))
    async with httpx.AsyncClient(base_url=cloud.url) as client:
        answer = await client.get("/audit", headers={"accept": "text/html"})
        assert answer.status_code == 503


def test_gateways_of_one_name_at_two_sites_are_told_apart_in_the_audit_log() -> None:
    gateways = [
        {"site": site, "gateway": name} for site, name in (("busan", "gw-1"), ("seoul", "gw-1"), ("seoul", "gw-2"))
    ]
    more = {"ord": 1, "stream": 1, "seq": 7, "detail": {}}
    page = {"items": [one | more for one in gateways], "page": 1, "page_size": 50, "total": 3}
    model = ledger.audit(page, {"actor": [], "action": [], "gateway": gateways}, {}, Words("en"))
    assert model["choices"]["gateway"] == ["busan:gw-1", "seoul:gw-1", "gw-2"]
    assert [one["called"] for one in model["items"]] == model["choices"]["gateway"]
    assert Filter(gateway="seoul:gw-1").where("demo")[1] == ["demo", "gw-1", "seoul"]
    assert Filter(gateway="gw-2").where("demo")[1] == ["demo", "gw-2"]


async def test_the_audit_log_is_filtered_paged_and_taken_along(cloud: Hall, door: Door) -> None:
    zero = 1_767_225_600 * SECOND
    facts = [
        f.Audited(
            at=zero + i * 60 * SECOND,
            actor=("kim", "lee")[i % 2],
            action="setpoint.changed",
            target=f"press-{i % 3}",
            detail={"old": i, "new": i + 1, "why": "<b>현장</b>"},
        )
        for i in range(120)
    ]
    await store(cloud, (cloud.start.resume(), b""), cloud.start.facts(*facts, stream=1))
    async with door.visitor() as visitor:
        page = visitor.page
        await page.goto(door.home + "/audit")
        await expect(page.locator("#records-title")).to_have_text("1–50 of 120")
        await page.get_by_role("link", name="Older").click()
        await expect(page.locator("#records-title")).to_have_text("51–100 of 120")
        await page.get_by_label("Who").select_option("kim")
        await page.get_by_label("On what").fill("press-1")
        await page.get_by_label("From").fill("2026-01-01T10:00")
        await page.get_by_role("button", name="Show").click()
        total = (await cloud.get("/api/v1/audit?actor=kim&target=press-1&from=2026-01-01T01:00:00Z"))["total"]
        await expect(page.locator("#records-title")).to_have_text(f"1–{total} of {total}")
        first = page.locator(".log tbody tr").first
        await first.locator("summary").click()
        await expect(first).to_contain_text("<b>현장</b>")
        await expect(first).to_contain_text("gw-opcua/1/Audit/")
        async with httpx.AsyncClient(base_url=door.home) as client:
            link = await page.get_by_role("link", name="Download as CSV").get_attribute("href")
            assert len((await client.get(str(link))).text.splitlines()) == total + 1
        await page.get_by_role("link", name="Show everything").click()
        await expect(page.locator("#records-title")).to_have_text("1–50 of 120")
        await page.goto(door.home + "/audit?text=nothing_like_it")
        await expect(page.locator(".empty h2")).to_have_text("Nothing matches")
        visitor.check()
