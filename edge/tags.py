"""Tag books and the tag table: which address is which tag, in which unit, range and role. Data, no code.

A book describes a machine type once (`drivers/books/<book>.toml`, or a path beside the site file); a line binds it to
a work unit and fills its `{placeholders}`. The table is all tags of a gateway, numbered; readings carry the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sync.facts import TagDictionary, TagEntry

Role = Literal["state", "reason", "counter", "measurement", "setpoint", "context", "clock"]
CounterKind = Literal["produced", "good", "scrap", "rework", "defect", "energy_wh"]
ContextField = Literal["order", "product", "lot", "shift"]
DataType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "bcd16", "bcd32", "bcd64", "float16", "float32", "float64", "string"
]  # fmt: skip
"""bcd16, bcd32, bcd64: 4, 8 or 16 decimal digits, one in each half byte (Modbus only, as is float16)."""
WordOrder = Literal[
    "ABCD", "BADC", "CDAB", "DCBA",
    "ABCDEFGH", "BADCFEHG", "CDABGHEF", "DCBAHGFE", "EFGHABCD", "FEHGBADC", "GHEFCDAB", "HGFEDCBA"
]  # fmt: skip
"""Where the bytes of a 32-bit value lie, A the most significant; eight letters for 64 bits. Four letters say of a
64-bit value what they say of 32 bits: bytes swapped in each word or not, words in order or all reversed."""
REGISTERS: Final[dict[DataType, int]] = {
    "int16": 1, "uint16": 1, "bcd16": 1, "float16": 1,
    "int32": 2, "uint32": 2, "bcd32": 2, "float32": 2,
    "int64": 4, "uint64": 4, "bcd64": 4, "float64": 4,
}  # fmt: skip
"""Modbus registers of one number; a bool, a byte or a bit field has a part of one, a string its `length`."""


class TagSpec(BaseModel):
    """One tag of a book."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    address: str
    """OPC UA: `nsu=<uri>;s=<id>` (namespace by URI); Modbus: `holding:100`, `input:3`, `coil:0`, `discrete:7`;
    bits of a register: `holding:100.15` (0 is the least significant), `holding:100.4-7` (a bit field, as a number);
    one byte of it: `holding:100.high`, `holding:100.low`."""
    type: DataType = "float64"
    length: Annotated[int, Field(ge=1, le=125)] = 1
    """Registers of a Modbus string."""
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Elements of an array, one after the other; the tag becomes `name_0` … `name_<count-1>`."""
    path: str = ""
    """OPC UA: which part of an array or structure is meant: `[3]`, `position.x`, `axes[2].torque`."""
    word_order: WordOrder | None = None
    """Modbus: where this tag's words lie otherwise than the connection's `word_order` says."""
    period_ms: Annotated[float, Field(ge=20, le=3_600_000)] | None = None
    """How often a polled tag is read otherwise than the connection's period says."""
    sampling_ms: Annotated[float, Field(ge=-1, le=60_000)] | None = None
    """OPC UA: sampling interval otherwise than the connection's."""
    publishing_ms: Annotated[float, Field(ge=20, le=60_000)] | None = None
    """OPC UA: publishing interval otherwise than the connection's; tags of one interval share a subscription."""
    queue_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    discard: Literal["oldest", "newest"] | None = None
    trigger: Literal["status", "value", "timestamp"] = "value"
    """OPC UA: what counts as a change: the status; or the value too; or the source time too."""
    triggered_by: str | None = None
    """OPC UA: name of a tag of this book; this one is reported only when that one changes (SetTriggering)."""
    source_deadband: Annotated[float, Field(ge=0)] = 0.0
    """OPC UA: absolute deadband at the server, in raw units: smaller changes are not even sent."""
    source_deadband_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    """OPC UA: the same in percent of the node's EURange."""
    role: Role = "measurement"
    counter: CounterKind | None = None
    """What a counter counts (role = "counter")."""
    defect: str | None = None
    """Defect type of a counter of defects."""
    context: ContextField | None = None
    """What a context tag says (role = "context")."""
    values: dict[str, str] = {}
    """Number → name: stop reasons, PackML states of machines with their own codes, products."""
    unit: str | None = None
    """UNECE code: CEL, BAR, MMT, C62 (piece), HUR, WTT, …"""
    low: float | None = None
    high: float | None = None
    """Engineering range; outside it a value is uncertain."""
    scale: float = 1.0
    offset: float = 0.0
    deadband: Annotated[float, Field(ge=0)] = 0.0
    """Absolute, in the unit: smaller changes are not recorded."""
    max_age_s: Annotated[float, Field(gt=0)] = 30.0
    """Older than this a value is uncertain, older than three times this it is bad. It is never re-stamped."""
    rollover: Annotated[int, Field(gt=0)] | None = None
    """A counter's modulus: 65536 for a uint16 that wraps."""
    required: bool = False
    """Judgment says unknown when this is bad or stale."""
    writable: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> TagSpec:
        if (self.role == "counter") != (self.counter is not None):
            raise ValueError(f"tag {self.name}: role = 'counter' and counter = '…' go together")
        if (self.counter == "defect") != (self.defect is not None):
            raise ValueError(f"tag {self.name}: counter = 'defect' and defect = '<type>' go together")
        if (self.role == "context") != (self.context is not None):
            raise ValueError(f"tag {self.name}: role = 'context' and context = '…' go together")
        if self.source_deadband and self.source_deadband_percent:
            raise ValueError(f"tag {self.name}: one deadband at the server, absolute or percent, not both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"tag {self.name}: low {self.low} is not below high {self.high}")
        if self.scale == 0:
            raise ValueError(f"tag {self.name}: scale 0 makes every value the offset; leave it out for 1")
        if self.length > 1 and self.type != "string":
            raise ValueError(f"tag {self.name}: length is that of a string; an array of {self.type} has a count")
        if self.word_order is not None and len(self.word_order) == 8 and REGISTERS.get(self.type) != 4:
            raise ValueError(
                f"tag {self.name}: word_order {self.word_order} is for 64 bits, {self.type} has "
                "fewer; write four letters: ABCD, BADC, CDAB or DCBA"
            )
        if self.triggered_by == self.name:
            raise ValueError(f"tag {self.name}: triggered_by names the tag itself; name another tag of this book")
        return self

    @property
    def element_names(self) -> list[str]:
        """Names of the tags it becomes: its own, or one for each element of an array."""
        return [self.name] if self.count == 1 else [f"{self.name}_{element}" for element in range(self.count)]


class VirtualSpec(BaseModel):
    """One virtual tag of a book: no address has it, it is worked out over each window."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: dict[Literal["ko", "en"], str] = {}
    value: Annotated[str, Field(min_length=1, max_length=4096)]
    """Expression over the tags of the book, the line's counts and state, and the virtual tags above."""
    unit: str | None = None
    """UNECE code; left out = that of the expression, where it is known."""
    low: float | None = None
    high: float | None = None
    required: bool = False
    """Judgment says unknown when it cannot be told."""


class TagBook(BaseModel):
    """A machine type's tags."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    tags: Annotated[list[TagSpec], Field(alias="tag", min_length=1)]
    virtual: Annotated[list[VirtualSpec], Field(max_length=500)] = []

    @model_validator(mode="after")
    def _names_once(self) -> TagBook:
        seen: dict[str, str] = {}
        for tag in self.tags:
            for name in tag.element_names:
                if name in seen:
                    whose = "each name stands once in a book" if name == seen[name] else f"it is one of {seen[name]!r}"
                    raise ValueError(f"duplicate tag {name!r}: {whose}")
                seen[name] = tag.name
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One tag of the table: a book's spec bound to a work unit and a connection."""

    index: int
    work_unit: str
    connection: str
    address: str
    """With its placeholders filled and the line's offset added."""
    spec: TagSpec
    element: int = 0
    """Which element of an array the tag is; its spec then has the element's own name and `count` as in the book."""
    unit: int | None = None
    """Modbus unit of its device; the connection's when None."""

    @property
    def id(self) -> str:
        return f"{self.work_unit}/{self.spec.name}"


class TagTable:
    """All tags of a gateway; the columns are what the hot path needs, by tag index."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self.tags = tuple(tags)
        self.by_id = {tag.id: tag.index for tag in self.tags}
        specs = [tag.spec for tag in self.tags]
        self.low = np.array([-np.inf if s.low is None else s.low for s in specs])
        self.high = np.array([np.inf if s.high is None else s.high for s in specs])
        self.deadband = np.array([s.deadband for s in specs])
        self.max_age_ns = np.array([round(s.max_age_s * 1e9) for s in specs], np.int64)

    def __len__(self) -> int:
        return len(self.tags)

    def of_connection(self, connection: str) -> list[Tag]:
        """Give the tags a connection serves, in table order."""
        return [tag for tag in self.tags if tag.connection == connection]

    def of_work_unit(self, work_unit: str) -> list[Tag]:
        """Give the tags of one work unit, in table order."""
        return [tag for tag in self.tags if tag.work_unit == work_unit]

    def dictionary(self, at: int) -> TagDictionary:
        """Give the table as the fact that tells the cloud what the indexes mean."""
        entries = [
            TagEntry(
                id=tag.id,
                unit=tag.spec.unit,
                role=tag.spec.role,
                low=tag.spec.low,
                high=tag.spec.high,
                address=tag.address,
            )
            for tag in self.tags
        ]
        version = hashlib.sha256(msgspec.json.encode(entries)).hexdigest()[:16]
        return TagDictionary(at=at, version=version, tags=entries)
