"""Hours, questions, requests and alerts through the API, over records as a gateway sends them, on both databases."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api import oversight_schemas as shapes
from cloud.api.answers import Answers
from cloud.api.oversight import ALERTS_EVERY_S, FRESH_S, Oversight
from cloud.app import create_app
from cloud.bus import Bus
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.frames import Loss
from sync.reading import readings
from tests.cloud.gateway import LINE, S, Start, state

HOUR = 3600 * S
MS = 1_000_000


@dataclass
class Site:
    """A gateway that lives through hours: its records, its tallies, and the cloud it tells them to."""

    web: httpx.AsyncClient
    answers: Answers
    database: Database
    plants: Plants
    start: Start
    zero: int
    """Begin of the first hour, ns."""

    async def store(self, *frames) -> None:
        items = [Item(self.start.address, frame, body) for frame, body in frames]
        await self.database.write(lambda c: Ingest(self.plants).store(c, items))

    async def tally(self, hour: int, lanes: dict[str, tuple[int, int]], *, end: float = 1.0) -> None:
        begin = self.zero + hour * HOUR
        fact = f.Tallied(at=begin + int(end * HOUR), start=begin, inc=self.start.inc, lanes=lanes)
        await self.store(self.start.facts(fact))

    async def measure(self, count: int, hour: float) -> tuple[int, int]:
        """Store readings of that time; gives their numbers."""
        first = self.start.last.get(3, 0) + 1
        at = self.zero + int(hour * HOUR)
        batch = readings([(0, 61.5, 0, at + i) for i in range(count)], received=at)
        await self.store(self.start.readings(batch, "0123456789abcdef"))
        return first, first + count - 1

    async def beat(self) -> None:
        self.start.held.pop(2, None)
        await self.store((self.start.resume(), b""), (self.start.heartbeat(), b""))

    async def get(self, path: str, **query) -> dict:
        answer = await self.web.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def hours(self) -> list[dict]:
        found = await self.get("completeness/hours", **self.period(0, 4))
        shapes.HoursAnswer.model_validate(found, strict=True)
        return found["gateways"][0]["hours"]

    def period(self, a: float, b: float) -> dict[str, str]:
        return {"from": self.time(a), "to": self.time(b)}

    def time(self, hour: float) -> str:
        seconds = (self.zero + int(hour * HOUR)) // S
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@pytest.fixture
async def site(database: Database, plants: Plants) -> AsyncIterator[Site]:
    answers = Answers(database, plants, Bus())
    transport = httpx.ASGITransport(create_app(answers, CollectorRegistry()))
    zero = time.time_ns() // HOUR * HOUR - 3 * HOUR
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as web:
        made = Site(web, answers, database, plants, Start(), zero)
        start = made.start
        await made.store((start.resume(), b""), start.facts(start.dictionary([f"{LINE}/temperature"]), stream=3))
        await made.store(start.facts(state(zero, "EXECUTE")))
        yield made


async def three_hours(site: Site) -> None:
    """An hour that is whole, one with a loss, one whose readings wait."""
    one, two = await site.measure(100, 0.5), await site.measure(50, 1.5)
    await site.tally(0, {"3": (1, one[1]), "2": (1, 1)})
    lost = (two[1] + 1, two[1] + 30)
    site.start.last[3] = lost[1]
    site.start.losses[3] = [Loss(*lost, "shed")]
    await site.tally(1, {"3": (two[0], lost[1]), "2": (2, 2)})
    waits = (lost[1] + 1, lost[1] + 200)
    site.start.last[3] = waits[1]
    site.start.held[3] = [waits]
    await site.tally(2, {"3": waits, "2": (3, 3)})
    await site.beat()


async def test_an_hour_says_what_became_of_its_records(site: Site) -> None:
    await three_hours(site)
    whole, lossy, arriving, running = await site.hours()
    assert [hour["state"] for hour in (whole, lossy, arriving, running)] == ["complete", "lost", "arriving", "running"]
    assert (whole["produced"], whole["stored"]) == (102, 102)  # 100 readings, the dictionary, an event
    assert (lossy["stored"], lossy["lost"], lossy["losses"]) == (51, 30, [{"reason": "shed", "count": 30}])
    assert (arriving["stored"], arriving["waiting"]) == (1, 200)
    assert running["produced"] == 1  # the tally of the hour before
    for hour in (whole, lossy, arriving, running):
        assert hour["produced"] == sum(hour[term] for term in ("stored", "waiting", "lost", "unaccounted"))
    total = (await site.get("completeness"))["gateways"][0]
    summed = {
        term: sum(h[term] for h in (whole, lossy, arriving, running))
        for term in ("produced", "stored", "waiting", "lost")
    }
    assert summed == {term: total[term] for term in summed}


async def test_waiting_readings_arrive_and_the_hour_is_complete(site: Site) -> None:
    await three_hours(site)
    site.start.last[3] -= 200
    site.start.held.pop(3)
    await site.measure(200, 2.5)
    site.start.held.pop(3)
    await site.beat()
    assert [hour["state"] for hour in await site.hours()] == ["complete", "lost", "complete", "running"]


async def test_records_the_gateway_does_not_hold_any_more_are_unaccounted(site: Site) -> None:
    await three_hours(site)
    site.start.held[3] = [(182, 380)]
    await site.beat()
    assert [hour["state"] for hour in await site.hours()][2] == "unaccounted"
    site.answers.oversight._watch._since[("demo", "seoul", "gw-1", "unaccounted")] = 0
    await site.answers.oversight.watch()
    kinds = {one["kind"]: one for one in (await site.get("alerts"))["items"]}
    assert kinds["unaccounted"]["detail"] == {"count": 1}


async def test_an_hour_without_a_tally_is_unknown(site: Site) -> None:
    await site.measure(100, 0.5)
    site.start.held.clear()
    await site.store((site.start.resume(), b""), (site.start.heartbeat(), b""))
    long_ago = site.zero // MS
    await site.database.write(lambda c: c.execute("update incarnation set first_seen_ms=?", (long_ago,)))
    hours = await site.hours()
    assert [hour["state"] for hour in hours] == ["unknown", "unknown", "unknown", "running"]
    assert {hour["unknown"] for hour in hours} == {102}


async def test_a_period_before_the_gateway_is_said_to_be_before(site: Site) -> None:
    await three_hours(site)
    found = await site.get("completeness/hours", gateway="gw-1", **site.period(-5, -2))
    assert {hour["state"] for hour in found["gateways"][0]["hours"]} == {"before"}


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"gateway": "gw-9"}, 404, "gw-9"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, 400, "not before"),
        ({"from": "2020-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, 400, "62 days"),
        ({"from": "yesterday"}, 400, "from"),
    ],
)
async def test_a_question_about_hours_that_cannot_be_answered_says_why(site: Site, query, status, said) -> None:
    refused = await site.web.get("/api/v1/completeness/hours", params=query)
    assert refused.status_code == status
    assert said in refused.text


async def question(site: Site, a: float, b: float) -> dict:
    found = await site.get("completeness/answer", work_unit=LINE, **site.period(a, b))
    shapes.LineAnswer.model_validate(found, strict=True)
    return found


async def test_a_line_is_answered_in_a_sentence(site: Site) -> None:
    await three_hours(site)
    whole, lossy, arriving, running = [await question(site, i, i + 1) for i in range(4)]
    assert (whole["complete"], whole["state"], whole["gateway"]) == (True, "complete", "gw-1")
    assert "complete: 102 of 102 records are stored." in whole["sentence"]["en"]
    assert "1호기" in whole["sentence"]["ko"]
    assert "빠짐없이" in whole["sentence"]["ko"]
    assert (lossy["complete"], lossy["state"]) == (False, "lost")
    assert "30 are lost (given up on a full disk)" in lossy["sentence"]["en"]
    assert "30건 손실(디스크 부족으로 버림)" in lossy["sentence"]["ko"]
    assert (arriving["complete"], arriving["state"]) == (False, "arriving")
    assert "200 still wait on gw-1" in arriving["sentence"]["en"]
    assert (running["complete"], running["state"]) == (None, "running")
    assert (await site.web.get("/api/v1/completeness/answer", params={"work_unit": "no/such/line"})).status_code == 404


async def test_a_silence_of_a_source_makes_an_hour_incomplete_until_it_is_filled(site: Site) -> None:
    one = await site.measure(100, 0.5)
    begin = site.zero + HOUR // 6
    gap = f.Gap(at=begin + 300 * S, work_unit=LINE, source="plc", start=begin, tags=4, reason="timeout")
    await site.store(site.start.facts(gap))
    await site.tally(0, {"3": (1, one[1]), "2": (1, 2)})
    site.start.held.clear()
    await site.beat()
    found = await question(site, 0, 1)
    assert (found["complete"], found["state"]) == (False, "gap")
    assert found["gaps"][0] | {"start": "", "end": ""} == {
        "source": "plc", "start": "", "end": "", "tags": 4, "reason": "timeout", "filled": False,
    }  # fmt: skip
    assert "plc could not be read for 5 min" in found["sentence"]["en"]
    filled = f.Backfilled(at=gap.at, work_unit=LINE, source="plc", start=gap.start, tags=4, readings=300)
    await site.store(site.start.facts(filled))
    found = await question(site, 0, 1)
    assert (found["complete"], found["gaps"][0]["filled"]) == (True, True)


async def post(site: Site, **order) -> httpx.Response:
    return await site.web.post("/api/v1/completeness/request", json=order)


async def test_lost_records_of_an_hour_are_asked_for_again(site: Site) -> None:
    await three_hours(site)
    answer = await post(site, gateway="gw-1", by="kim", **site.period(0, 3))
    assert answer.status_code == 200, answer.text
    done = answer.json()
    shapes.Requested.model_validate(done, strict=True)
    assert (done["asked"], done["records"]) == (1, 30)
    assert done["ranges"] == [{"inc": site.start.inc, "stream": 3, "first": 152, "last": 181}]
    rows = await site.database.read(lambda c: c.execute("select stream, first, last, asked_by, sent_ms from wanted"))
    assert rows == [(3, 152, 181, "kim", None)]
    again = (await post(site, gateway="gw-1", **site.period(0, 3))).json()
    assert again["asked"] == 0  # it stands there already
    nothing = (await post(site, gateway="gw-1", **site.period(0, 1))).json()
    assert (nothing["asked"], nothing["ranges"]) == (0, [])


async def test_any_range_can_be_asked_for_by_its_numbers(site: Site) -> None:
    await three_hours(site)
    done = (await post(site, gateway="gw-1", inc=site.start.inc, stream=3, first=5, last=10**6)).json()
    assert done["ranges"] == [{"inc": site.start.inc, "stream": 3, "first": 5, "last": 381}]


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"gateway": "gw-1"}, 400),
        ({"gateway": "gw-1", "from": "2026-01-01T00:00:00Z"}, 400),
        ({"gateway": "gw-1", "from": "soon", "to": "later"}, 400),
        ({"gateway": "gw-9", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}, 404),
        ({"gateway": "gw-1", "inc": "ab" * 16, "stream": 3, "first": 1, "last": 2}, 404),
        ({"gateway": "gw-1", "inc": "ab" * 16, "stream": 3, "first": 0, "last": 2}, 400),
        ({"gateway": "gw-1", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z", "more": 1}, 400),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(site: Site, order, status) -> None:
    assert (await post(site, **order)).status_code == status


async def test_alerts_are_raised_once_and_cleared_when_it_is_over(site: Site) -> None:
    await three_hours(site)
    watch = site.answers.oversight
    await watch.watch()
    raised = (await site.get("alerts"))["items"]
    assert [(one["kind"], one["gateway"]) for one in raised] == [("lost", "gw-1")]
    assert raised[0]["detail"] == {"count": 30, "reasons": {"shed": 30}}
    old = time.time_ns() // MS - 60_000
    sick = "update gateway set last_seen_ms=?, autonomy_hours=2.46, clock_offset_ms=-3141, identity='conflict'"
    await site.database.write(lambda c: c.execute(sick, (old,)))
    number = (await site.database.read(lambda c: c.execute("select id from incarnation")))[0][0]
    await site.database.write(
        lambda c: c.execute(
            "insert into chain_finding(tenant, inc, stream, first, why, recorded_ms) values('demo',?,3,7,'broken',?)",
            (number, time.time_ns() // MS),
        )
    )
    watch._watched = 0
    await watch.watch()
    found = await site.get("alerts")
    shapes.Alerts.model_validate(found, strict=True)
    kinds = {one["kind"]: one for one in found["items"]}
    assert list(kinds) == ["conflict", "chain", "autonomy", "lost", "silent", "clock"]
    assert kinds["autonomy"]["detail"] == {"hours": 2.5}
    assert kinds["clock"]["detail"] == {"offset_ms": -3100}
    assert kinds["chain"]["detail"] == {"count": 1, "why": "broken"}
    metrics = (await site.web.get("/metrics")).text
    assert 'triflow_alert{gateway="gw-1",kind="silent",severity="warning",site="seoul",tenant="demo"} 1.0' in metrics
    await site.database.write(lambda c: c.execute("update gateway set identity='ok', clock_offset_ms=3"))
    await site.beat()
    watch._watched = 0
    await watch.watch()
    assert [one["kind"] for one in (await site.get("alerts"))["items"]] == ["chain", "lost"]
    history = await site.get("alerts/history", page_size=2)
    shapes.AlertPage.model_validate(history, strict=True)
    assert (history["total"], len(history["items"])) == (6, 2)
    assert 'kind="silent"' not in (await site.web.get("/metrics")).text


async def test_two_processes_raise_an_alert_once(site: Site) -> None:
    await three_hours(site)
    other = Answers(site.database, site.plants, Bus())
    await site.answers.oversight.watch()
    await other.oversight.watch()
    rows = await site.database.read(lambda c: c.execute("select kind from alert"))
    assert rows == [("lost",)]


async def test_a_difference_between_two_heartbeats_is_no_alert_yet(site: Site) -> None:
    await three_hours(site)
    site.start.held[3] = []
    await site.beat()
    await site.answers.oversight.watch()
    assert [one["kind"] for one in (await site.get("alerts"))["items"]] == ["lost"]


async def test_the_marts_do_not_mind_tallies(site: Site) -> None:
    await three_hours(site)
    await site.database.write(lambda c: refresh(c, site.plants, time.time_ns() // MS + 10_000))
    tallies = await site.database.read(
        lambda c: c.execute("select stream, first, last from tally order by start, stream")
    )
    assert tallies == [(2, 1, 1), (3, 1, 101), (2, 2, 2), (3, 102, 181), (2, 3, 3), (3, 182, 381)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_within_a_second_many_readers_of_the_hours_cost_one_look(site: Site) -> None:
    """By a clock that stands: who asks within FRESH_S gets the same answer, who asks for a period of their own does not."""
    at = [1000.0]
    oversight = Oversight(site.database, site.plants, Bus(), now=lambda: at[0])

    async def waiting(start: datetime | None = None) -> int:
        found = await oversight.hours("demo", None, start, None)
        return sum(hour["waiting"] for one in found["gateways"] for hour in one["hours"])

    assert await waiting() == 0
    await three_hours(site)
    at[0] += FRESH_S - 0.001
    assert await waiting() == 0  # nobody looked
    assert await waiting(datetime.fromtimestamp(site.zero / S, UTC)) == 200
    at[0] += 0.001
    assert await waiting() == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_alerts_are_brought_up_to_date_every_few_seconds_however_often_something_changes(site: Site) -> None:
    at = [0.0]
    oversight = Oversight(site.database, site.plants, Bus(), now=lambda: at[0])
    await oversight.watch()
    assert await oversight.alerts("demo") == []
    await site.database.write(lambda c: c.execute("update gateway set last_seen_ms=1"))
    for _ in range(5):
        at[0] += ALERTS_EVERY_S / 5 - 0.01
        await oversight.watch()
    assert await oversight.alerts("demo") == []
    at[0] = ALERTS_EVERY_S
    await oversight.watch()
    assert [one["kind"] for one in await oversight.alerts("demo")] == ["silent"]
