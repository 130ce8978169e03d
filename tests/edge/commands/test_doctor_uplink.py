"""The way to the broker examined: TLS with every kind of certificate, our own, and MQTT's own answer."""

from __future__ import annotations

import getpass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edge.commands.doctor_uplink import uplink_findings
from edge.drivers.finding import Finding, worst
from edge.site import load
from sync.clock import WallClock
from tests.edge.drivers.opcua.issuing import NOW, Issued, issue, key
from tests.servers import Broker, free_port, mosquitto

AS_ME = f"user {getpass.getuser()}\n"
CA = issue("Plant CA", ca=True, with_key=key(1))
SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
[uplink]
host = "{host}"
port = {port}
key = {{ credential = "gw-1.key" }}
{more}
[[connection]]
name = "sim"
driver = "simulated"
"""


def put(folder: Path, name: str, issued: Issued) -> None:
    (folder / f"{name}.pem").write_bytes(issued.x509.public_bytes(Encoding.PEM))
    (folder / "credentials" / f"{name}.tls").write_bytes(issued.key_pem)
    for file in (folder / f"{name}.pem", folder / "credentials" / f"{name}.tls"):
        file.chmod(0o644)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "gw-1.key").write_text("ab" * 32)
    put(tmp_path, "ca", CA)
    return tmp_path


def secured(folder: Path, shown: Issued, more: str = "") -> str:
    put(folder, "broker", shown)
    return f"{AS_ME}certfile {folder / 'broker.pem'}\nkeyfile {folder / 'credentials' / 'broker.tls'}\n{more}"


async def examined(folder: Path, port: int, more: str = 'ca = "ca.pem"', host: str = "localhost") -> list[Finding]:
    (folder / "site.toml").write_text(SITE.format(host=host, port=port, more=more))
    return await uplink_findings(load(folder / "site.toml"), WallClock())


def faults(findings: list[Finding]) -> list[str]:
    return [finding.key for finding in findings if finding.severity == "fault"]


pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")


async def test_a_good_broker_is_gone_through_to_its_answer(folder):
    with mosquitto(folder / "b", secured(folder, issue("b", hosts=("localhost",), by=CA, with_key=key(2)))) as broker:
        findings = await examined(folder, broker.port)
    assert worst(findings) == "ok", [finding.what("en") for finding in findings]
    assert [finding.check for finding in findings] == ["name", "port", "tls", "certificate", "mqtt"]


@pytest.mark.parametrize(
    ("shown", "more", "expected"),
    [
        ({"hosts": ("broker.example",), "by": CA}, 'ca = "ca.pem"', ["reach.tls_other_name"]),
        ({"hosts": ("localhost",), "by": CA}, "", ["reach.tls_unknown_ca"]),
        (
            {"hosts": ("localhost",), "by": CA, "begins": NOW - timedelta(days=9), "ends": NOW - timedelta(days=2)},
            'ca = "ca.pem"',
            ["reach.tls_expired", "uplink.peer_expired"],
        ),
        ({"hosts": ("localhost",), "by": CA}, 'ca = "none.pem"', ["reach.tls_ca_file"]),
        (
            {"hosts": ("localhost",), "by": CA, "begins": NOW + timedelta(days=1)},
            'ca = "ca.pem"',
            ["reach.tls_not_yet"],
        ),
    ],
)
async def test_each_flaw_of_the_brokers_certificate_is_named(folder, shown, more, expected):
    with mosquitto(folder / "b", secured(folder, issue("b", with_key=key(2), **shown))) as broker:
        findings = await examined(folder, broker.port, more)
    assert faults(findings) == expected
    assert "mqtt" not in {finding.check for finding in findings}


async def test_a_certificate_that_ends_soon_is_a_warning(folder):
    soon = issue("b", hosts=("localhost",), by=CA, with_key=key(2), ends=NOW + timedelta(days=12))
    with mosquitto(folder / "b", secured(folder, soon)) as broker:
        findings = await examined(folder, broker.port)
    assert [finding.key for finding in findings if finding.severity != "ok"] == ["uplink.peer_soon"]
    assert "12 days" in findings[3].what("en") or "11 days" in findings[3].what("en")


OWN = 'ca = "ca.pem"\ncertificate = "gw.pem"\nprivate_key = { credential = "gw.tls" }'


async def test_our_own_certificate_is_judged_with_its_key(folder):
    shown = issue("b", hosts=("localhost",), by=CA, with_key=key(2))
    asking = f"cafile {folder / 'ca.pem'}\nrequire_certificate true"
    with mosquitto(folder / "b", secured(folder, shown, asking)) as broker:
        put(folder, "gw", issue("acme/gumi/gw-1", by=CA, with_key=key(3), server=False))
        assert worst(await examined(folder, broker.port, OWN)) == "ok"
        put(folder, "gw", issue("other", by=CA, with_key=key(3), server=False))
        named = await examined(folder, broker.port, OWN)
        assert [finding.key for finding in named if finding.severity != "ok"] == ["uplink.own_other_name"]
        past = {"begins": NOW - timedelta(days=9), "ends": NOW - timedelta(days=2)}
        put(folder, "gw", issue("acme/gumi/gw-1", by=CA, with_key=key(3), server=False, **past))
        assert faults(await examined(folder, broker.port, OWN)) == ["uplink.own_expired"]
        (folder / "credentials" / "gw.tls").write_bytes(issue("x", with_key=key(4)).key_pem)
        assert faults(await examined(folder, broker.port, OWN)) == ["uplink.own_other_key"]
        (folder / "gw.pem").write_text("no certificate")
        assert faults(await examined(folder, broker.port, OWN)) == ["uplink.own_unreadable"]
        missing = faults(await examined(folder, broker.port))
        assert missing == ["uplink.mqtt_refused"]


async def test_a_broker_without_tls_is_told_from_one_that_is_gone(folder, broker: Broker):
    assert faults(await examined(folder, broker.port)) in (["reach.tls_failed"], ["reach.tls_silent"])
    plain = await examined(folder, broker.port, "tls = false")
    assert faults(plain) == []
    assert [finding.key for finding in plain if finding.severity == "warning"] == ["uplink.plain"]
    assert faults(await examined(folder, free_port())) == ["reach.refused"]
    assert faults(await examined(folder, 8883, host="broker.invalid"))[0] in {"reach.unknown", "reach.no_name_server"}


async def test_a_broker_that_refuses_us_says_why(folder):
    (folder / "passwd").write_text("")
    (folder / "passwd").chmod(0o644)
    with mosquitto(folder / "b", f"{AS_ME}allow_anonymous false\npassword_file {folder / 'passwd'}") as broker:
        findings = await examined(folder, broker.port, "tls = false")
    assert faults(findings) == ["uplink.mqtt_refused"]
    assert "not authorized" in findings[-1].what("ko")
