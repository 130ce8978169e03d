"""Combinations of other checks by name: `[[composite]]`. Two warnings together may be critical.

It counts what its members find, also those that are silenced; a member that cannot be made may tip it either way, and as
long as that is so the composite is unknown, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from models.ruleset import Check, Outcome
from models.ruleset_compile import Compiler, nanoseconds, outcome
from models.ruleset_file import Entry, Name, OutcomeEntry, Seconds
from models.toml_places import Path

Members = Annotated[list[Name], Field(min_length=2, max_length=64)]
Least = Literal["warning", "critical"]


class CompositeEntry(Entry, OutcomeEntry):
    """A table [[composite]]; `all`, `any`, or `of` with `at_least`."""

    all: Members | None = None
    any: Members | None = None
    of: Members | None = None
    at_least: Annotated[int, Field(ge=1)] | None = None
    level: Least = "warning"
    """A member counts from this level on."""
    delay_s: Seconds = 0.0

    @model_validator(mode="after")
    def _one_way(self) -> CompositeEntry:
        given = [name for name in ("all", "any", "of") if getattr(self, name) is not None]
        if len(given) != 1:
            said = f"there are {' and '.join(given)}" if given else "there is none of them"
            raise ValueError(f"give one of all, any, of (with at_least); {said}")
        if (self.of is None) != (self.at_least is None):
            raise ValueError("of and at_least belong together")
        members, least = self.counted
        if len(set(members)) < len(members):
            raise ValueError("a check is named twice")
        if least > len(members):
            raise ValueError(f"at_least {least} of {len(members)} can never be")
        return self

    @property
    def counted(self) -> tuple[tuple[str, ...], int]:
        """The members, and how many of them it takes."""
        members = tuple(self.all or self.any or self.of or ())
        return members, len(members) if self.all is not None else 1 if self.any is not None else self.at_least or 1

    @property
    def key(self) -> str:
        """Under which key of the file the members stand."""
        return "all" if self.all is not None else "any" if self.any is not None else "of"


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite(Check):
    """A check on other checks."""

    members: tuple[str, ...]
    at_least: int
    level: Least
    delay_ns: int
    outcome: Outcome


def build_composite(compiler: Compiler, entry: CompositeEntry, path: Path) -> Composite | None:
    """Give the check of a [[composite]]; None after its faults were told. Its members are looked up by `ruleset_links`."""
    gate = compiler.gate(entry, path)
    if gate is False:
        return None
    members, at_least = entry.counted
    common: dict[str, Any] = compiler.common(entry, gate, None)
    return Composite(
        **common,
        members=members,
        at_least=at_least,
        level=entry.level,
        delay_ns=nanoseconds(entry.delay_s),
        outcome=outcome(entry, None),
    )
