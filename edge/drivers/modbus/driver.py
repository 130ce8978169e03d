"""Modbus TCP: polled in as few requests as the device allows, decoded as columns.

The ten rules: one request at a time, each with the connection's timeout; a register the device refuses is a bad
reading and is tried again every 30 s, the others go on; a tag with role `clock` gives the machine's own time, without
one the time of the answer stands in (Modbus carries none); leaving closes the socket; nothing is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from edge.connections import Modbus
from edge.drivers.columns import TagColumns
from edge.drivers.driver import DriverError, DriverHealth, Surroundings
from edge.drivers.modbus.address import AddressError, Item, Table, parse
from edge.drivers.modbus.image import Image
from edge.drivers.modbus.plan import FUNCTION, Block, halves, plan
from edge.drivers.schedule import Beat
from edge.tags import Tag
from sync.clock import Clock
from sync.quality import (
    BAD,
    BAD_CONFIGURATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_NO_COMMUNICATION,
    BAD_TIMEOUT,
)
from sync.reading import Readings

CONNECT_S = 4.0
SILENT_REQUESTS = 3
"""So many requests without an answer, and the device counts as gone."""
RETRY_S = 30.0

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_REFUSED: Final[dict[int, str]] = {
    ILLEGAL_FUNCTION: "the device does not know this function (exception 1); check the table (holding, input, …)",
    ILLEGAL_ADDRESS: "the device has no such register (exception 2); check the address, books count from 0",
    ILLEGAL_VALUE: "the device refuses the length (exception 3); check type and length",
}
_STATUS: Final[dict[int, int]] = {
    4: BAD_DEVICE_FAILURE, 5: BAD_DEVICE_FAILURE, 6: BAD_DEVICE_FAILURE, 8: BAD_DEVICE_FAILURE,
    10: BAD_NO_COMMUNICATION, 11: BAD_NO_COMMUNICATION,
}  # fmt: skip
"""Exception code → status for this scan: device failure, busy, memory parity; gateway without path, target silent."""

# The library logs an error for each timeout and refusal; all of them reach us, and the host logs changes of state.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class _Answer(ModbusPDU):
    """A read answer as it came: numpy decodes it, not one Python object per register."""

    data = b""

    def decode(self, data: bytes) -> None:
        self.data = bytes(data)

    def __str__(self) -> str:  # the library formats every answer for its debug log
        return "answer"


class _CoilsAnswer(_Answer):
    function_code = 1


class _DiscreteAnswer(_Answer):
    function_code = 2


class _HoldingAnswer(_Answer):
    function_code = 3


class _InputAnswer(_Answer):
    function_code = 4


_REQUEST: Final[dict[Table, type[ModbusPDU]]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}


class ModbusDriver:
    """One Modbus TCP connection, from connect to loss."""

    def __init__(
        self, config: Modbus, tags: Sequence[Tag], clock: Clock, around: Surroundings, *, retry_s: float = RETRY_S
    ) -> None:
        self.health = DriverHealth()
        self._config = config
        self._clock = clock
        self._around = around
        self._retry_ns = round(retry_s * 1e9)
        self._columns = TagColumns(tags)
        n = len(tags)
        self._status = np.zeros(n, np.uint32)
        self._at = np.zeros(n, np.int64)
        self._fixed = np.zeros(n, np.uint32)
        """Status of tags that are not asked for: wrong address in the book, or refused by the device."""
        self._items: list[Item] = []
        for position, tag in enumerate(tags):
            try:
                self._items.append(
                    parse(position, tag.address, tag.spec, base=config.address_base, element=tag.element)
                )
            except AddressError as error:
                self._bar(position, str(error))
        self._image = Image(tags, self._items, config.word_order)
        self._refused: dict[int, Item] = {}
        self._retry_at = 0
        self._blocks = self._plan()
        self._targets: dict[Block, NDArray[np.intp]] = {}
        self._clocks = _clocks(tags)
        self._answers = 0
        self._unanswered = 0
        """Requests in a row without an answer."""
        self._patience = max(1, min(SILENT_REQUESTS, int(5 / config.timeout_s)))
        self._client: AsyncModbusTcpClient
        self._beat = Beat(clock, config.period_ms / 1000)

    async def __aenter__(self) -> Self:
        config = self._config
        self._client = AsyncModbusTcpClient(
            config.host or "",
            port=config.tcp_port,
            timeout=config.timeout_s,
            retries=0,
            reconnect_delay=0,
            name=config.name,
        )
        for answer in (_CoilsAnswer, _DiscreteAnswer, _HoldingAnswer, _InputAnswer):
            self._client.register(answer)
        try:
            async with asyncio.timeout(CONNECT_S):
                connected = await self._client.connect()
        except TimeoutError:
            connected = False
        except BaseException:  # cancelled too: whatever ends the attempt, nothing stays open
            self._client.close()
            raise
        if not connected:
            self._client.close()
            raise self._lost("no connection; check that the device is on, its address and port, and the firewall")
        self._retry_at = self._clock.monotonic() + self._retry_ns
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        await asyncio.sleep(0)  # one turn of the loop, in which the transport closes

    async def readings(self) -> AsyncGenerator[Readings]:
        """Give one batch per poll: every tag, bad ones included."""
        while True:
            self.health.overruns += await self._beat.wait()
            yield await self._scan()

    async def _scan(self) -> Readings:
        self._at[:] = self._clock.now()
        self._status[:] = self._fixed
        asked, known = self._blocks, len(self._refused)
        pieces: list[Block] = []
        before = self._answers
        for block in asked:
            pieces += await self._read(block)
        if asked and self._answers == before:
            raise self._lost("the device accepts the connection and answers nothing; check the unit id and the device")
        if len(self._refused) != known:
            self._blocks = self._plan()
        elif len(pieces) != len(asked):
            self._blocks = pieces  # the device wants shorter blocks here, for a hole or a limit of its own
        if self._refused and self._clock.monotonic() >= self._retry_at:
            await self._retry()
        return self._batch()

    def _batch(self) -> Readings:
        received = self._clock.now()
        value, other, garbled = self._image.decode()
        self._status[garbled] = BAD_DECODING_ERROR
        status = self._status.copy()
        value[(status & np.uint32(BAD)) != 0] = np.nan
        other = {position: held for position, held in other.items() if not int(status[position]) & BAD}
        source_time = self._at.copy()
        for clock, members in self._clocks:
            spec = self._columns.tags[clock].spec
            held = other.get(clock)
            milliseconds = (held if isinstance(held, int) else float(value[clock])) * spec.scale + spec.offset
            if 0 < milliseconds < 2**63 / 1e6:
                source_time[members] = round(milliseconds * 1000) * 1000  # exact to the microsecond
        return self._columns.readings(
            np.arange(len(self._columns)),
            value,
            status,
            source_time=source_time,
            server_time=self._at.copy(),
            received=received,
            other=other,
        )

    async def _read(self, block: Block) -> list[Block]:
        """Read a block into the image, in pieces where the device refuses it whole; give the pieces that it gave."""
        answer = await self._ask(block)
        match answer:
            case bytes():
                target = self._targets.get(block)
                if target is None:
                    target = self._targets[block] = self._image.target(block)
                self._image.fill(block, target, answer)
                self._at[block.positions] = self._clock.now()
                return [block]
            case 2 | 3 if len(block.items) > 1:
                first, second = halves(block)
                return [*await self._read(first), *await self._read(second)]
            case 1 | 2 | 3:
                for item in block.items:
                    self._refuse(item, answer)
                return []
            case None:
                self._status[block.positions] = BAD_TIMEOUT
            case _:
                self._status[block.positions] = _STATUS.get(answer, BAD_DECODING_ERROR)
        return [block]

    async def _ask(self, block: Block) -> bytes | int | None:
        """Send one request, once more if it stays unanswered: data, exception code (0 for a wrong answer), or None.

        Raises DriverError when the connection is gone or the device silent.
        """
        request = _REQUEST[block.table](dev_id=self._config.unit, address=block.address, count=block.count)
        for _ in range(2):
            if not self._client.connected:
                raise self._lost("the device closed the connection; check how many connections it takes")
            self.health.requests += 1
            try:
                answer = await self._client.execute(no_response_expected=False, request=request)
            except ModbusException:  # no answer, or one to another question
                self._unanswered += 1
                if self._unanswered >= self._patience:
                    silent = self._patience * self._config.timeout_s
                    raise self._lost(f"silent for {silent:g} s; check the device and the network") from None
                continue
            self._answers += 1
            self._unanswered = 0
            return self._checked(block, request, answer)
        return None

    def _checked(self, block: Block, request: ModbusPDU, answer: ModbusPDU) -> bytes | int:
        """Give the data of an answer that is to this request and of the right length, else a code."""
        if answer.function_code == FUNCTION[block.table] | 0x80:
            return answer.exception_code
        size = 2 * block.count if block.registers else (block.count + 7) // 8
        fits = (
            isinstance(answer, _Answer)
            and answer.function_code == FUNCTION[block.table]
            and answer.transaction_id == request.transaction_id
            and len(answer.data) == size + 1
            and answer.data[0] == size
        )
        return answer.data[1:] if fits and isinstance(answer, _Answer) else 0

    async def _retry(self) -> None:
        """Ask for the refused registers again, one by one: a device may have been set up in the meantime."""
        self._retry_at = self._clock.monotonic() + self._retry_ns
        refused = list(self._refused.values())
        for item in refused:
            del self._refused[item.position]
            self._fixed[item.position] = 0
            (block,) = plan([item], max_gap=0, max_registers=self._config.max_registers)
            if await self._read(block):
                self.health.bad_items.pop(int(self._columns.index[item.position]), None)
                self._status[item.position] = 0
        if len(self._refused) != len(refused):
            self._blocks = self._plan()

    def _refuse(self, item: Item, code: int) -> None:
        self._refused[item.position] = item
        self._bar(item.position, f"{self._columns.tags[item.position].address}: {_REFUSED[code]}")
        self._status[item.position] = BAD_CONFIGURATION_ERROR

    def _bar(self, position: int, why: str) -> None:
        self._fixed[position] = BAD_CONFIGURATION_ERROR
        self.health.bad_items[int(self._columns.index[position])] = why

    def _plan(self) -> list[Block]:
        self._targets = {}
        return plan(
            [item for item in self._items if item.position not in self._refused],
            max_gap=16 if self._config.max_gap is None else self._config.max_gap,
            max_registers=self._config.max_registers,
            refused=list(self._refused.values()),
        )

    def _lost(self, why: str) -> DriverError:
        config = self._config
        return DriverError(f"{config.name} (modbus {config.target} unit {config.unit}): {why}")


def _clocks(tags: Sequence[Tag]) -> list[tuple[int, NDArray[np.intp]]]:
    """Give for each clock tag its position and the positions of its work unit, whose time it tells."""
    return [
        (at, np.array([i for i, other in enumerate(tags) if other.work_unit == tag.work_unit], np.intp))
        for at, tag in enumerate(tags)
        if tag.spec.role == "clock"
    ]
