"""The shape of a ruleset file: its tables and keys, before anything in it is compiled. See `examples/filler.toml`."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from models.policy import RULES_ALONE, Policy, PolicySettings

Severity = Literal["info", "warning", "critical"]
ActionType = Literal["alert", "stop", "inspect", "ticket", "workflow", "continue"]
ACTION_TYPES: Final = get_args(ActionType)
Priority = Literal["immediate", "high", "medium", "low"]

PLACEHOLDERS: Final = (
    "value", "threshold", "unit", "title", "work_unit", "state", "order", "product", "lot", "shift",
)  # fmt: skip

SEVERITY_OF_STATUS: Final[dict[str, Severity]] = {
    "CRITICAL": "critical",
    "STOP_LINE": "critical",
    "ALERT": "critical",
    "HIGH_DEFECT": "critical",
    "WARNING": "warning",
    "HIGH": "warning",
    "NOTIFY": "warning",
    "MODERATE_DEFECT": "warning",
    "OK": "info",
    "NORMAL": "info",
    "NONE": "info",
    "LOG": "info",
}
"""What a known domain status means; any other says nothing and needs its severity beside it."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1)]
Expression = Annotated[str, Field(min_length=1)]


class Model(BaseModel):
    """A table of the file: a misspelled key is an error on its line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Text(Model):
    """A text in Korean and English; a language that is missing borrows the other."""

    ko: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    en: Annotated[str, Field(min_length=1, max_length=500)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: Any) -> Any:
        return {"ko": value, "en": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _something(self) -> Text:
        if self.ko is None and self.en is None:
            raise ValueError("give ko, en or both")
        return self

    def both(self) -> dict[str, str]:
        """Give both languages."""
        return {"ko": self.ko or self.en or "", "en": self.en or self.ko or ""}


class Message(Text):
    """A text with placeholders."""

    @field_validator("ko", "en")
    @classmethod
    def _placeholders(cls, value: str | None) -> str | None:
        for _, name, spec, conversion in string.Formatter().parse(value or ""):
            if name is not None and (name not in PLACEHOLDERS or spec or conversion):
                known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                raise ValueError(f"{{{name}}} is no placeholder; there are {known}")
        return value


class WriteEntry(Model):
    """What an action would write, where one may: a plain value into a tag of the line."""

    tag: Name
    value: bool | Number


class ActionEntry(Model):
    """What is recommended; nothing here acts."""

    write: WriteEntry | None = None
    """Asks that a value be written to the machine; whether it is, trust, mode and permits decide."""
    action_type: Name
    """One of ActionType, or (of an action that writes) any word of the plant's own."""
    priority: Priority = "medium"
    target: str | None = None
    on: Literal["warning", "critical"] = "warning"
    ko: str | None = None
    en: str | None = None

    @field_validator("action_type")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        if value not in ACTION_TYPES and info.data.get("write") is None:
            known = ", ".join(repr(name) for name in ACTION_TYPES)
            raise ValueError(f"input should be {known}, not {value!r}; another word needs write = {{ tag, value }}")
        return value

    @model_validator(mode="after")
    def _said(self) -> ActionEntry:
        if self.ko is None and self.en is None:
            raise ValueError("say what to do: give ko, en or both")
        return self


class Weights(Model):
    """How much the rules' confidence counts beside the model's; divided by their sum."""

    rule: Annotated[float, Field(ge=0, allow_inf_nan=False)] = RULES_ALONE.rule_weight
    ml: Annotated[float, Field(ge=0, allow_inf_nan=False)] = RULES_ALONE.ml_weight

    @model_validator(mode="after")
    def _something(self) -> Weights:
        if self.rule + self.ml == 0:
            raise ValueError("rule and ml are both 0; give one of them weight")
        return self


class Head(Model):
    """The table [ruleset]."""

    name: Name
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    title: Text | None = None
    policy: Policy = "rule_only"
    safety_first: bool = True
    weights: Weights | None = None
    gate: Confidence = RULES_ALONE.gate
    accept: Confidence = RULES_ALONE.accept
    escalate: Confidence = RULES_ALONE.escalate
    escalated: Confidence = RULES_ALONE.escalated
    review: Confidence = RULES_ALONE.review
    drifted_aside: bool = RULES_ALONE.drifted_aside
    cache_s: Seconds = RULES_ALONE.cache_s

    def settings(self) -> PolicySettings:
        """Give how the rules' answer and a model's become one."""
        weights = self.weights or Weights()
        return PolicySettings(
            policy=self.policy,
            safety_first=self.safety_first,
            rule_weight=weights.rule,
            ml_weight=weights.ml,
            gate=self.gate,
            accept=self.accept,
            escalate=self.escalate,
            escalated=self.escalated,
            review=self.review,
            drifted_aside=self.drifted_aside,
            cache_s=self.cache_s,
        )


class ModelEntry(Model):
    """The table [model]: whom the policy asks."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class Entry(Model):
    """What all kinds of checks share."""

    name: Name
    title: Text | None = None
    only_when: Expression | None = None
    """Outside this condition the check does not apply and its alarm is cleared."""
    unit: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,3}$")] | None = None
    message: Message | None = None
    alarm: bool = True
    actions: Annotated[list[ActionEntry], Field(alias="action")] = []
    priority: Annotated[int, Field(ge=0, le=100)] = 0
    """Of findings of one severity the highest decides."""
    suppressed_by: list[Name] = []
    suppresses: list[Name] = []
    """While the one matches, the other is recorded but neither decides nor alarms nor recommends."""

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in RESERVED_ALARMS:
            raise ValueError(f"{value!r} is {RESERVED_ALARMS[value]}; take another name")
        return value


INPUTS_ALARM: Final = "inputs"
"""Raised when a required tag cannot be used: the line cannot be judged."""
MODEL_ALARM: Final = "model"
"""Up while a verdict is worse than the rules alone would have it, because of the model."""
RESERVED_ALARMS: Final = {
    INPUTS_ALARM: "the alarm for inputs that cannot be used",
    MODEL_ALARM: "the alarm for what only the model sees",
}


class LimitEntry(Entry):
    """A table [[limit]]."""

    value: Expression
    critical_low: Number | None = None
    warning_low: Number | None = None
    warning_high: Number | None = None
    critical_high: Number | None = None
    hysteresis: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    delay_s: Seconds = 0.0
    confidence: Confidence | None = None
    ccp: bool = False
    """A critical control point (HACCP): every window it applies in is recorded against its critical limits."""

    @model_validator(mode="after")
    def _controlled(self) -> LimitEntry:
        if self.ccp:
            if self.critical_low is None and self.critical_high is None:
                raise ValueError("a critical control point needs a critical limit: critical_low, critical_high")
            if not self.alarm:
                raise ValueError("a critical control point cannot go without its alarm; remove alarm = false")
            if self.suppressed_by:
                raise ValueError("a critical control point cannot be suppressed; remove suppressed_by")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> LimitEntry:
        order = ("critical_low", "warning_low", "warning_high", "critical_high")
        given = [(name, value) for name in order if (value := getattr(self, name)) is not None]
        if not given:
            raise ValueError(f"a limit needs a threshold: {', '.join(order)}")
        for (lower, low), (upper, high) in itertools.pairwise(given):
            if low >= high:
                raise ValueError(f"{lower} {low:g} is not below {upper} {high:g}")
            if lower.endswith("low") and upper.endswith("high") and 2 * self.hysteresis >= high - low:
                raise ValueError(
                    f"hysteresis {self.hysteresis:g} leaves nothing between {lower} {low:g} and {upper} {high:g}"
                )
        return self


class OutcomeEntry(Model):
    """What something says when it applies: a rule, a row, a leaf."""

    severity: Severity | None = None
    status: str | None = None
    confidence: Confidence | None = None
    message: Message | None = None
    actions: Annotated[list[ActionEntry], Field(alias="action")] = []

    @model_validator(mode="after")
    def _severe(self) -> Self:
        severity_of(self.severity, self.status)
        return self


class RuleEntry(Entry, OutcomeEntry):
    """A table [[rule]]."""

    when: Expression
    delay_s: Seconds = 0.0
    value: Expression | None = None
    threshold: Number | None = None


class RowEntry(OutcomeEntry):
    """A table [[table.row]]."""

    when: dict[str, str | int | float | bool] = {}


class TableEntry(Entry):
    """A table [[table]]; rows are tried from the top."""

    inputs: Annotated[dict[Name, Expression], Field(min_length=1, max_length=16)]
    value: str | None = None
    """The input that is shown as the value."""
    hit_policy: Literal["first", "worst"] = "first"
    """Of several rows that fit the first answers, or the worst (of equals the first)."""
    complete: bool = False
    """Whether every case must have its row; else no row means that all is well."""
    rows: Annotated[list[RowEntry], Field(alias="row", min_length=1, max_length=64)]


def severity_of(severity: Severity | None, status: str | None) -> Severity:
    """Give the severity that a severity and a domain status mean together; ValueError when they say nothing or differ."""
    meant = SEVERITY_OF_STATUS.get(status or "")
    if severity is None and meant is None:
        said = f"status {status!r} says nothing about it; " if status else ""
        raise ValueError(f"severity is missing: {said}add severity = 'info', 'warning' or 'critical'")
    if severity is not None and meant is not None and severity != meant:
        raise ValueError(f"status {status!r} means {meant}, but severity says {severity}")
    return severity or meant or "info"


def model_at(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Give the shape of the table at a path of keys below a table; None where there is no table of known keys."""
    found: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and found is not None:
            fields = found.model_fields.values()
            named = {field.alias or name: field for name, field in zip(found.model_fields, fields, strict=True)}
            found = _model_in(named[part].annotation) if part in named else None
    return found


def writes_of(found: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], WriteEntry]]:
    """Give every write of an entry, also of its rows and leaves, with its place below the entry."""
    if isinstance(found, WriteEntry):
        yield path, found
    elif isinstance(found, BaseModel):
        for name, field in type(found).model_fields.items():
            yield from writes_of(getattr(found, name), (*path, field.alias or name))
    elif isinstance(found, list):
        for position, item in enumerate(cast("list[Any]", found)):
            yield from writes_of(item, (*path, position))


def keys_of(model: type[BaseModel]) -> frozenset[str]:
    """Give the keys a table may have, as the file writes them."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None)
