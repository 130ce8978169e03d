"""Both brokers really carry MQTT 5, and the production configuration keeps strangers out."""

from __future__ import annotations

import datetime as dt
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from demo.broker import find_mosquitto
from sync.mqtt import Mqtt
from tests.servers import ROOT, free_port, listens, process, wait_until

DEPLOY = ROOT / "deploy" / "mosquitto"


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
async def test_the_demos_broker_carries_a_chunk_and_ends_when_told(kind: str, tmp_path: Path):
    port = free_port()
    more = ["--embedded"] if kind == "embedded" else []
    arguments = ["demo.broker", "--port", str(port), "--folder", str(tmp_path), *more]
    with process(*arguments, log=tmp_path / "log") as broker:
        wait_until(lambda: listens(port), "the broker listens")
        async with (
            Mqtt("127.0.0.1", port, client_id="cloud", subscriptions=["triflow/v1/+/+/+/up/#"]) as cloud,
            Mqtt("127.0.0.1", port, client_id="gateway", subscriptions=[]) as gateway,
        ):
            chunk = bytes(range(256)) * 1000
            await gateway.publish("triflow/v1/demo/seoul/gw/up/b/2", chunk)
            message = await anext(aiter(cloud.messages()))
            assert (message.topic, message.payload) == ("triflow/v1/demo/seoul/gw/up/b/2", chunk)
        broker.send_signal(signal.SIGTERM)
        broker.wait(10)
        wait_until(lambda: not listens(port), "the port is free again")


def test_the_demos_broker_listens_on_loopback_only(tmp_path: Path):
    port = free_port()
    arguments = ["demo.broker", "--port", str(port), "--folder", str(tmp_path), "--embedded"]
    with process(*arguments, log=tmp_path / "log"):
        wait_until(lambda: listens(port), "the broker listens")
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1"}:
            if str(address).startswith("127."):
                continue
            with socket.socket() as probe:
                probe.settimeout(1)
                assert probe.connect_ex((str(address), port)) != 0


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant authority")])
        self.cert = self._sign(self._name, self._key, authority=True)
        (folder / "ca.crt").write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, common_name: str, file: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]), key, authority=False)
        paths = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths


class Client:
    """A few MQTT 5 packets by hand over TLS: enough to ask who may do what."""

    def __init__(self, port: int, folder: Path, certificate: tuple[Path, Path] | None) -> None:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        raw = socket.create_connection(("127.0.0.1", port), 5)
        try:
            self.socket = context.wrap_socket(raw, server_hostname="localhost")
        except OSError:
            raw.close()
            raise

    def __enter__(self):
        try:
            self.packet(0x10, b"\0\x04MQTT\x05\x02\0\x3c\0" + _text("probe"))
            kind, body = self.answer()
        except OSError:
            self.socket.close()
            raise
        assert kind == 0x20
        self.connected = body[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def packet(self, kind: int, body: bytes) -> None:
        self.socket.sendall(bytes([kind, len(body)]) + body)

    def answer(self) -> tuple[int, bytes]:
        head = self.socket.recv(2)
        if len(head) < 2:
            raise ConnectionResetError("the broker hung up")
        body = b""
        while len(body) < head[1]:
            body += self.socket.recv(head[1] - len(body))
        return head[0], body

    def publish(self, topic: str) -> int:
        """Publish at QoS 1; give the reason code of the PUBACK."""
        self.packet(0x32, _text(topic) + b"\0\x01\0" + b"x")
        kind, body = self.answer()
        assert kind == 0x40
        return body[2] if len(body) > 2 else 0


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


@pytest.fixture
def production(tmp_path: Path) -> Iterator[tuple[int, Authority]]:
    """The shipped production configuration, its paths and port moved into a folder of the test."""
    authority = Authority(tmp_path)
    authority.issue("localhost", "broker")
    port = free_port()
    text = (DEPLOY / "mosquitto.conf").read_text()
    text = text.replace("/etc/mosquitto/triflow/", f"{tmp_path}/").replace("/var/lib/mosquitto/", f"{tmp_path}/")
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1")
    (tmp_path / "acl").write_text((DEPLOY / "acl").read_text())
    (tmp_path / "mosquitto.conf").write_text(f"{text}\nuser root\n")
    program = find_mosquitto()
    assert program is not None, "mosquitto is not installed; `bash tests/install_parts.sh` installs it"
    with (tmp_path / "log").open("wb") as log:
        broker = subprocess.Popen([program, "-c", str(tmp_path / "mosquitto.conf")], stderr=log)
    try:
        wait_until(lambda: listens(port) or broker.poll() is not None, "mosquitto starts or says why not")
        assert broker.poll() is None, (tmp_path / "log").read_text()
        yield port, authority
    finally:
        broker.terminate()
        broker.wait(10)


def test_production_knows_gateways_by_certificate_and_keeps_each_in_its_own_branch(production):
    port, authority = production
    gateway = authority.issue("demo/seoul/gw-1", "gw-1")
    with Client(port, authority.folder, gateway) as client:
        assert client.connected == 0
        assert client.publish("triflow/v1/demo/seoul/gw-1/up/ctl") in {0, 0x10}
        assert client.publish("triflow/v1/demo/seoul/gw-2/up/ctl") == 0x87, "another gateway's branch"
        assert client.publish("triflow/v1/demo/seoul/gw-1/down/ctl") == 0x87, "the cloud's voice"
    cloud = authority.issue("cloud", "cloud")
    with Client(port, authority.folder, cloud) as client:
        assert client.publish("triflow/v1/demo/seoul/gw-2/down/ack") in {0, 0x10}
        assert client.publish("triflow/v1/demo/seoul/gw-2/up/ctl") == 0x87


def test_production_refuses_who_shows_no_certificate(production):
    port, authority = production
    with pytest.raises((ssl.SSLError, ConnectionError)), Client(port, authority.folder, None):
        pass


def test_production_turns_tcp_nodelay_on_and_bounds_every_queue():
    text = (DEPLOY / "mosquitto.conf").read_text()
    settings = dict(line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    assert settings["set_tcp_nodelay"] == "true"
    assert settings["allow_anonymous"] == "false"
    assert settings["require_certificate"] == "true"
    assert int(settings["max_queued_messages"]) > 0
    assert int(settings["max_queued_bytes"]) > 0


def test_a_port_in_use_ends_the_embedded_broker_with_a_reason(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "demo.broker", "--port", str(port), "--folder", str(tmp_path), "--embedded"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode != 0
    assert str(port) in done.stderr
