from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, variant_to_binary
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.opcua.objects import columns_of, ticks
from edge.drivers.opcua.publish import Publish, UndecodableError, decode, decode_fast, decode_read, decode_slow
from edge.drivers.opcua.wire import UNKNOWN, Array, Changes, Structure

T = ua.VariantType
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MOMENTS = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001  # bounds only


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


HELD = {
    T.Boolean: st.booleans(),
    T.SByte: integers(8, signed=True),
    T.Byte: integers(8, signed=False),
    T.Int16: integers(16, signed=True),
    T.UInt16: integers(16, signed=False),
    T.Int32: integers(32, signed=True),
    T.UInt32: integers(32, signed=False),
    T.Int64: integers(64, signed=True),
    T.UInt64: integers(64, signed=False),
    T.Float: st.floats(width=32),
    T.Double: st.floats(),
    T.String: st.none() | st.text(max_size=8),
    T.ByteString: st.binary(max_size=8),
    T.DateTime: st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
    T.LocalizedText: st.builds(ua.LocalizedText, st.none() | st.text(max_size=8), st.none() | st.just("ko")),
    T.Null: st.none(),
}
STRUCTURES = st.one_of(
    st.builds(lambda body: ua.ExtensionObject(ua.NodeId("Axis.Binary", 3), body), st.binary(max_size=12)),
    st.builds(lambda body: ua.ExtensionObject(ua.NodeId(ua.Int32(70_000), 2), body), st.binary(max_size=12)),
    st.builds(ua.Range, st.floats(allow_nan=False), st.floats(allow_nan=False)),
    st.just(ua.ExtensionObject()),
)
ITEMS = {kind: held for kind, held in HELD.items() if kind not in {T.Null, T.ByteString}} | {
    T.ExtensionObject: STRUCTURES
}
STATUSES = st.sampled_from([0, 0, 0x40000000, 0x80310000, 0x00000480, 0x808C0000])


def variants(kinds: list[ua.VariantType]) -> st.SearchStrategy[ua.Variant]:
    return st.sampled_from(kinds).flatmap(lambda kind: HELD[kind].map(lambda held: ua.Variant(held, kind)))


@st.composite
def arrays(draw) -> ua.Variant:
    kind = draw(st.sampled_from(sorted(ITEMS, key=lambda kind: kind.value)))
    held = draw(st.lists(ITEMS[kind], max_size=5))
    if held and kind.value <= 11 and draw(st.booleans()):
        return ua.Variant([held, held], kind, Dimensions=[2, len(held)])
    return ua.Variant(held, kind, is_array=True)


def anything() -> st.SearchStrategy[ua.Variant]:
    plain = variants(sorted(HELD, key=lambda kind: kind.value))
    return plain | plain | arrays() | STRUCTURES.map(lambda held: ua.Variant(held, T.ExtensionObject))


@st.composite
def data_values(draw, held) -> ua.DataValue:
    return ua.DataValue(
        draw(held),
        StatusCode=draw(st.none() | STATUSES.map(ua.StatusCode)),
        SourceTimestamp=draw(MOMENTS),
        ServerTimestamp=draw(MOMENTS),
    )


def message(*lists: list[ua.DataValue], more: list[object] | None = None, sequence: int = 4) -> bytes:
    notifications: list[object] = []
    for values in lists:
        change = ua.DataChangeNotification()
        change.MonitoredItems = [ua.MonitoredItemNotification(201 + i, value) for i, value in enumerate(values)]
        notifications.append(change)
    response = ua.PublishResponse()
    response.Parameters = ua.PublishResult(
        7,
        AvailableSequenceNumbers=[3, 4],
        MoreNotifications=False,
        NotificationMessage=ua.NotificationMessage(
            SequenceNumber=sequence, NotificationData=[*notifications, *(more or [])]
        ),
        Results=[ua.StatusCode(0)],
    )
    return struct_to_binary(response)


def same(one: Publish, two: Publish) -> None:
    assert (one.subscription, one.sequence, one.ended, one.more) == (
        two.subscription,
        two.sequence,
        two.ended,
        two.more,
    )
    assert len(one.changes) == len(two.changes)
    for a, b in zip(one.changes, two.changes, strict=True):
        for column in ("handle", "kind", "status", "source", "server"):
            assert getattr(a, column).tolist() == getattr(b, column).tolist(), column
            assert getattr(a, column).dtype == getattr(b, column).dtype, column
        assert np.array_equal(a.value, b.value, equal_nan=True)
        assert a.value.dtype == b.value.dtype == np.float64
        assert a.other == b.other
        assert {row: seen(part) for row, part in a.parts.items()} == {row: seen(part) for row, part in b.parts.items()}


def seen(part: Array | Structure) -> object:
    """Give a part as something that compares by what it holds; NaN as text."""
    if isinstance(part, Structure):
        return part
    if isinstance(part.items, np.ndarray):
        return part.kind, part.items.dtype.str.lstrip("<|"), part.items.shape, [str(item) for item in part.items.flat]
    return part.kind, part.items


@given(st.lists(data_values(anything()), max_size=12))
def test_a_mixed_message_reads_as_the_librarys_own_decoder_reads_it(values) -> None:
    body = message(values)
    fast = decode_fast(body)
    assert fast is not None
    assert fast.fast
    same(fast, decode_slow(body))


@given(st.data(), st.sampled_from([kind for kind in HELD if kind.value <= 11]), st.booleans(), st.booleans())
def test_a_uniform_message_reads_as_the_librarys_own_decoder_reads_it(data, kind, sourced, served) -> None:
    held = data.draw(st.lists(HELD[kind], min_size=1, max_size=40))
    values = [
        ua.DataValue(
            ua.Variant(value, kind),
            StatusCode=None,
            SourceTimestamp=MOMENT if sourced else None,
            ServerTimestamp=MOMENT + timedelta(milliseconds=1) if served else None,
        )
        for value in held
    ]
    body = message(values, values[:1])
    fast = decode_fast(body)
    assert fast is not None
    same(fast, decode_slow(body))


@given(st.lists(data_values(anything()), min_size=1, max_size=6), st.data())
def test_a_message_cut_short_is_an_error_and_never_a_value(values, data) -> None:
    whole = message(values)
    with pytest.raises(UndecodableError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=60), st.lists(data_values(anything()), min_size=1, max_size=6), st.data())
def test_a_message_with_wrong_bytes_never_crashes_nor_grows(noise, values, data) -> None:
    whole = bytearray(message(values))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for body in (noise, bytes(whole)):
        with contextlib.suppress(UndecodableError):
            published = decode(body)
            assert sum(len(changes.handle) for changes in published.changes) <= len(body) // 5


@given(st.lists(data_values(anything()), max_size=12))
def test_an_answer_to_a_read_reads_as_the_librarys_own_decoder_reads_it(values) -> None:
    body = struct_to_binary(ua.ReadResponse(Results=values))
    changes, fast = decode_read(body)
    assert fast or not values
    same(
        Publish(subscription=0, sequence=0, changes=[changes]),
        Publish(subscription=0, sequence=0, changes=[columns_of(values, range(len(values)))]),
    )
    for cut in range(len(body)):
        with pytest.raises(UndecodableError):
            decode_read(body[:cut])


@pytest.mark.parametrize(
    "value",
    [
        ua.Variant(ua.NodeId("x", 2), T.NodeId),
        ua.Variant([b"1"], T.ByteString),
        ua.Variant([ua.Variant(1, T.Byte)], T.Variant),
    ],
    ids=["node id", "array of bytes", "variant"],
)
def test_what_we_do_not_read_goes_through_the_librarys_decoder_and_has_no_value(value) -> None:
    body = message([ua.DataValue(ua.Variant(7, T.Int32)), ua.DataValue(value)])
    assert decode_fast(body) is None
    published = decode(body)
    assert not published.fast
    (changes,) = published.changes
    assert changes.value[0] == 7
    assert np.isnan(changes.value[1])
    assert changes.other == {}
    assert changes.parts == {}
    assert changes.kind[0] == T.Int32.value
    assert changes.kind[1] in {UNKNOWN, T.NodeId.value, T.Variant.value}


def test_a_keep_alive_has_no_changes() -> None:
    published = decode(message(sequence=9))
    assert published == Publish(subscription=7, sequence=9, changes=[], fast=True)


def test_the_end_of_a_subscription_is_said_with_its_status() -> None:
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(ua.StatusCodes.BadTimeout))
    assert decode(message(more=[ended])).ended == ua.StatusCodes.BadTimeout


def test_picoseconds_stand_where_the_standard_puts_them() -> None:
    # Part 6: source time, its picoseconds, server time, its picoseconds. asyncua 2.1 writes and reads both times first.
    plain = message([ua.DataValue(ua.Variant(1.5, T.Double), SourceTimestamp=MOMENT, ServerTimestamp=MOMENT)])
    (expected,) = decode(plain).changes
    ticks = int(expected.source[0]).to_bytes(8, "little")
    at = plain.index(ticks + ticks)
    fine = plain[:at] + ticks + b"\x0f\x27" + ticks + b"\x0f\x27" + plain[at + 16 :]
    fine = fine.replace(bytes([0x0F, 11]) + np.float64(1.5).tobytes(), bytes([0x3F, 11]) + np.float64(1.5).tobytes())
    start = fine.index(b"\x01\x00\x2b\x03\x01") + 5
    length = int.from_bytes(fine[start : start + 4], "little") + 4
    published = decode_fast(fine[:start] + length.to_bytes(4, "little") + fine[start + 4 :])
    assert published is not None
    (changes,) = published.changes
    assert (changes.value[0], changes.source[0], changes.server[0]) == (1.5, expected.source[0], expected.server[0])


def standard(value: ua.DataValue) -> bytes:
    """Encode a DataValue as Part 6 says, each timestamp followed by its own picoseconds; asyncua puts them last."""
    mask, after = 0, b""
    for bit, at in ((1, value.Value), (2, value.StatusCode)):
        if at is not None:
            mask |= bit
            after += variant_to_binary(at) if bit == 1 else at.value.to_bytes(4, "little")
    for bit, time, fine in (
        (4, value.SourceTimestamp, value.SourcePicoseconds),
        (8, value.ServerTimestamp, value.ServerPicoseconds),
    ):
        if time is not None:
            mask |= bit
            after += ticks(time).to_bytes(8, "little", signed=True)
            if fine is not None:
                mask |= bit * 4
                after += fine.to_bytes(2, "little")
    return bytes([mask]) + after


@given(st.lists(st.tuples(data_values(anything()), st.none() | integers(16, signed=False), st.none() | integers(16, signed=False)), min_size=1, max_size=6))  # fmt: skip
def test_picoseconds_change_no_value_and_no_time(rows) -> None:
    plain = message([value for value, _, _ in rows])
    (expected,) = decode(plain).changes
    fine = [
        dataclasses.replace(value, SourcePicoseconds=source, ServerPicoseconds=server) for value, source, server in rows
    ]
    items = b"".join((201 + i).to_bytes(4, "little") + standard(value) for i, value in enumerate(fine))
    begin = plain.index(b"\x01\x00\x2b\x03\x01") + 5
    length = int.from_bytes(plain[begin : begin + 4], "little")
    content = plain[begin + 4 : begin + 8] + items + b"\xff\xff\xff\xff"
    whole = plain[:begin] + len(content).to_bytes(4, "little") + content + plain[begin + 4 + length :]
    published = decode_fast(whole)
    assert published is not None
    (changes,) = published.changes
    same(
        Publish(subscription=0, sequence=0, changes=[changes]),
        Publish(subscription=0, sequence=0, changes=[expected]),
    )


def test_integers_beyond_a_float_stay_exact() -> None:
    held = [2**53, 2**53 + 1, -(2**62) - 1]
    (changes,) = decode(message([ua.DataValue(ua.Variant(number, T.Int64)) for number in held])).changes
    assert isinstance(changes, Changes)
    assert changes.other == {1: 2**53 + 1, 2: -(2**62) - 1}
    assert changes.value[0] == 2.0**53
