"""What somebody on the broker hears and can say who has the gateway's shared key."""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from sync.command import statement
from sync.frames import Command, DownFrame, FrameError, open_down, seal
from sync.signing import Signer
from sync.topics import Address

SECONDS = 30.0
PUBLISH = 3


class Tap:
    """An MQTT 5 client that hears everything said to one gateway. Enter connects it, exit disconnects it."""

    def __init__(self, port: int, address: Address, key: bytes) -> None:
        self._port, self._address, self._key = port, address, key
        self._seen: list[DownFrame] = []

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=SECONDS)
        self._send(0x10, b"\x00\x04MQTT\x05\x02" + struct.pack(">H", 0) + b"\x00" + _text("tap"))
        self._packet()
        self._send(0x82, b"\x00\x01\x00" + _text(self._address.down("#")) + b"\x00")
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _send(self, kind: int, body: bytes) -> None:
        length, left = b"", len(body)
        while True:
            byte, left = left % 128, left // 128
            length += bytes([byte | (128 if left else 0)])
            if not left:
                break
        self._socket.sendall(bytes([kind]) + length + body)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise AssertionError("the broker hung up on the tap")
            data += piece
        return data

    def _packet(self) -> tuple[int, bytes]:
        kind = self._exactly(1)[0]
        length = shift = 0
        while True:
            (byte,) = self._exactly(1)
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind >> 4, self._exactly(length)

    def _frames(self) -> Iterator[DownFrame]:
        """Give frames as they come, for so long as anybody waits."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            kind, body = self._packet()
            if kind != PUBLISH:
                continue
            (length,) = struct.unpack(">H", body[:2])
            rest = body[2 + length :]
            try:
                frame = open_down(rest[1 + rest[0] :], self._key)  # QoS 0: no id; then the properties' length
            except FrameError:
                continue
            self._seen.append(frame)
            yield frame

    def until(self, fits: Callable[[DownFrame], bool], what: str) -> DownFrame:
        """Give the first frame that fits, of those heard or yet to come."""
        for frame in itertools.chain(tuple(self._seen), self._frames()):
            if fits(frame):
                return frame
        raise AssertionError(f"not heard within {SECONDS} s: {what}")

    def command(self, name: str) -> Command:
        """Give a command as the cloud sent it."""
        found = self.until(lambda frame: isinstance(frame, Command) and frame.command == name, f"command {name}")
        assert isinstance(found, Command)
        return found

    def say(self, frame: DownFrame) -> None:
        """Send the gateway a frame, sealed with its own key."""
        self._send(0x30, _text(self._address.down("cmd")) + b"\x00" + seal(frame, self._key))


def signed(folder: Path, address: Address, command: Command) -> Command:
    """Sign a command as the cloud does, with the key that lies beside its cloud.toml."""
    signer = Signer(bytes.fromhex((folder / "witness.key").read_text().strip()))
    return msgspec.structs.replace(command, signature=signer.sign(statement(address, command)).hex())


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()
