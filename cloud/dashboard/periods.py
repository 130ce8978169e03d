"""The periods that chips offer: so many business dates up to today, or two dates of the reader's choice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from cloud.api.errors import invalid

DAYS: Final[Mapping[str, int]] = {"1d": 1, "7d": 7, "30d": 30, "90d": 90}
"""Chip → business dates, today included."""
USUAL: Final = "7d"


def chosen(code: str | None, first: str | None, last: str | None, today: date) -> dict[str, Any]:
    """Give {code, first, last, ranges} of what the address asked for; `code` is `dates` where it named dates.

    Raises 400 for a date that is none and for a chip that is not offered.
    """
    if first or last:
        begin, end = _day("first", first) if first else None, _day("last", last) if last else today
        return _model("dates", begin or end - timedelta(days=DAYS[USUAL] - 1), end)
    days = DAYS.get(code or USUAL)
    if days is None:
        raise invalid(f"no period {code!r}", f"take one of {', '.join(DAYS)}, or give `first` and `last`")
    return _model(code or USUAL, today - timedelta(days=days - 1), today)


def _model(code: str, first: date, last: date) -> dict[str, Any]:
    return {"code": code, "first": first.isoformat(), "last": last.isoformat(), "ranges": list(DAYS)}


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid(f"`{name}` is no date: {text!r}", "give it as 2026-03-04") from error
