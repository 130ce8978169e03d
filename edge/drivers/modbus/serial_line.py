"""A serial line as an asyncio transport: raw bytes, eight data bits, for us alone. POSIX."""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from typing import Final

from edge.connections import Serial

_CHARACTER_BITS: Final = 11
"""Start, eight data, parity or second stop, stop: what the standard asks for."""
_FAST_BAUD: Final = 19_200
_FAST_SILENCE_S: Final = 0.00175
"""Above 19,200 baud the standard fixes the silence between frames."""


def silence_s(serial: Serial) -> float:
    """Give the rest that ends a frame on the line: 3.5 characters."""
    return _FAST_SILENCE_S if serial.baudrate > _FAST_BAUD else 3.5 * _CHARACTER_BITS / serial.baudrate


def character_s(serial: Serial) -> float:
    """Give the time of one byte on the line."""
    return _CHARACTER_BITS / serial.baudrate


class SerialLine(asyncio.Transport):
    """An open serial line; what comes goes to `protocol`."""

    def __init__(self, file: int, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._file = file
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self._loop.add_reader(file, self._readable)
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._file < 0:
            return
        if self._unsent:
            self._unsent += data
            return
        self._unsent = bytes(data)
        self._writable()

    def _writable(self) -> None:
        try:
            sent = os.write(self._file, self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(error)
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._file, self._writable)
        else:
            self._loop.remove_writer(self._file)

    def _readable(self) -> None:
        try:
            data = os.read(self._file, 4096)
        except BlockingIOError:
            return
        except OSError as error:  # unplugged
            self._lost(error)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._lost(None)

    def _lost(self, error: OSError | None) -> None:
        if self._file >= 0:
            self.close()
            self._protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return self._file < 0

    def close(self) -> None:
        """Let go of the line at once."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            self._loop.remove_writer(self._file)
            os.close(self._file)
            self._file = -1

    abort = close


def open_line(serial: Serial, protocol: asyncio.Protocol) -> SerialLine:
    """Open a serial line for us alone. Raises OSError and ValueError (no such baud rate)."""
    speed = getattr(termios, f"B{serial.baudrate}", None)
    if speed is None:
        raise ValueError(f"{serial.baudrate} baud is no rate of this machine; check serial.baudrate")
    file = os.open(serial.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two masters on one line talk into each other's answers
        _raw(file, serial, speed)
        termios.tcflush(file, termios.TCIOFLUSH)
        return SerialLine(file, protocol)
    except termios.error as error:
        os.close(file)
        raise ValueError(f"{serial.device} is no serial line ({error.args[1]}); check serial.device") from error
    except BaseException:  # whatever it is, the device is let go; it goes on up
        os.close(file)
        raise


def _raw(file: int, serial: Serial, speed: int) -> None:
    attributes = termios.tcgetattr(file)
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    if serial.parity != "none":
        control |= termios.PARENB
    if serial.parity == "odd":
        control |= termios.PARODD
    if serial.stop_bits == 2:
        control |= termios.CSTOPB
    wait = list(attributes[6])
    wait[termios.VMIN], wait[termios.VTIME] = 1, 0
    checked = termios.INPCK if serial.parity != "none" else 0
    termios.tcsetattr(file, termios.TCSANOW, [checked, 0, control, 0, speed, speed, wait])
