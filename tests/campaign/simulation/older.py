"""What a frame is to a version that knows only protocol 1: unknown fields are ignored, unknown kinds do not exist."""

from __future__ import annotations

from typing import Any

import msgspec

from sync.frames import (
    Batch,
    Challenge,
    FrameError,
    Heartbeat,
    Hello,
    Incarnation,
    Receipt,
    Resume,
    Stale,
    Welcome,
    open_up,
    seal,
)
from tests.campaign.simulation.installation import KEY


def as_protocol_1(frame: Any) -> Any:
    """Give a frame without everything that came with protocol 2."""
    without = msgspec.structs.replace
    match frame:
        case Hello():
            return without(frame, protocols=(1,), box="", public_key="")
        case Resume():
            return without(frame, incarnations=_unlinked(frame.incarnations), complete=True)
        case Heartbeat():
            return without(frame, holdings=_unlinked(frame.holdings))
        case Batch():
            return without(frame, before="", signature="", again=False)
        case Challenge():
            return without(frame, delay_ms=0, public_key="")
        case Welcome():
            return without(frame, identity="ok")
        case Receipt():
            return without(frame, window=None, witnessed=[])
        case Stale():
            return without(frame, nonce="")
        case _:
            return frame


def _unlinked(incarnations: list[Incarnation]) -> list[Incarnation]:
    return [
        msgspec.structs.replace(
            one,
            streams={stream: msgspec.structs.replace(held, link="") for stream, held in one.streams.items()},
        )
        for one in incarnations
    ]


def as_an_old_cloud_reads(payload: bytes) -> bytes:
    """Give a gateway's message as a cloud of protocol 1 understands it."""
    try:
        frame, body = open_up(payload, KEY)
    except FrameError:
        return payload
    return seal(as_protocol_1(frame), KEY, body)
