"""Frames and PDUs against pymodbus as the reference, and against every way a stream can be cut, mixed and spoiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from edge.drivers.modbus import pdu
from edge.drivers.modbus.frames import FrameError, Mbap, Rtu, answers_in, crc, mbap, rtu

WORD = st.integers(0, 0xFFFF)
UNIT = st.integers(1, 247)
READS = st.builds(pdu.read, UNIT, st.sampled_from([1, 2, 3, 4]), WORD, st.integers(1, 125))


def answer_to(request: pdu.Request, fill: bytes) -> bytes:
    """Give a right answer's PDU with some data in it."""
    return (request.begins + fill * request.length)[: request.length]


REFERENCE = [
    (pdu.read(7, 1, 19, 37), ReadCoilsRequest(dev_id=7, address=19, count=37)),
    (pdu.read(7, 2, 19, 2000), ReadDiscreteInputsRequest(dev_id=7, address=19, count=2000)),
    (pdu.read(7, 3, 65_500, 36), ReadHoldingRegistersRequest(dev_id=7, address=65_500, count=36)),
    (pdu.read(7, 4, 0, 125), ReadInputRegistersRequest(dev_id=7, address=0, count=125)),
    (pdu.write_coil(7, 172, True), WriteSingleCoilRequest(dev_id=7, address=172, bits=[True])),
    (pdu.write_coil(7, 172, False), WriteSingleCoilRequest(dev_id=7, address=172, bits=[False])),
    (pdu.write_register(7, 1, 0xABCD), WriteSingleRegisterRequest(dev_id=7, address=1, registers=[0xABCD])),
    (
        pdu.write_coils(7, 19, [True, False, True, True, False, False, True, True, True, False]),
        WriteMultipleCoilsRequest(
            dev_id=7, address=19, bits=[True, False, True, True, False, False, True, True, True, False]
        ),
    ),
    (
        pdu.write_registers(7, 1, [10, 0xFFFF]),
        WriteMultipleRegistersRequest(dev_id=7, address=1, registers=[10, 0xFFFF]),
    ),
    (
        pdu.mask_write(7, 4, 0x000D, 0x0025),
        MaskWriteRegisterRequest(dev_id=7, address=4, and_mask=0xFFF2, or_mask=0x0005),
    ),
    (
        pdu.read_write(7, 14, [255, 256]),
        ReadWriteMultipleRegistersRequest(
            dev_id=7, read_address=14, read_count=2, write_address=14, write_registers=[255, 256]
        ),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), REFERENCE, ids=lambda made: str(getattr(made, "function", "")))
def test_requests_are_the_bytes_that_pymodbus_sends(ours, theirs) -> None:
    theirs.transaction_id = 0x1234
    decoder = DecodePDU(is_server=False)
    assert mbap(0x1234, ours) == FramerSocket(decoder).buildFrame(theirs)
    assert rtu(ours) == FramerRTU(decoder).buildFrame(theirs)


def test_the_standards_own_mask_write_changes_only_the_masked_bits() -> None:
    request = pdu.mask_write(1, 4, 0x000D, 0x0025)
    and_mask, or_mask = int.from_bytes(request.pdu[3:5], "big"), int.from_bytes(request.pdu[5:7], "big")
    before = 0x0012
    assert (before & and_mask) | (or_mask & ~and_mask) == (before & ~0x000D) | (0x0025 & 0x000D)


@given(st.binary(max_size=260))
def test_the_crc_is_pymodbus_crc(data) -> None:
    assert crc(data) == FramerRTU.compute_CRC(data).to_bytes(2, "big")


@given(READS, st.binary(min_size=1, max_size=3))
def test_only_the_answer_to_a_request_fits_it(request, fill) -> None:
    right = answer_to(request, fill)
    assert request.fits(right)
    assert request.refused(right) is None
    for wrong in (
        right[:-1],
        right + b"\0",
        bytes([right[0] ^ 7]) + right[1:],
        right[:1] + bytes([right[1] ^ 1]) + right[2:],
        bytes([request.function | 0x80, 2]),
        b"",
    ):
        assert not request.fits(wrong)
    assert request.refused(bytes([request.function | 0x80, 2])) == 2
    assert request.refused(bytes([0x90, 2])) is None


@given(st.lists(st.tuples(WORD, st.integers(0, 255), st.binary(min_size=2, max_size=252)), max_size=6), st.data())
def test_mbap_frames_come_out_however_the_stream_is_cut(frames, data) -> None:
    stream = b"".join(
        tid.to_bytes(2, "big") + b"\0\0" + (len(body) + 1).to_bytes(2, "big") + bytes([unit]) + body
        for tid, unit, body in frames
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    framer, came = Mbap(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        came += framer.feed(stream[start:end])
    assert came == frames


@given(st.binary(min_size=7, max_size=40))
def test_what_is_no_mbap_ends_the_stream_and_never_hangs(noise) -> None:
    wrong_protocol = noise[2] or noise[3]
    too_long = not 3 <= int.from_bytes(noise[4:6], "big") <= 254
    if wrong_protocol or too_long:
        with pytest.raises(FrameError, match="check"):
            Mbap().feed(noise)


@given(READS, READS, st.binary(max_size=30), st.data())
def test_the_rtu_answer_is_found_in_all_that_comes_and_nothing_else_is(asked, other, noise, data) -> None:
    answer = answer_to(asked, b"\x5a\xa5")
    stream = (
        noise + rtu(pdu.Request(other.unit, answer_to(other, b"\x11"), b"", 0)) if data.draw(st.booleans()) else noise
    )
    frame = rtu(pdu.Request(asked.unit, answer, b"", 0))
    line = Rtu()
    cut = data.draw(st.integers(0, len(frame) - 1))
    line.feed(stream + frame[:cut])
    early = line.find(asked)
    assert early is None or other.unit == asked.unit  # an answer of the same shape cannot be told apart here
    if early is not None:
        return
    line.feed(frame[cut:])
    found = line.find(asked)
    assert found is not None
    assert asked.fits(found)


@given(READS, st.integers(0, 7), st.data())
def test_a_spoiled_rtu_answer_is_none(request, bit, data) -> None:
    frame = bytearray(rtu(pdu.Request(request.unit, answer_to(request, b"\x5a\x17"), b"", 0)))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << bit
    line = Rtu()
    line.feed(bytes(frame))
    assert line.find(request) is None


@given(READS, st.binary(max_size=20))
def test_whole_answers_in_noise_are_recognised(request, noise) -> None:
    answer = answer_to(request, b"\x5a")
    heard = answers_in(noise + rtu(pdu.Request(request.unit, answer, b"", 0)))
    assert (request.unit, answer) in heard or len(noise) > 3  # noise may swallow a frame, never make one up


@given(st.sets(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22, 23])), UNIT)
def test_a_ping_looks_like_no_answer_to_what_is_used(used, unit) -> None:
    made = pdu.ping(unit, used)
    assert made.function not in used
    assert made.function in {1, 2, 3, 4, 17}  # what every device answers or refuses


def test_an_answer_that_tells_its_own_length_is_found_when_all_of_it_is_there() -> None:
    request = pdu.ping(4, {1, 2, 3, 4})
    frame = rtu(pdu.Request(4, b"\x11\x03LMB", b"", 0))
    line = Rtu()
    line.feed(b"\x04" + frame[:-1])
    assert line.find(request) is None
    line.feed(frame[-1:])
    found = line.find(request)
    assert found == b"\x11\x03LMB"
    assert request.fits(found)
    assert not request.fits(found[:-1])
    assert not request.fits(b"\x11")
