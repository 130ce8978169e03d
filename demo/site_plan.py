"""What stands where in the demo: which line speaks what, which gateway watches which lines. Data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.tags import WordOrder

TENANT: Final = "demo"
SITE: Final = "seoul"
PLANT_FILE: Final = "plant.state"

OPCUA: Final = {"line-1": "filler_opcua", "line-2": "filler_opcua"}
"""Line → book, for the lines on the OPC UA server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusUnit:
    """How a line's machine speaks Modbus."""

    book: str
    unit: int
    word_order: WordOrder
    offset: int


MODBUS: Final = {
    "line-3": ModbusUnit(book="filler_modbus", unit=1, word_order="CDAB", offset=0),
    "line-4": ModbusUnit(book="packer_modbus", unit=17, word_order="DCBA", offset=100),
}

GATEWAYS: Final = {"gw-opcua": ("line-1", "line-2"), "gw-modbus": ("line-3", "line-4")}
"""Gateway → its lines."""
