"""The end of certificates in use becomes an alarm of the lines that need them: once per level, and cleared when renewed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge import expiry
from edge.drivers.opcua.certificates import LIFE, own
from edge.drivers.opcua.trust import TrustList
from edge.site import Site, load
from edge.store import open_store
from sync.clock import WallClock
from tests.edge.drivers.opcua.issuing import NOW, issue, key

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
ballast_mb = 0
[[connection]]
name = "press-plc"
driver = "opcua"
url = "opc.tcp://127.0.0.1:4840"
security = "Basic256Sha256"
[[connection]]
name = "open-plc"
driver = "opcua"
url = "opc.tcp://127.0.0.1:4841"
security = "none"
[[line]]
work_unit = "forming/line-1/press"
connection = "press-plc"
book = "press.toml"
[[line]]
work_unit = "forming/line-2/press"
connection = "press-plc"
book = "press.toml"
[[line]]
work_unit = "forming/line-3/press"
connection = "open-plc"
book = "press.toml"
"""
BOOK = """
title = "Press"
[[tag]]
name = "answer"
address = "nsu=urn:test;s=answer"
type = "int32"
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "press.toml").write_text(BOOK)
    (tmp_path / "data").mkdir()
    return load(tmp_path / "site.toml")


def said(site: Site, now: datetime, before: dict[str, str]) -> tuple[list[tuple[str, str, bool, str]], dict[str, str]]:
    facts, levels = expiry.announce(site, now, before)
    return [(fact.work_unit, fact.alarm, fact.active, fact.severity) for fact in facts], levels


def test_it_is_said_at_60_30_and_7_days_to_every_line_of_the_connection(site):
    TrustList(site.data).remember("press-plc", issue(ends=NOW + timedelta(days=100)).described)
    lines, alarm = ("forming/line-1/press", "forming/line-2/press"), "certificate.press-plc.server"
    levels: dict[str, str] = {}
    told = []
    for day in range(103):
        facts, levels = said(site, NOW + timedelta(days=day), levels)
        told += [(day, *fact) for fact in facts]
    assert told == [
        (day, line, alarm, True, severity)
        for day, severity in ((40, "info"), (70, "warning"), (93, "critical"), (100, "critical"))
        for line in lines
    ]
    TrustList(site.data).remember("press-plc", issue(ends=NOW + timedelta(days=900), with_key=key(1)).described)
    facts, levels = said(site, NOW + timedelta(days=103), levels)
    assert facts == [(line, alarm, False, "info") for line in lines]
    assert levels == {}


def test_our_own_is_said_too_and_in_both_languages(site):
    made = own(site.data / "pki", "urn:box:triflow:gw-1", NOW)
    facts, _ = expiry.announce(site, made.certificate.ends - timedelta(days=5, hours=1), {})
    assert [fact.alarm for fact in facts] == ["certificate.press-plc.own"] * 2
    assert "5 days left" in facts[0].summary["en"]
    assert "5일 남음" in facts[0].summary["ko"]
    assert expiry.announce(site, NOW, {}) == ([], {})


def test_a_connection_that_is_gone_from_the_site_clears_its_alarm(site):
    facts, levels = said(site, NOW, {"forming/line-1/press certificate.old-plc.server": "warning"})
    assert facts == [("forming/line-1/press", "certificate.old-plc.server", False, "info")]
    assert levels == {}


def test_a_box_without_a_clock_says_nothing(site):
    TrustList(site.data).remember("press-plc", issue().described)
    before = {"forming/line-1/press certificate.press-plc.server": "warning"}
    assert expiry.announce(site, datetime(1970, 1, 1, tzinfo=UTC), before) == ([], before)


async def test_a_restart_does_not_say_it_again(site):
    own(site.data / "pki", "urn:box:triflow:gw-1", NOW - LIFE + timedelta(days=25))
    pem = next((site.data / "pki" / "own").glob("*.pem"))
    old = issue(uri="urn:box:triflow:gw-1", ends=NOW + timedelta(days=20))
    pem.with_suffix(".der").write_bytes(old.der)
    counts = []
    for _ in range(2):
        async with open_store(
            site.data, clock=WallClock(), quota_bytes=8 << 20, ballast_bytes=0, software="test"
        ) as store:
            watching = asyncio.create_task(expiry.watch(site, store, LookOnce()))
            async with asyncio.timeout(20):
                await asyncio.gather(watching, return_exceptions=True)
            counts.append(len(await store.recent(["alarm"], 50)))
    assert counts == [2, 2]


class LookOnce(WallClock):
    async def sleep(self, seconds: float) -> None:
        raise asyncio.CancelledError
