"""Virtual tags: values that no address has, worked out when a window closes and named like any other tag.

    virtual = compile_virtual([VirtualTag(name="load", value="100 * current.mean / 63.0", unit="P1")], types, counters, units)
    virtual.extend(window).tags["load"].mean

An expression names what a rule over the window may name, and the virtual tags above its own. What cannot be told is a
bad value whose status keeps the cause as far as OPC UA has a code for it. Each is worked out when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from models.expression import (
    RESERVED,
    Environment,
    Expression,
    ExpressionError,
    Indeterminate,
    compile_expression,
    unit_misfit,
    unit_of,
    window_environment,
)
from models.expression_checker import Value, ValueType
from models.expression_interpreter import Cause, Why
from models.expression_parser import names, parse
from models.ruleset_inputs import Reader, reader, tag_fault, tag_of
from models.window import TagWindow, TagWindows, Window

GOOD: Final = 0x0000_0000
UNCERTAIN: Final = 0x4000_0000
UNCERTAIN_UNITS_EXCEEDED: Final = 0x4094_0000
BAD: Final = 0x8000_0000
STATUS: Final[dict[Why, int]] = {
    "missing": 0x8032_0000,  # BadWaitingForInitialData
    "no_values": 0x8032_0000,
    "bad": BAD,
    "stale": 0x8031_0000,  # BadNoCommunication
    "unknown": 0x809B_0000,  # BadNoData
    "wrong_type": 0x8074_0000,  # BadTypeMismatch
    "zero_division": 0x803C_0000,  # BadOutOfRange
    "overflow": 0x803C_0000,
    "not_finite": 0x803C_0000,
    "domain": 0x803C_0000,
}
"""Cause → OPC UA StatusCode of a virtual tag without a value; a bad input hands on its own."""
AGELESS: Final = 2**62
"""A virtual tag does not grow stale: its inputs do, and then it has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualTag:
    """One virtual tag as a tag book says it."""

    name: str
    value: str
    """Expression over the window."""
    unit: str | None = None
    """UNECE code; None = that of the expression, where it is known."""
    low: float | None = None
    high: float | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, order=True)
class VirtualFault:
    """One thing wrong with a list of virtual tags."""

    position: int
    """In the list, from 0."""
    key: str
    """`name`, `value`, `unit`, `low`."""
    problem: str

    def __str__(self) -> str:
        return f"virtual[{self.position}].{self.key}: {self.problem}"


class VirtualError(ValueError):
    """The virtual tags cannot be used; `faults` says all that is wrong with them."""

    def __init__(self, faults: Sequence[VirtualFault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class _Compiled:
    tag: VirtualTag
    expression: Expression
    readers: tuple[Reader, ...]
    inputs: tuple[str, ...]
    """Tags whose quality and age become its own."""

    def over(self, window: Window) -> TagWindow:
        """Give the value over a window that has all tags above this one."""
        values = {name: read(window) for name, read in zip(self.expression.variables, self.readers, strict=True)}
        result = self.expression.evaluate(values)
        usable = [tag for name in self.inputs if tag_fault(tag := window.tags.get(name)) is None and tag is not None]
        age = max((tag.age_ns for tag in usable), default=0)
        if isinstance(result, Indeterminate):
            return self._made(None, self._status(result.causes[0], window), AGELESS)
        status = UNCERTAIN if any(tag.quality == "uncertain" for tag in usable) else GOOD
        return self._made(result, status, age)

    def _made(self, value: Value | None, status: int, age_ns: int) -> TagWindow:
        number = None if value is None or isinstance(value, str) else float(value)
        low, high = self.tag.low, self.tag.high
        if (
            number is not None
            and status == GOOD
            and ((low is not None and number < low) or (high is not None and number > high))
        ):
            status = UNCERTAIN_UNITS_EXCEEDED
        known = value is not None
        return TagWindow(
            name=self.tag.name, unit=self.tag.unit, last=value if isinstance(value, str) else number,
            first=value if isinstance(value, str) else number, mean=number, min=number, max=number,
            stddev=None if number is None else 0.0, count=int(known), bad=int(not known), status=status,
            age_ns=age_ns, low=low, high=high, max_age_ns=AGELESS, required=self.tag.required,
        )  # fmt: skip

    def _status(self, cause: Cause, window: Window) -> int:
        name = tag_of(cause.variable) if cause.variable else None
        tag = None if name is None else window.tags.get(name)
        return tag.status if cause.why == "bad" and tag is not None else STATUS[cause.why]


class Virtual:
    """The virtual tags of one work unit, compiled."""

    def __init__(self, compiled: Sequence[_Compiled], environment: Environment) -> None:
        self._compiled = {one.tag.name: one for one in compiled}
        self.environment = environment
        """What rules and models over an extended window may name."""

    @property
    def tags(self) -> tuple[VirtualTag, ...]:
        """The virtual tags in their order, each with its unit where that is known."""
        return tuple(one.tag for one in self._compiled.values())

    @property
    def types(self) -> dict[str, str]:
        """Name → type, in the words of tag books."""
        return {name: WORDS[one.expression.type] for name, one in self._compiled.items()}

    def extend(self, window: Window) -> Window:
        """Give the window with the virtual tags among its tags. The same window gives the same values."""
        if not self._compiled:
            return window
        required = tuple(sorted({*window.required, *(tag.name for tag in self.tags if tag.required)}))
        return replace(window, tags=_Extended(window, self._compiled, required))


WORDS: Final[dict[ValueType, str]] = {"double": "float64", "int": "float64", "bool": "bool", "string": "string"}


class _Extended(TagWindows):
    """The tags of a window and, over them, the virtual ones."""

    __slots__ = ("_base", "_found", "_virtual")

    def __init__(self, window: Window, virtual: Mapping[str, _Compiled], required: tuple[str, ...]) -> None:
        super().__init__({}, required, lambda _: next(iter(window.tags.values())))  # never asked: all is overridden
        self._base = window
        self._virtual = virtual
        self._found: dict[str, TagWindow] = {}

    def __getitem__(self, name: str) -> TagWindow:
        found = self._found.get(name)
        if found is not None:
            return found
        if name not in self._virtual:
            return self._base.tags[name]
        window = replace(self._base, tags=self)
        for above, one in self._virtual.items():  # in their order, so that a long chain needs no stack
            if above not in self._found:
                self._found[above] = one.over(window)
            if above == name:
                break
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._base.tags if name not in self._virtual)
        yield from self._virtual

    def __len__(self) -> int:
        return len(self._virtual) + sum(name not in self._virtual for name in self._base.tags)


def compile_virtual(
    tags: Sequence[VirtualTag],
    types: Mapping[str, str],
    counters: Collection[str] | None = None,
    units: Mapping[str, str | None] | None = None,
) -> Virtual:
    """Check and compile virtual tags over a work unit's own tags. Raises VirtualError with every fault.

    types, counters, units: as for `window_environment`.
    """
    own = window_environment(types, counters, units)
    named, measured = dict(own.types), dict(own.units)
    environment = Environment(types=named, units=measured)  # grows with every virtual tag
    taken = set(types)
    faults: list[VirtualFault] = []
    compiled: list[_Compiled] = []
    for position, tag in enumerate(tags):
        kind, unit = "float64", None  # of a faulty one, so that what leans on it is not blamed again
        wrong = _name_fault(tag, taken) or _order_fault(position, tags)
        if wrong is not None:
            faults.append(VirtualFault(position, *wrong))
        else:
            try:
                one = _compile(tag, environment)
            except ExpressionError as error:
                faults += [VirtualFault(position, "value", str(fault)) for fault in error.faults]
            else:
                faults += [VirtualFault(position, *told) for told in _range_faults(one, environment)]
                compiled.append(one)
                kind, unit = WORDS[one.expression.type], one.tag.unit
        if tag.name not in taken and tag.name not in RESERVED:
            taken.add(tag.name)
            more = window_environment({tag.name: kind}, (), {tag.name: unit})
            named |= more.types
            measured |= more.units
    if faults:
        raise VirtualError(faults)
    return Virtual(compiled, environment)


def _compile(tag: VirtualTag, environment: Environment) -> _Compiled:
    expression = compile_expression(tag.value, environment)
    unit = tag.unit if tag.unit is not None else unit_of(tag.value, environment)
    readers = tuple(reader(name, kind) for name, kind in zip(expression.variables, expression.types, strict=True))
    inputs = dict.fromkeys(name for variable in expression.variables if (name := tag_of(variable)) is not None)
    return _Compiled(replace(tag, unit=unit), expression, readers, tuple(inputs))


def _name_fault(tag: VirtualTag, taken: Collection[str]) -> tuple[str, str] | None:
    if tag.name in RESERVED:
        return "name", f"{tag.name!r} has a meaning of its own in expressions; give another name"
    if tag.name in taken:
        return "name", f"duplicate tag {tag.name!r}: each name stands once in a book"
    return None


def _order_fault(position: int, tags: Sequence[VirtualTag]) -> tuple[str, str] | None:
    """Tell when a virtual tag names itself or one below: in a circle, or only too early."""
    below = {tag.name: place for place, tag in enumerate(tags) if place >= position}
    for name in _heads(tags[position]):
        if name not in below:
            continue
        circle = _circle(tags[position].name, {tag.name: _heads(tag) for tag in tags}, [name])
        if circle is not None:
            return "value", f"{' → '.join([tags[position].name, *circle])} is a circle; break it"
        return "value", f"{name} stands below; move its [[virtual]] above this one"
    return None


def _circle(start: str, uses: Mapping[str, Sequence[str]], path: list[str]) -> list[str] | None:
    """Give the way from the end of a path back to where it started; None when there is none."""
    seen = set(path)
    waiting = [path]
    while waiting:
        path = waiting.pop()
        if path[-1] == start:
            return path
        for name in uses.get(path[-1], ()):
            if name == start or name not in seen:
                seen.add(name)
                waiting.append([*path, name])
    return None


def _heads(tag: VirtualTag) -> list[str]:
    """Give the tags an expression names; none when it cannot be read."""
    try:
        found = names(parse(tag.value))
    except ExpressionError:
        return []
    return list(dict.fromkeys(name.partition(".")[0] for name in found))


def _range_faults(one: _Compiled, environment: Environment) -> list[tuple[str, str]]:
    tag = one.tag
    faults: list[tuple[str, str]] = []
    if misfit := unit_misfit(tag.value, tag.unit, environment):
        faults.append(("unit", misfit))
    if WORDS[one.expression.type] != "float64" and (tag.low is not None or tag.high is not None):
        key = "low" if tag.low is not None else "high"
        faults.append((key, f"a range is a number's; the expression gives {one.expression.type}"))
    if tag.low is not None and tag.high is not None and tag.low >= tag.high:
        faults.append(("low", f"low {tag.low} is not below high {tag.high}"))
    return faults
