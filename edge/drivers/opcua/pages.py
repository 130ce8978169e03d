"""HistoryRead on the wire: what is asked, and the pages that come back, as columns where they are plain (Part 4, 5.10.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_from_binary

from edge.drivers.opcua.objects import columns_of
from edge.drivers.opcua.publish import UndecodableError
from edge.drivers.opcua.wire import I32, U32, Changes, walk

_RESPONSE: Final = b"\x01\x00" + struct.pack("<H", ObjectIds.HistoryReadResponse_Encoding_DefaultBinary)
_DATA: Final = b"\x01\x00" + struct.pack("<HB", ObjectIds.HistoryData_Encoding_DefaultBinary, 1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Asked = Sequence[tuple[ua.NodeId, bytes | None]]
"""Nodes, each with its continuation point if it has one."""


@dataclass(slots=True)
class Page:
    """What the server answered for one node."""

    status: int
    continuation: bytes | None
    changes: Changes | None
    """Handles count from 0; None where there are no values."""


def ask(asked: Asked, start: int, end: int, *, most: int, bounds: bool) -> ua.HistoryReadRequest:
    """Give a request for raw values in [start, end], ns; at most `most` per node."""
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=_when(start),
        EndTime=_when(end) + timedelta(milliseconds=1),  # some leave the end itself out
        NumValuesPerNode=ua.Counter(most),
        ReturnBounds=bounds,
    )
    return _request(asked, details, release=False)


def release(asked: Asked) -> ua.HistoryReadRequest:
    """Give a request that only frees continuation points."""
    return _request(asked, ua.ReadRawModifiedDetails(IsReadModified=False), release=True)


def _request(asked: Asked, details: ua.ReadRawModifiedDetails, *, release: bool) -> ua.HistoryReadRequest:
    request = ua.HistoryReadRequest()
    request.Parameters = ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ReleaseContinuationPoints=release,
        NodesToRead=[
            ua.HistoryReadValueId(NodeId=node, ContinuationPoint=continuation)
            for node, continuation in asked  # pyright: ignore[reportArgumentType]
        ],
    )
    return request


def _when(ns: int) -> datetime:
    """Give a time as the library writes it, cut to whole microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def decode(body: bytes) -> list[Page]:
    """Read the body of a HistoryReadResponse. Raises UndecodableError."""
    try:
        quick = decode_fast(body)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        quick = None
    return decode_slow(body) if quick is None else quick


def decode_fast(b: bytes) -> list[Page] | None:
    """Read pages of values that `walk` knows; None when anything else is in it. May raise on what is cut short."""
    if b[:4] != _RESPONSE:
        return None
    p = 16
    if U32.unpack_from(b, p)[0] or b[p + 4] or I32.unpack_from(b, p + 5)[0] > 0 or b[p + 9 : p + 12] != b"\0\0\0":
        return None  # a fault, diagnostics, a string table or an additional header
    p += 12
    pages: list[Page] = []
    (count,) = I32.unpack_from(b, p)
    p += 4
    for _ in range(count):
        (status,) = U32.unpack_from(b, p)
        (length,) = I32.unpack_from(b, p + 4)
        p += 8
        continuation = b[p : p + length] if length > 0 else None
        p += max(0, length)
        changes = None
        if b[p : p + 3] == b"\0\0\0":
            p += 3
        elif b[p : p + 5] == _DATA:
            end = p + 9 + I32.unpack_from(b, p + 5)[0]
            (values,) = I32.unpack_from(b, p + 9)
            if values > 0:
                walked = walk(b, p + 13, values, handled=False)
                if walked is None:
                    return None
                changes = walked[0]
            p = end
        else:
            return None
        pages.append(Page(status, continuation, changes))
    return pages


def decode_slow(body: bytes) -> list[Page]:
    """Read any HistoryReadResponse with the library's decoder. Raises UndecodableError, UaStatusCodeError."""
    try:
        response = struct_from_binary(ua.HistoryReadResponse, Buffer(body))
    except (ua.UaError, struct.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise UndecodableError(f"a history response cannot be read: {error}") from error
    response.ResponseHeader.ServiceResult.check()
    pages: list[Page] = []
    for result in response.Results:
        held = result.HistoryData.DataValues if isinstance(result.HistoryData, ua.HistoryData) else []
        changes = columns_of(held, range(len(held))) if held else None
        pages.append(Page(int(result.StatusCode.value), result.ContinuationPoint or None, changes))
    return pages
