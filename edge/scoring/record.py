"""Which package a line runs, as it is kept: the checkpoint `model:<work unit>`, in one transaction with what is told of it.

At a start the record wins over the site file, until the site file names another package than it did when the record
was made: another path, or another file under that path (its SHA-256). A file that is gone changes nothing: the package
is kept in the gateway's own folder. A line whose site file named a package and now names none lets its model go.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from edge.scoring.breaker import Kept

PREVIOUS: Final = 2
"""Versions a rollback can go to."""


class Version(msgspec.Struct, frozen=True):
    """One package."""

    name: str
    version: str
    sha256: str
    """Of the whole file, hex."""


class Named(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the site file says of a line's model."""

    path: str = ""
    """As it is written; empty for none."""
    sha256: str = ""
    """Of the file there; empty when there is none."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line's checkpoint."""

    named: Named = Named()
    """By the site file, when the line last went by it or was changed in spite of it."""
    active: Version | None = None
    previous: tuple[Version, ...] = ()
    """The newest first."""
    retired: bool = False
    """A person took the model from the line."""
    alarms: tuple[str, ...] = ()
    """Of ours that are up: model.refused, model.drift; that of the breaker stands in `breaker`."""
    breaker: Kept = Kept()


def at_start(record: Record, named: Named) -> Literal["keep", "take", "leave"]:
    """Say what a start does: keep what the record says, take what the site file names, or let the model go."""
    if named.path != record.named.path:
        return "take" if named.path else "leave"
    gone = not named.sha256
    return "keep" if gone or named.sha256 == record.named.sha256 else "take"


def activated(record: Record, version: Version, named: Named) -> Record:
    """Give the record once a package is active; the one before it can be gone back to."""
    left = () if record.active is None or record.active.sha256 == version.sha256 else (record.active,)
    previous = (*left, *(one for one in record.previous if one.sha256 != version.sha256))[:PREVIOUS]
    return msgspec.structs.replace(
        record, named=named, active=version, previous=previous, retired=False, alarms=(), breaker=Kept()
    )


def rolled_back(record: Record, named: Named) -> Record:
    """Give the record once the line went back; what was left is not gone back to again."""
    return msgspec.structs.replace(
        record,
        named=named,
        active=record.previous[0],
        previous=record.previous[1:],
        retired=False,
        alarms=(),
        breaker=Kept(),
    )


def retired(record: Record, named: Named) -> Record:
    """Give the record once the line runs no model; a rollback brings the last one back."""
    left = () if record.active is None else (record.active,)
    return msgspec.structs.replace(
        record,
        named=named,
        active=None,
        previous=(*left, *record.previous)[:PREVIOUS],
        retired=True,
        alarms=(),
        breaker=Kept(),
    )


REFUSED: Final = "model.refused"
DRIFT: Final = "model.drift"
BREAKER: Final = "model.breaker"
