"""One connection to Modbus devices: each answer finds its own request, or none at all.

MBAP (TCP, TLS): several requests may be on their way; an answer is known by its transaction id and unit, and one that
comes too late is dropped. RTU framing carries no id: one request at a time, and after one that stayed unanswered the
unit is not read again before it has proved that nothing of it is still on its way (`Link._settle`), because its late
answer would be taken for the next one, and every value after it stand on the wrong tag.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter, defaultdict, deque
from types import TracebackType
from typing import Final, Self

from edge.connections import Modbus
from edge.drivers.driver import DriverError, DriverHealth, Surroundings
from edge.drivers.modbus.frames import FrameError, Mbap, Rtu, answers_in, mbap, rtu
from edge.drivers.modbus.pdu import Answer, Request, ping
from edge.drivers.modbus.serial_line import character_s, silence_s
from edge.drivers.modbus.transports import connect
from sync.clock import Clock

SOCKET_SILENCE_S: Final = 0.002
"""Rest before a request to a serial line behind a socket: what else belongs to the last answer comes in it."""
GREETING_S: Final = 0.5
"""Most time for the first ping of a unit: answers to the connection before this one come in it too."""
OWED_TIMEOUTS: Final = 5
"""After so many timeouts an answer that is owed does not come any more."""
RESTLESS: Final = 20
"""A line that does not fall silent in so many rests is asked all the same: the CRC tells noise from an answer."""


class SilentError(Exception):
    """No answer within the timeout; the connection may live."""


class RestingError(SilentError):
    """Not asked at all: an old answer of the unit may still be on its way, and only time can tell."""


class WrongAnswerError(Exception):
    """An answer that is none to its request: another unit, function, length or byte count. It is not looked at."""


class Link(asyncio.Protocol):
    """One connection, from `async with` to its end."""

    def __init__(self, config: Modbus, clock: Clock, around: Surroundings, health: DriverHealth) -> None:
        self._config = config
        self._clock = clock
        self._around = around
        self._health = health
        self._transport: asyncio.Transport | None = None
        self._lost: DriverError | None = None
        self._turns = _Turns(config.in_flight)
        self._timeout_s = config.timeout_s
        self._pause_ns = round(config.pause_ms * 1e6)
        self.serial = config.transport in {"rtu", "rtu_over_tcp"}
        """Whether it is RTU framing."""
        self.strays = 0
        """Answers that nobody waited for."""
        self.doubts: Counter[int] = Counter()
        """RTU: unit → how often an answer of it came that nobody waited for: what was read since may be shifted."""
        self._heard = 0
        """When the last bytes came, monotonic ns."""
        self.uses: defaultdict[int, set[int]] = defaultdict(set)
        """RTU: unit → functions it is asked by, on this connection or the one before."""
        # MBAP
        self._frames = Mbap()
        self._transaction = 0
        self._waiting: dict[int, asyncio.Future[tuple[int, bytes, int, int]]] = {}
        """Transaction id → where the answer goes: unit, PDU, wall clock and monotonic clock when it came."""
        # RTU
        self._rtu = Rtu()
        self._silence_ns = round(1e9 * (SOCKET_SILENCE_S if config.serial is None else silence_s(config.serial)))
        self._character_s = 0.0 if config.serial is None else character_s(config.serial)
        self._asked: tuple[Request, asyncio.Future[tuple[int, bytes, int, int]]] | None = None
        self._echo = b""
        """Our own frame, when it may come back to us."""
        self._hears_itself = False
        self._answers: dict[int, bytes] = {}
        """Unit → the last answer taken from it: the same once more does no harm. Empty before the first."""
        self._owed: dict[int, int] = {}
        """Unit → until when an answer to an old request may still come, monotonic ns."""
        self._unpinged: set[int] = set()
        """Units whose last ping stayed unanswered."""
        self._deaf: set[int] = set()
        """Units that answer reads and no pings."""

    async def __aenter__(self) -> Self:
        """Connect. Raises DriverError within 4 s (and the rest the device wants after connecting)."""
        self._transport = await connect(self._config, self._around, self)
        try:
            if self._config.settle_ms:
                await self._clock.sleep(self._config.settle_ms / 1000)
        except BaseException:  # cancelled too: the connection is not left open; it goes on up
            self._transport.abort()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.abort()
        await asyncio.sleep(0)  # one turn of the loop, in which the transport closes

    async def ask(self, request: Request, *, urgent: bool = False) -> Answer:
        """Send one request once and give the answer; urgent ones go before all that wait.

        Raises SilentError and WrongAnswerError, of which the connection may recover, and DriverError when it is lost.
        """
        await self._turns.take(urgent)
        try:
            if self._lost is not None:
                raise self._lost
            unit, pdu, came, took = await (self._ask_line(request) if self.serial else self._ask_socket(request))
        finally:
            self._turns.give()
        if unit == request.unit:
            if request.fits(pdu):
                return Answer(pdu, 0, came, took)
            code = request.refused(pdu)
            if code is not None:
                return Answer(b"", code, came, took)
        self.strays += 1
        raise WrongAnswerError(f"unit {unit}: {pdu[:8].hex(' ')}")

    # ── what comes ──

    def data_received(self, data: bytes) -> None:
        self._heard = self._clock.monotonic()
        if self.serial:
            self._line_received(data)
            return
        try:
            frames = self._frames.feed(data)
        except FrameError as error:
            self._end(str(error))
            return
        now = self._clock.now()
        for transaction, unit, pdu in frames:
            future = self._waiting.pop(transaction, None)
            if future is None or future.done():
                self.strays += 1  # too late, or to nobody's question
            else:
                future.set_result((unit, pdu, now, self._heard))

    def _line_received(self, data: bytes) -> None:
        self._rtu.feed(data)
        if self._asked is None:
            return
        if self._echo and self._rtu.strip_echo(self._echo):
            self._echo, self._hears_itself = b"", True
        request, future = self._asked
        pdu = None if future.done() else self._rtu.find(request)
        if pdu is not None:
            future.set_result((request.unit, pdu, self._clock.now(), self._heard))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._config.serial is not None:
            gone = "the line is gone; check the adapter"
        elif isinstance(exc, ssl.SSLError):
            gone = f"the device ended TLS ({exc.reason or exc}); check certificate and private_key"
        else:
            gone = "the device closed the connection; check how many connections it takes"
        self._end(gone)

    def _end(self, why: str) -> None:
        if self._lost is None:
            self._lost = DriverError(f"{self._config.name} (modbus {self._config.target}): {why}")
        if self._transport is not None:
            self._transport.abort()
        asked = [] if self._asked is None else [self._asked[1]]
        for future in (*self._waiting.values(), *asked):
            if not future.done():
                future.set_exception(self._lost)

    # ── what goes: sockets ──

    async def _ask_socket(self, request: Request) -> tuple[int, bytes, int, int]:
        if self._pause_ns:
            await self._rest(self._pause_ns)
        transaction = self._transaction = self._transaction % 0xFFFF + 1  # 0 is what devices without ids answer
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[int, bytes, int, int]] = loop.create_future()
        self._waiting[transaction] = future
        self._health.requests += 1
        sent = self._clock.monotonic()
        self._write(mbap(transaction, request))
        timer = loop.call_later(self._timeout_s, _expire, future)
        try:
            unit, pdu, came, heard = await future
        finally:
            timer.cancel()
            self._waiting.pop(transaction, None)
        return unit, pdu, came, heard - sent

    async def _rest(self, least_ns: int) -> None:
        """Return when nothing has come for so long."""
        for _ in range(RESTLESS):
            left = self._heard + least_ns - self._clock.monotonic()
            if left <= 0 or self._lost is not None:
                return
            await self._clock.sleep(left / 1e9)

    def _write(self, frame: bytes) -> None:
        if self._transport is None or self._lost is not None:
            raise self._lost or RuntimeError("not connected: use `async with`")
        self._transport.write(frame)

    # ── what goes: serial lines ──

    async def hush(self) -> None:
        """RTU: wait for the line to fall silent; afterwards `doubts` counts all that came so far."""
        await self._turns.take(urgent=False)
        try:
            await self._hush()
        finally:
            self._turns.give()

    async def _ask_line(self, request: Request) -> tuple[int, bytes, int, int]:
        await self._hush()
        unit = request.unit
        self.uses[unit].add(request.function)
        if unit not in self._answers:
            await self._greet(unit)
        elif self._clock.monotonic() < self._owed.get(unit, 0):
            await self._settle(unit)
            await self._hush()
        self._owed.pop(unit, None)
        try:
            answer = await self._exchange(request, self._timeout_s)
        except BaseException:  # whoever was waiting, the answer may still come
            self._owe(unit)
            raise
        if unit in self._unpinged:
            self._unpinged.discard(unit)
            self._deaf.add(unit)
        return answer

    async def _hush(self) -> None:
        """Wait for the line to fall silent and forget what has come.

        A unit whose answer was among it is in doubt: the answer taken before it may have been an older one's.
        """
        await self._rest(max(self._silence_ns, self._pause_ns))
        noise = self._rtu.clear()
        for unit, pdu in answers_in(noise) if noise else ():
            if unit not in self._answers:
                continue  # of another master's unit, or a broadcast
            self.strays += 1
            self._owe(unit)
            if pdu != self._answers[unit]:
                self.doubts[unit] += 1

    def _owe(self, unit: int) -> None:
        self._owed[unit] = self._clock.monotonic() + round(OWED_TIMEOUTS * self._timeout_s * 1e9)

    async def _settle(self, unit: int) -> None:
        """Prove that nothing old of a unit is still on its way; return when that is so, raise SilentError when not.

        Devices answer in order. So the answer to a ping, which looks like no answer to a request, comes after everything
        old, and so does its refusal. A unit that takes no notice of pings rests instead.
        """
        if unit in self._deaf:
            raise RestingError
        await self._ping(unit, self._timeout_s)

    async def _greet(self, unit: int) -> None:
        """Do the same before the first request: what the connection before this one asked may still be answered."""
        with contextlib.suppress(
            SilentError
        ):  # a unit without power, or without an ear for pings: the request will tell
            await self._ping(unit, min(self._timeout_s, GREETING_S))
        await self._hush()

    async def _ping(self, unit: int, timeout_s: float) -> None:
        self._unpinged.add(unit)
        await self._exchange(ping(unit, self.uses[unit]), timeout_s)
        self._unpinged.discard(unit)

    async def _exchange(self, request: Request, timeout_s: float) -> tuple[int, bytes, int, int]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[int, bytes, int, int]] = loop.create_future()
        frame = rtu(request)
        self._echo = frame if self._hears_itself or request.begins != request.pdu else b""
        self._asked = (request, future)
        self._answers.setdefault(request.unit, b"")
        self._health.requests += 1
        sent = self._heard = self._clock.monotonic()
        self._write(frame)
        patience = timeout_s + len(frame) * self._character_s
        timer = loop.call_later(patience, self._expire_line, future)
        try:
            unit, pdu, came, heard = await future
        finally:
            timer.cancel()
            self._asked = None
        self._answers[request.unit] = pdu
        return unit, pdu, came, heard - sent

    def _expire_line(self, future: asyncio.Future[tuple[int, bytes, int, int]]) -> None:
        """Give up, unless an answer has begun: a slow line may need its time for the rest."""
        if self._rtu.bytes and self._character_s and self._asked is not None and not future.done():
            rest = (self._asked[0].length + 3) * self._character_s
            asyncio.get_running_loop().call_later(rest, _expire, future)
        else:
            _expire(future)


def _expire(future: asyncio.Future[tuple[int, bytes, int, int]]) -> None:
    if not future.done():
        future.set_exception(SilentError())


class _Turns:
    """So many requests at a time; the urgent ones first, the others in order."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._ordinary: deque[asyncio.Future[None]] = deque()

    async def take(self, urgent: bool) -> None:
        if self._free:
            self._free -= 1
            return
        queue = self._urgent if urgent else self._ordinary
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give()  # the turn came together with the cancellation
            elif future in queue:
                queue.remove(future)
            raise

    def give(self) -> None:
        for queue in (self._urgent, self._ordinary):
            while queue:
                future = queue.popleft()
                if not future.done():
                    future.set_result(None)
                    return
        self._free += 1
