"""Reading on from where we were: a column that only grows, and the rows that stand at it. Pure.

Rows may share a watermark, and a row may be committed late, with one that has passed already. So more is asked for than
is new (from the watermark on, and `overlap` before it), and what was taken there is known by a hash: none is lost, none
is taken twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

HASH_BYTES: Final = 8
MOST_KNOWN: Final = 200_000


class WatermarkError(Exception):
    """The column is no watermark: it is empty, of mixed types, or too many rows share a value. The message says which."""


def encode(value: object) -> list[Any]:
    """Give a watermark as (type, text). Raises WatermarkError for what cannot be one."""
    match value:
        case bool():
            raise WatermarkError("is true or false, and never grows; name a number or a time")
        case int() | float() | Decimal() | str():
            return [type(value).__name__, str(value)]
        case bytes():
            return ["bytes", value.hex()]
        case datetime() | date():
            return [type(value).__name__, value.isoformat()]
        case _:
            raise WatermarkError(f"is {type(value).__name__}, which cannot be a watermark; name a number or a time")


def decode(said: Sequence[Any]) -> Any:
    """Give a watermark back. Raises WatermarkError when it is none of ours."""
    try:
        kind, text = said
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "Decimal":
                return Decimal(text)
            case "str":
                return text
            case "bytes":
                return bytes.fromhex(text)
            case "datetime":
                return datetime.fromisoformat(text)
            case "date":
                return date.fromisoformat(text)
            case _:
                pass
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise WatermarkError(f"as remembered is {said!r}, which is none; set `begin` anew")


def back(value: Any, overlap: float) -> Any:
    """Give the watermark `overlap` before a watermark: seconds for a time, the number itself; texts have no before."""
    match value:
        case datetime():
            return value - timedelta(seconds=overlap)
        case int():
            return value - round(overlap)
        case float():
            return value - overlap
        case Decimal():
            return value - Decimal(str(overlap))
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Advanced:
    """What an answer brought."""

    fresh: list[int]
    """Indexes of the rows that were not taken before."""
    since: Any
    """The new watermark; None while there is none."""
    known: bytes
    """8 bytes for each row taken from `overlap` before it on."""


def advance(rows: Sequence[Mapping[str, Any]], column: str, since: Any, known: bytes, overlap: float) -> Advanced:
    """Tell what of an answer is new, and where to go on. Rows are in order of the column, the oldest first.

    since: the watermark so far, None before the first row. known: as of the last answer. Raises WatermarkError.
    """
    taken = {known[i : i + HASH_BYTES] for i in range(0, len(known), HASH_BYTES)}
    hashes = [_hash(row) for row in rows]
    marks = [row.get(column) for row in rows]
    if any(mark is None for mark in marks):
        raise WatermarkError("is NULL in some rows; leave them out in the query, or name another column")
    fresh: list[int] = []
    seen = set(taken)
    for i, key in enumerate(hashes):
        if key not in seen:
            seen.add(key)
            fresh.append(i)
    if not rows:
        return Advanced(fresh, since, known)
    try:
        newest: Any = max(marks)  # pyright: ignore[reportArgumentType]
        passed = since is None or newest > since
        now = newest if passed else since
        floor = back(now, overlap)
        window = [key for key, mark in zip(hashes, marks, strict=True) if mark >= floor]  # pyright: ignore[reportOptionalOperand]
    except TypeError as error:
        raise WatermarkError(f"changes its type ({error}); make it one in the query, or set `begin` anew") from error
    # Beyond the old watermark all that was known lies before the newest row and so is in this answer; at it, a full
    # answer may hold other rows of the same watermark than those known.
    kept = b"".join(dict.fromkeys(window if passed else [*window, *sorted(taken)]))
    if len(kept) > MOST_KNOWN * HASH_BYTES:
        raise WatermarkError(f"is shared by more than {MOST_KNOWN} rows; name a finer column, or a smaller overlap")
    encode(now)
    return Advanced(fresh, now, kept)


def _hash(row: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(repr(list(row.items())).encode(), digest_size=HASH_BYTES).digest()
