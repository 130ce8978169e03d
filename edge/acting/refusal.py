"""How an order is refused."""

from __future__ import annotations


class OrderRefusedError(Exception):
    """An order that cannot be taken; the message says why and what to do."""
