from __future__ import annotations

import asyncio
import getpass
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from sync.mqtt import Mqtt
from sync.transport import Message, NobodyListensError, TransportError
from tests.servers import Broker, free_port, mosquitto

AS_ME = f"user {getpass.getuser()}\n"
"""Started by root, mosquitto becomes a user of its own, who may not read a test's folder."""


def client(at: tuple[str, int], name: str, *subscriptions: str, **more: object) -> Mqtt:
    return Mqtt(at[0], at[1], client_id=name, subscriptions=subscriptions, **more)  # type: ignore[arg-type]


async def take(link: Mqtt, count: int) -> list[Message]:
    taken: list[Message] = []
    async with asyncio.timeout(20), aclosing(link.messages()) as messages:
        async for message in messages:
            taken.append(message)
            if len(taken) == count:
                break
    return taken


async def until(true: Callable[[], bool]) -> None:
    """Return as soon as something that the event loop does on its own has happened."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def server(answer: bytes | None):
    """A TCP server that greets every connection with some bytes (or never says a word)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield "127.0.0.1", listening.sockets[0].getsockname()[1]


async def test_what_is_published_arrives_in_order_and_whole(any_broker):
    payloads = [bytes([i]) * (1 + i * 1000) for i in range(100)]
    async with client(any_broker, "to", "t/+/up/#") as to, client(any_broker, "from") as sender:
        for payload in payloads:
            await sender.publish("t/gw/up/b/3", payload)
        assert await take(to, 100) == [Message("t/gw/up/b/3", payload) for payload in payloads]


async def test_a_frame_of_the_largest_size_passes(any_broker):
    payload = bytes(300 * 1024)
    async with client(any_broker, "to", "big") as to, client(any_broker, "from") as sender:
        await sender.publish("big", payload)
        assert (await take(to, 1))[0].payload == payload


async def test_many_publishes_may_wait_at_once_and_keep_their_order(any_broker):
    async with client(any_broker, "to", "many") as to, client(any_broker, "from") as sender:
        async with asyncio.TaskGroup() as tasks:
            for i in range(200):
                tasks.create_task(sender.publish("many", str(i).encode()))
        assert [int(m.payload) for m in await take(to, 200)] == list(range(200))


async def test_both_directions_on_one_connection(any_broker):
    async with client(any_broker, "a", "to/a") as a, client(any_broker, "b", "to/b") as b:
        for i in range(20):
            await a.publish("to/b", b"ping %d" % i)
            assert (await take(b, 1))[0].payload == b"ping %d" % i
            await b.publish("to/a", b"pong %d" % i)
            assert (await take(a, 1))[0].payload == b"pong %d" % i


async def test_a_message_nobody_hears_is_said_to_be_lost(broker: Broker):
    async with client((broker.host, broker.port), "from") as sender:
        with pytest.raises(NobodyListensError, match="nobody is subscribed to t/nobody"):
            await sender.publish("t/nobody", b"x")
        await sender.publish("t/nobody", b"x", qos=0)  # lossy by intent


async def test_a_message_the_access_list_forbids_is_an_error(tmp_path: Path):
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite mine/#\n")
    with mosquitto(tmp_path / "b", f"{AS_ME}acl_file {rules}") as broker:
        async with client((broker.host, broker.port), "from", "mine/#") as sender:
            await sender.publish("mine/x", b"x")
            with pytest.raises(TransportError, match=r"not authorized; .*access list"):
                await sender.publish("theirs/x", b"x")


def make_passwords(file: Path) -> None:
    subprocess.run(["mosquitto_passwd", "-b", "-c", file, "gw", "right"], check=True)
    file.chmod(0o644)


async def test_a_wrong_password_is_said(tmp_path: Path):
    passwords = tmp_path / "passwords"
    make_passwords(passwords)
    with mosquitto(tmp_path / "b", f"{AS_ME}password_file {passwords}\nallow_anonymous false") as broker:
        at = (broker.host, broker.port)
        async with client(at, "gw", username="gw", password="right"):
            pass
        with pytest.raises(TransportError, match="refused the connection: not authorized"):
            async with client(at, "gw", username="gw", password="wrong"):
                pass


async def test_everyone_who_waits_learns_that_the_broker_died(broker: Broker):
    link = client((broker.host, broker.port), "gw", "t")
    async with link:
        hearing = asyncio.ensure_future(take(link, 1))
        await link.publish("t/self", b"", qos=0)
        broker.kill()
        with pytest.raises(TransportError, match="connection lost"):
            await hearing
        with pytest.raises(TransportError, match="connection lost"):
            await link.publish("t", b"x")
        with pytest.raises(TransportError, match="connection lost"):
            await take(link, 1)


async def test_a_publish_that_waits_for_its_puback_ends_with_the_link():
    # CONNACK of MQTT 5 (success, no properties), then silence: the PUBACK never comes.
    async with server(bytes([0x20, 3, 0, 0, 0])) as at:
        link = client(at, "gw")
        async with link:
            waiting = asyncio.ensure_future(link.publish("t", b"x"))
            await asyncio.sleep(0)  # let it start
            link._client.socket().shutdown(socket.SHUT_RDWR)
            with pytest.raises(TransportError, match="connection lost"):
                await waiting


async def test_what_arrived_before_the_end_is_still_given(broker: Broker):
    at = (broker.host, broker.port)
    async with client(at, "gw", "t") as link:
        async with client(at, "other") as other:
            for i in range(5):
                await other.publish("t", b"%d" % i)
        await until(lambda: link._inbox.qsize() == 5)
        broker.kill()
        async with aclosing(link.messages()) as messages:
            assert [(await anext(messages)).payload for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
            with pytest.raises(TransportError, match="connection lost"):
                await anext(messages)


async def test_a_message_is_acknowledged_only_when_the_next_is_asked_for(tmp_path: Path):
    with mosquitto(tmp_path / "b", "max_queued_messages 0") as broker:
        at = (broker.host, broker.port)
        async with client(at, "to", "t", inbox=3) as to, client(at, "from") as sender:
            for i in range(10):
                await sender.publish("t", b"%d" % i)
            async with asyncio.timeout(10), aclosing(to.messages()) as messages:
                assert (await anext(messages)).payload == b"0"
                # Receive maximum 3: with nothing acknowledged the broker holds the fourth back.
                await sender.publish("t", b"10")
                assert to._inbox.qsize() == 2
                for i in range(1, 11):
                    assert (await anext(messages)).payload == b"%d" % i
            assert to.overflowed == 0


async def test_a_flood_beyond_the_inbox_is_counted_and_takes_no_memory(broker: Broker):
    at = (broker.host, broker.port)
    async with client(at, "to", "t", inbox=5) as to, client(at, "from") as sender:
        for _ in range(50):
            await sender.publish("t", b"x", qos=0)
        await until(lambda: to.overflowed == 45)  # QoS 0 knows no receive maximum
        assert to._inbox.qsize() == 5


async def test_the_will_is_published_when_the_link_dies_without_goodbye(broker: Broker):
    at = (broker.host, broker.port)
    async with client(at, "watch", "t/state") as watch, client(at, "gw", will=("t/state", b"gone")) as link:
        link._client.socket().shutdown(socket.SHUT_RDWR)
        assert await take(watch, 1) == [Message("t/state", b"gone")]


async def test_the_same_client_id_elsewhere_ends_this_connection(broker: Broker):
    at = (broker.host, broker.port)
    async with client(at, "gw", "t") as first, client(at, "gw", "t"):
        with pytest.raises(TransportError, match="connection lost"):
            await take(first, 1)


async def test_the_reason_a_broker_gives_for_hanging_up_is_said():
    # CONNACK, then DISCONNECT with "session taken over" (mosquitto 2.0 hangs up without a word).
    async with server(bytes([0x20, 3, 0, 0, 0, 0xE0, 2, 0x8E, 0])) as at, client(at, "gw") as link:
        with pytest.raises(TransportError, match="is a clone of this gateway running"):
            await take(link, 1)


async def test_an_unreachable_broker_is_said_with_what_to_check():
    with pytest.raises(TransportError, match=r"127.0.0.1:\d+: cannot connect: .*check uplink.host and uplink.port"):
        async with client(("127.0.0.1", free_port()), "gw"):
            pass


async def test_a_name_that_does_not_resolve_is_said_with_what_to_check():
    with pytest.raises(TransportError, match=r"broker.invalid:1883: cannot connect: .*check uplink.host"):
        async with client(("broker.invalid", 1883), "gw"):
            pass


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00" * 64,
        bytes([0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),  # a length of five bytes
        bytes([0x20, 3, 0, 0, 200]),  # properties longer than the packet
        bytes([0x20, 2, 0, 1]),  # CONNACK of MQTT 3.1.1
        bytes([0x20, 3, 0, 0x84, 0]),
        bytes([0x20, 3, 0, 0, 0, 0x90, 3, 0, 9, 0]),  # SUBACK without a reason code
    ],
    ids=["http", "zeros", "length", "properties", "mqtt 3", "refused", "empty suback"],
)
async def test_a_server_that_is_no_mqtt_5_broker_is_refused_and_nothing_is_left_open(garbage: bytes):
    async with server(garbage) as at:
        with pytest.raises(TransportError, match=r"broker 127\.0\.0\.1"):
            async with client(at, "gw", "t", connect_timeout_s=0.5):  # some of it is a packet that never ends
                pass


async def test_a_silent_server_is_given_up():
    async with server(None) as at:
        with pytest.raises(TransportError, match="no answer within"):
            async with client(at, "gw", connect_timeout_s=0.3):
                pass


async def test_random_bytes_never_break_out_as_another_error(seed: int):
    for _ in range(60):
        noise = bytes([0x20, 3, 0, 0, 0]) + random.randbytes(random.randrange(1, 60))
        async with server(noise) as at:
            try:
                async with client(at, "gw") as link, asyncio.timeout(0.05):
                    async for _message in link.messages():
                        pass
            except (TransportError, TimeoutError):
                pass


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "tls"
    folder.mkdir()
    assert shutil.which("openssl"), "openssl is not installed"
    (folder / "san").write_text("subjectAltName=DNS:localhost")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca",
        "req -newkey rsa:2048 -nodes -keyout broker.key -out broker.csr -subj /CN=localhost",
        "x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out broker.crt -days 2 -extfile san",
        "req -newkey rsa:2048 -nodes -keyout gw.key -out gw.csr -subj /CN=gw-1",
        "x509 -req -in gw.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out gw.crt -days 2",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    for file in folder.iterdir():
        file.chmod(0o644)
    tmp_path.chmod(0o755)
    return folder


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket"
)  # paho drops the socket of a failed handshake
async def test_tls_carries_large_messages_and_refuses_a_broker_it_cannot_verify(tmp_path: Path, certificates: Path):
    extra = f"{AS_ME}certfile {certificates / 'broker.crt'}\nkeyfile {certificates / 'broker.key'}"
    with mosquitto(tmp_path / "b", extra) as broker:
        at = ("localhost", broker.port)
        ca = str(certificates / "ca.crt")
        payloads = [bytes([i]) * 100_000 for i in range(20)]
        async with client(at, "to", "t", tls=True, ca=ca) as to, client(at, "from", tls=True, ca=ca) as sender:
            for payload in payloads:
                await sender.publish("t", payload)
            assert [m.payload for m in await take(to, 20)] == payloads
        with pytest.raises(TransportError, match=r"TLS failed.*check uplink.tls, uplink.ca"):
            async with client(at, "gw", tls=True):  # the machine's own CAs do not know it
                pass
        with pytest.raises(TransportError, match="cannot use the CA file"):
            async with client(at, "gw", tls=True, ca=str(tmp_path / "missing.crt")):
                pass
        with pytest.raises(TransportError):
            async with client(at, "gw"):  # plain against TLS
                pass
    assert ssl.OPENSSL_VERSION_INFO >= (3,)


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket"
)  # paho drops the socket of a failed handshake
async def test_a_broker_that_asks_for_a_certificate_knows_its_gateway_by_it(tmp_path: Path, certificates: Path):
    acl = tmp_path / "acl"
    acl.write_text("pattern readwrite own/%u\n")
    acl.chmod(0o644)
    extra = (
        f"{AS_ME}certfile {certificates / 'broker.crt'}\nkeyfile {certificates / 'broker.key'}\n"
        f"cafile {certificates / 'ca.crt'}\nrequire_certificate true\nuse_identity_as_username true\nacl_file {acl}"
    )
    with mosquitto(tmp_path / "b", extra) as broker:
        at = ("localhost", broker.port)
        ca = str(certificates / "ca.crt")
        mine = (certificates / "gw.crt", certificates / "gw.key")
        async with client(at, "gw", "own/gw-1", tls=True, ca=ca, certificate=mine) as gateway:
            await gateway.publish("own/gw-1", b"mine")
            assert [m.payload for m in await take(gateway, 1)] == [b"mine"]
            with pytest.raises(TransportError, match="access list"):
                await gateway.publish("own/gw-2", b"not mine")
        with pytest.raises(TransportError):
            async with client(at, "nobody", tls=True, ca=ca):
                pass
        with pytest.raises(TransportError, match=r"check uplink\.certificate"):
            async with client(
                at, "gw", tls=True, ca=ca, certificate=(certificates / "gw.crt", certificates / "ca.key")
            ):
                pass


async def test_a_socket_that_dies_under_an_acknowledgement_is_a_lost_link(broker: Broker):
    at = (broker.host, broker.port)
    async with (
        client(at, "sender") as sender,
        client(at, "taker", "t") as taker,
        aclosing(taker.messages()) as messages,
    ):
        await sender.publish("t", b"1")
        async with asyncio.timeout(10):
            await anext(messages)
            link = taker._client.socket()
            asyncio.get_running_loop().remove_reader(
                link.fileno()
            )  # the loop no longer hears of it, as uvloop after an error
            link.close()
            with pytest.raises(TransportError, match="connection lost"):
                await anext(messages)
