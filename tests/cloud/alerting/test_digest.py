"""Many alerts become few letters: who is told what, counted over simulated hours, across restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloud.alerting import digest, telling
from cloud.config import Settings, load
from cloud.database import Connection, Database
from cloud.outgoing import queue
from cloud.plant import Plants
from tests.cloud.conftest import write_cloud_toml

MIN = 60_000
T0 = 1_790_000_000_000
MAIL = """
[mail]
host = "127.0.0.1"
tls = "none"
sender = "triflow@plant.example"
alerts = ["shift@plant.example"]
language = "en"
page = "https://triflow.plant.example"
"""


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return load(write_cloud_toml(tmp_path, database_url, MAIL))


@dataclass
class Desk:
    """Raises, clears and acknowledges alerts, and lets time pass."""

    database: Database
    plants: Plants
    now: int = T0
    letters: list[dict[str, Any]] = field(default_factory=list)

    async def raised(self, kind: str = "silent", severity: str = "warning", gateway: str = "gw-1", **more: Any) -> int:
        values = {
            "site": "seoul",
            "gateway": gateway,
            "kind": kind,
            "severity": severity,
            "detail": '{"since": null}',
            **more,
        }

        def work(c: Connection) -> int:
            names = ", ".join(values)
            marks = ", ".join("?" * len(values))
            return c.execute(
                f"insert into alert(tenant, raised_ms, {names}) values('demo', ?, {marks}) returning id",
                (self.now, *values.values()),
            )[0][0]

        return await self.database.write(work)

    async def cleared(self, number: int) -> None:
        await self.database.write(lambda c: c.execute("update alert set cleared_ms=? where id=?", (self.now, number)))

    async def passes(self, ms: int, every_ms: int = 5_000) -> int:
        """Let time pass; gives how many letters it brought."""
        until, queued = self.now + ms, 0
        while self.now < until:
            self.now += every_ms
            queued += await telling.once(self.database, self.plants, self.now)
        return queued

    async def read(self) -> list[tuple[str, str]]:
        """Give subject and text of every letter, oldest first."""
        return [
            (a, b)
            for a, b in await self.database.read(lambda c: c.execute("select subject, body from outgoing order by id"))
        ]


@pytest.fixture
def desk(database: Database, plants: Plants) -> Desk:
    return Desk(database, plants)


async def test_a_storm_is_one_letter(desk: Desk) -> None:
    for number in range(40):
        await desk.raised(gateway=f"gw-{number}")
    assert await desk.passes(9_000, 1_000) == 0  # others may come with it
    assert await desk.passes(9 * MIN) == 1
    ((subject, body),) = await desk.read()
    assert subject == "[Warning] gw-0 is silent · 39 more"
    assert body.count("[Warning]") == 40
    assert "https://triflow.plant.example/alerts" in body


async def test_a_group_gets_one_letter_in_ten_minutes_but_critical_does_not_wait(desk: Desk) -> None:
    await desk.raised(gateway="a")
    assert await desk.passes(MIN) == 1
    await desk.raised(gateway="b")
    assert await desk.passes(5 * MIN) == 0
    await desk.raised(gateway="c", kind="chain", severity="critical", detail='{"count": 1, "why": ""}')
    assert await desk.passes(MIN) == 1  # and it takes b with it
    body = (await desk.read())[-1][1]
    assert "b is silent" in body
    assert body.index("the chain is broken") < body.index("b is silent")


async def test_critical_is_told_every_five_minutes_and_warning_every_thirty_until_somebody_has_seen_it(
    desk: Desk,
) -> None:
    critical = await desk.raised(gateway="c", kind="chain", severity="critical", detail='{"count": 1, "why": ""}')
    assert await desk.passes(31 * MIN) == 7  # at once, and at 5, 10 … 30
    await desk.database.write(lambda c: c.execute("update alert set acked_ms=1 where id=?", (critical,)))
    assert await desk.passes(60 * MIN) == 0
    await desk.raised(gateway="w")
    assert await desk.passes(95 * MIN) == 4  # at once, and at 30, 60, 90
    await desk.raised(gateway="i", severity="info")
    assert "[Info]" in "".join(body for _, body in await desk.read()) or await desk.passes(11 * MIN) == 1


async def test_the_same_alarm_twenty_times_in_ten_minutes_is_one_letter_and_a_count(desk: Desk) -> None:
    for _ in range(20):
        number = await desk.raised()
        await desk.passes(20_000)
        await desk.cleared(number)
        await desk.passes(5_000)
    assert len(await desk.read()) == 1
    await desk.passes(15 * MIN)
    letters = await desk.read()
    assert len(letters) == 2  # that it is over
    assert "19 further changes were not told one by one" in letters[-1][1]


async def test_what_is_over_is_told_with_the_next_letter_if_it_had_been_told(desk: Desk) -> None:
    number = await desk.raised()
    await desk.passes(MIN)
    await desk.cleared(number)
    assert await desk.passes(8 * MIN) == 0
    assert await desk.passes(2 * MIN) == 1
    subject, body = (await desk.read())[-1]
    assert subject.startswith("[Over] gw-1 is silent")
    assert "over at" in body
    assert await desk.passes(120 * MIN, 60_000) == 0


async def test_silenced_alerts_tell_nobody_and_are_told_when_the_silence_is_over(desk: Desk) -> None:
    await desk.raised(silent_until_ms=T0 + 60 * MIN)
    assert await desk.passes(59 * MIN, 30_000) == 0
    assert await desk.passes(2 * MIN) == 1


async def test_after_hours_without_a_cloud_old_ones_are_one_letter_that_says_how_late_it_is(desk: Desk) -> None:
    gone = [await desk.raised(gateway=f"g{number}") for number in range(5)]
    chain = await desk.raised(gateway="c", kind="chain", severity="critical", detail='{"count": 1, "why": ""}')
    await desk.raised(gateway="still")
    desk.now += 3 * 60 * MIN
    for number in (*gone, chain):
        await desk.cleared(number)
    assert await desk.passes(20_000) == 1
    ((_, body),) = await desk.read()
    assert "still is silent" in body
    assert "told 180 min late" in body
    assert "the chain is broken" in body  # critical is told although it is over
    assert "g0 is silent" not in body
    assert "5 further changes" in body


async def test_a_restart_in_the_middle_and_two_processes_tell_nothing_twice(desk: Desk) -> None:
    await desk.raised(severity="critical", kind="chain", detail='{"count": 1, "why": ""}')
    await desk.passes(20_000)
    other = Desk(desk.database, Plants(desk.plants.settings), desk.now)  # nothing is kept in memory
    assert await other.passes(MIN) + await desk.passes(MIN) == 0
    assert await other.passes(4 * MIN) == 1
    assert len(await desk.read()) == 2


async def test_readers_of_their_own_get_a_letter_of_their_own_in_their_language(desk: Desk) -> None:
    await desk.raised()
    await desk.raised(gateway="b", readers='["boss@plant.example"]', language="ko")
    await desk.passes(MIN)
    page = await desk.database.read(lambda c: queue.listed(c, "demo", page=1, page_size=10))
    told = {item["readers"][0]["address"]: item["subject"] for item in page["items"]}
    assert told == {
        "shift@plant.example": "[Warning] gw-1 is silent",
        "boss@plant.example": "[경고] b의 소식이 끊겼습니다",
    }


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_an_alarm_that_comes_back_and_stays_is_told_ten_minutes_after_it_was_told(severity: str) -> None:
    times: dict[str, Any] = {"raised_ms": T0 + MIN, "cleared_ms": None, "told_ms": None, "same_told_ms": T0}
    back = digest.Alert(number=2, same="a", severity=severity, acked=False, silent_until_ms=0, row={}, **times)
    assert digest.decide([back], None, T0 + 10 * MIN - 1).letter == ()
    (said,) = digest.decide([back], None, T0 + 10 * MIN).letter
    assert (said.alert.number, said.why, said.late) == (2, "new", False)
