"""What nobody acknowledges is told to others: once per step, through a real mail server and a real receiver of posts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from cloud.alerting import escalation, listing
from cloud.alerting.digest import Alert
from cloud.alerting.escalation import BETWEEN_MS, MINUTE_MS, Unseen, falls_due
from cloud.config import Settings, load
from cloud.database import Database
from cloud.outgoing.config import Escalation
from cloud.outgoing.sending import Sender
from cloud.plant import Plants
from tests.cloud.alerting.test_digest import MIN, T0, Desk
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.outgoing.conftest import PostOffice
from tests.cloud.outgoing.receiver import Receiver

FILE = """
[mail]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "triflow@plant.example"
alerts = ["shift@plant.example"]
language = "en"
[webhook]
url = "{url}"
secret = {{ credential = "gw-1.key" }}
[[escalation]]
after_min = 60
severity = ["critical", "warning"]
readers = ["oncall@plant.example"]
language = "ko"
webhook = true
[[escalation]]
after_min = 30
readers = ["lead@plant.example"]
[[escalation]]
after_min = 120
readers = ["manager@plant.example"]
"""
CRITICAL: dict[str, Any] = {"severity": "critical", "kind": "chain", "detail": '{"count": 1, "why": ""}'}


@pytest.fixture
def settings(tmp_path: Path, database_url: str, office: PostOffice, receiver: Receiver) -> Settings:
    return load(write_cloud_toml(tmp_path, database_url, FILE.format(port=office.port, url=receiver.url)))


@pytest.fixture
def desk(database: Database, plants: Plants) -> Desk:
    return Desk(database, plants)


async def told(desk: Desk) -> list[tuple[int, str, str, int]]:
    """Give minute, reader, head and number of alerts of every letter that was passed on, oldest first."""
    rows = await desk.database.read(
        lambda c: c.execute(
            "select o.queued_ms, r.address, o.subject, o.html from outgoing o join outgoing_reader r on r.letter=o.id"
            " where o.cause='escalation' order by o.id"
        )
    )
    return [
        ((at - T0) // MIN, to, said[1:].partition("]")[0], html.count("border-left")) for at, to, said, html in rows
    ]


async def test_each_step_is_taken_once_at_its_time_across_restarts_and_two_processes(desk: Desk) -> None:
    await desk.raised(**CRITICAL)
    await desk.raised()  # a warning: only the step of an hour is for it, too
    await desk.raised("late", "info")
    other = Desk(desk.database, Plants(desk.plants.settings), T0)
    await desk.passes(90 * MIN, 60_000)
    other.now = desk.now
    await other.passes(0)
    await other.passes(300 * MIN, 60_000)
    assert await told(desk) == [
        (30, "lead@plant.example", "Critical, unacknowledged for 30 min", 1),
        (60, "oncall@plant.example", "위험 · 60분 미확인", 2),
        (60, "webhook", "위험 · 60분 미확인", 2),
        (120, "manager@plant.example", "Critical, unacknowledged for 120 min", 1),
    ]
    page = await desk.database.read(lambda c: listing.page(c, "demo", listing.Wanted(), page=1, page_size=9))
    assert [one["escalated_min"] for one in page["items"]] == [120, 60, 0]


async def test_acknowledged_silenced_or_over_it_goes_no_further(desk: Desk) -> None:
    seen = await desk.raised(**CRITICAL)
    over = await desk.raised(**CRITICAL | {"gateway": "b"})
    await desk.raised(**CRITICAL | {"gateway": "c"}, silent_until_ms=T0 + 45 * MIN)
    await desk.passes(20 * MIN, 60_000)
    await desk.database.write(lambda c: listing.acknowledge(c, "demo", seen, by="Kim", note="", now_ms=desk.now))
    await desk.cleared(over)
    await desk.passes(24 * MIN, 60_000)
    assert await told(desk) == []
    await desk.passes(20 * MIN, 60_000)
    assert [(at, to, alerts) for at, to, _, alerts in await told(desk)] == [
        (45, "lead@plant.example", 1),
        (60, "oncall@plant.example", 1),
        (60, "webhook", 1),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_after_hours_without_a_cloud_every_step_is_taken_at_once_and_arrives(
    desk: Desk, office: PostOffice, receiver: Receiver
) -> None:
    await desk.raised(**CRITICAL)
    desk.now += 150 * MIN
    await desk.passes(2 * MIN, 60_000)
    settings = desk.plants.settings
    for channel in ("mail", "webhook"):
        sender = Sender(desk.database, settings, channel=channel)
        while await sender.once(desk.now):
            pass
    readers = sorted(one[0][0].partition("@")[0] for one in office.letters)
    assert readers == ["lead", "manager", "oncall", "shift"]
    (lead,) = [message for to, message in office.letters if to == ["lead@plant.example"]]
    assert "nobody has acknowledged it for 151 min" in lead.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert sorted(one["cause"] for one in receiver.said) == ["alert", "escalation"]


alerts = st.lists(st.integers(0, 400), min_size=1, max_size=12)


@hypothesis(max_examples=60, derandomize=True)
@given(alerts, st.integers(1, 120), st.sampled_from([MINUTE_MS // 2, MINUTE_MS, 7 * MINUTE_MS]))
def test_whenever_alerts_come_each_is_told_once_and_the_reader_is_left_in_peace_between(
    raised_min: list[int], after_min: int, every_ms: int
) -> None:
    step = Escalation(after_min=after_min, readers=["a@b.example"])
    taken: dict[int, int] = {}
    letters: list[int] = []
    now = 0
    while now < 700 * MINUTE_MS:
        standing = [_unseen(n, at * MINUTE_MS, taken.get(n, 0)) for n, at in enumerate(raised_min)]
        due = falls_due(step, [one for one in standing if one.alert.raised_ms <= now], max(letters, default=None), now)
        for one in due:
            assert one.alert.number not in taken
            taken[one.alert.number] = after_min
            waited = now - one.alert.raised_ms - after_min * MINUTE_MS
            assert 0 <= waited < BETWEEN_MS + every_ms
        letters += [now] if due else []
        now += every_ms
    assert set(taken) == set(range(len(raised_min)))
    assert all(b - a >= escalation.BETWEEN_MS for a, b in itertools.pairwise(letters))


def _unseen(number: int, raised_ms: int, taken_min: int) -> Unseen:
    alert = Alert(
        number=number, same="", severity="critical", raised_ms=raised_ms, cleared_ms=None, acked=False,
        silent_until_ms=0, told_ms=None, same_told_ms=None, row={},
    )  # fmt: skip
    return Unseen(alert=alert, taken_min=taken_min)
