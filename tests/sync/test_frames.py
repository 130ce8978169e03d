from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.frames import (
    MAX_FRAME_BYTES,
    PROTOCOL,
    Batch,
    Challenge,
    FrameError,
    Heartbeat,
    Hello,
    Incarnation,
    Loss,
    Receipt,
    Rejection,
    Resume,
    Stale,
    StreamHoldings,
    Watermark,
    Welcome,
    open_down,
    open_up,
    seal,
)

KEY = bytes(range(32))
INC = "0123456789abcdef" * 2
HELD = Incarnation(
    inc=INC,
    ord=3,
    previous="f" * 32,
    closed=False,
    streams={"3": StreamHoldings(last=90, held=[(11, 20), (31, 90)], losses=[Loss(21, 30, "shed", 5, 6)])},
)
UP = [
    Hello(session="a" * 16, inc=INC, software="triflow 0.1.0", wall=1),
    Resume(nonce="b" * 32, incarnations=[HELD]),
    Batch(nonce="b" * 32, inc=INC, stream=3, first=11, count=10, last=90, digest="c" * 64, losses=[Loss(1, 10, "shed")]),
    Heartbeat(
        nonce="b" * 32, inc=INC, wall=1, holdings=[HELD], waiting=70, waiting_bytes=12, oldest_at=None, lost=10, produced=90,
        disk_free_bytes=1, autonomy_hours=72.5, data_at=4, sources={"plc": "connected"},
    ),
]  # fmt: skip
MARK = Watermark(inc=INC, stream=3, stored=20, safe=10)
DOWN = [
    Challenge(session="a" * 16, nonce="b" * 32, protocol=PROTOCOL, wall=1),
    Welcome(nonce="b" * 32, watermarks=[MARK]),
    Receipt(
        nonce="b" * 32, number=4, watermarks=[MARK], rejected=[Rejection(inc=INC, stream=3, first=1, count=2, why="x")]
    ),
    Stale(why="restarted"),
]


@pytest.mark.parametrize("frame", UP, ids=lambda frame: type(frame).__name__)
def test_what_a_gateway_says_comes_out_as_it_went_in(frame):
    assert open_up(seal(frame, KEY, b"\0body\xff"), KEY) == (frame, b"\0body\xff")


@pytest.mark.parametrize("frame", DOWN, ids=lambda frame: type(frame).__name__)
def test_what_the_cloud_says_comes_out_as_it_went_in(frame):
    assert open_down(seal(frame, KEY), KEY) == frame


def test_a_wrong_key_is_told_from_a_foreign_message():
    with pytest.raises(FrameError, match="sent by someone without this gateway's key"):
        open_up(seal(UP[0], KEY), b"x" * 32)
    with pytest.raises(FrameError, match="not a Triflow frame"):
        open_up(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" + b" " * 40, KEY)


def test_a_frame_of_the_other_direction_is_refused():
    with pytest.raises(FrameError, match="unknown header"):
        open_up(seal(DOWN[0], KEY), KEY)
    with pytest.raises(FrameError, match="unknown header"):
        open_down(seal(UP[0], KEY), KEY)


def test_size_is_looked_at_before_anything_else():
    with pytest.raises(FrameError, match="at most"):
        open_up(b"TFW1" + bytes(MAX_FRAME_BYTES), KEY)
    with pytest.raises(FrameError, match="does not fit a frame"):
        seal(Stale(why="x" * MAX_FRAME_BYTES), KEY)


def test_a_header_length_beyond_the_frame_is_refused():
    plain = b"TFW1" + struct.pack(">I", 2**32 - 1) + b"{}"
    with pytest.raises(FrameError, match="longer than the frame"):
        open_up(plain + hmac.digest(KEY, plain, hashlib.sha256), KEY)


def test_a_field_of_a_newer_version_is_ignored():
    raw = seal(DOWN[3], KEY)
    newer = raw[8:-32].replace(b'"why"', b'"later":[1,{"x":2}],"why"')
    plain = b"TFW1" + struct.pack(">I", len(newer)) + newer
    assert open_down(plain + hmac.digest(KEY, plain, hashlib.sha256), KEY) == DOWN[3]


def test_a_header_that_is_no_utf_8_is_refused():
    header = b'{"type":"stale","why":"\xc3\x28"}'
    plain = b"TFW1" + struct.pack(">I", len(header)) + header
    with pytest.raises(FrameError, match="unknown header"):
        open_down(plain + hmac.digest(KEY, plain, hashlib.sha256), KEY)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_as_a_frame_error(noise: bytes):
    for message in (noise, b"TFW1" + noise):
        with pytest.raises(FrameError):
            open_up(message, KEY)


@given(st.data())
def test_no_changed_bit_passes_the_seal(data):
    raw = bytearray(seal(UP[2], KEY, b"body"))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    with pytest.raises(FrameError):
        open_up(bytes(raw), KEY)


@given(st.binary(max_size=300))
def test_a_sealed_header_of_any_content_is_a_frame_or_a_frame_error(header: bytes):
    plain = b"TFW1" + struct.pack(">I", len(header)) + header
    with pytest.raises(FrameError):
        open_up(plain + hmac.digest(KEY, plain, hashlib.sha256), KEY)
