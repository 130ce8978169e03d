"""What every fact has, what was being made when it happened, and the lanes facts travel on."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

MAX_FACT_BYTES: Final = 192 * 1024
"""Of one fact as JSON: below the wire's limit for a chunk however badly it compresses."""


class Stream(IntEnum):
    """The lanes, most urgent first; each has its own sequence, so that none blocks another."""

    AUDIT = 1
    """Who did what; never shed."""
    EVENT = 2
    """States, counts, verdicts, alarms, actions, gaps; never shed."""
    FACT = 3
    """Readings; shed oldest first when the disk is full."""
    AGG = 4
    """Reduced readings."""
    DIAG = 5
    """Health of the gateway; shed first."""


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was being made; `stale` when the MES could not be asked and the last known answer is used."""

    order: str | None = None
    product: str | None = None
    lot: str | None = None
    shift: str | None = None
    stale: bool = False


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Any fact. `at` is ns since 1970 UTC; `work_unit` is an ISA-95 path below the site, or empty for the gateway."""

    at: int
    work_unit: str = ""
