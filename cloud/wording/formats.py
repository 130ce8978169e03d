"""Numbers, times and shapes as people read them. Pure; `None` is shown as absence and never as zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from cloud.wording.texts import Language, Words

ABSENT: Final = "–"
MINUS: Final = "\N{MINUS SIGN}"
STALE_AFTER_S: Final = (15.0, 60.0)
"""Data older than the first is late, older than the second stale; live.js reads the same numbers from the page."""

DECISION_ICON: Final = {"normal": "check", "warning": "triangle", "critical": "octagon", "unknown": "question"}
ELEMENT_ICON: Final = {
    "production": "play",
    "setup": "wrench",
    "delay": "hourglass",
    "down": "stop",
    "planned_down": "pause",
    "unknown": "question",
}


def number(value: float | None, digits: int = 0) -> str:
    """12345.6 → '12,346'."""
    if value is None:
        return ABSENT
    text = f"{value:,.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.removeprefix("-")


def signed(value: float) -> str:
    """The same with its sign always shown."""
    return ("+" if value > 0 else "") + number(value)


def percent(ratio: float | None, digits: int | None = None) -> str:
    """0.7842 → '78.4%', 0.0042 → '0.42%': one digit, below 1 % two, on every page and paper.

    digits: 0 for what is an estimate (how sure a judgment is) or a share of others.
    """
    return ABSENT if ratio is None else f"{number(ratio * 100, _fine(ratio) if digits is None else digits)}%"


def points(change: float, language: Language) -> str:
    """Give the size of a ratio's change in percentage points, with the digits of `percent`: 0.0042 → '0.42 pp'."""
    return f"{number(abs(change) * 100, _fine(change))}{'%p' if language == 'ko' else ' pp'}"


def sign(change: float, said: str) -> str:
    """Give the sign that stands before a change as it is said: none where it rounds to nothing."""
    if not any("1" <= letter <= "9" for letter in said):
        return ""
    return MINUS if change < 0 else "+"


def _fine(ratio: float) -> int:
    return 2 if 0.00005 <= abs(ratio) < 0.01 else 1


def even(value: float | None) -> str:
    """Give four significant digits, kept where they are zeros: figures below one another have the same digits."""
    if value is None or abs(value) >= 10_000 or value == 0:
        return number(value)
    return number(value, min(max(0, 3 - math.floor(math.log10(abs(value)))), 6))


def measured(value: float | str | bool | None) -> str:
    """A measured value with four significant digits, without an exponent where people can do without."""
    if value is None:
        return ABSENT
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}".replace("-", MINUS)


def figure(value: float | None, unit: str) -> str:
    """A figure of the catalogue with its unit: '78.4%', '1,234 pieces'."""
    if value is None or unit == "1":
        return percent(value)
    return f"{measured(value)} {unit}" if unit else measured(value)


def size(count: float | None) -> str:
    """Bytes → '1.2 MB' (decimal units, as disks are sold)."""
    if count is None:
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None, words: Words) -> str:
    """Give the two largest units: 45 s, 12 min 30 s, 3 h 12 min, 2 d 3 h. live.js counts on with the same rule."""
    if seconds is None:
        return ABSENT
    whole = max(0, int(seconds))
    parts = [
        (whole // 86_400, "day"),
        (whole % 86_400 // 3600, "hour"),
        (whole % 3600 // 60, "minute"),
        (whole % 60, "second"),
    ]
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    shown = parts[first : first + 2]
    gap = words("unit.gap")
    return " ".join(f"{count}{gap}{words('unit.' + unit)}" for i, (count, unit) in enumerate(shown) if count or not i)


def instant(text: str) -> datetime:
    """Read the API's time (ISO 8601, Z)."""
    return datetime.fromisoformat(text)


def clock(text: str | None, zone: tzinfo, *, now: str | None = None, seconds: bool = True) -> str:
    """Time of day in the plant; with the date in front when that is another day than `now`'s."""
    if text is None:
        return ABSENT
    local = instant(text).astimezone(zone)
    shown = local.strftime("%H:%M:%S" if seconds else "%H:%M")
    if now is not None and instant(now).astimezone(zone).date() != local.date():
        return f"{local:%m-%d} {shown}"
    return shown


def age(text: str | None, now: str) -> float | None:
    """Seconds from `text` to `now`; None when it never happened."""
    return None if text is None else (instant(now) - instant(text)).total_seconds()


def freshness(seconds: float | None) -> str:
    """fresh, late, stale or never."""
    if seconds is None:
        return "never"
    late, stale = STALE_AFTER_S
    return "fresh" if seconds <= late else "late" if seconds <= stale else "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a timeline: x and width in thousandths of the whole."""

    x: float
    width: float
    element: str
    state: str
    reason: str | None
    start: str
    end: str


def spans(segments: Iterable[Mapping[str, Any]], start: str, end: str) -> list[Span]:
    """Lay state segments ({state, reason, time_element, start, end}) on a strip from `start` to `end`."""
    zero, whole = instant(start), (instant(end) - instant(start)).total_seconds()
    if whole <= 0:
        return []
    laid: list[Span] = []
    for segment in segments:
        left = max(0.0, (instant(segment["start"]) - zero).total_seconds() / whole)
        right = min(1.0, (instant(segment["end"] or end) - zero).total_seconds() / whole)
        if right > left:
            laid.append(
                Span(
                    x=round(left * 1000, 2),
                    width=round((right - left) * 1000, 2),
                    element=segment["time_element"],
                    state=segment["state"],
                    reason=segment.get("reason"),
                    start=segment["start"],
                    end=segment["end"] or end,
                )
            )
    return laid


def utc_now() -> str:
    """Now as the API writes it; for pages that have no answer of the API to take `as_of` from."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
