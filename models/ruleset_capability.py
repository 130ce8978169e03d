"""Process capability in a ruleset: `[[capability]]`, an index over the newest windows against a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from models.ruleset import Action, Check, Texts
from models.ruleset_chart import ContextName, fresh_counts, tags_of
from models.ruleset_compile import Compiler, actions, texts
from models.ruleset_file import Confidence, Entry, Expression, Number
from models.spc.capability import MIN_VALUES, CapabilityError, Specification
from models.toml_places import Path

IndexName = Literal["cp", "cpk", "pp", "ppk", "cpm"]
MAX_WINDOWS = 120
"""What it remembers stands in every verdict: three numbers for each window."""


class CapabilityEntry(Entry):
    """A table [[capability]]."""

    value: Expression
    spread: Expression | None = None
    """The window's .stddev; without it a window is one value."""
    size: Expression | None = None
    lsl: Number | None = None
    usl: Number | None = None
    target: Number | None = None
    index: IndexName = "cpk"
    judged_by: Literal["estimate", "lower"] = "estimate"
    """The index itself, or the lower end of its 95 % interval."""
    warning_below: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 1.33
    critical_below: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 1.0
    windows: Annotated[int, Field(ge=2, le=MAX_WINDOWS)] | None = None
    minimum: Annotated[int, Field(ge=MIN_VALUES, le=1_000_000)] = MIN_VALUES
    reset_on: list[ContextName] = Field(default_factory=list[ContextName])
    every_window: bool = False
    confidence: Confidence | None = None

    @field_validator("reset_on", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> CapabilityEntry:
        try:
            Specification(self.lsl, self.usl, self.target)
        except CapabilityError as error:
            raise ValueError(str(error)) from error
        if self.index in {"cp", "pp", "cpm"} and (self.lsl is None or self.usl is None):
            raise ValueError(f"{self.index} needs lsl and usl; with one of them take cpk or ppk")
        if self.warning_below is None and self.critical_below is None:
            raise ValueError("give warning_below, critical_below or both")
        if (
            self.warning_below is not None
            and self.critical_below is not None
            and self.warning_below < self.critical_below
        ):
            raise ValueError(f"warning_below {self.warning_below:g} is below critical_below {self.critical_below:g}")
        if self.size is not None and self.spread is None:
            raise ValueError("size says how many values spread is of; give spread, or remove size")
        if self.spread is None and self.kept < self.minimum:
            raise ValueError(f"{self.kept} windows of one value never make the {self.minimum} that are needed")
        return self

    @property
    def kept(self) -> int:
        """Give how many windows are looked at."""
        return self.windows or (25 if self.spread is not None else 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityCheck(Check):
    """An index over the newest windows; `value_at` is a window's mean, or its one value."""

    keeps_memory: ClassVar[bool] = True
    shape: ClassVar[str] = "capability"

    specification: Specification
    index: IndexName
    by_lower: bool
    warning_below: float | None
    critical_below: float | None
    windows: int
    minimum: int
    size_at: int | None
    """None = a window is one value."""
    spread_at: int | None
    fresh_at: tuple[int, ...]
    reset_on: tuple[ContextName, ...]
    confidence: float | None
    message: Texts | None
    actions: tuple[Action, ...]


def build_capability(compiler: Compiler, entry: CapabilityEntry, path: Path) -> CapabilityCheck | None:
    """Give the check of a [[capability]]; None after its faults were told."""
    value = compiler.typed(entry.value, (*path, "value"), "double")
    spread = None if entry.spread is None else compiler.typed(entry.spread, (*path, "spread"), "double")
    size = None if entry.size is None else compiler.typed(entry.size, (*path, "size"), "double")
    gate = compiler.gate(entry, path)
    if value is None or gate is False or (spread is None and entry.spread is not None):
        return None
    if size is None and entry.size is not None:
        return None
    compiler.measured(entry.value, entry.unit, path)
    tags = tags_of(compiler, value)
    if spread is not None and size is None:
        if len(tags) != 1:
            compiler.blame(
                (*path, "spread"), "'size' is missing: it says how many values spread is of; such as tag.count"
            )
            return None
        size = compiler.typed(f"{tags[0]}.count", (*path, "spread"), "double")
    fresh = [] if entry.every_window else fresh_counts(compiler, tags, path)
    return CapabilityCheck(
        **compiler.common(entry, gate, value, *(tree for tree in (size, spread) if tree is not None)),
        specification=Specification(entry.lsl, entry.usl, entry.target),
        index=entry.index,
        by_lower=entry.judged_by == "lower",
        warning_below=entry.warning_below,
        critical_below=entry.critical_below,
        windows=entry.kept,
        minimum=entry.minimum,
        size_at=None if size is None else compiler.add(size),
        spread_at=None if spread is None else compiler.add(spread),
        fresh_at=tuple(compiler.add(tree) for tree in fresh),
        reset_on=tuple(entry.reset_on),
        confidence=entry.confidence,
        message=texts(entry.message),
        actions=actions(entry.actions),
    )
