"""What is asked and what may come back: requests, and the check that an answer is the one to its request. Pure.

The Modbus application protocol (V1.1b3, section 6). A request knows from the start what a right answer begins with and
how long it is, so nothing else is ever taken for one: function code, byte count, length and echoed fields are compared
before a value is looked at. Unit and transaction id are the framing's (`frames.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
REPORT_ID, MASK_WRITE, READ_WRITE = 17, 22, 23

PINGS: Final = (READ_COILS, READ_DISCRETE, READ_INPUT, READ_HOLDING)

MAX_REGISTERS: Final = 125
MAX_BITS: Final = 2000
MAX_PDU: Final = 253
"""Bytes of a function code and its data: what fits beside unit and CRC into the 256 of a serial line."""

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
NOBODY_THERE: Final = frozenset({10, 11})
"""A gateway's answers for a unit that it does not reach: after a wait of its own, as long as a timeout of ours."""
EXCEPTIONS: Final[dict[int, str]] = {
    1: "the device does not know this function (exception 1); check the table (holding, input, …)",
    2: "the device has no such register (exception 2); check the address and address_base",
    3: "the device refuses value or length (exception 3); check type and length",
    4: "the device failed (exception 4); look at the device",
    5: "the device is still working on it (exception 5); ask again later",
    6: "the device is busy (exception 6); ask again later",
    7: "the device refuses (exception 7); look at the device's manual",
    8: "the device's memory has a parity error (exception 8); look at the device",
    10: "the gateway has no path to the unit (exception 10); check the gateway's set-up",
    11: "the unit behind the gateway does not answer (exception 11); check the unit id, its power and its cable",
}
"""Exception code → what it means and what to check."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what the answer to it looks like."""

    unit: int
    pdu: bytes
    """Function code and data."""
    begins: bytes
    """What every right answer begins with: function code, then byte count or the fields that are echoed."""
    length: int
    """Bytes of the right answer's PDU; 0 where its second byte tells how many follow."""

    @property
    def function(self) -> int:
        return self.pdu[0]

    def fits(self, answer: bytes) -> bool:
        """Tell whether a PDU is the right answer."""
        length = self.length or (2 + answer[1] if len(answer) > 1 else 2)
        return len(answer) == length and answer.startswith(self.begins)

    def refused(self, answer: bytes) -> int | None:
        """Give the exception code when a PDU is the device's refusal of this request."""
        return answer[1] if len(answer) == 2 and answer[0] == self.pdu[0] | 0x80 else None


class Answer(NamedTuple):
    """What a device said to a request."""

    data: bytes
    """The answer's PDU; empty when refused."""
    code: int
    """Exception code; 0 for none."""
    came: int
    """Wall clock when it came, ns since 1970 UTC."""
    took: int
    """Time from request to answer, ns."""


def read(unit: int, function: int, address: int, count: int) -> Request:
    """Ask for bits (functions 1, 2) or registers (3, 4); the data come after the first two bytes of the answer."""
    size = (count + 7) // 8 if function in {READ_COILS, READ_DISCRETE} else 2 * count
    return Request(unit, _words(function, address, count), bytes((function, size)), 2 + size)


def write_coil(unit: int, address: int, on: bool) -> Request:
    """Set one coil (function 5)."""
    return _echoed(unit, _words(WRITE_COIL, address, 0xFF00 if on else 0))


def write_register(unit: int, address: int, word: int) -> Request:
    """Set one register (function 6)."""
    return _echoed(unit, _words(WRITE_REGISTER, address, word))


def write_coils(unit: int, address: int, bits: Sequence[bool]) -> Request:
    """Set up to 1,968 coils (function 15)."""
    packed = bytes(
        sum(1 << place for place, on in enumerate(bits[start : start + 8]) if on) for start in range(0, len(bits), 8)
    )
    head = _words(WRITE_COILS, address, len(bits))
    return Request(unit, head + bytes((len(packed),)) + packed, head, len(head))


def write_registers(unit: int, address: int, words: Sequence[int]) -> Request:
    """Set up to 123 registers (function 16)."""
    head = _words(WRITE_REGISTERS, address, len(words))
    return Request(unit, head + _counted(words), head, len(head))


def mask_write(unit: int, address: int, mask: int, bits: int) -> Request:
    """Change the bits of `mask` in one register to those of `bits`, in the device itself (function 22)."""
    return _echoed(unit, _words(MASK_WRITE, address, ~mask & 0xFFFF, bits & mask))


def read_write(unit: int, address: int, words: Sequence[int]) -> Request:
    """Set up to 121 registers and read the same ones back in one request (function 23)."""
    place = (address, len(words))
    return Request(
        unit,
        _words(READ_WRITE, *place, *place) + _counted(words),
        bytes((READ_WRITE, 2 * len(words))),
        2 + 2 * len(words),
    )


def ping(unit: int, used: AbstractSet[int]) -> Request:
    """Ask something whose answer, or refusal, looks like none to a request by the functions that are `used` of a unit.

    A single bit or register by a reading function that is not used: every device answers or refuses that. Where all
    are used, who it is (function 17, serial lines).
    """
    free = next((function for function in PINGS if function not in used), None)
    if free is None:
        return Request(unit, bytes((REPORT_ID,)), bytes((REPORT_ID,)), 0)
    return read(unit, free, 0, 1)


def _words(function: int, *words: int) -> bytes:
    return bytes((function,)) + b"".join(word.to_bytes(2, "big") for word in words)


def _counted(words: Sequence[int]) -> bytes:
    return bytes((2 * len(words),)) + b"".join(word.to_bytes(2, "big") for word in words)


def _echoed(unit: int, pdu: bytes) -> Request:
    return Request(unit, pdu, pdu, len(pdu))
