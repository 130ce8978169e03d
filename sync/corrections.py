"""The fact that puts another fact right. The other one stays as it came; what counts is its highest revision.

A fact is revision 0 of itself. Corrections may arrive in any order, twice, and before the fact they are about.
"""

from __future__ import annotations

from typing import Any

from sync.fact import Fact


class Corrected(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="correction"):
    """What a fact should have said, or that it should not have been said; `at` is when somebody decided so."""

    inc: str
    """Incarnation of the fact that is put right, 32 hex digits, …"""
    stream: int
    seq: int
    """… its stream and its number there."""
    rev: int
    """From 1; the highest holds, whenever it arrives. Of two with one number the greater digest holds, everywhere."""
    replacement: dict[str, Any] | None = None
    """The whole fact as it should have been, its kind included; None takes it back."""
    by: str
    reason: str
