"""How tag books write addresses: Modbus registers and their bits, OPC UA node ids. Pure.

The site file is checked and the drivers read by this one grammar, so that what `triflow edge check` calls good can be
asked for. Modbus: `holding:100`, `input:3`, `coil:0`, `discrete:7`; of a register also one bit (`holding:100.15`, 0 the
least significant), a bit field (`holding:100.4-7`, an unsigned number) or one byte (`holding:100.high`, `.low`). Bits
and bytes are those of the register's value: a word order that swaps the bytes of a register swaps them first.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from edge.tags import REGISTERS, TagBook, TagSpec, WordOrder
from sync.settings import nearest

Table = Literal["coil", "discrete", "holding", "input"]
TABLES: Final[tuple[Table, ...]] = ("coil", "discrete", "holding", "input")
LAST = 65_535
_MODBUS = re.compile(r"(\w+):(\d{1,5})(?:\.(?:(\d{1,2})(?:-(\d{1,2}))?|(high|low)))?")
_REFERENCE = re.compile(r"([0134])(\d{4,5})")
_LEADING: Final[dict[str, Table]] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_NODE = re.compile(r"nsu=[^;]+;[isgb]=.+|[isgb]=.+")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
"""What a line fills in (`fill.<name>`)."""
_FORMS = (
    "write holding:100, input:3, coil:0, discrete:7; of a register holding:100.15, holding:100.4-7, holding:100.high"
)

OPCUA_KEYS: Final = (
    "path", "sampling_ms", "publishing_ms", "queue_size", "discard", "trigger", "triggered_by",
    "source_deadband", "source_deadband_percent",
)  # fmt: skip
MODBUS_KEYS: Final = ("word_order", "length")
MODBUS_TYPES: Final = ("bcd16", "bcd32", "bcd64", "float16")
"""What has a meaning on one kind of connection only."""


class AddressError(ValueError):
    """A tag's address cannot be read from; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Register:
    """A Modbus address as it is written: the number counts as the book does, from 0 or from 1."""

    table: Table
    number: int
    bit: int | None = None
    """Lowest bit that is meant, when not all are."""
    bits: int = 1
    """How many, from `bit` upwards; 8 for a byte."""
    suffix: str = ""
    """`.15`, `.4-7`, `.high`."""

    @property
    def of_bits(self) -> bool:
        """Whether its table holds single bits (else registers)."""
        return self.table in {"coil", "discrete"}

    def __str__(self) -> str:
        return f"{self.table}:{self.number}{self.suffix}"


def register(address: str, *, base: int = 0) -> Register:
    """Read a Modbus address. `base` (what the first register is called) only helps the message. Raises AddressError."""
    match = _MODBUS.fullmatch(address)
    if match is None or match[1] not in TABLES:
        raise AddressError(f"{address!r} is no Modbus address; {_instead(address, base)}")
    table = cast("Table", match[1])
    suffix = address.partition(".")[2]
    if suffix and table in {"coil", "discrete"}:
        raise AddressError(f"{address}: a {table} is one bit; write {table}:{match[2]}")
    bit, bits = None, 1
    if match[5] is not None:
        bit, bits = (8 if match[5] == "high" else 0), 8
    elif match[4] is not None:
        first, last = int(match[3]), int(match[4])
        if first == last:
            raise AddressError(f"{address}: for one bit write {table}:{match[2]}.{first}")
        if first > last:
            raise AddressError(f"{address}: the lower bit comes first; write {table}:{match[2]}.{last}-{first}")
        bit, bits = first, last - first + 1
    elif match[3] is not None:
        bit = int(match[3])
    if bit is not None and bit + bits > 16:
        raise AddressError(f"{address}: a register has the bits 0 to 15, 0 the least significant")
    return Register(table, int(match[2]), bit, bits, f".{suffix}" if suffix else "")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tag lies, as the protocol counts: from 0, an array's element at its own place."""

    table: Table
    address: int
    width: int
    """Registers, or one bit."""
    bit: int | None
    bits: int


def place(address: str, spec: TagSpec, *, base: int = 0, element: int = 0, order: WordOrder = "ABCD") -> Place:
    """Give where a tag lies on a device. base: 0 or 1, what the book calls the first register; order: the connection's.

    Elements of an array follow each other: numbers and texts by their registers, single bits bit by bit, packed bytes
    high, low, next register, bit fields register by register. Raises AddressError when address and type do not fit.
    """
    at = register(address, base=base)
    _fit(at, spec)
    order_of(spec, order, address)
    start, bit, width = at.number - base, at.bit, 1
    if at.of_bits:
        start += element
    elif spec.type == "bool" and bit is not None:
        start, bit = start + (bit + element) // 16, (bit + element) % 16
    elif at.bits == 8 and at.suffix in {".high", ".low"}:
        byte = (bit == 0) + element  # the high one is the first of a register
        start, bit = start + byte // 2, 0 if byte % 2 else 8
    else:
        width = spec.length if spec.type == "string" else REGISTERS.get(spec.type, 1)
        start += element * width
    if start < 0:
        raise AddressError(f"{address}: this connection counts registers from 1; the first is {at.table}:1")
    if start + width - 1 > LAST:
        end = f"{at.table}:{start + width - 1 + base}"
        raise AddressError(f"{address}: it would end at {end}; the last there can be is {at.table}:{LAST + base}")
    return Place(at.table, start, width, bit, at.bits)


def order_of(spec: TagSpec, order: WordOrder, address: str = "") -> WordOrder:
    """Give the word order that holds for a tag: its own, else the connection's. Raises AddressError if it cannot."""
    held = spec.word_order or order
    if len(held) == 8 and REGISTERS.get(spec.type) == 2:
        raise AddressError(
            f"{address or spec.name}: the connection's word_order {held} is for 64 bits, {spec.type} has 32; "
            "give the tag a word_order of four letters: ABCD, BADC, CDAB or DCBA"
        )
    return held


def node(address: str) -> str:
    """Give an OPC UA node address back when it is one by namespace URI. Raises AddressError."""
    if not _NODE.fullmatch(address):
        raise AddressError(
            f"{address!r} is no node id by namespace URI; write nsu=urn:…;s=… (ns= indexes move when a server restarts)"
        )
    return address


def _fit(at: Register, spec: TagSpec) -> None:
    """Raise AddressError where a type cannot lie at such an address."""
    kind = spec.type
    if at.of_bits:
        if kind != "bool":
            raise AddressError(f"{at}: a {at.table} is one bit; write type = 'bool'")
    elif at.suffix in {".high", ".low"}:
        if kind not in {"int8", "uint8"}:
            raise AddressError(f"{at}: one byte of a register is a number of 8 bits; write type = 'uint8' or 'int8'")
    elif "-" in at.suffix:
        fitting = {"uint8", "uint16"} if at.bits <= 8 else {"uint16"}
        if kind not in fitting:
            ways = " or ".join(f"'{name}'" for name in sorted(fitting))
            raise AddressError(f"{at}: a bit field is an unsigned number of {at.bits} bits; write type = {ways}")
    elif at.bit is not None:
        if kind != "bool":
            raise AddressError(f"{at}: a single bit is true or false; write type = 'bool', or a field like .4-7")
    elif kind in {"int8", "uint8"}:
        raise AddressError(f"{at}: {kind} is half a register; write {at}.low or {at}.high")


def _instead(address: str, base: int) -> str:
    """Say what a foreign way to write an address would be here."""
    if reference := _REFERENCE.fullmatch(address.strip()):
        table, number = _LEADING[reference[1]], int(reference[2]) - 1
        if 0 <= number <= LAST:
            counted = "from 1" if base else "from 0"
            return (
                f"write {table}:{number + base} for the reference {address.strip()} (this connection counts {counted})"
            )
    if hexadecimal := re.fullmatch(r"(\w+):(0x[0-9a-fA-F]{1,4}|[0-9a-fA-F]{1,4}[hH])", address):
        return f"write {hexadecimal[1]}:{int(hexadecimal[2].rstrip('hH'), 16)}, numbers are decimal"
    table, _, rest = address.partition(":")
    if close := difflib.get_close_matches(table.lower(), TABLES, 1):
        return f"did you mean {close[0]}:{rest or 100}? {_FORMS}"
    return _FORMS


def misfit(spec: TagSpec, protocol: Literal["opcua", "modbus"]) -> tuple[str, str] | None:
    """Give the key of a tag that means nothing on such a connection, and what to do about it; None if all do."""
    foreign, other = (MODBUS_KEYS, "Modbus") if protocol == "opcua" else (OPCUA_KEYS, "OPC UA")
    for key in foreign:
        if getattr(spec, key) != TagSpec.model_fields[key].get_default():
            return key, f"{key} is for {other} only; remove it"
    if protocol == "opcua" and spec.type in MODBUS_TYPES:
        return "type", f"{spec.type} is for Modbus only; write the type the server gives, e.g. uint32 or float32"
    return None


def faults_of(book: TagBook) -> list[tuple[str, str, str]]:
    """Give what is wrong in a book whatever its connection says: (tag, key, what). Placeholders count as any text."""
    found: list[tuple[str, str, str]] = []
    names = [spec.name for spec in book.tags]
    addresses = {spec.name: PLACEHOLDER.sub("1", spec.address) for spec in book.tags}
    nodes = [name for name, address in addresses.items() if address.startswith("nsu=") or _NODE.fullmatch(address)]
    protocol: Literal["opcua", "modbus"] = "opcua" if 2 * len(nodes) > len(names) else "modbus"
    for spec in book.tags:
        address = addresses[spec.name]
        try:
            if protocol == "opcua":
                node(address)
            else:
                for element in (0, spec.count - 1):
                    place(address, spec, element=element)
        except AddressError as error:
            found.append((spec.name, "address", str(error)))
        if foreign := misfit(spec, protocol):
            found.append((spec.name, *foreign))
        if spec.triggered_by is not None and spec.triggered_by not in names:
            what = f"no tag {spec.triggered_by!r} in this book; {nearest(spec.triggered_by, names)}"
            found.append((spec.name, "triggered_by", what))
    return found
