"""MQTT 5 as a Transport; the only file that knows paho.

paho is driven by the event loop: its socket is watched here, so there is no thread and no lock, and every callback
runs between two awaits. One object is one connection; whoever owns it makes a new one after an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
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

from sync.reasons import (
    NO_MATCHING_SUBSCRIBERS,
    PACKET_BYTES,
    SESSION_TAKEN_OVER,
    clone,
    not_let_in,
    refusal,
    tls_failed,
    too_large,
)
from sync.sockets import forget, no_delay, stop_writing
from sync.takeover import Takeovers
from sync.tls import Complaints, TlsError, client_context
from sync.transport import Limits, Message, NobodyListensError, RefusedError, Transport, TransportError

IN_FLIGHT: Final = 20
"""Publishes that wait for their PUBACK at a time, where the broker allows as many."""
SUBSCRIBE_AT_ONCE: Final = 500
"""Topics in one packet: a shard of thousands of gateways must not exceed what a broker takes."""


class Mqtt(Transport):
    """One MQTT 5 connection: clean start, no session left behind, no reconnect of its own.

    `takeovers` remembers across the connections of one owner how they ended, so that a clone is told from a bad line.

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
        takeovers: Takeovers | None = None,
    ) -> None:
        self.overflowed = 0
        self.limits = Limits()
        self.where = f"{host}:{port}"
        self._host, self._port, self._keepalive_s = host, port, keepalive_s
        self._subscriptions = list(subscriptions)
        self._tls, self._ca, self._certificate = tls, ca, certificate
        self._inbox_limit, self._connect_timeout_s = inbox, connect_timeout_s
        self._inbox: asyncio.Queue[paho.MQTTMessage | None] = asyncio.Queue()  # bounded in _on_message
        self._pending: dict[int, asyncio.Future[int]] = {}
        self._greeted: asyncio.Future[tuple[ReasonCode, Properties | None]] | None = None
        self._granted: asyncio.Future[list[ReasonCode]] | None = None
        self._lost: TransportError | None = None
        self._client_id = client_id
        self._takeovers = Takeovers() if takeovers is None else takeovers
        self._since: float | None = None
        self._heard = Complaints()
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._tick: asyncio.TimerHandle | None = None
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = 5.0
        client.max_inflight_messages = 65_535  # ours is _room: paho's cannot follow what the broker announces
        client.enable_logger(self._heard)
        client.on_socket_open = no_delay
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
            self._takeovers.failed()
            self._close()
            raise TransportError(
                f"broker {self.where}: no answer within {self._connect_timeout_s:.0f} s; check that it is an MQTT 5 broker"
                f"{'' if self._tls else ' without TLS'} and that nothing between swallows packets"
            ) from error
        except TransportError:
            if self._since is None:
                self._takeovers.failed()
            self._close()
            raise
        except BaseException:  # cancelled too: the socket is not left open; it goes on up
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

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Hand one message to the broker; QoS 1 returns at its PUBACK. `expiry_s`: no use to anybody after that long.

        Raises TransportError when the link is gone or the broker says no, NobodyListensError when it took the message and
        threw it away (brokers that do not tell, like iotcore, never raise that), TooLargeError for what it announced not
        to take. A `retain` that the broker does not offer is left off: nothing of ours depends on it.
        """
        size = len(payload) + len(topic.encode()) + 16  # fixed header, identifier, the one property
        if size > self.limits.packet_bytes:
            raise too_large(f"broker {self.where}", topic, size, self.limits.packet_bytes)
        if qos == 0:
            self._hand_over(topic, payload, 0, retain, expiry_s)
            return
        async with self._room:
            mid = self._hand_over(topic, payload, qos, retain, expiry_s)
            # The PUBACK is read by the loop, so it cannot come before this line.
            pending = self._pending[mid] = asyncio.get_running_loop().create_future()
            try:
                reason = await pending
            finally:
                self._pending.pop(mid, None)
        if reason == NO_MATCHING_SUBSCRIBERS:
            raise NobodyListensError(f"broker {self.where}: nobody is subscribed to {topic}; is the other end running?")
        if reason >= 0x80:
            raise refusal(f"broker {self.where}", f"refused a message on {topic}", reason)

    def _hand_over(self, topic: str, payload: bytes, qos: int, retain: bool, expiry_s: int | None) -> int:
        if self._lost is not None:
            raise self._gone()
        properties = None
        if expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = max(1, min(expiry_s, 2**32 - 1))
        info = self._client.publish(
            topic, payload, qos=qos, retain=retain and self.limits.retain, properties=properties
        )
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._gone(f"cannot publish on {topic} ({info.rc.name})")
        return info.mid

    async def messages(self) -> AsyncIterator[Message]:
        """Give what arrives, then raise TransportError when the link is gone."""
        while (message := await self._inbox.get()) is not None:
            try:
                topic = message.topic
            except UnicodeDecodeError:  # a topic that is no text is none of ours
                topic = ""
            if topic:
                yield Message(topic, bytes(message.payload), message.retain)
            if self._lost is None:
                self._client.ack(message.mid, message.qos)
        self._inbox.put_nowait(None)  # for whoever asks again
        raise self._gone()

    # --- connecting ---

    async def _connect(self) -> None:
        if self._tls:
            try:
                self._client.tls_set_context(client_context(self._ca, self._certificate))
            except TlsError as error:
                raise RefusedError(f"broker {self.where}: {error}") from error
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = max(1, min(self._inbox_limit, 65_535))
        properties.MaximumPacketSize = PACKET_BYTES
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
            raise tls_failed(f"broker {self.where}", error) from error
        except (OSError, ValueError) as error:
            raise TransportError(
                f"broker {self.where}: cannot connect: {error}; check uplink.host and uplink.port, that the broker runs "
                "and that the network lets this machine reach it"
            ) from error
        self._watch()
        assert self._greeted is not None  # noqa: S101 - set by __aenter__, for the type checker
        reason, told = await self._greeted
        if reason.value != 0:
            raise refusal(f"broker {self.where}", "refused the connection", reason.value, **_words(told))
        self._since = time.monotonic()
        self._obey(told)

    def _obey(self, told: Properties | None) -> None:
        """Take over what the broker announced; what it leaves out has no limit. Raises RefusedError for what we need."""
        usual = Limits()
        self.limits = Limits(
            in_flight=getattr(told, "ReceiveMaximum", usual.in_flight),
            packet_bytes=getattr(told, "MaximumPacketSize", usual.packet_bytes),
            retain=bool(getattr(told, "RetainAvailable", 1)),
        )
        self._room = asyncio.Semaphore(min(IN_FLIGHT, self.limits.in_flight))
        if getattr(told, "MaximumQoS", 1) < 1:
            raise refusal(f"broker {self.where}", "announces QoS 0 only", 0x9B)
        if not getattr(told, "WildcardSubscriptionAvailable", 1) and any(
            c in t for t in self._subscriptions for c in "+#"
        ):
            raise refusal(f"broker {self.where}", "cannot subscribe", 0xA2)

    async def _subscribe(self) -> None:
        # What a broker kept from before is no news: nothing of ours is retained.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        for start in range(0, len(self._subscriptions), SUBSCRIBE_AT_ONCE):
            topics = self._subscriptions[start : start + SUBSCRIBE_AT_ONCE]
            self._granted = asyncio.get_running_loop().create_future()
            self._client.subscribe([(topic, options) for topic in topics])
            reasons = await self._granted
            if len(reasons) != len(topics):
                raise TransportError(f"broker {self.where}: answered {len(reasons)} of {len(topics)} subscriptions")
            for topic, reason in zip(topics, reasons, strict=True):
                if reason.is_failure:
                    raise refusal(f"broker {self.where}", f"refused the subscription {topic}", reason.value)

    # --- paho on the event loop ---

    def _watch(self) -> None:
        """Let the loop serve paho's socket from here on."""
        loop = asyncio.get_running_loop()
        link = self._client.socket()
        if link is None:
            raise self._hung_up(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._client.on_socket_register_write = lambda _c, _u, s: self._want_to_write(loop, s)
        self._client.on_socket_unregister_write = lambda _c, _u, s: stop_writing(loop, s)
        self._client.on_socket_close = lambda _c, _u, s: forget(loop, s.fileno())
        loop.add_reader(link.fileno(), self._readable)
        if self._client.want_write():
            loop.add_writer(link.fileno(), self._writable)
        self._every_second()

    def _want_to_write(self, loop: asyncio.AbstractEventLoop, link: Any) -> None:
        """Ask to be told when the socket takes more. One that died under us says so here: uvloop closes its handle."""
        try:
            loop.add_writer(link.fileno(), self._writable)
        except (OSError, RuntimeError, ValueError) as error:
            self._end(TransportError(f"broker {self.where}: connection lost: {error}"))

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
            what = f"broker {self.where}: does not speak MQTT 5 ({error!r}); check uplink.host and uplink.port"
            self._end(TransportError(what))
            return
        if code not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            self._end(self._hung_up(code))
        elif getattr(self._client, "_in_packet", {}).get("remaining_length", 0) > PACKET_BYTES:
            self._end(TransportError(f"broker {self.where}: sends more than the {PACKET_BYTES} bytes we told it"))

    def _hung_up(self, code: MQTTErrorCode) -> TransportError:
        """Give the error for an end without a word from the broker."""
        if self._since is None and self._tls:
            return not_let_in(f"broker {self.where}", self._heard.last, refused=self._heard.alert)
        orderly = code == MQTTErrorCode.MQTT_ERR_CONN_LOST and not self._heard.last  # a reset is the line's doing
        if orderly and self._since is not None and self._lost is None and (why := self._clone(told=False)) is not None:
            return why
        return TransportError(f"broker {self.where}: connection lost ({paho.error_string(code)})")

    def _clone(self, *, told: bool) -> TransportError | None:
        """Give the error for a connection that the broker ended, when it looks like another client's doing."""
        now = time.monotonic()
        kind = self._takeovers.ended(now, now - (self._since or now), told=told)
        return None if kind is None else clone(f"broker {self.where}", self._client_id, kind)

    def _end(self, why: TransportError) -> None:
        """Tell everyone who waits that the link is gone; the first reason is kept."""
        if self._lost is not None:
            return
        self._lost = why
        waiting: list[asyncio.Future[Any] | None] = [self._greeted, self._granted, *self._pending.values()]
        for future in waiting:
            if future is not None and not future.done():
                future.set_exception(self._gone())
                future.exception()  # told; nobody has to be waiting
        self._inbox.put_nowait(None)

    def _gone(self, otherwise: str = "closed") -> TransportError:
        """Give the reason of the end anew: one exception object is raised once."""
        why = self._lost
        return TransportError(f"broker {self.where}: {otherwise}") if why is None else type(why)(str(why))

    def _close(self) -> None:
        self._end(TransportError(f"broker {self.where}: closed"))
        if self._tick is not None:
            self._tick.cancel()
        link = self._client.socket()
        if link is not None:
            forget(asyncio.get_running_loop(), link.fileno())
            with contextlib.suppress(OSError):  # closed under us: what we wanted
                link.close()

    # --- paho's callbacks, all on the event loop ---

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, told: Properties | None) -> None:
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result((reason, told))

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

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, told: Properties | None) -> None:
        if not flags.is_disconnect_packet_from_server:
            return  # _guarded knows why
        why = refusal(f"broker {self.where}", "connection lost", reason.value, **_words(told))
        taken_over = reason.value == SESSION_TAKEN_OVER and self._since is not None
        self._end((taken_over and self._clone(told=True)) or why)


def _words(told: Properties | None) -> dict[str, str]:
    """Give what a broker says beside its reason code."""
    return {
        "reference": str(getattr(told, "ServerReference", "")),
        "said": str(getattr(told, "ReasonString", "")),
    }
