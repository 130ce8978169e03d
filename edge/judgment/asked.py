"""What a window asks a model: features taken when it ended, so that it can wait in a checkpoint. No I/O, no session."""

from __future__ import annotations

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A window's features, and the package they were taken for."""

    model: str = ""
    version: str = ""
    sha256: str = ""
    features: dict[str, float | None] = {}
    """In the contract's order; None where a value was missing."""
    failure: str | None = None
    """Why there is nothing to ask: no_model, missing_input, out_of_range …"""
    at: int = 0
    """End of the window, ns."""
    outside: list[str] = []
    """Features out of the range the model knows, refused or not."""
