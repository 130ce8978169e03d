"""What tells this machine from another one that carries a copy of its disk: 32 hex digits, never a serial number itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path


def box_id(root: Path = Path("/")) -> str:
    """Give the same digits on the same machine, whatever is installed on it; empty where nothing tells it apart.

    The first of these that can be read decides: the board's own number, the lowest address that is burnt into a network
    card, and last the machine id, which a copied disk brings along.
    """
    mark = next(_marks(root), "")
    return hashlib.sha256(f"triflow/box/{mark}".encode()).hexdigest()[:32] if mark else ""


def _marks(root: Path) -> Iterator[str]:
    for name in ("sys/class/dmi/id/product_uuid", "sys/firmware/devicetree/base/serial-number"):
        if text := _read(root / name):
            yield f"board {text.lower()}"
    if burnt := sorted(_burnt_in(root / "sys/class/net")):
        yield f"card {burnt[0]}"
    if text := _read(root / "etc/machine-id"):
        yield f"system {text}"


def _burnt_in(cards: Path) -> Iterator[str]:
    """Give the addresses of cards that have a device behind them and were not given theirs by software."""
    for card in cards.glob("*"):
        address = _read(card / "address")
        if (card / "device").exists() and _read(card / "addr_assign_type") == "0" and address.strip(":0"):
            yield address.lower()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \0\n")
    except OSError:  # not there, or not for us to read
        return ""
