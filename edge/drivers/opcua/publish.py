"""The answers that carry values: PublishResponse and ReadResponse, from their bytes (OPC UA Part 4; Part 6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from edge.drivers.opcua.objects import columns_of
from edge.drivers.opcua.wire import I32, U32, Changes, walk

_PUBLISH_RESPONSE = b"\x01\x00" + struct.pack("<H", 829)
_READ_RESPONSE = b"\x01\x00" + struct.pack("<H", 634)
_DATA_CHANGE = b"\x01\x00" + struct.pack("<HB", 811, 1)
_BROKEN: Final = (struct.error, IndexError, UnicodeDecodeError, ValueError, ua.UaError)
"""What reading ends with when bytes are cut short or are not what they say they are."""
UNREADABLE: Final = (*_BROKEN, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
"""The same of the library's decoder."""


class UndecodableError(Exception):
    """The server sent what neither we nor the library can read. The connection is of no use; say which server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """One PublishResponse, or one message that was published again."""

    subscription: int
    sequence: int
    changes: list[Changes]
    """Empty in a keep-alive, whose sequence number is that of the next message."""
    events: list[ua.EventFieldList] = field(default_factory=list["ua.EventFieldList"])
    ended: int | None = None
    """StatusCode with which the server ended the subscription."""
    more: bool = False
    """Whether the server has more to say at once."""
    fast: bool = True

    @property
    def keeps_alive(self) -> bool:
        """Whether it says nothing but that the subscription lives."""
        return not self.changes and not self.events and self.ended is None


def decode(body: bytes) -> Publish:
    """Read the body of a PublishResponse. Raises UndecodableError."""
    try:
        quick = decode_fast(body)
    except _BROKEN:
        quick = None  # cut short or not what it says it is: the library shall judge
    return decode_slow(body) if quick is None else quick


def decode_fast(b: bytes) -> Publish | None:
    """Read a message of data changes or a keep-alive; None when there is anything else in it.

    May raise struct.error, IndexError or ValueError on a message that is cut short.
    """
    p = _past_header(b, _PUBLISH_RESPONSE)
    if p is None:
        return None
    subscription, available = struct.unpack_from("<Ii", b, p)
    p += 8 + 4 * max(available, 0)
    more = b[p] != 0
    p += 1
    sequence = U32.unpack_from(b, p)[0]
    p += 12
    notifications = I32.unpack_from(b, p)[0]
    p += 4
    changes: list[Changes] = []
    for _ in range(notifications):
        if b[p : p + 5] != _DATA_CHANGE:
            return None
        end = p + 9 + I32.unpack_from(b, p + 5)[0]
        if end > len(b):
            raise ValueError("a notification beyond the end of the message")
        count = I32.unpack_from(b, p + 9)[0]
        if count > 0:
            walked = walk(b, p + 13, count, handled=True)
            if walked is None:
                return None
            items, p = walked
            if p > end:
                raise ValueError("items beyond the end of their notification")
            changes.append(items)
        p = end
    results = max(0, I32.unpack_from(b, p)[0])
    I32.unpack_from(b, p + 4 + 4 * results)  # a message that ends before its end is not believed
    return Publish(subscription=subscription, sequence=sequence, changes=changes, more=more)


def _past_header(b: bytes, kind: bytes) -> int | None:
    """Give where the parameters of a response begin; None if it is another, a fault, or has diagnostics in its header."""
    if b[:4] != kind:
        return None
    p = 16  # type, timestamp, request handle
    if U32.unpack_from(b, p)[0] or b[p + 4] or I32.unpack_from(b, p + 5)[0] > 0 or b[p + 9 : p + 12] != b"\0\0\0":
        return None  # a fault, diagnostics, a string table or an additional header
    return p + 12


def decode_slow(body: bytes) -> Publish:
    """Read any PublishResponse with the library's decoder. Raises UndecodableError."""
    try:
        response = struct_from_binary(ua.PublishResponse, Buffer(body))
        result = response.Parameters
        return _published(int(result.SubscriptionId), result.NotificationMessage, more=bool(result.MoreNotifications))
    except UNREADABLE as error:
        raise UndecodableError(f"a publish response cannot be read: {error}") from error


def republished(subscription: int, message: ua.NotificationMessage) -> Publish:
    """Give a message that was published again. Raises UndecodableError."""
    try:
        return _published(subscription, message)
    except UNREADABLE as error:
        raise UndecodableError(f"a republished message cannot be read: {error}") from error


def _published(subscription: int, message: ua.NotificationMessage, *, more: bool = False) -> Publish:
    changes: list[Changes] = []
    events: list[ua.EventFieldList] = []
    ended: int | None = None
    for notification in message.NotificationData or []:
        if isinstance(notification, ua.DataChangeNotification):
            items = notification.MonitoredItems
            if items:
                changes.append(columns_of([item.Value for item in items], [int(item.ClientHandle) for item in items]))
        elif isinstance(notification, ua.EventNotificationList):
            events += notification.Events or []
        elif isinstance(notification, ua.StatusChangeNotification):
            ended = int(notification.Status.value)
    return Publish(
        subscription=subscription,
        sequence=int(message.SequenceNumber),
        changes=changes,
        events=events,
        ended=ended,
        more=more,
        fast=False,
    )


def decode_read(body: bytes) -> tuple[Changes, bool]:
    """Read the body of a ReadResponse: its values, and whether that was the fast way. Raises UndecodableError."""
    try:
        p = _past_header(body, _READ_RESPONSE)
        count = 0 if p is None else I32.unpack_from(body, p)[0]
        walked = walk(body, p + 4, count, handled=False) if p is not None and count > 0 else None
        if walked is not None:
            I32.unpack_from(body, walked[1])  # diagnostics: what ends before its end is not believed
            return walked[0], True
    except _BROKEN:
        pass  # the library shall judge
    try:
        response = struct_from_binary(ua.ReadResponse, Buffer(body))
        response.ResponseHeader.ServiceResult.check()
        return columns_of(response.Results, range(len(response.Results))), False
    except ua.UaStatusCodeError:
        raise
    except UNREADABLE as error:
        raise UndecodableError(f"an answer to a read cannot be read: {error}") from error
