"""What a source looked like, and how it differs from that now: schema snapshots and drift, pure.

A snapshot is learnt from what arrives (field → families of types), because neither a MES nor a SELECT tells more that
could be relied on. A difference is said once. Critical ones stay differences until source or configuration fit again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from sync.facts import SchemaDrifted

ESTABLISHED: Final = 10
"""A field that need not be there is missed only when it was in every one of so many new rows."""
MOST_CHANGES: Final = 50
MOST_FIELDS: Final = 500
"""Of one snapshot: an answer that spells data as field names must not grow without bound."""


class Field(msgspec.Struct, frozen=True):
    """A field of a resource, as seen so far."""

    types: tuple[str, ...] = ()
    """Families seen, sorted; none while it was always null."""
    rows: int = 0
    """New rows it was in, counted up to ESTABLISHED."""
    always: bool = True
    """Whether it was in every row."""


Shape = dict[str, Field]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `what` is its sentence, without the name of the resource."""

    kind: str
    """column_added, column_deleted, type_changed or rows_refused."""
    severity: str
    field: str
    what: str


def family(value: object) -> str:
    """Give the family of a value's type, in the words of people; empty for null."""
    match value:
        case None:
            return ""
        case bool():
            return "boolean"
        case int() | float() | Decimal():
            return "number"
        case str() | UUID():
            return "text"
        case datetime():
            return "time without zone" if value.tzinfo is None else "time with zone"
        case date():
            return "date"
        case Mapping():
            return "object"
        case list() | tuple():
            return "list"
        case _:
            return type(value).__name__


def observe(rows: Iterable[Mapping[str, Any]], *, named: Sequence[str] = (), new: int = ESTABLISHED) -> Shape:
    """Give the shape of some rows.

    named: columns that are there although no row tells. new: how many of the rows were never seen before.
    """
    types: dict[str, set[str]] = {name: set() for name in named}
    counts: Counter[str] = Counter()
    total = 0
    for row in rows:
        total += 1
        for name, value in row.items():
            if name not in types:
                if len(types) >= MOST_FIELDS:
                    continue
                types[name] = set()
            counts[name] += 1
            if kind := family(value):
                types[name].add(kind)
    return {
        name: Field(tuple(sorted(kinds)), min(new, ESTABLISHED), counts[name] == total) for name, kinds in types.items()
    }


def changes(
    before: Shape, now: Shape, agreed: Mapping[str, tuple[bool, frozenset[str]]], *, exact: bool = False
) -> list[Change]:
    """Give how a source differs from what it was.

    agreed: field → (required, families that fit). exact: the source names every field each time (a SELECT does), so
    that one that is not there is gone; else only a field that was always there, often enough, is missed.
    """
    found: list[Change] = []
    for name, field in now.items():
        known = before.get(name)
        use = "" if name in agreed else " (not used)"
        if known is None:
            found.append(Change("column_added", "info", name, f"{name} is new{use}"))
            continue
        if not field.types or not known.types or set(field.types) & set(known.types):
            continue
        fits = name in agreed and len(agreed[name][1] & {"text", "number"}) == 2  # may be either by agreement
        severity = "critical" if name in agreed and not fits else "info"
        what = f"{name} was {' or '.join(known.types)} and now is {' or '.join(field.types)}{use}"
        found.append(Change("type_changed", severity, name, what))
    for name, known in before.items():
        if name in now:
            continue
        required, _ = agreed.get(name, (False, frozenset[str]()))
        if exact or required or (known.always and known.rows >= ESTABLISHED):
            severity = "critical" if name in agreed else "info"
            use = "" if name in agreed else " (it was not used)"
            found.append(Change("column_deleted", severity, name, f"{name} is gone{use}"))
    return found


def merge(before: Shape, now: Shape, open_changes: Sequence[Change]) -> Shape:
    """Give the snapshot to compare with next time; fields with a critical change stay as they were."""
    kept = {change.field for change in open_changes if change.severity == "critical"}
    gone = {change.field for change in open_changes if change.kind == "column_deleted"} - kept
    found = {name: field for name, field in before.items() if name not in gone}
    for name, field in now.items():
        if name in kept or (name not in before and len(found) >= MOST_FIELDS):
            continue
        known = before.get(name, Field(always=not before))  # one that came later was not always there
        changed = any(change.field == name and change.kind == "type_changed" for change in open_changes)
        types = field.types if changed else tuple(sorted({*known.types, *field.types}))
        rows = min(known.rows + field.rows, ESTABLISHED)
        found[name] = Field(types, rows, known.always and field.always)
    for name in before.keys() - now.keys() - kept - gone:
        found[name] = msgspec.structs.replace(before[name], always=False)
    return found


def drifted(source: str, where: str, found: Sequence[Change], now: int) -> SchemaDrifted:
    """Give the fact that says how a resource of a source has changed."""
    severities = {change.severity for change in found}
    severity = next(word for word in ("critical", "warning", "info") if word in severities or word == "info")
    sentences = [f"{where}: {change.what}" for change in found]
    if len(sentences) > MOST_CHANGES:
        sentences = [*sentences[: MOST_CHANGES - 1], f"{where}: and {len(sentences) - MOST_CHANGES + 1} more"]
    return SchemaDrifted(
        at=now,
        source=source,
        severity=severity,
        changes=sentences,
        counts=dict(sorted(Counter(change.kind for change in found).items())),
    )
