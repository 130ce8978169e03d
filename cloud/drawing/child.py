"""The process that draws. In: frames of what to do and a text; out: frames of a picture, or of why there is none.

Run as a file, so that it loads nothing of the cloud. The end of its input is its own.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from typing import BinaryIO, Final

import vl_convert

LENGTH: Final = struct.Struct("<I")
PNG_SCALE: Final = 2.0
"""150 dpi of a page in points."""
NICE: Final = 5
"""What the plant sends is stored before anybody's chart is drawn."""

WORK: Final[Mapping[bytes, Callable[[str], bytes]]] = {
    b"chart": lambda spec: vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]).encode(),
    b"paper": vl_convert.svg_to_pdf,
    b"photo": lambda svg: vl_convert.svg_to_png(svg, scale=PNG_SCALE),
}


def main() -> None:
    """Draw until the input ends."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # whoever stops the cloud may tell all its processes: it ends with its input
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the renderer prints goes where faults go
    asked = sys.stdin.buffer
    while (kind := _frame(asked)) is not None:
        text = (_frame(asked) or b"").decode()
        try:
            kind, body = b"", WORK[kind](text)
        except Exception as error:  # noqa: BLE001 - whatever a renderer raises is told, and the next one is drawn
            kind, body = b"fault", str(error).encode()
        try:
            for part in (kind, body):
                said.write(LENGTH.pack(len(part)) + part)
            said.flush()
        except BrokenPipeError:  # the cloud was killed meanwhile
            os._exit(0)  # without a word of what could not be said


def _frame(asked: BinaryIO) -> bytes | None:
    head = asked.read(LENGTH.size)
    return asked.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


if __name__ == "__main__":
    main()
