"""Two sites that call their lines, and their gateways, the same: no page and no answer takes the one for the other."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import httpx
import msgspec
import pytest

from sync import facts as f
from sync.judgment import RulesetActivated
from sync.topics import Address
from tests.cloud.dashboard.conftest import FILE, LINE_1, LINE_2, SECOND, Hall, running_cloud, shift_of_work
from tests.cloud.gateway import Start

BUSAN: Final = (
    FILE[FILE.index("[[site]]") :]
    .replace('"seoul"', '"busan"')
    .replace("서울 공장", "부산 공장")
    .replace("Seoul plant", "Busan plant")
    .format()
)
KEY_1, KEY_2 = f"busan:{LINE_1}", f"busan:{LINE_2}"


@dataclass
class Halls:
    """One cloud and the pens of two gateways of one name."""

    seoul: Hall
    busan: Hall
    web: httpx.AsyncClient

    async def get(self, path: str, accept: str = "application/json") -> httpx.Response:
        return await self.web.get(path, headers={"Accept": accept, "Accept-Language": "en"})

    async def page(self, path: str) -> Read:
        answer = await self.get(path, "text/html")
        assert answer.status_code == 200, (path, answer.text)
        return Read(answer.text)


class Read(HTMLParser):
    """A page's links with their words, its ids, and its first heading."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.links: dict[str, str] = {}
        self.ids: list[str] = []
        self.heading = ""
        self._at: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag in {"a", "h1"}:
            self._at.append((tag, given.get("href") or ""))

    def handle_endtag(self, tag: str) -> None:
        if self._at and self._at[-1][0] == tag:
            self._at.pop()

    def handle_data(self, data: str) -> None:
        for tag, address in self._at:
            if tag == "a":
                self.links[address] = self.links.get(address, "") + data
            else:
                self.heading += data


def told(now: int, *, alarm: str) -> list[f.Fact]:
    """Give the half hour of a hall; the alarm of its second line is of this severity, which names its verdicts, too."""
    facts: list[f.Fact] = []
    for one in shift_of_work(now):
        if isinstance(one, f.AlarmChanged):
            facts.append(msgspec.structs.replace(one, severity=alarm, verdict_id=alarm[0] * 32))
        elif isinstance(one, f.Judged):
            name = alarm[0] if one.decision == "critical" else alarm[1]
            facts.append(msgspec.structs.replace(one, verdict_id=name * 32))
        else:
            facts.append(one)
    return facts


@pytest.fixture
async def halls(tmp_path: Path) -> AsyncIterator[Halls]:
    """Seoul's line 2 warns, Busan's is critical, and Busan made twice what Seoul made."""
    async with running_cloud(tmp_path, more=BUSAN) as seoul:
        busan = Hall(seoul.url, seoul.database, seoul.plants, seoul.bus, Start(address=Address("demo", "busan", "gw-opcua")))  # fmt: skip
        now = time.time_ns()
        await seoul.say(*told(now, alarm="warning"))
        await busan.say(
            *told(now, alarm="critical"),
            *(one for one in told(now - SECOND, alarm="critical") if isinstance(one, f.Produced)),
        )
        for hall, content in ((seoul, "ab"), (busan, "cd")):
            await hall.say(
                RulesetActivated(
                    at=now - 3600 * SECOND, work_unit=LINE_1, ruleset="filler", ruleset_version="1.0.0",
                    ruleset_hash=content * 32, part=1, parts=1,
                )
            )  # fmt: skip
        await seoul.beat()
        await busan.beat(waiting=7)
        async with httpx.AsyncClient(base_url=seoul.url, timeout=30) as web:
            yield Halls(seoul, busan, web)


async def test_an_address_that_two_sites_have_is_asked_back(halls: Halls) -> None:
    for path in (
        f"lines/{LINE_1}",
        f"completeness/answer?work_unit={LINE_1}",
        f"verdicts?work_unit={LINE_1}",
        f"alarms?work_unit={LINE_2}",
        f"facts?work_unit={LINE_2}",
        f"quality?work_unit={LINE_1}",
        f"quality/ccp.csv?work_unit={LINE_1}",
        f"quality/defect-chart?work_unit={LINE_1}",
        f"quality/lots?work_unit={LINE_1}",
        f"alerts/list?work_unit={LINE_1}",
        f"etl/dead-letters?work_unit={LINE_1}",
    ):
        answer = await halls.get(f"/api/v1/{path}")
        assert answer.status_code == 400, path
        said = answer.json()["error"]
        unit = LINE_2 if LINE_2 in path else LINE_1
        assert (said["code"], f"seoul:{unit}" in said["check"], f"busan:{unit}" in said["check"]) == ("ERR_VALIDATION", True, True)  # fmt: skip
        named = await halls.get(f"/api/v1/{path}".replace(unit, f"busan:{unit}"))
        assert named.status_code == 200, (path, named.text)
    for path, wanted in (
        (f"/lines/{LINE_1}?range=8h", f"/lines/{quote(KEY_1)}?range=8h"),
        (f"/quality?line={LINE_1}&rules=nelson", f"/quality?line={quote(KEY_1, safe='')}&rules=nelson"),
    ):
        answer = await halls.get(path, "text/html")
        assert answer.status_code == 400
        choices = {address: words for address, words in Read(answer.text).links.items() if LINE_1 in words}
        assert len(choices) == 2
        assert "Busan plant" in choices[wanted]
        assert (await halls.get(wanted, "text/html")).status_code == 200


async def test_answers_of_one_site_hold_nothing_of_the_other(halls: Halls) -> None:
    lists = {
        what: (await halls.get(f"/api/v1/{what}?work_unit={KEY_2}&page_size=100")).json()
        for what in ("verdicts", "alarms", "facts")
    }
    assert {one["site"] for part in lists.values() for one in part["items"]} == {"busan"}
    assert [one["severity"] for one in lists["alarms"]["items"]] == ["critical"]
    whole = [(await halls.get(f"/api/v1/facts?page_size=1{more}")).json()["total"] for more in ("", f"&work_unit={KEY_2}", f"&work_unit=seoul:{LINE_2}")]  # fmt: skip
    assert whole[1] == lists["facts"]["total"] > whole[2]
    lines = {one["key"]: one for one in (await halls.get("/api/v1/overview")).json()["lines"]}
    assert lines[KEY_1]["output"]["good"] == 2 * lines[f"seoul:{LINE_1}"]["output"]["good"] > 0
    assert lines[KEY_1]["name"]["en"] == "Line 1 filler · Busan plant"
    said = (await halls.get(f"/api/v1/completeness/answer?work_unit={KEY_1}")).json()
    assert (said["site"], said["work_unit"]) == ("busan", LINE_1)
    lot = (await halls.get("/api/v1/quality/lots/L-1")).json()
    assert {(one["site"], one["produced"]) for one in lot["made"] if one["work_unit"] == LINE_1} == {("seoul", 1260), ("busan", 2520)}  # fmt: skip
    assert {(one["site"], one["work_unit"]) for one in lot["completeness"]} == {(s, u) for s in ("seoul", "busan") for u in (LINE_1, LINE_2)}  # fmt: skip
    (listed,) = (await halls.get("/api/v1/quality/lots")).json()["items"]
    assert listed["work_units"] == 4
    (listed,) = (await halls.get(f"/api/v1/quality/lots?work_unit={KEY_1}")).json()["items"]
    assert (listed["site"], listed["work_unit"], listed["produced"]) == ("busan", LINE_1, 2520)


async def test_every_link_about_a_line_of_one_site_ends_there(halls: Halls) -> None:
    """From every page: what a link says it leads to, it leads to; and a page of Busan never leads to Seoul's line."""
    starts = {
        **dict.fromkeys(
            ("/", "/wall", "/fleet", "/alerts", "/data", "/audit", "/quality/lots", "/quality/lots/L-1"), ""
        ),
        "/analysis?analysis=RANK&metric=produced&by=line&period=today": "",
        f"/lines/{quote(KEY_2)}?range=24h&decision=critical": "busan",
        f"/fragments/lines/{quote(KEY_2)}": "busan",
        f"/quality?line={quote(KEY_1)}": "busan",
        f"/verdicts/{'c' * 32}": "busan",
        f"/analysis?analysis=CHECK&metric=produced&where.line={quote(KEY_1)}&period=today": "busan",
    }
    seen: dict[str, str] = {}
    for start, site in starts.items():
        page = await halls.page(start)
        assert len(page.ids) == len(set(page.ids)), start
        assert not [one for one in page.links if re.search(rf"(?<!%3A)(?<!:)({LINE_1}|{LINE_2})", one)], start
        lines = {one: words for one, words in page.links.items() if one.startswith("/lines/")}
        assert all("Busan plant" in words or KEY_1 in unquote(one) or KEY_2 in unquote(one) for one, words in lines.items() if site), start  # fmt: skip
        seen |= lines
    named: dict[str, str] = {}
    for address, words in seen.items():
        if "Line " in words:
            key = unquote(address).removeprefix("/lines/").partition("?")[0]
            plant = "Busan plant" if "Busan plant" in words else "Seoul plant" if "Seoul plant" in words else words
            assert named.setdefault(key, plant) == plant, (address, words)
    assert sorted(named) == [KEY_1, KEY_2, f"seoul:{LINE_1}", f"seoul:{LINE_2}"]
    for key, plant in named.items():
        assert plant in (await halls.page(f"/lines/{quote(key)}")).heading


async def test_cards_alarms_gateways_and_rules_of_equal_names_are_kept_apart(halls: Halls) -> None:
    page = (await halls.page("/")).page
    cards = {
        key: page[page.index(f'id="line-{key}"') :].partition("</article>")[0] for key in (KEY_2, f"seoul:{LINE_2}")
    }
    assert "d-critical over" in cards[KEY_2]
    assert "d-warning over" in cards[f"seoul:{LINE_2}"]
    alarms = page[page.index('id="alarms"') :].partition("</section>")[0]
    assert re.findall(r'data-alarm="([^ ]+)', alarms) == [KEY_2, f"seoul:{LINE_2}"]
    proof = {name: page[page.index(f'id="proof-{name}"') :].partition("</article>")[0] for name in ("busan:gw-opcua", "seoul:gw-opcua")}  # fmt: skip
    waiting = {name: re.findall(r'data-field="waiting">(\d+)', text) for name, text in proof.items()}
    assert waiting == {"busan:gw-opcua": ["7"], "seoul:gw-opcua": ["0"]}
    fleet = (await halls.page("/fleet")).page
    assert "rules differ between lines" not in fleet
    assert "one version, more than one content: filler 1.0.0" in fleet
    versions = (await halls.get("/api/v1/rulesets")).json()["rulesets"][0]["versions"]
    assert sorted(name for one in versions for name in one["lines"]) == [f"busan:gw-opcua/{LINE_1}", f"seoul:gw-opcua/{LINE_1}"]  # fmt: skip
    wall = (await halls.page("/wall")).page
    assert [f"shout-{key}-vibration" in wall for key in (KEY_2, f"seoul:{LINE_2}")] == [True, True]
    assert "Line 2 filler · Busan plant" in wall
