"""The shipped broker configuration: who may say what to whom, and who does not even come in."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import ssl
from contextlib import aclosing, suppress
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from sync.mqtt import Mqtt
from sync.transport import Message, NobodyListensError, RefusedError, TransportError
from tests.deploy.broker import SHIPPED, Production, authority, certificates, forge, production
from tests.servers import ROOT

GW1, GW2, ACME = "demo_seoul_gw-1", "demo_seoul_gw-2", "acme_seoul_gw-1"
OWN, NEXT, THEIRS = "triflow/v1/demo/seoul/gw-1", "triflow/v1/demo/seoul/gw-2", "triflow/v1/acme/seoul/gw-1"

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket"
)  # paho drops the socket of a failed handshake


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = authority(tmp_path_factory.mktemp("ca") / "plant", "demo/seoul/gw-1", "demo/seoul/gw-2", "acme/seoul/gw-1")
    forge(folder, "plus", subject=r"/CN=demo\/seoul\/+")
    forge(folder, "hash", subject="/CN=#")
    forge(folder, "short", subject=r"/CN=demo\/seoul")
    forge(folder, "longer", subject=r"/CN=demo\/seoul\/gw-1\/up")
    forge(folder, "odd", subject="/CN=Cloud")
    return folder


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, ca: Path):
    with production(tmp_path_factory.mktemp("broker"), ca) as running:
        yield running


async def first(link: Mqtt) -> Message:
    async with asyncio.timeout(20), aclosing(link.messages()) as messages:
        async for message in messages:
            return message
    raise AssertionError("no message")


MAY_PUBLISH = [
    (GW1, f"{OWN}/up/ctl", "cloud"), (GW1, f"{OWN}/up/b/3", "cloud"), (GW1, f"{OWN}/up/hb", "cloud"),
    (GW1, f"{OWN}/up/state", "cloud"), (GW2, f"{NEXT}/up/ctl", "cloud"), (ACME, f"{THEIRS}/up/b/1", "cloud"),
    ("cloud", f"{OWN}/down/ctl", GW1), ("cloud", f"{OWN}/down/ack", GW1), ("cloud", f"{OWN}/down/cmd", GW1),
    ("cloud", f"{THEIRS}/down/ctl", ACME),
]  # fmt: skip


@pytest.mark.parametrize(("who", "topic", "to"), MAY_PUBLISH, ids=lambda v: v)
async def test_what_is_granted_works(broker: Production, who: str, topic: str, to: str):
    hears = "triflow/v1/+/+/+/up/#" if to == "cloud" else topic.rsplit("/", 1)[0] + "/#"
    async with broker.client(to, hears) as hearing, broker.client(who) as saying:
        await saying.publish(topic, b"x")
        assert (await first(hearing)).topic == topic


MAY_NOT_PUBLISH = [
    # a gateway in the cloud's name, in another's, in another tenant's, and beside the tree
    *((GW1, f"{OWN}/{rest}") for rest in ("down/ctl", "down/ack", "down/cmd", "other", "upper/ctl", "ctl")),
    *((GW1, f"{NEXT}/{rest}") for rest in ("up/ctl", "up/b/3", "up/hb", "up/state", "down/ctl", "down/cmd")),
    *((GW1, f"{THEIRS}/{rest}") for rest in ("up/ctl", "up/b/3", "down/cmd")),
    (GW1, "triflow/v1/demo/busan/gw-1/up/ctl"),
    (GW1, "triflow/v1/demo/seoul/gw-10/up/ctl"),
    (GW1, "triflow/v1/demo/seoul/up/ctl"),
    (GW1, "triflow/v1/cloud/up/ctl"),
    (GW1, "triflow/v2/demo/seoul/gw-1/up/ctl"),
    (GW1, f"/{OWN}/up/ctl"),
    (GW1, OWN),
    (GW1, "anything"),
    (GW1, "$SYS/broker/uptime"),
    # the cloud in a gateway's name
    *(("cloud", f"{OWN}/up/{rest}") for rest in ("ctl", "b/3", "hb", "state")),
    ("cloud", "anything"),
    ("cloud", OWN),
    # names that a careless authority might sign
    *((who, f"{OWN}/up/ctl") for who in ("plus", "hash", "short", "longer", "odd")),
    *((who, f"{OWN}/down/cmd") for who in ("plus", "hash", "odd")),
]


@pytest.mark.parametrize(("who", "topic"), MAY_NOT_PUBLISH, ids=lambda v: v.replace("/", "|"))
async def test_what_is_not_granted_is_answered_not_authorized(broker: Production, who: str, topic: str):
    async with broker.client(who) as saying:
        with pytest.raises(RefusedError, match="not authorized"):
            await saying.publish(topic, b"x")


MAY_NOT_HEAR = [
    # who listens, on what, and what the rightful one says there
    (GW1, f"{NEXT}/down/#", "cloud", f"{NEXT}/down/cmd"),
    (GW1, f"{NEXT}/down/ctl", "cloud", f"{NEXT}/down/ctl"),
    (GW1, f"{THEIRS}/down/#", "cloud", f"{THEIRS}/down/ack"),
    (GW1, "triflow/v1/demo/seoul/+/down/#", "cloud", f"{NEXT}/down/cmd"),
    (GW1, "+/+/+/+/+/+/cmd", "cloud", f"{NEXT}/down/cmd"),
    (GW1, "#", "cloud", f"{NEXT}/down/cmd"),
    (GW1, "#", GW2, f"{NEXT}/up/b/3"),
    (GW1, "triflow/#", GW2, f"{NEXT}/up/ctl"),
    (GW1, "triflow/v1/+/+/+/up/#", GW2, f"{NEXT}/up/b/3"),
    (GW1, f"{OWN}/up/#", GW1, f"{OWN}/up/b/3"),
    (GW1, "$share/ingest/triflow/v1/+/+/+/up/#", GW2, f"{NEXT}/up/b/3"),
    ("cloud", "triflow/v1/+/+/+/down/#", "cloud", f"{OWN}/down/cmd"),
    ("cloud", "#", "cloud", f"{OWN}/down/cmd"),
    *((who, "triflow/v1/+/+/+/up/#", GW1, f"{OWN}/up/b/3") for who in ("plus", "hash", "short", "odd")),
    *((who, f"{OWN}/down/#", "cloud", f"{OWN}/down/cmd") for who in ("plus", "hash", "short", "longer", "odd")),
]


@pytest.mark.parametrize(("who", "topic", "says", "on"), MAY_NOT_HEAR, ids=lambda v: v.replace("/", "|"))
async def test_what_is_not_granted_is_not_delivered(broker: Production, who: str, topic: str, says: str, on: str):
    """A forbidden subscription is granted and stays silent; a message of the same broker that is granted comes after."""
    sentinel, by, at = (
        ("triflow/v1/+/+/+/up/#", GW2, f"{NEXT}/up/hb")
        if who == "cloud"
        else (f"{OWN}/down/ctl", "cloud", f"{OWN}/down/ctl")
    )
    if who in {GW1, "cloud"}:
        async with (
            broker.client(who, topic, sentinel) as hearing,
            broker.client(says) as saying,
            broker.client(by) as late,
        ):
            with suppress(NobodyListensError):
                await saying.publish(on, b"secret")
            await late.publish(at, b"granted")
            assert await first(hearing) == Message(at, b"granted")
        return
    # These have nothing granted at all: what comes in while another one is served is nothing.
    async with broker.client(who, topic) as hearing, broker.client(GW2, f"{NEXT}/down/#") as served:
        async with broker.client(says) as saying, broker.client("cloud") as cloud:
            with suppress(NobodyListensError):
                await saying.publish(on, b"secret")
            await cloud.publish(f"{NEXT}/down/ctl", b"after")
            assert (await first(served)).payload == b"after"
        assert hearing._inbox.empty()


def test_the_page_says_what_is_shipped():
    page = (ROOT / "docs" / "broker.md").read_text("utf-8")
    shipped = dict(
        line.split(" ", 1)
        for line in (SHIPPED / "mosquitto.conf").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    )
    said = dict(re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|", page, re.MULTILINE))
    assert said == {name: shipped[name] for name in said}
    assert len(said) >= 9
    denied = len(MAY_NOT_PUBLISH) + len(MAY_NOT_HEAR)
    assert denied >= 30
    assert set(re.findall(r"(\d+) (?:denied )?combinations", page)) == {str(denied)}


async def test_a_will_in_anothers_name_is_never_spoken(broker: Production):
    async with broker.client("cloud", "triflow/v1/+/+/+/up/#") as cloud:
        try:
            async with broker.client(GW1, will=(f"{NEXT}/up/state", b"gone")) as link:
                link._client.socket().shutdown(socket.SHUT_RDWR)
        except TransportError:
            pass  # a newer broker refuses the connection already
        async with broker.client(GW2) as other:
            await other.publish(f"{NEXT}/up/hb", b"after")
        assert (await first(cloud)).payload == b"after"


async def test_a_retained_message_is_not_kept(broker: Production):
    """Nothing waits at the broker for whoever subscribes next, and a client that knows does not even ask."""
    async with broker.client("cloud") as cloud, broker.client(GW1, f"{OWN}/down/#") as gateway:
        assert not cloud.limits.retain
        await cloud.publish(f"{OWN}/down/cmd", b"once", retain=True)
        assert (await first(gateway)).payload == b"once"
    async with broker.client(GW1, f"{OWN}/down/#") as gateway, broker.client("cloud") as cloud:
        await cloud.publish(f"{OWN}/down/cmd", b"now")
        assert await first(gateway) == Message(f"{OWN}/down/cmd", b"now")


async def refused(broker: Production, name: str | None, **more: object) -> str:
    with pytest.raises(TransportError) as caught:
        async with broker.client(name, **more) as link:
            await link.publish(f"{OWN}/up/hb", b"x")
    return str(caught.value)


async def test_without_a_certificate_nobody_comes_in(broker: Production):
    assert "check uplink.certificate" in await refused(broker, None)


async def test_without_tls_nobody_comes_in(broker: Production):
    assert await refused(broker, None, tls=False)
    assert await comes_in(broker, GW1)


async def test_a_certificate_of_another_authority_is_refused(broker: Production, tmp_path: Path):
    theirs = authority(tmp_path / "theirs", "demo/seoul/gw-1")
    said = await refused(broker, None, certificate=(theirs / f"{GW1}.crt", theirs / f"{GW1}.key"))
    assert "check uplink.certificate" in said


async def test_a_certificate_that_has_run_out_is_refused_and_said(broker: Production, ca: Path):
    forge(ca, "old", subject=r"/CN=demo\/seoul\/gw-1", start="20200101000000Z", end="20200201000000Z")
    assert "has not run out" in await refused(broker, "old")


async def test_a_certificate_of_tomorrow_is_refused(broker: Production, ca: Path):
    forge(ca, "early", subject=r"/CN=demo\/seoul\/gw-1", start="20900101000000Z", end="20910101000000Z")
    assert await refused(broker, "early")
    assert await comes_in(broker, GW1)


async def test_a_servers_certificate_is_none_for_a_client(broker: Production):
    assert await refused(broker, "broker")
    assert await comes_in(broker, GW1)


async def test_a_clients_certificate_is_none_for_a_server(tmp_path: Path, ca: Path):
    forge(ca, "posing", subject="/CN=localhost")
    with production(tmp_path, ca) as posing:
        posing.stop()
        for end in ("crt", "key"):
            (posing.place / f"broker.{end}").write_bytes((ca / f"posing.{end}").read_bytes())
        posing.start()
        with pytest.raises(RefusedError, match="TLS failed"):
            async with posing.client(GW1):
                pass


async def test_a_broker_with_another_name_is_refused(broker: Production, ca: Path, tmp_path: Path):
    certificates(ca, "server", "elsewhere", "--host", "elsewhere.example")
    with production(tmp_path, ca) as other:
        other.stop()
        for end in ("crt", "key"):
            (other.place / f"broker.{end}").write_bytes((ca / f"elsewhere.{end}").read_bytes())
        other.start()
        with pytest.raises(RefusedError, match=r"TLS failed.*localhost"):
            async with other.client(GW1):
                pass


async def test_a_revoked_certificate_is_refused_after_a_reload(tmp_path: Path):
    plant = authority(tmp_path / "plant", "demo/seoul/gw-1", "demo/seoul/gw-2")
    with production(tmp_path / "b", plant) as broker:
        async with broker.client(GW1), broker.client(GW2):
            pass
        certificates(plant, "revoke", f"{GW1}.crt")
        (broker.place / "revoked.pem").write_bytes((plant / "revoked.pem").read_bytes())
        broker.signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while await comes_in(broker, GW1):
                await asyncio.sleep(0.05)
        assert await comes_in(broker, GW2)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
def test_old_tls_is_refused(broker: Production, version: ssl.TLSVersion):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(broker.ca / "ca.crt")
    context.load_cert_chain(*broker.identity(GW1))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", broker.port)) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain, server_hostname="localhost")


async def test_mqtt_3_may_come_in_and_still_may_not_say_what_is_not_granted(broker: Production):
    """mosquitto 2.0 cannot shut version 3.1.1 out; what it denies there looks taken, and reaches nobody."""
    done: list[int] = []
    old = paho.Client(CallbackAPIVersion.VERSION2, client_id="old", protocol=paho.MQTTv311)
    old.tls_set(str(broker.ca / "ca.crt"), *map(str, broker.identity(GW1)))
    old.on_publish = lambda _c, _u, mid, _r, _p: done.append(mid)
    async with broker.client("cloud", "triflow/v1/+/+/+/up/#") as cloud:
        old.connect("localhost", broker.port)
        for topic in (f"{NEXT}/up/ctl", f"{OWN}/up/hb"):
            sent = old.publish(topic, b"x", qos=1)
            async with asyncio.timeout(10):
                while sent.mid not in done:
                    old.loop(0.05)
                    await asyncio.sleep(0)
        assert (await first(cloud)).topic == f"{OWN}/up/hb"
        old.disconnect()


async def test_more_than_a_frame_is_not_carried(broker: Production):
    async with broker.client(GW1) as gateway:
        assert gateway.limits.packet_bytes == 409_600
        with pytest.raises(TransportError, match="larger than its limit of 409600"):
            await gateway.publish(f"{OWN}/up/b/3", bytes(409_600))


async def comes_in(broker: Production, name: str) -> bool:
    try:
        async with broker.client(name):
            return True
    except TransportError:
        return False
