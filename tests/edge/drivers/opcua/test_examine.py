"""An OPC UA connection examined against real servers: what is wrong with it is found and named."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asyncua import ua

from edge.connections import OpcUa
from edge.drivers.driver import Surroundings
from edge.drivers.finding import Finding, worst
from edge.drivers.opcua.certificates import own, own_uri
from edge.drivers.opcua.examine import examine
from edge.drivers.opcua.trust import Note, TrustList
from edge.tags import Tag
from sync.clock import WallClock
from tests.contracts.driver_contract import until
from tests.edge.drivers.machines import URI, OpcUaMachine, tag
from tests.edge.drivers.opcua.issuing import NOW, issue
from tests.edge.drivers.opcua.secured import Users, approve, asyncua_server, box, config, node_server
from tests.servers import free_port

V, T = ua.Variant, ua.VariantType
NODES = {"temp": V(23.4, T.Double), "text": V("hello", T.String), "count": V(2**60 + 1, T.UInt64)}
ANSWER = [tag(0, f"nsu={URI};s=answer", name="answer", type="int32")]


def at(name: str) -> str:
    return f"nsu={URI};s={name}"


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return box(tmp_path / "box")


@pytest.fixture
async def machine():
    running = OpcUaMachine(NODES, [])
    await running.start()
    yield running
    await running.stop()


async def examined(wanted: OpcUa, tags: list[Tag], around: Surroundings) -> list[Finding]:
    return [finding async for finding in examine(wanted, tags, WallClock(), around)]


def keys(findings: list[Finding]) -> list[str]:
    return [finding.key for finding in findings if finding.tag is None]


def tagged(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.tag.rpartition("/")[2]: finding for finding in findings if finding.tag is not None}


def faults(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "fault"]


async def test_a_healthy_server_is_read_once_and_nothing_is_left_there(machine, around):
    tags = [
        tag(0, at("temp"), name="temp", unit="CEL", low=0, high=100),
        tag(1, at("count"), name="count", type="uint64"),
    ]
    findings = await examined(machine.config(), tags, around)
    assert worst(findings) == "ok"
    assert keys(findings) == [
        "reach.address", "reach.open", "opcua.endpoints", "opcua.plain", "opcua.secured", "opcua.running", "tag.clock",
        "tag.all_good",
    ]  # fmt: skip
    assert tagged(findings)["temp"].what("en").startswith("23.4 °C  (source time ")
    assert str(2**60 + 1) in tagged(findings)["count"].what("en")
    await until(lambda: machine.connections() == 0, "the server has seen us leave")


async def test_each_doubtful_tag_says_what_is_wrong_with_it(machine, around):
    await machine.add("empty", V(None, T.Null))
    tags = [
        tag(0, at("temp"), name="hot", low=0, high=20),
        tag(1, at("gone"), name="gone"),
        tag(2, "nsu=urn:other;s=temp", name="other"),
        tag(3, at("text"), name="text"),
        tag(4, at("temp"), name="temp", path="[3]"),
    ]
    found = tagged(await examined(machine.config(), tags, around))
    assert {name: (finding.severity, finding.key) for name, finding in found.items()} == {
        "hot": ("warning", "tag.range"),
        "gone": ("fault", "opcua.no_node"),
        "other": ("fault", "opcua.no_node"),
        "text": ("fault", "opcua.type"),
        "temp": ("fault", "opcua.type"),
    }
    assert "gives String, the book says float64" in found["text"].what("ko")
    assert "urn:triflow:test:machine" in found["other"].what("en")


async def test_a_bad_value_is_the_machines_and_no_fault_of_the_book(machine, around):
    bad = ua.StatusCode(ua.StatusCodes.BadSensorFailure)
    await machine.write("temp", None, T.Null, StatusCode=bad)
    found = tagged(await examined(machine.config(), [tag(0, at("temp"), name="temp")], around))
    assert (found["temp"].severity, found["temp"].words["status"]) == ("warning", "BadSensorFailure")


class Ahead(WallClock):
    """A gateway's clock that somebody set an hour ahead."""

    def now(self) -> int:
        return super().now() + 3_600_000_000_000


async def test_a_clock_that_is_off_is_said(machine, around):
    findings = [finding async for finding in examine(machine.config(), [], Ahead(), around)]
    (found,) = faults(findings)
    assert found.key == "tag.clock_behind_far"
    assert found.words["seconds"] == pytest.approx(-3600, abs=60)


async def test_what_the_server_does_not_offer_is_said_with_what_it_does(machine, around):
    (found,) = faults(await examined(config(machine.url), [], around))
    assert found.key == "opcua.not_offered"
    assert "it offers none (anonymous" in found.what("en")


async def test_a_port_that_speaks_something_else_is_told_from_a_closed_one(around):
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    other = config(f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", security="none")
    (found,) = faults(await examined(other, [], around))
    server.close()
    await server.wait_closed()
    assert found.key in {"opcua.no_opcua", "opcua.mute"}
    (closed,) = faults(await examined(config(f"opc.tcp://127.0.0.1:{free_port()}", security="none"), [], around))
    assert closed.key == "reach.refused"
    (nobody,) = faults(await examined(config("opc.tcp://plc.invalid:4840", security="none"), [], around))
    assert nobody.key in {"reach.unknown", "reach.no_name_server"}


def ours(around: Surroundings) -> Path:
    """Let the gateway have started once: its certificate is there."""
    pki = TrustList(around.data).pki
    return own(pki, own_uri(pki, None, around.gateway), datetime.now(UTC)).file


async def test_a_secured_connection_is_examined_to_the_value(around):
    shown = issue()
    approve(around, shown)
    file = ours(around)
    before = sorted(around.data.rglob("*"))
    async with asyncua_server(shown) as url:
        findings = await examined(config(url), ANSWER, around)
    assert worst(findings) == "ok", [finding.what("en") for finding in findings]
    said = {finding.key: finding for finding in findings}
    assert {"opcua.policy", "opcua.own", "opcua.trusted", "opcua.secured"} <= set(said)
    assert said["opcua.own"].words["file"] == file
    assert tagged(findings)["answer"].what("en").startswith("42")
    assert sorted(around.data.rglob("*")) == before  # nothing made, nothing quarantined


async def test_a_server_nobody_has_approved_is_named_by_its_thumbprint_and_not_quarantined_by_looking(around):
    shown = issue()
    ours(around)
    async with asyncua_server(shown) as url:
        (found,) = faults(await examined(config(url), ANSWER, around))
    assert found.key == "opcua.unknown_server"
    assert shown.described.sha1 in found.what("en")
    assert f"triflow edge trust approve SITE.toml {shown.thumbprint[:16]}" in found.advice("ko")
    assert TrustList(around.data).state_of(shown.thumbprint) is None


async def test_a_server_that_waits_and_one_that_was_rejected_are_told_apart(around):
    shown = issue()
    ours(around)
    trust = TrustList(around.data)
    trust.quarantine(shown.described, Note(connections=["press"], seen=1))
    async with asyncua_server(shown) as url:
        (found,) = faults(await examined(config(url), ANSWER, around))
        assert found.key == "opcua.waiting"
        trust.reject(shown.thumbprint, by="kim", now=2)
        (found,) = faults(await examined(config(url), ANSWER, around))
    assert found.key == "opcua.untrusted"
    assert "rejected by kim" in found.what("en")


async def test_an_expired_server_certificate_is_no_question_of_trust(around):
    shown = issue(begins=NOW - timedelta(days=30), ends=NOW - timedelta(days=3))
    approve(around, shown)
    ours(around)
    async with asyncua_server(shown) as url:
        (found,) = faults(await examined(config(url), ANSWER, around))
    assert found.key == "opcua.server_expired"
    assert f"{NOW - timedelta(days=3):%Y-%m-%d}" in found.what("en")


async def test_a_certificate_that_ends_soon_is_a_warning_only(around):
    shown = issue(ends=NOW + timedelta(days=10))
    approve(around, shown)
    ours(around)
    async with asyncua_server(shown) as url:
        findings = await examined(config(url), ANSWER, around)
    assert [finding.key for finding in findings if finding.severity == "warning"] == ["opcua.trusted_soon"]


async def test_without_a_certificate_of_our_own_nothing_is_tried(around):
    shown = issue()
    approve(around, shown)
    async with asyncua_server(shown) as url:
        findings = await examined(config(url), ANSWER, around)
    assert findings[-1].key == "opcua.own_none"
    assert findings[-1].severity == "warning"


async def test_a_wrong_password_is_the_users_not_the_certificates(around):
    shown = issue()
    approve(around, shown)
    ours(around)
    async with asyncua_server(shown, users=Users(anonymous=False)) as url:
        wrong = config(url, user="operator", password={"credential": "wrong"})
        (found,) = faults(await examined(wrong, ANSWER, around))
        assert (found.check, found.key) == ("user", "opcua.user_refused")
        assert "operator" in found.what("en")
        right = config(url, user="operator", password={"credential": "pass"})
        assert faults(await examined(right, ANSWER, around)) == []


async def test_a_server_of_another_make_that_distrusts_us_is_told_where_to_click(tmp_path, around):
    file = ours(around)
    with node_server(tmp_path / "node", trusting=False) as server:
        approve(around, server.shown)
        (found,) = faults(await examined(config(server.url), ANSWER, around))
        assert (found.check, found.key) == ("trust", "opcua.channel_refused")
        assert str(file.parent) in found.advice("en")
        while faults(findings := await examined(config(server.url), ANSWER, around)):
            server.trust_all_seen()  # the server fills its folders, and looks at them, in its own time
            await asyncio.sleep(0.3)
    assert tagged(findings)["answer"].what("en").startswith("42")
