"""MQTT 5 as a Transport; the only file that knows paho.

paho is driven by the event loop: its socket is watched here, so there is no thread and no lock, and every callback
runs between two awaits. One object is one connection; whoever owns it makes a new one after an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from sync.frames import MAX_FRAME_BYTES
from sync.transport import Message, NobodyListensError, Transport, TransportError

NO_MATCHING_SUBSCRIBERS: Final = 0x10

REFUSALS: Final[dict[int, str]] = {
    0x01: "it speaks MQTT 3 only; use a listener that speaks MQTT 5",
    0x84: "unsupported protocol version; use a listener that speaks MQTT 5",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized; check the broker's password file and access list for this gateway",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned; the broker has shut this client out",
    0x8B: "server shutting down",
    0x8D: "keep alive timeout; the broker heard nothing from us",
    0x8E: "session taken over by another client with the same id; is a clone of this gateway running?",
    0x93: "receive maximum exceeded",
    0x95: f"packet too large; let the broker accept {MAX_FRAME_BYTES} bytes",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}
"""MQTT 5 reason codes as a person needs them."""


class Mqtt(Transport):
    """One MQTT 5 connection: clean start, no session left behind, no reconnect of its own.

    A message counts as taken, and is acknowledged to the broker, when the next one is asked of `messages()`.
    At most `inbox` messages wait here; the broker is told so (receive maximum), and what a broker sends beyond it is
    dropped and counted in `overflowed`: the protocol above resends what matters.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        subscriptions: Sequence[str],
        will: tuple[str, bytes] | None = None,
        keepalive_s: int = 20,
        username: str | None = None,
        password: str | None = None,
        ca: str | Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        tls: bool = False,
        inbox: int = 1000,
        connect_timeout_s: float = 8.0,
    ) -> None:
        self.overflowed = 0
        self.where = f"{host}:{port}"
        self._host, self._port, self._keepalive_s = host, port, keepalive_s
        self._subscriptions = list(subscriptions)
        self._tls, self._ca, self._certificate = tls, ca, certificate
        self._inbox_limit, self._connect_timeout_s = inbox, connect_timeout_s
        self._inbox: asyncio.Queue[paho.MQTTMessage | None] = asyncio.Queue()  # bounded in _on_message
        self._pending: dict[int, asyncio.Future[int]] = {}
        self._greeted: asyncio.Future[ReasonCode] | None = None
        self._granted: asyncio.Future[list[ReasonCode]] | None = None
        self._lost: str | None = None
        self._tick: asyncio.TimerHandle | None = None
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = 5.0
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        if username is not None:
            client.username_pw_set(username, password)
        if will is not None:
            client.will_set(will[0], will[1], qos=1)
        self._client = client

    async def __aenter__(self) -> Self:
        self._greeted = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._connect()
                await self._subscribe()
        except TimeoutError as error:
            self._close()
            raise TransportError(
                f"broker {self.where}: no answer within {self._connect_timeout_s:.0f} s; check that it is an MQTT 5 broker"
                f"{'' if self._tls else ' without TLS'} and that nothing between swallows packets"
            ) from error
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lost is None:
            self._client.disconnect()
            self._guarded(self._client.loop_write)
        self._close()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Hand one message to the broker; QoS 1 returns at its PUBACK.

        Raises TransportError when the link is gone or the broker says no, NobodyListensError when it took the message and
        threw it away (brokers that do not tell, like iotcore, never raise that).
        """
        if self._lost is not None:
            raise TransportError(self._lost)
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise TransportError(self._lost or f"broker {self.where}: cannot publish on {topic} ({info.rc.name})")
        if qos == 0:
            return
        # The PUBACK is read by the loop, so it cannot come before this line.
        pending = self._pending[info.mid] = asyncio.get_running_loop().create_future()
        try:
            reason = await pending
        finally:
            self._pending.pop(info.mid, None)
        if reason == NO_MATCHING_SUBSCRIBERS:
            raise NobodyListensError(f"broker {self.where}: nobody is subscribed to {topic}; is the other end running?")
        if reason >= 0x80:
            raise TransportError(f"broker {self.where}: refused a message on {topic}: {_because(reason)}")

    async def messages(self) -> AsyncIterator[Message]:
        """Give what arrives, then raise TransportError when the link is gone."""
        while (message := await self._inbox.get()) is not None:
            try:
                topic = message.topic
            except UnicodeDecodeError:  # a topic that is no text is none of ours
                topic = ""
            if topic:
                yield Message(topic, bytes(message.payload))
            if self._lost is None:
                self._client.ack(message.mid, message.qos)
        self._inbox.put_nowait(None)  # for whoever asks again
        raise TransportError(self._lost or f"broker {self.where}: closed")

    # --- connecting ---

    async def _connect(self) -> None:
        if self._tls:
            try:
                context = ssl.create_default_context(cafile=self._ca)
            except OSError as error:  # ssl.SSLError is one
                raise TransportError(
                    f"broker {self.where}: cannot use the CA file {self._ca}: {error}; check uplink.ca"
                ) from error
            if self._certificate is not None:
                try:
                    context.load_cert_chain(*self._certificate)
                except OSError as error:
                    raise TransportError(
                        f"broker {self.where}: cannot use the certificate {self._certificate[0]} with its key: {error}; "
                        "check uplink.certificate and uplink.private_key"
                    ) from error
            self._client.tls_set_context(context)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = max(1, min(self._inbox_limit, 65_535))
        try:
            await asyncio.to_thread(
                self._client.connect,
                self._host,
                self._port,
                self._keepalive_s,
                clean_start=True,
                properties=properties,
            )
        except ssl.SSLError as error:
            raise TransportError(
                f"broker {self.where}: TLS failed: {error}; check uplink.tls, uplink.ca and the name in its certificate"
            ) from error
        except (OSError, ValueError) as error:
            raise TransportError(
                f"broker {self.where}: cannot connect: {error}; check uplink.host and uplink.port, that the broker runs "
                "and that the network lets this machine reach it"
            ) from error
        self._watch()
        assert self._greeted is not None  # noqa: S101 - set by __aenter__, for the type checker
        reason = await self._greeted
        if reason.value != 0:
            raise TransportError(f"broker {self.where}: refused the connection: {_because(reason.value)}")

    async def _subscribe(self) -> None:
        if not self._subscriptions:
            return
        self._granted = asyncio.get_running_loop().create_future()
        options = SubscribeOptions(qos=1)
        self._client.subscribe([(topic, options) for topic in self._subscriptions])
        reasons = await self._granted
        if len(reasons) != len(self._subscriptions):
            raise TransportError(
                f"broker {self.where}: answered {len(reasons)} of {len(self._subscriptions)} subscriptions"
            )
        for topic, reason in zip(self._subscriptions, reasons, strict=True):
            if reason.is_failure:
                raise TransportError(f"broker {self.where}: refused the subscription {topic}: {_because(reason.value)}")

    # --- paho on the event loop ---

    def _watch(self) -> None:
        """Let the loop serve paho's socket from here on."""
        loop = asyncio.get_running_loop()
        link = self._client.socket()
        if link is None:
            raise TransportError(f"broker {self.where}: closed the connection at once")
        self._client.on_socket_register_write = lambda _c, _u, s: self._want_to_write(loop, s)
        self._client.on_socket_unregister_write = lambda _c, _u, s: _stop_writing(loop, s)
        self._client.on_socket_close = lambda _c, _u, s: _forget(loop, s.fileno())
        loop.add_reader(link.fileno(), self._readable)
        if self._client.want_write():
            loop.add_writer(link.fileno(), self._writable)
        self._every_second()

    def _want_to_write(self, loop: asyncio.AbstractEventLoop, link: Any) -> None:
        """Ask to be told when the socket takes more. One that died under us says so here: uvloop closes its handle."""
        try:
            loop.add_writer(link.fileno(), self._writable)
        except (OSError, RuntimeError, ValueError) as error:
            self._end(f"broker {self.where}: connection lost: {error}")

    def _readable(self) -> None:
        self._guarded(self._client.loop_read)
        # TLS may hold decrypted bytes that the socket no longer announces.
        while isinstance(link := self._client.socket(), ssl.SSLSocket) and link.pending():
            self._guarded(self._client.loop_read)

    def _writable(self) -> None:
        self._guarded(self._client.loop_write)

    def _every_second(self) -> None:
        self._guarded(self._client.loop_misc)
        if self._lost is None:
            self._tick = asyncio.get_running_loop().call_later(1.0, self._every_second)

    def _guarded(self, step: Any) -> None:
        """Run a step of paho; whatever a broken broker makes it raise means that the link is of no use."""
        try:
            code = step()
        except Exception as error:  # noqa: BLE001 - paho's parser raises a dozen kinds on foreign bytes; none is lost
            self._end(f"broker {self.where}: does not speak MQTT 5 ({error!r}); check uplink.host and uplink.port")
            return
        if code not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            self._end(f"broker {self.where}: connection lost ({paho.error_string(code)})")

    def _end(self, why: str) -> None:
        """Tell everyone who waits that the link is gone; the first reason is kept."""
        if self._lost is not None:
            return
        self._lost = why
        waiting: list[asyncio.Future[Any] | None] = [self._greeted, self._granted, *self._pending.values()]
        for future in waiting:
            if future is not None and not future.done():
                future.set_exception(TransportError(why))
                future.exception()  # told; nobody has to be waiting
        self._inbox.put_nowait(None)

    def _close(self) -> None:
        self._end(f"broker {self.where}: closed")
        if self._tick is not None:
            self._tick.cancel()
        link = self._client.socket()
        if link is not None:
            _forget(asyncio.get_running_loop(), link.fileno())
            with contextlib.suppress(OSError):  # closed under us: what we wanted
                link.close()

    # --- paho's callbacks, all on the event loop ---

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result(reason)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        if self._granted is not None and not self._granted.done():
            self._granted.set_result(reasons)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        pending = self._pending.get(mid)
        if pending is not None and not pending.done():
            pending.set_result(reason.value)

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if self._inbox.qsize() >= self._inbox_limit:
            # Kept unacknowledged it would fill the broker's window for us and block the rest.
            self.overflowed += 1
            client.ack(message.mid, message.qos)
            return
        self._inbox.put_nowait(message)

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        said = _because(reason.value) if flags.is_disconnect_packet_from_server else "the link went away"
        self._end(f"broker {self.where}: connection lost: {said}")


def _because(reason: int) -> str:
    return REFUSALS.get(reason, f"reason code 0x{reason:02x}")


def _no_delay(_client: Any, _data: Any, link: Any) -> None:
    """Small receipts must not wait for the other end's delayed acknowledgement: 97 ms become 9 ms."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)  # ms; a half-open link ends


def _stop_writing(loop: asyncio.AbstractEventLoop, link: Any) -> None:
    loop.remove_writer(link.fileno())


def _forget(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    if descriptor >= 0:
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)
