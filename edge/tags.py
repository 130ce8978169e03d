"""Tag books and the tag table: which address is which tag, in which unit, range and role. Data, no code.

A book describes a machine type once (`drivers/books/<book>.toml`, or a path beside the site file); a line binds it to
a work unit and fills its `{placeholders}`. The table is all tags of a gateway, numbered; readings carry the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sync.facts import TagDictionary, TagEntry

Role = Literal["state", "reason", "counter", "measurement", "setpoint", "context", "clock"]
CounterKind = Literal["produced", "good", "scrap", "rework", "defect", "energy_wh"]
ContextField = Literal["order", "product", "lot", "shift"]
DataType = Literal[
    "bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"
]  # fmt: skip


class TagSpec(BaseModel):
    """One tag of a book."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    address: str
    """OPC UA: `nsu=<uri>;s=<id>` (namespace by URI); Modbus: `holding:100`, `input:3`, `coil:0`, `discrete:7`, base 0;
    one bit of a register: `holding:100.15` (0 is the least significant)."""
    type: DataType = "float64"
    length: Annotated[int, Field(ge=1, le=125)] = 1
    """Registers of a Modbus string."""
    word_order: Literal["ABCD", "BADC", "CDAB", "DCBA"] | None = None
    """Modbus: where this tag's words lie otherwise than the connection's `word_order` says."""
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
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"tag {self.name}: low {self.low} is not below high {self.high}")
        return self


class TagBook(BaseModel):
    """A machine type's tags."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    tags: Annotated[list[TagSpec], Field(alias="tag", min_length=1)]

    @model_validator(mode="after")
    def _names_once(self) -> TagBook:
        seen: set[str] = set()
        for tag in self.tags:
            if tag.name in seen:
                raise ValueError(f"duplicate tag {tag.name!r}: each name stands once in a book")
            seen.add(tag.name)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One tag of the table: a book's spec bound to a work unit and a connection."""

    index: int
    work_unit: str
    connection: str
    address: str
    """With its placeholders filled."""
    spec: TagSpec

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
