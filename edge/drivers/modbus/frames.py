"""Bytes ↔ answers, for both framings of Modbus: MBAP (TCP, TLS) and RTU (serial lines, and those behind a socket). Pure.

MBAP frames carry a transaction id and a length: answers find their requests, and a frame that nobody waits for is
dropped whole. RTU frames carry neither: what belongs together is known by the request alone, so the right answer is
searched for in all that has come, and everything else is noise (late answers, other units, half frames, our own echo).
"""

from __future__ import annotations

from typing import Final

from edge.drivers.modbus.pdu import MAX_PDU, Request

MBAP_HEAD: Final = 7
RTU_LEAST: Final = 4
"""Bytes around a PDU (unit, CRC) and the function code."""
RTU_KEPT: Final = 1024
"""So many bytes without an answer in them are kept; older ones cannot belong to it (a frame has 256 at most)."""


_COUNTED: Final = {1, 2, 3, 4, 17, 23}
"""Functions whose answers tell their length in the third byte."""
_FIXED: Final = {5: 6, 6: 6, 15: 6, 16: 6, 22: 8}
"""Function → bytes of an answer up to the CRC."""


class FrameError(Exception):
    """The stream is out of step: what follows cannot be cut into frames any more. Connect anew."""


def mbap(transaction: int, request: Request) -> bytes:
    """Give the frame of a request; `transaction` is 16 bits."""
    return b"%b\0\0%b%c%b" % (
        transaction.to_bytes(2, "big"),
        (len(request.pdu) + 1).to_bytes(2, "big"),
        request.unit,
        request.pdu,
    )


class Mbap:
    """Cuts a stream of bytes into MBAP frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Take bytes, give (transaction id, unit, PDU) of each frame that is whole now. Raises FrameError."""
        if self._rest:
            data = self._rest + data
        frames: list[tuple[int, int, bytes]] = []
        start, size = 0, len(data)
        while size - start >= MBAP_HEAD:
            length = data[start + 4] << 8 | data[start + 5]
            if data[start + 2] or data[start + 3] or not 3 <= length <= MAX_PDU + 1:
                raise FrameError(
                    f"no Modbus frame begins with {data[start : start + MBAP_HEAD].hex(' ')}; "
                    "check that it is a Modbus TCP device (transport)"
                )
            end = start + 6 + length
            if end > size:
                break
            frames.append((data[start] << 8 | data[start + 1], data[start + 6], data[start + MBAP_HEAD : end]))
            start = end
        self._rest = data[start:]
        return frames


def rtu(request: Request) -> bytes:
    """Give the frame of a request: unit, PDU, CRC."""
    body = bytes((request.unit,)) + request.pdu
    return body + crc(body)


class Rtu:
    """What has come over a line since it was last cleared, and the search in it."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def feed(self, data: bytes) -> None:
        self.bytes += data
        if len(self.bytes) > RTU_KEPT:
            del self.bytes[:-RTU_KEPT]

    def clear(self) -> bytes:
        """Forget all that has come; give it."""
        noise = bytes(self.bytes)
        self.bytes.clear()
        return noise

    def strip_echo(self, sent: bytes) -> bool:
        """Drop our own frame from the beginning, where an adapter hears itself; tell whether it was there."""
        if not self.bytes.startswith(sent):
            return False
        del self.bytes[: len(sent)]
        return True

    def find(self, request: Request) -> bytes | None:
        """Give the PDU of the answer to a request and forget all up to its end, or None while there is none."""
        held = self.bytes
        refusal = request.pdu[0] | 0x80
        for start in range(len(held) - RTU_LEAST):
            if held[start] != request.unit:
                continue
            if held[start + 1] == refusal:
                length = 2
            elif held.startswith(request.begins, start + 1):
                length = request.length or 2 + held[start + 2]
            else:
                continue
            end = start + 1 + length
            if end + 2 <= len(held) and held.startswith(crc(held[start:end]), end):
                pdu = bytes(held[start + 1 : end])
                del held[: end + 2]
                return pdu
        return None


def answers_in(noise: bytes) -> list[tuple[int, bytes]]:
    """Give (unit, PDU) of the whole answers that stand in bytes which nobody waited for."""
    answers: list[tuple[int, bytes]] = []
    start = 0
    while start < len(noise) - RTU_LEAST:
        function = noise[start + 1]
        if function & 0x80:
            end = start + 3
        elif function in _COUNTED:
            end = start + 3 + noise[start + 2]
        else:
            end = start + _FIXED.get(function, 0)
        if start + 3 <= end <= len(noise) - 2 and noise.startswith(crc(noise[start:end]), end):
            answers.append((noise[start], noise[start + 1 : end]))
            start = end + 2
        else:
            start += 1
    return answers


def crc(data: bytes | bytearray) -> bytes:
    """Give the CRC-16 of the serial line protocol (polynomial A001, low byte first)."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


_CRC: Final = tuple(_entry(byte) for byte in range(256))
