"""The periods that chips offer: so many business dates up to today, or two dates of the reader's choice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from cloud.api.errors import invalid
from cloud.dashboard.views import PERIODS
from cloud.marts.calendar import Calendar

DAYS: Final[Mapping[str, int]] = {"1d": 1, "7d": 7, "30d": 30, "90d": 90}
"""Chip → business dates, today included."""
USUAL: Final = "7d"
EARLIEST: Final = "2000-01-01"
LATEST: Final = "2099-12-31"


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


def of_line(
    query: Mapping[str, str], calendar: Calendar, now: datetime
) -> tuple[str, datetime | None, datetime | None]:
    """Give (code, begin, end) that a line's page is asked for; (None, None) is the present shift.

    `from` with `hours` is a stretch to look closer at; `first` and `last` are business dates; else `range` is a chip.
    Raises 400 for what is none of these.
    """
    if start := query.get("from"):
        try:
            begin = datetime.fromisoformat(start)
            span = timedelta(hours=float(query.get("hours", "1")))
            return "dates", begin, begin + min(max(span, timedelta(minutes=1)), timedelta(days=31))
        except (ValueError, OverflowError) as error:
            raise invalid(f"`from` is no time: {start!r}", "give it as ISO 8601, and `hours` as a number") from error
    if query.get("first") or query.get("last"):
        today = date.fromisoformat(calendar.at(round(now.timestamp() * 1000)).business_date)
        asked = chosen(None, query.get("first"), query.get("last"), today)
        if not EARLIEST <= asked["first"] <= asked["last"] <= LATEST:
            raise invalid(
                "`first` is after `last`, or far away", "give both as dates of this century, `first` the earlier one"
            )
        spanned = [*calendar.day(asked["first"]), *calendar.day(asked["last"])]
        begin_ms, end_ms = min(one.start_ms for one in spanned), max(one.end_ms for one in spanned)
        return "dates", datetime.fromtimestamp(begin_ms / 1000, UTC), datetime.fromtimestamp(end_ms / 1000, UTC)
    code = query.get("range", "shift")
    if code not in PERIODS:
        raise invalid(f"no period {code!r}", f"take one of {', '.join(PERIODS)}, or give `first` and `last`")
    back = PERIODS[code]
    return (code, None, None) if back is None else (code, now - back, now)


def _model(code: str, first: date, last: date) -> dict[str, Any]:
    return {"code": code, "first": first.isoformat(), "last": last.isoformat(), "ranges": list(DAYS)}


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid(f"`{name}` is no date: {text!r}", "give it as 2026-03-04") from error
