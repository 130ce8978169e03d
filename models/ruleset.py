"""A ruleset as it is evaluated: its checks over one compiled program. `rulesets.load` makes one.

Limits, rules and decision tables are here; the other kinds of checks have files of their own (`ruleset_change`,
`ruleset_tree`, `ruleset_composite`, `ruleset_chart`), and `ruleset_kinds` names them all.
Judging with it is `edge.judgment`; nothing here knows time, hysteresis or confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.expression_checker import Typed, Value
from models.expression_compiler import Program
from models.expression_interpreter import Cause, Result
from models.policy import RULES_ALONE, PolicySettings
from models.ruleset_fault import RulesetWarning
from models.ruleset_file import Severity
from models.ruleset_inputs import Reader
from models.window import Window

Texts = Mapping[str, str]
"""Language (ko, en) → text."""

Side = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class Write:
    """What an action would write to the machine."""

    tag: str
    """Bare name of a tag of the line."""
    value: float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A recommendation."""

    action_type: str
    priority: str
    target: str | None
    on: Severity
    """Recommended from this severity on."""
    text: Texts
    write: Write | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a finding says when it applies."""

    severity: Severity
    status: str | None
    confidence: float | None
    message: Texts | None
    threshold: float | str | None
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What all kinds of checks share. Numbers named `…_at` are places in the program's results."""

    keeps_memory: ClassVar[bool] = False
    """Whether its memory stays over windows in which `only_when` says that it does not apply."""
    shape: ClassVar[str] = ""
    """Kinds whose memory has a shape of its own: a check that became another kind in a new version begins anew."""

    name: str
    title: Texts
    gate_at: int | None
    """The condition outside which the check does not apply; None = always."""
    value_at: int | None
    unit: str | None
    """UNECE code; None = that of `unit_tag`."""
    unit_tag: str | None
    alarm: bool
    uses: tuple[str, ...]
    """Names of the inputs it depends on."""
    priority: int = 0
    """0 to 100: of findings of one severity the highest decides; of equals the first in the file."""
    suppressed_by: tuple[str, ...] = ()
    """Checks that silence this one while they match, in the order of the ruleset."""

    @property
    def memory(self) -> str:
        """Under which name its memory is kept."""
        return f"{self.shape}:{self.name}" if self.shape else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One bound of a limit; beyond, not at, it."""

    side: Side
    severity: Severity
    bound: float

    def beyond(self, value: float, slack: float = 0.0) -> bool:
        """Tell whether a value lies beyond the bound moved inwards by `slack`."""
        return value > self.bound - slack if self.side == "high" else value < self.bound + slack


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Check):
    """A number against thresholds, the severest first."""

    thresholds: tuple[Threshold, ...]
    hysteresis: float
    delay_ns: int
    confidence: float | None
    message: Texts | None
    actions: tuple[Action, ...]
    ccp: bool = False
    """A critical control point (HACCP): every window it applies in is recorded against its critical limits."""

    @property
    def critical_limits(self) -> tuple[float | None, float | None]:
        """Lower and upper critical limit; None where there is none."""
        found = {t.side: t.bound for t in self.thresholds if t.severity == "critical"}
        return found.get("low"), found.get("high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Check):
    """A condition and what it means."""

    when_at: int
    delay_ns: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Check):
    """A decision table; the program gives the position of the row that answers, -1 for none."""

    hit_at: int
    rows: tuple[Outcome, ...]
    conditions: tuple[Typed, ...]
    """Of the rows."""
    inputs: Mapping[str, Typed]
    tried: tuple[int, ...]
    """The rows in the order in which they are tried: as they stand, or (hit policy `worst`) the worst first."""


AnyCheck = Check


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ruleset:
    """A compiled ruleset; immutable, and the same for every line whose tags it knows."""

    name: str
    version: str
    title: Texts
    policy: str
    settings: PolicySettings = RULES_ALONE
    """How the rules' answer and a model's become one; `settings.policy` is `policy`."""
    hash: str
    """Hex SHA-256 of the form and the parsed content: spaces and comments do not change it."""
    checks: tuple[AnyCheck, ...]
    program: Program
    readers: tuple[Reader, ...]
    """One per program variable."""
    tags: tuple[str, ...]
    """Tags it reads, in the order first named."""
    model: str | None = None
    """Name of the model its policy asks; None when it asks none."""
    document: str = field(default="", repr=False)
    """The parsed content as canonical JSON (keys sorted): what is hashed, and what `rulesets.load_document` reads."""
    warnings: tuple[RulesetWarning, ...] = ()
    """What is allowed in it and probably not meant."""

    @property
    def suppressing(self) -> bool:
        """Whether any check can silence another."""
        return any(check.suppressed_by for check in self.checks)

    def inputs(self, window: Window) -> tuple[list[Value | Cause], bool]:
        """Give the program's inputs over a window, and whether all of them are known."""
        found = [read(window) for read in self.readers]
        return found, Cause not in map(type, found)

    def evaluate(self, window: Window) -> Results:
        """Give every expression's result over a window."""
        inputs, known = self.inputs(window)
        return Results(inputs=inputs, values=tuple(self.program.run(inputs, known=known)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A ruleset's inputs over one window, in the order of `program.variables`, and what the expressions gave."""

    inputs: list[Value | Cause]
    values: tuple[Result, ...]
