"""Can a condition hold? Reasoning about conditions with intervals and sets, without ever evaluating one.

A condition is turned into regions: conjunctions of sets, one per term (an input or any other part that is compared with
a constant), such that wherever the condition is true, one of the regions holds. Terms are taken as independent, and what
is not understood as possible: a condition may be called possible that is not, never the other way round. By Kleene's
logic this is right also where inputs are unknown: `a && b` is true only if both are, false only if one of them is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from models.expression_checker import NUMBERS, Const, Op, Slot, Typed, Value
from models.expression_interpreter import Indeterminate, evaluate

MAX_REGIONS: Final = 400
MAX_STEPS: Final = 1_000_000
"""Beyond this many regions of one condition, or comparisons in all, a question is left open."""

Span = tuple[float, bool, float, bool]
"""From, with it?, to, with it?"""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of finite numbers: spans that do not touch, ascending."""

    spans: tuple[Span, ...]

    def both(self, other: Numbers) -> Numbers:
        """Give what lies in both."""
        found: list[Span] = []
        mine, theirs = iter(self.spans), iter(other.spans)
        a, b = next(mine, None), next(theirs, None)
        while a is not None and b is not None:
            span = _overlap(a, b)
            if span is not None:
                found.append(span)
            if (a[2], a[3]) < (b[2], b[3]):
                a = next(mine, None)
            else:
                b = next(theirs, None)
        return Numbers(tuple(found))

    def other(self) -> Numbers:
        """Give all numbers that are not in it."""
        spans: list[Span] = []
        low, low_in = -math.inf, False
        for first, first_in, last, last_in in self.spans:
            if low < first or (low == first and low_in and not first_in):
                spans.append((low, low_in, first, not first_in))
            low, low_in = last, not last_in
        if low < math.inf:
            spans.append((low, low_in, math.inf, False))
        return Numbers(tuple(spans))

    def within(self, other: Numbers) -> bool:
        """Tell whether all of it lies in another."""
        return not self.both(other.other())

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __str__(self) -> str:
        return " or ".join(_told(span) for span in self.spans)


@dataclass(frozen=True, slots=True)
class Words:
    """A set of texts, or of true and false: those named, or (without) all but those."""

    names: frozenset[Value]
    without: bool = False

    def both(self, other: Words) -> Words:
        """Give what lies in both."""
        if self.without and other.without:
            return Words(self.names | other.names, without=True)
        if self.without:
            return Words(other.names - self.names)
        return Words(self.names - other.names) if other.without else Words(self.names & other.names)

    def other(self) -> Words:
        """Give all that is not in it."""
        return Words(self.names, without=not self.without)

    def within(self, other: Words) -> bool:
        """Tell whether all of it lies in another."""
        return not self.both(other.other())

    def __bool__(self) -> bool:
        return self.without or bool(self.names)

    def __str__(self) -> str:
        told = ", ".join(sorted(str(name).lower() if isinstance(name, bool) else repr(name) for name in self.names))
        return f"not {told}" if self.without else told


Values = Numbers | Words
Region = Mapping[int, Values]
"""Number of a term (`Reasoner.terms`) → its values."""
TRUTH: Final = {True: Words(frozenset([True])), False: Words(frozenset([False]))}
_BOTH: Final = Words(frozenset([True, False]))
_FLIPPED: Final = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


_LAZY: Final = frozenset({"and", "or", "if", "has"})


class OpenError(Exception):
    """Too many cases to tell."""


class Reasoner:
    """Knows which values some inputs can have at all, and what it has found of the conditions it was asked about.

    Every tree is looked at once: its regions are kept, and so is which parts are constant.
    """

    def __init__(self, domains: Mapping[int, Values]) -> None:
        """domains: place of an input → its values; any others may have all."""
        self.domains = domains
        self.terms: list[Typed] = []
        """Number of a term, as regions name it → the term."""
        self._numbers: dict[Typed, int] = {}
        self._known: dict[tuple[int, bool], list[Region] | None] = {}
        """None = open."""
        self._folding = Folding()
        self._steps = 0

    def regions(self, tree: Typed, want: bool = True) -> list[Region]:
        """Give regions that cover all cases in which a condition is true (or false). Raises OpenError."""
        key = (id(tree), want)
        if key not in self._known:
            self._folding.kept[id(tree)] = tree  # so that its id stays its own
            self._known[key] = None
            self._known[key] = self._regions(tree, want)
        found = self._known[key]
        if found is None:
            raise OpenError
        return found

    def _regions(self, tree: Typed, want: bool) -> list[Region]:
        constant = self._folding.folded(tree)
        if constant is not None:
            return [{}] if constant is want else []
        match tree:
            case Op(name="not"):
                return self.regions(tree.arguments[0], not want)
            case Op(name="and" | "or" as name) if (name == "and") is want:
                return self.together([(argument, want) for argument in tree.arguments])
            case Op(name="and" | "or"):
                return self._joined(region for argument in tree.arguments for region in self.regions(argument, want))
            case Op(name="if", arguments=(condition, yes, no)):
                return self._joined(
                    [*self.together([(condition, True), (yes, want)]), *self.together([(condition, False), (no, want)])]
                )
            case _:
                if self._folding.hopeless(tree) is not None:
                    return []
                term, values = _literal(tree, self._folding) or (tree, TRUTH[True])
                number = self._numbers.setdefault(term, len(self.terms))
                if number == len(self.terms):
                    self.terms.append(term)
                return self._held([{}], [{number: values if want else values.other()}])

    def together(self, wanted: Iterable[tuple[Typed, bool]]) -> list[Region]:
        """Give regions that cover all cases in which all these conditions are as wanted. Raises OpenError."""
        found: list[Region] = [{}]
        for tree, want in wanted:
            if not found:
                break
            found = self._held(found, self.regions(tree, want))
        return found

    def possible(self, *wanted: tuple[Typed, bool]) -> bool:
        """Tell whether conditions can be as wanted at once; true also when that cannot be told."""
        try:
            return bool(self.together(wanted))
        except OpenError:
            return True

    def meet(self, one: Sequence[Region], other: Sequence[Region]) -> bool:
        """Tell whether two conditions, given as their regions, can hold at once; false when that is left open."""
        try:
            return any(self._intersected(a, b) is not None for a in one for b in other)
        except OpenError:
            return False

    def _held(self, left: Sequence[Region], right: Sequence[Region]) -> list[Region]:
        return self._joined(region for a in left for b in right if (region := self._intersected(a, b)) is not None)

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise OpenError

    def _joined(self, regions: Iterable[Region]) -> list[Region]:
        """Give the regions without those that lie within others."""
        found: list[Region] = []
        for region in regions:
            self._spend(sum(_size(known) for known in found) + len(found) * _size(region))
            if any(contains(known, region) for known in found):
                continue
            found = [known for known in found if not contains(region, known)]
            found.append(region)
            if len(found) > MAX_REGIONS:
                raise OpenError
        return found

    def _intersected(self, a: Region, b: Region) -> Region | None:
        self._spend(_size(a) + _size(b))
        found: dict[int, Values] = dict(a)
        for number, values in b.items():
            known = found.get(number) or self._all(self.terms[number])
            both = values if known is None else _both(known, values)
            if not both:
                return None
            found[number] = both
        return found

    def _all(self, term: Typed) -> Values | None:
        if isinstance(term, Slot) and term.index in self.domains:
            return self.domains[term.index]
        return _BOTH if term.type == "bool" else None


@dataclass(slots=True)
class Folding:
    """What parts of trees come to when no input is known. Every part is looked at once."""

    kept: dict[int, Typed] = field(default_factory=dict[int, Typed])
    """By id, so that no other tree gets it while this is in use."""
    constants: dict[int, Value | Indeterminate | None] = field(default_factory=dict[int, Value | Indeterminate | None])
    whys: dict[int, str | None] = field(default_factory=dict[int, str | None])

    def folded(self, tree: Typed) -> Value | Indeterminate | None:
        """Give the value of a part without inputs (Indeterminate when it has none); None when it has inputs."""
        if isinstance(tree, Const):
            return tree.value
        if isinstance(tree, Slot):
            return None
        if id(tree) not in self.constants:
            self.kept[id(tree)] = tree
            parts = [self.folded(argument) for argument in tree.arguments]
            self.constants[id(tree)] = None if any(part is None for part in parts) else evaluate(tree, ())
        return self.constants[id(tree)]

    def hopeless(self, tree: Typed) -> str | None:
        """Say why a part that needs all its arguments never has a value; None when it may have one."""
        if not isinstance(tree, Op) or tree.name in _LAZY:
            return None
        if id(tree) not in self.whys:
            self.kept[id(tree)] = tree
            self.whys[id(tree)] = self._why(tree)
        return self.whys[id(tree)]

    def _why(self, tree: Op) -> str | None:
        if tree.name in {"div", "idiv", "imod"} and _is_zero(self.folded(tree.arguments[1])):
            return "divides by zero, always"
        if isinstance(self.folded(tree), Indeterminate):
            return "never has a value"
        return next((why for argument in tree.arguments if (why := self.hopeless(argument)) is not None), None)


def slots_of(tree: Typed) -> list[int]:
    """Give the inputs a tree depends on, by their places, as often as they are named."""
    match tree:
        case Slot():
            return [tree.index]
        case Op():
            return [index for argument in tree.arguments for index in slots_of(argument)]
        case Const():
            return []


def contains(outer: Region, inner: Region) -> bool:
    """Tell whether all of a region lies within another."""
    return all(term in inner and _within(inner[term], values) for term, values in outer.items())


def _is_zero(value: Value | Indeterminate | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def _literal(tree: Typed, folding: Folding) -> tuple[Typed, Values] | None:
    """Give the term and the values for which a comparison with constants is true; None for any other condition."""
    if not isinstance(tree, Op):
        return None
    if tree.name in _FLIPPED:
        left, right = tree.arguments
        name, bound = tree.name, folding.folded(right)
        if bound is None:
            left, name, bound = right, _FLIPPED[name], folding.folded(left)
        if bound is None or isinstance(bound, Indeterminate) or folding.folded(left) is not None:
            return None
        values = _compared(name, bound, left)
        return None if values is None else (left, values)
    if tree.name == "in":
        subject, *items = tree.arguments
        members = [folding.folded(item) for item in items]
        if any(member is None or isinstance(member, Indeterminate) for member in members):
            return None
        if subject.type in NUMBERS:
            points = sorted({float(m) if isinstance(m, float) else m for m in members if isinstance(m, int | float)})
            return subject, Numbers(tuple((point, True, point, True) for point in points))
        return subject, Words(frozenset(m for m in members if isinstance(m, str | bool)))
    return None


def _compared(name: str, bound: Value, subject: Typed) -> Values | None:
    if subject.type in NUMBERS and isinstance(bound, int | float):
        below, above = (-math.inf, False, bound, name in {"le", "ge"}), (bound, name in {"le", "ge"}, math.inf, False)
        match name:
            case "lt" | "le":
                return Numbers((below,))
            case "gt" | "ge":
                return Numbers((above,))
            case _:
                at = Numbers(((bound, True, bound, True),))
                return at if name == "eq" else at.other()
    if name in {"eq", "ne"} and isinstance(bound, str | bool):
        return Words(frozenset([bound]), without=name == "ne")
    return None  # the order of texts


def _size(region: Region) -> int:
    return sum(len(values.spans) if isinstance(values, Numbers) else 1 for values in region.values())


def _both(a: Values, b: Values) -> Values:
    if isinstance(a, Numbers):
        return a.both(b) if isinstance(b, Numbers) else a
    return a.both(b) if isinstance(b, Words) else a


def _within(a: Values, b: Values) -> bool:
    if isinstance(a, Numbers):
        return isinstance(b, Numbers) and a.within(b)
    return isinstance(b, Words) and a.within(b)


def _overlap(a: Span, b: Span) -> Span | None:
    low, low_in = max((a[0], not a[1]), (b[0], not b[1]))
    high, high_in = min((a[2], a[3]), (b[2], b[3]))
    if low > high or (low == high and (low_in or not high_in)):
        return None
    return low, not low_in, high, high_in


def _told(span: Span) -> str:
    low, low_in, high, high_in = span
    if low == high:
        return f"{low:g}"
    parts = [] if low == -math.inf else [f"{'from' if low_in else 'above'} {low:g}"]
    if high < math.inf:
        parts.append(f"{'to' if high_in else 'below'} {high:g}")
    return " ".join(parts) or "any number"
