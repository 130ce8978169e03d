"""What the rules of one line may name: all that a ruleset is compiled against, kept beside it for a later replay."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from models.expression import Environment, window_environment
from models.expression_checker import ValueType

SHARES: Final = ("last", "first", "mean", "min", "max")
"""Parts of a tag that all are its value when it had the same one throughout a window."""


class LineNames(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tags (virtual ones too) and counters of a line, as its tag book told them."""

    work_unit: str
    tags: dict[str, str]
    """Tag → type as tag books write it."""
    counters: list[str] | None = None
    """None = not known: the usual four and any defect type."""
    units: dict[str, str | None] = {}
    """Tag → UNECE code; None for one without a unit."""
    ranges: dict[str, tuple[float | None, float | None]] = {}
    """Tag → engineering range."""
    required: list[str] = []
    """Tags without which there is no verdict."""

    def environment(self) -> Environment:
        """Give the environment its rulesets are compiled against."""
        return window_environment(self.tags, self.counters, self.units)

    def content(self) -> bytes:
        """Give it as bytes, the same for the same names."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def digest(self) -> str:
        """Hex SHA-256 of `content`."""
        return hashlib.sha256(self.content()).hexdigest()


def type_of(value: object) -> ValueType | None:
    """Give the type a recorded value shows; None for a value that is not known."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "double"
        case str():
            return "string"
        case _:
            return None
