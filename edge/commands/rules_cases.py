"""Windows written down by hand: what a file of cases (and `explain --window`) says, and the windows it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.commands.rules_names import Names, TagFacts
from models.ruleset import Ruleset
from models.window import TagWindow, Window
from sync.facts import Context
from sync.judgment import Scored
from sync.settings import nearest

NS: Final = 1_000_000_000
BEGIN: Final = 1_767_225_600 * NS
"""Cases are judged as of 2026-01-01 00:00 UTC; a verdict depends on no other date than its window's."""
_STATUS: Final = {"good": 0, "uncertain": 0x4000_0000, "bad": 0x8000_0000}


class Strict(BaseModel):
    """A table of a file of cases: a misspelled key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TagValue(Strict):
    """A tag over the window, where one value says too little; what is left out follows from `last`."""

    last: float | bool | str | None = None
    first: float | bool | str | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    stddev: float = 0.0
    count: Annotated[int, Field(ge=0)] | None = None
    """Good values in the window; 10 when left out, and none when the last is older than the window."""
    bad: Annotated[int, Field(ge=0)] = 0
    quality: Literal["good", "uncertain", "bad"] = "good"
    age_s: float = 0.0


class ModelAnswer(Strict):
    """What the model is taken to say."""

    decision: Literal["normal", "warning", "critical", "unknown"]
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    failure: str | None = None


class ContextCase(Strict):
    """What is being made."""

    order: str | None = None
    product: str | None = None
    lot: str | None = None
    shift: str | None = None
    stale: bool = False


class WindowCase(Strict):
    """One window; what it leaves out is as in its case, or as in [given]."""

    tags: dict[str, float | bool | str | TagValue] = {}
    """Tag → its value throughout the window, or a table."""
    state: str = "EXECUTE"
    reason: str | None = None
    counts: dict[str, int] = {}
    context: ContextCase = ContextCase()
    duration_s: Annotated[float, Field(gt=0)] = 10.0
    pause_s: Annotated[float, Field(ge=0)] = 0.0
    """Time without windows before this one."""
    model: ModelAnswer | None = None

    def over(self, base: WindowCase) -> WindowCase:
        """Give this window with what it leaves out taken from another; tags and counts are joined."""
        own = {name: getattr(self, name) for name in self.model_fields_set}
        joined = {"tags": {**base.tags, **self.tags}, "counts": {**base.counts, **self.counts}}
        return base.model_copy(update=own | joined)


@dataclass(frozen=True, slots=True)
class Made:
    """A window with the model's answer to it."""

    window: Window
    scored: Scored | None


def unknown_tags(case: WindowCase, names: Names) -> list[str]:
    """Give a sentence for every tag of a case that there is not."""
    if names.guessed:
        return []
    known = [*names.tags, *(() if names.virtual is None else (tag.name for tag in names.virtual.tags))]
    return [f"there is no tag {name!r}; {nearest(name, known)}" for name in case.tags if name not in known]


def window_of(case: WindowCase, names: Names, ruleset: Ruleset, start: int) -> Made:
    """Give the window of a case that begins at `start` (ns)."""
    begin = start + round(case.pause_s * NS)
    end = begin + round(case.duration_s * NS)
    told = {
        name: _tag(name, value, names.tags.get(name, TagFacts()), case.duration_s) for name, value in case.tags.items()
    }
    absent = {
        name: _tag(name, TagValue(last=1.0) if facts.told_apart else TagValue(quality="bad"), facts, case.duration_s)
        for name, facts in names.tags.items()
        if facts.required and name not in told
    }
    window = Window(
        work_unit="site/line/case",
        start=begin,
        end=end,
        tags={**absent, **told},
        state=case.state,
        reason=case.reason,
        context=Context(**case.context.model_dump()),
        counts=case.counts,
    )
    if names.virtual is not None:
        window = names.virtual.extend(window)
    answer = case.model
    scored = None
    if answer is not None:
        scored = Scored(
            model=ruleset.model or "",
            version="case",
            sha256="",
            decision=answer.decision,
            confidence=answer.confidence,
            failure=answer.failure,
        )
    return Made(window, scored)


def _tag(name: str, value: float | bool | str | TagValue, facts: TagFacts, duration_s: float) -> TagWindow:
    given = value if isinstance(value, TagValue) else TagValue(last=value)
    last, first = _plain(given.last), _plain(given.last if given.first is None else given.first)
    level = last if isinstance(last, float) else None
    usual = 0 if given.age_s > duration_s else 10
    count = usual if given.count is None else given.count
    span = {"mean": given.mean, "min": given.min, "max": given.max}
    reduced: Mapping[str, Any] = {key: level if told is None else told for key, told in span.items()}
    return TagWindow(
        name=name,
        unit=facts.unit,
        last=last,
        first=first,
        **reduced,
        stddev=None if level is None else given.stddev,
        count=count if last is not None else 0,
        bad=given.bad,
        status=_STATUS[given.quality],
        age_ns=round(given.age_s * NS) if last is not None else 2**62,
        low=facts.low,
        high=facts.high,
        max_age_ns=round(facts.max_age_s * NS),
        required=facts.required,
    )


def _plain(value: float | bool | str | None) -> float | str | None:
    return value if isinstance(value, str) or value is None else float(value)
