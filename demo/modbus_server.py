"""The hall's Modbus machines: one real Modbus TCP server per line, registers laid out by the line's tag book."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from demo.plant_signals import Value
from demo.plant_tags import Shown
from edge.drivers.modbus.registers import NUMBERS, encode
from edge.tags import TagBook, WordOrder

DROPPED_OUT = 0x7FFF
"""What an analog input card gives when the sensor's wire is broken."""


class ModbusMachine:
    """A machine on Modbus TCP; `show` what it is doing, clients read it as one consistent image."""

    def __init__(
        self, tags: TagBook, *, unit: int, word_order: WordOrder, offset: int, port: int, size: int = 64
    ) -> None:
        self.port = port
        self.reads = 0
        """Requests answered since the start."""
        self.seen_at = 0
        """Machine time of the newest image that a client has read, ns."""
        self._shown = [(Shown(spec), *_place(spec.address)) for spec in tags.tags]
        self._order: WordOrder = word_order
        self._offset = offset
        self._at = 0
        self._image = {"holding": [0] * size, "input": [0] * size}
        blank = SimData(offset, values=[0] * size, datatype=DataType.REGISTERS)
        unused = SimData(0, values=[False] * 16, datatype=DataType.BITS)
        self._device = SimDevice(id=unit, simdata=([unused], [unused], [blank], [blank]), action=self._answer)
        self._server: ModbusTcpServer | None = None

    async def __aenter__(self) -> Self:
        """Listen on loopback. Raises RuntimeError when the port is taken."""
        self._server = ModbusTcpServer(self._device, address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.shutdown()

    def show(self, observed: dict[str, Value], at: int) -> None:
        """Make an observation of the line the image that is read from now on."""
        self._at = at
        for shown, block, address in self._shown:
            value = shown.of(observed, at)
            spec = shown.spec
            if value.value is None or isinstance(value.value, str):
                raw: float = math.nan if spec.type == "float32" else DROPPED_OUT
            elif spec.scale != 1.0 or spec.offset:
                raw = _clipped(round((value.value - spec.offset) / spec.scale), spec.type)
            else:
                raw = value.value
            words = encode(raw, spec.type, self._order)
            self._image[block][address : address + len(words)] = words

    async def _answer(  # noqa: PLR0917 - the shape pymodbus calls
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Answer one request; pymodbus calls this before it reads `registers`, a whole block from `start`."""
        del start, address, count
        if values is not None:
            return ExcCodes.ILLEGAL_FUNCTION  # nothing on these machines may be written
        self.reads += 1
        self.seen_at = self._at
        registers[:] = self._image["input" if function == 4 else "holding"]
        return None


def _place(address: str) -> tuple[str, int]:
    block, number = address.split(":")
    return block, int(number)


def _clipped(raw: int, kind: str) -> int:
    signed = NUMBERS[kind].startswith(">i")  # pyright: ignore[reportArgumentType] - a key of this table
    bits = 8 * int(NUMBERS[kind][-1])  # pyright: ignore[reportArgumentType]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return min(max(raw, low), high)
