"""Instants as text: ISO 8601, UTC with Z, ms; and back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    """Give the wall clock in ms since 1970."""
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """Give `2026-11-23T03:42:18.250Z`."""
    at = _EPOCH + timedelta(milliseconds=ms)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def iso_ns(ns: int | None) -> str | None:
    """Give the text of a time in ns, None for None."""
    return None if ns is None else iso(ns // 1_000_000)


def ms_of(at: datetime) -> int:
    """Give ms since 1970 of an aware datetime; a naive one is taken as UTC."""
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)
