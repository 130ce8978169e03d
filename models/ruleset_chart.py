"""Control charts in a ruleset: `[[chart]]`. One window gives one point; the limits are frozen numbers of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import Field, field_validator

from models.expression_checker import Slot, Typed
from models.ruleset import Action, Check, Texts
from models.ruleset_compile import Compiler, actions, nanoseconds, slots_of, texts
from models.ruleset_file import Confidence, Entry, Expression, Model, Number, Severity
from models.ruleset_inputs import tag_of
from models.spc import NELSON, RULES, USUAL, WESTERN_ELECTRIC, Design, Kind, Limits, LimitsError
from models.spc.chart import WEIGHT, WIDTH, H, K
from models.spc.limits import VARIABLES
from models.toml_places import Path

SpreadKind = Literal["stddev", "range"]
ContextName = Literal["product", "order", "lot", "shift"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SETS: Final[dict[str, tuple[str, ...]]] = {"nelson": NELSON, "western_electric": WESTERN_ELECTRIC, "usual": USUAL}
"""Names that stand for several rules."""
_OF_KIND: Final[dict[str, frozenset[str]]] = {
    "value": VARIABLES,
    "counted": frozenset(KINDS) - VARIABLES,
    "inspected": frozenset({"p", "np", "u"}),
    "size": frozenset({"xbar", "ewma", "cusum"}),
    "spread": frozenset({"xbar", "ewma", "cusum"}),
    "spread_kind": frozenset({"xbar", "ewma", "cusum"}),
    "moving_range": frozenset({"individuals"}),
    "weight": frozenset({"ewma"}),
    "width": frozenset({"ewma"}),
    "steady": frozenset({"ewma"}),
    "k": frozenset({"cusum"}),
    "h": frozenset({"cusum"}),
    "head_start": frozenset({"cusum"}),
    "restart": frozenset({"cusum"}),
    "every_window": VARIABLES,
}
"""Key → kinds of charts it means something to."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LimitsEntry(Model):
    """Frozen limits, for all products or for one; `triflow rules limits` writes them."""

    product: Annotated[str, Field(min_length=1)] | None = None
    center: Number
    sigma: Number | None = None
    lcl: Number | None = None
    ucl: Number | None = None
    sigma_z: Number = 1.0
    version: Annotated[str, Field(min_length=1, max_length=64)]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """Beginning of the limits' hash: a number that was changed by hand is then a fault."""


class ChartEntry(Entry):
    """A table [[chart]]."""

    kind: Kind
    value: Expression | None = None
    counted: Expression | None = None
    inspected: Expression | Positive | None = None
    size: Expression | Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Values in a subgroup; without it the number of good values of the tag in `value`."""
    spread: Expression | None = None
    """The window's .stddev or .range, to be held against its own limits."""
    spread_kind: SpreadKind = "stddev"
    limits: Annotated[list[LimitsEntry], Field(min_length=1)]
    rules: list[str] | None = None
    moving_range: bool = False
    """Also hold neighbouring points against each other: one false alarm in about 110 points more."""
    weight: Annotated[float, Field(gt=0, le=1, alias="lambda")] = WEIGHT
    width: Annotated[float, Field(gt=0, le=10)] = WIDTH
    steady: bool = False
    k: Annotated[float, Field(ge=0, le=10)] = K
    h: Annotated[float, Field(gt=0, le=100)] = H
    head_start: Annotated[float, Field(ge=0, le=100)] = 0.0
    restart: bool = False
    severity: Severity = "warning"
    severities: dict[str, Severity] = Field(default_factory=dict[str, Severity])
    reset_on: list[ContextName] = Field(default_factory=list[ContextName])
    """When one of these changes, a new series begins."""
    reset_after_s: Annotated[float, Field(ge=0, le=31 * 86_400, allow_inf_nan=False)] = 0.0
    """A hole of this long between two points begins a new series; 0 = never."""
    every_window: bool = False
    """Take a point also from a window in which the tag had no new value."""
    confidence: Confidence | None = None

    @field_validator("limits", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @field_validator("reset_on", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("rules", mode="before")
    @classmethod
    def _one_set(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("rules")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if name not in RULES and name not in SETS:
                raise ValueError(f"there is no rule {name!r}; {_near(name, [*SETS, *RULES])}")
        return value

    @property
    def chosen(self) -> tuple[str, ...]:
        """Give the rules in force, each once; the usual ones unless said otherwise, none for EWMA and CUSUM."""
        if self.rules is None:
            return () if self.kind in {"ewma", "cusum"} else USUAL
        return tuple(dict.fromkeys(rule for name in self.rules for rule in SETS.get(name, (name,))))

    @property
    def signals(self) -> tuple[str, ...]:
        """Give everything this chart may signal: its rules and what its kind adds."""
        own = {
            "moving_range": self.kind == "individuals" and self.moving_range,
            "spread": self.spread is not None,
            "ewma": self.kind == "ewma",
            "cusum": self.kind == "cusum",
        }
        return (*self.chosen, *(name for name, given in own.items() if given))

    def misfits(self) -> Iterator[tuple[Path, str]]:
        """Give place and problem of everything that does not fit together."""
        for key, kinds in _OF_KIND.items():
            if key in self.model_fields_set and self.kind not in kinds:
                shown = "lambda" if key == "weight" else key
                yield (shown,), f"{shown} means nothing to a chart of kind {self.kind}; remove it"
        needed = "value" if self.kind in VARIABLES else "counted"
        if getattr(self, needed) is None:
            yield ("kind",), f"{needed!r} is missing: a chart of kind {self.kind} needs it"
        if self.inspected is None and self.kind in _OF_KIND["inspected"]:
            yield (
                ("kind",),
                f"'inspected' is missing: a chart of kind {self.kind} needs the number it was counted among",
            )
        if self.head_start >= self.h:
            yield ("head_start",), f"head_start {self.head_start:g} is not below h {self.h:g}; h / 2 is usual"
        products = [one.product for one in self.limits]
        for position, product in enumerate(products):
            if product in products[:position]:
                every = "every product" if product is None else repr(product)
                yield ("limits", position), f"limits for {every} are given twice"
        if not self.signals:
            yield ("rules",), "without rules this chart never signals; leave rules out for the usual ones"
        for name in self.severities:
            if name not in self.signals:
                yield ("severities",), f"this chart has no {name!r}; {_near(name, self.signals)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart(Check):
    """A control chart over windows. `value_at` is the plotted value, or what was counted."""

    keeps_memory: ClassVar[bool] = True
    shape: ClassVar[str] = "chart"

    kind: Kind
    design: Design
    limits: Mapping[str | None, Limits]
    """By product; None = every other."""
    size_at: int | None
    size: float
    """When there is no `size_at`: the subgroup's fixed size."""
    spread_at: int | None
    spread_kind: SpreadKind
    fresh_at: tuple[int, ...]
    """Counts of new values: where one is 0 the window gives no point."""
    severities: Mapping[str, Severity]
    """Of every signal it may give."""
    reset_on: tuple[ContextName, ...]
    reset_after_ns: int
    confidence: float | None
    message: Texts | None
    actions: tuple[Action, ...]

    def limits_of(self, product: str | None) -> Limits | None:
        """Give the limits for a product; None when it has none."""
        return self.limits.get(product, self.limits.get(None))


def build_chart(compiler: Compiler, entry: ChartEntry, path: Path) -> Chart | None:
    """Give the check of a [[chart]]; None after its faults were told."""
    misfits = list(entry.misfits())
    for place, problem in misfits:
        compiler.blame((*path, *place), problem)
    key = "value" if entry.kind in VARIABLES else "counted"
    text = entry.value or entry.counted or ""
    value = compiler.typed(text, (*path, key), "double") if text else None
    size_key = "size" if entry.kind in VARIABLES else "inspected"
    given = entry.size if entry.kind in VARIABLES else entry.inspected
    size = compiler.typed(given, (*path, size_key), "double") if isinstance(given, str) else None
    spread = None if entry.spread is None else compiler.typed(entry.spread, (*path, "spread"), "double")
    gate = compiler.gate(entry, path)
    limits = frozen_limits(compiler, entry, path)
    if misfits or limits is None or value is None or gate is False:
        return None
    if (size is None and isinstance(given, str)) or (spread is None and entry.spread is not None):
        return None
    if entry.kind in VARIABLES:
        compiler.measured(text, entry.unit, path)
    tags = tags_of(compiler, value)
    if given is None and entry.kind in {"xbar", "ewma", "cusum"} and (entry.kind == "xbar" or spread is not None):
        if len(tags) != 1:
            compiler.blame(
                (*path, "value"), "'size' is missing: it says how many values the subgroup has; such as tag.count"
            )
            return None
        size = compiler.typed(f"{tags[0]}.count", (*path, "value"), "double")
    if spread is not None and any(one.sigma is None for one in limits.values()):
        compiler.blame((*path, "spread"), "the spread is held against sigma; give sigma instead of lcl and ucl")
        return None
    fresh = [] if entry.every_window else fresh_counts(compiler, tags, path)
    return Chart(
        **compiler.common(entry, gate, value, *(tree for tree in (size, spread) if tree is not None)),
        kind=entry.kind,
        design=Design(
            rules=entry.chosen,
            moving_range=entry.kind == "individuals" and entry.moving_range,
            weight=entry.weight,
            width=entry.width,
            steady=entry.steady,
            k=entry.k,
            h=entry.h,
            head_start=entry.head_start,
            restart=entry.restart,
        ),
        limits=limits,
        size_at=None if size is None else compiler.add(size),
        size=float(given) if isinstance(given, float | int) else 1.0,
        spread_at=None if spread is None else compiler.add(spread),
        spread_kind=entry.spread_kind,
        fresh_at=tuple(compiler.add(tree) for tree in fresh),
        severities={name: entry.severities.get(name, entry.severity) for name in entry.signals},
        reset_on=tuple(entry.reset_on),
        reset_after_ns=nanoseconds(entry.reset_after_s),
        confidence=entry.confidence,
        message=texts(entry.message),
        actions=actions(entry.actions),
    )


def frozen_limits(compiler: Compiler, entry: ChartEntry, path: Path) -> dict[str | None, Limits] | None:
    """Give the limits by product; None after their faults were told."""
    made: dict[str | None, Limits] = {}
    for position, one in enumerate(entry.limits):
        place = (*path, "limits", position)
        try:
            limits = Limits(
                kind=entry.kind,
                center=one.center,
                sigma=one.sigma,
                lower=one.lcl,
                upper=one.ucl,
                sigma_z=one.sigma_z,
                version=one.version,
            )
        except LimitsError as error:
            compiler.blame(place, str(error))
            continue
        if one.hash is not None and not limits.hash.startswith(one.hash):
            problem = f"these are not the limits that were estimated: their hash is {limits.hash[:16]}"
            compiler.blame((*place, "hash"), f"{problem}; a number was changed: estimate anew, or take the hash out")
            continue
        made[one.product] = limits
    return made if len(made) == len(entry.limits) else None


def tags_of(compiler: Compiler, value: Typed) -> list[str]:
    """Give the tags that an expression reads, each once."""
    names = list(compiler.slots)
    found = [tag_of(names[index]) for index in slots_of(value)]
    return list(dict.fromkeys(tag for tag in found if tag is not None))


def fresh_counts(compiler: Compiler, tags: Iterable[str], path: Path) -> list[Slot]:
    """Give the numbers of new values of tags in a window."""
    trees = [compiler.typed(f"{tag}.count", (*path, "value"), "double") for tag in tags]
    return [tree for tree in trees if isinstance(tree, Slot)]


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f"nearest is {near[0]}" if near else f"there are {', '.join(names)}"
