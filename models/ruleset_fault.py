"""What is wrong with a ruleset file, with its place; and what is only suspicious in one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RulesetFault:
    """One thing wrong with a ruleset file."""

    line: int
    column: int
    where: str
    """`limit oil_temperature, value`."""
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        told = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{self.line}:{self.column}: {told}" + (f"; {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True, order=True)
class RulesetWarning(RulesetFault):
    """One thing that is allowed and probably not meant: a row that never answers, a limit no value can reach."""


class RulesetError(ValueError):
    """A ruleset that cannot be used; `faults` lists all that is wrong, in the order of the file."""

    def __init__(self, source: str, faults: Iterable[RulesetFault]) -> None:
        self.source = source
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(f"{source}:{fault}" for fault in self.faults))
