"""What the site file allows the gateway to do, table [acting]: nothing at all unless it says so. See `docs/acting.md`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sync.settings import Model

Mode = Literal["monitor", "advise", "control"]
"""monitor: nothing is done. advise: a person says yes to everything. control: the matrix decides."""
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
ActionPattern = Annotated[str, Field(pattern=r"^[a-z*?][a-z0-9_*?]{0,63}$")]
RiskName = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]


class CellEntry(Model):
    """One cell of the decision matrix, in the place of the default one."""

    trust: Annotated[int, Field(ge=0, le=3)]
    risk: RiskName
    decision: Literal["auto_execute", "require_approval", "reject"]
    min_trust_score: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Below it a person decides."""
    max_consecutive_failures: Annotated[int, Field(ge=1, le=100)] | None = None
    """So many failures one after the other, and a person decides; after a success it goes on as before."""
    require_recent_success: bool = False
    """The newest execution of 7 days has to be a success, else a person decides."""
    cooldown_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """Between two executions of the same kind; in between it is refused."""


class RiskEntry(Model):
    """The risk of an action, in the place of the default one."""

    action: ActionPattern
    """A name, or a glob of names (`mes_*`)."""
    risk: RiskName
    priority: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Of globs that fit the highest is taken."""


class LineMode(Model):
    """How far one line may go; the gateway's mode is the most."""

    work_unit: str
    mode: Mode


class WriteEntry(Model):
    """A tag that may be written, and all that must be true for it."""

    tag: str
    """work unit/tag."""
    low: Number | None = None
    high: Number | None = None
    """Both for a number; a bool has neither. Narrower than the tag book's, never wider."""
    max_change: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Of one write, against the value that stands, in the tag's unit."""
    max_change_per_min: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Of all writes within any minute, ups and downs added up."""
    writes_per_min: Annotated[int, Field(ge=1, le=60)] = 6
    interlock: Annotated[str, Field(min_length=1, max_length=4_000)]
    """Expression over the tag's line that must be true, with good and fresh inputs; what is not known is not met."""
    fresh_s: Seconds = 5.0
    """How old an input of the interlock, and the value that stands, may be."""
    expiry_s: Seconds = 600.0
    """Not done within this time, it is not done at all; people have so long to say yes."""
    read_back_s: Seconds = 5.0
    """How long the machine may take to hold what was written."""
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """How far the value read back may lie from what was asked."""
    hold_s: Seconds = 60.0
    """The tag belongs to who wrote it until so long after the last verdict that still asked for it."""
    fail_safe: Number | bool | None = None
    """Written once if the interlock is lost, or judging stops, while the tag is held; nothing when left out."""
    watchdog_s: Seconds = 60.0
    """Held without a verdict of its line, or with an unknown interlock, for so long, the fail-safe value is written."""
    risk: RiskName = "HIGH"
    """The least risk of any action that writes this tag."""

    @model_validator(mode="after")
    def _consistent(self) -> WriteEntry:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high go together")
        if self.low is None and (self.max_change is not None or self.max_change_per_min is not None or self.tolerance):
            raise ValueError("max_change, max_change_per_min and tolerance are of a number: give low and high too")
        if self.low is not None and self.high is not None:
            if self.low > self.high:
                raise ValueError(f"low {self.low:g} is above high {self.high:g}")
            if self.fail_safe is not None and not self.low <= self.fail_safe <= self.high:
                raise ValueError(f"fail_safe {self.fail_safe:g} is outside {self.low:g} to {self.high:g}")
        return self


class Acting(Model):
    """The table [acting]."""

    mode: Mode = "monitor"
    """Of the whole gateway, until somebody orders another."""
    lines: Annotated[tuple[LineMode, ...], Field(alias="line")] = ()
    cells: Annotated[tuple[CellEntry, ...], Field(alias="cell")] = ()
    risks: Annotated[tuple[RiskEntry, ...], Field(alias="risk")] = ()
    writes: Annotated[tuple[WriteEntry, ...], Field(alias="write")] = ()
