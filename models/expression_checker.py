"""Syntax tree + what may be named → typed tree. All faults of an expression at once, each with the nearest known name.

Numbers are looser than in plain CEL: an int that meets a double becomes one. Everything else is as strict.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from models.expression_lexer import ExpressionError, Fault, fault
from models.expression_parser import RELATIONS, Binary, Call, ListOf, Logic, Name, Node, Ternary, Unary
from models.expression_parser import Literal as Constant
from models.expression_units import unit_faults

ValueType = Literal["double", "int", "bool", "string"]
Value = float | int | bool | str

NUMBERS: Final = frozenset({"double", "int"})
_SYNONYMS: Final = {
    "avg": "mean", "average": "mean", "std": "stddev", "sd": "stddev", "sigma": "stddev", "minimum": "min",
    "maximum": "max", "value": "last", "spread": "range", "slope": "rate", "age": "age_s",
}  # fmt: skip
MAX_FAULTS: Final = 20
"""Of one expression; who has mended these is told of the next."""
OPEN: Final = "*"
"""Last part of an environment name that stands for any: `counts.defect.*`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an expression may name, and the type of each."""

    types: Mapping[str, ValueType]
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name → UNECE code, for the names whose unit is known."""

    def type_of(self, name: str) -> ValueType | None:
        """Give the type of a dotted name; None when there is no such name."""
        known = self.types.get(name)
        if known is None and "." in name:
            known = self.types.get(f"{name.rpartition('.')[0]}.{OPEN}")
        return known

    def nearest(self, name: str) -> str:
        """Say which known name was probably meant, as a hint; empty when none is near."""
        head, _, last = name.rpartition(".")
        fields = sorted(known[len(head) + 1 :] for known in self.types if head and known.startswith(f"{head}."))
        if fields:
            meant = _SYNONYMS.get(last)
            near = [meant] if meant in fields else difflib.get_close_matches(last, fields, 1, 0.5)
            meant = f"nearest is {head}.{near[0]}; " if near else ""
            return f"{meant}{head} has {', '.join(fields)}"
        # `speeed.mean`: the head is what is wrong, so heads are compared with it, not whole names.
        heads = {known.partition(".")[0] for known in self.types}
        first, dot, rest = name.partition(".")
        near = difflib.get_close_matches(first, sorted(heads), 1, 0.6)
        if not near:
            return ""
        meant = f"{near[0]}{dot}{rest}"
        return f"nearest is {meant if self.type_of(meant) else near[0]}"


@dataclass(frozen=True, slots=True)
class Const:
    """A constant of the typed tree."""

    value: Value
    type: ValueType


@dataclass(frozen=True, slots=True)
class Slot:
    """A variable of the typed tree: its place in the list of inputs."""

    index: int
    type: ValueType


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of the typed tree; the name tells the exact overload (`iadd` int, `add` double, `concat` text)."""

    name: str
    arguments: tuple[Typed, ...]
    type: ValueType


Typed = Const | Slot | Op

_ARITHMETIC: Final = {"+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod"}
_RELATION: Final = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}

_INT: Final = frozenset({"int"})
_FUNCTIONS: Final[dict[str, tuple[int, int, frozenset[str], str]]] = {
    # name: (fewest arguments, most, types of every argument, how it is written)
    "int": (1, 1, NUMBERS, "int(number)"),
    "double": (1, 1, NUMBERS, "double(number)"),
    "math.abs": (1, 1, NUMBERS, "math.abs(number)"),
    "math.sign": (1, 1, NUMBERS, "math.sign(number)"),
    "math.floor": (1, 1, NUMBERS, "math.floor(number)"),
    "math.ceil": (1, 1, NUMBERS, "math.ceil(number)"),
    "math.round": (1, 1, NUMBERS, "math.round(number)"),
    "math.trunc": (1, 1, NUMBERS, "math.trunc(number)"),
    "math.sqrt": (1, 1, NUMBERS, "math.sqrt(number)"),
    "math.ln": (1, 1, NUMBERS, "math.ln(number)"),
    "math.log10": (1, 1, NUMBERS, "math.log10(number)"),
    "math.exp": (1, 1, NUMBERS, "math.exp(number)"),
    "math.pow": (2, 2, NUMBERS, "math.pow(base, exponent)"),
    "math.bitAnd": (2, 2, _INT, "math.bitAnd(int(word), 4)"),
    "math.bitOr": (2, 2, _INT, "math.bitOr(int(word), 4)"),
    "math.bitXor": (2, 2, _INT, "math.bitXor(int(word), 4)"),
    "math.bitNot": (1, 1, _INT, "math.bitNot(int(word))"),
    "math.least": (1, 8, NUMBERS, "math.least(a, b, …)"),
    "math.greatest": (1, 8, NUMBERS, "math.greatest(a, b, …)"),
    "startsWith": (2, 2, frozenset({"string"}), 'text.startsWith("…")'),
    "endsWith": (2, 2, frozenset({"string"}), 'text.endsWith("…")'),
    "contains": (2, 2, frozenset({"string"}), 'text.contains("…")'),
    "size": (1, 1, frozenset({"string"}), "size(text) or size([…])"),
    "has": (1, 1, frozenset(), "has(name)"),
}
_LEFT_OUT: Final = {
    "matches": "regular expressions are left out: they can take for ever; use startsWith, endsWith or contains",
    "map": "there are no loops here",
    "filter": "there are no loops here",
    "all": "there are no loops here; write the cases with &&",
    "exists": "there are no loops here; write the cases with || or use in […]",
    "timestamp": "there is no clock here; use .age_s or window.duration_s",
    "now": "there is no clock here; use .age_s or window.duration_s",
    "abs": "write math.abs(number)",
    "sqrt": "write math.sqrt(number)",
    "log": "write math.ln(number) or math.log10(number)",
    "math.log": "write math.ln(number) or math.log10(number)",
    "exp": "write math.exp(number)",
    "pow": "write math.pow(base, exponent)",
    "round": "write math.round(number)",
    "math.isFinite": "every number here is finite; has(name) tells whether there is one",
    "math.isNaN": "no number here is NaN; has(name) tells whether there is one",
    "math.isInf": "no number here is infinite; has(name) tells whether there is one",
    "min": "write math.least(a, b), or tag.min for the least of the window",
    "max": "write math.greatest(a, b), or tag.max for the greatest of the window",
}


def check(
    text: str, tree: Node, environment: Environment, slots: dict[str, int], expect: ValueType | None = None
) -> Typed:
    """Give the typed tree; names get their place in `slots`, which grows. ExpressionError holds every fault found.

    expect: the type the whole must have; "double" accepts an int too.
    """
    checker = _Checker(text, environment, slots)
    typed = checker.typed(tree)
    if typed is not None and expect is not None and typed.type != expect and (expect, typed.type) != ("double", "int"):
        wanted = {"bool": "true or false", "double": "a number", "int": "a whole number", "string": "a text"}[expect]
        hint = "compare it with something, as in … > 5" if expect == "bool" else ""
        checker.blame(tree.at, f"gives {typed.type}, but {wanted} ({expect}) is needed here", hint)
    if environment.units:
        checker.faults += unit_faults(text, tree, environment.units)
    if typed is None or checker.faults:
        raise ExpressionError(sorted(checker.faults))
    return typed


@dataclass(slots=True)
class _Checker:
    text: str
    environment: Environment
    slots: dict[str, int]
    faults: list[Fault] = field(default_factory=list[Fault])

    def blame(self, at: int, problem: str, hint: str = "") -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault(self.text, at, problem, hint))

    def typed(self, node: Node) -> Typed | None:
        """Give the typed form, or None after a fault was noted: what leans on it is not blamed again."""
        match node:
            case Constant():
                return Const(node.value, _type_of(node.value))
            case Name():
                return self._slot(node)
            case Unary():
                return self._unary(node)
            case Logic():
                return self._logic(node)
            case Ternary():
                return self._ternary(node)
            case Binary():
                return self._membership(node) if node.operator == "in" else self._binary(node)
            case Call():
                return self._call(node)
            case ListOf():
                self.blame(node.at, "a list can only stand behind `in` or in size(…)")
                return None

    def _slot(self, node: Name) -> Slot | None:
        known = self.environment.type_of(node.name)
        if known is None:
            full = len(self.faults) >= MAX_FAULTS  # looking for what was meant among thousands of tags takes a while
            self.blame(node.at, f"unknown name {node.name}", "" if full else self.environment.nearest(node.name))
            return None
        return Slot(self.slots.setdefault(node.name, len(self.slots)), known)

    def _all(self, nodes: tuple[Node, ...]) -> list[Typed] | None:
        """Type every node, so that each gets its own blame; None when one failed."""
        typed = [self.typed(node) for node in nodes]
        found = [item for item in typed if item is not None]
        return found if len(found) == len(typed) else None

    def _unary(self, node: Unary) -> Typed | None:
        operand = self.typed(node.operand)
        if operand is None:
            return None
        if node.operator == "!":
            if operand.type == "bool":
                return Op("not", (operand,), "bool")
            self.blame(node.at, f"`!` needs true or false, not {operand.type}")
            return None
        if operand.type in NUMBERS:
            return Op("ineg" if operand.type == "int" else "neg", (operand,), operand.type)
        self.blame(node.at, f"`-` needs a number, not {operand.type}")
        return None

    def _logic(self, node: Logic) -> Typed | None:
        operands = [(n, self.typed(n)) for n in node.operands]
        for source, typed in operands:
            if typed is not None and typed.type != "bool":
                self.blame(source.at, f"`{node.operator}` needs true or false, not {typed.type}", "compare it first")
        good = tuple(typed for _, typed in operands if typed is not None and typed.type == "bool")
        if len(good) < len(operands):
            return None
        return Op("and" if node.operator == "&&" else "or", good, "bool")

    def _ternary(self, node: Ternary) -> Typed | None:
        parts = self._all((node.condition, node.yes, node.no))
        if parts is None:
            return None
        condition, yes, no = parts
        if condition.type != "bool":
            self.blame(node.condition.at, f"the condition before `?` gives {condition.type}, not true or false")
            return None
        result = _common(yes.type, no.type)
        if result is None:
            self.blame(node.at, f"`? :` gives {yes.type} on one side and {no.type} on the other")
            return None
        return Op("if", (condition, *_met((yes, no), result)), result)

    def _membership(self, node: Binary) -> Typed | None:
        left = self.typed(node.left)
        if not isinstance(node.right, ListOf):
            self.blame(node.at, "`in` needs a list on its right", 'as in x in ["A", "B"]')
            return None
        items = self._all(node.right.items)
        if left is None or items is None:
            return None
        for source, item in zip(node.right.items, items, strict=True):
            if _common(left.type, item.type) is None:
                self.blame(source.at, f"a {left.type} cannot be in a list with a {item.type}")
                return None
        items = [_exact(item) if left.type == "double" else item for item in items]
        return Op("in", (left, *items), "bool")

    def _binary(self, node: Binary) -> Typed | None:
        pair = self._all((node.left, node.right))
        if pair is None:
            return None
        left, right = pair
        both = _common(left.type, right.type)
        if node.operator in RELATIONS:
            if both is None:
                hint = "a text stands in quotes" if "string" in {left.type, right.type} else ""
                self.blame(node.at, f"`{node.operator}` cannot compare {left.type} with {right.type}", hint)
                return None
            if both == "double":
                left, right = _exact(left), _exact(right)
            return Op(_RELATION[node.operator], (left, right), "bool")
        name = _ARITHMETIC[node.operator]
        if both == "string" and name == "add":
            return Op("concat", (left, right), "string")
        if both is None or both not in NUMBERS:
            self.blame(node.at, f"`{node.operator}` cannot work on {left.type} and {right.type}")
            return None
        if both == "double" and name == "mod":
            self.blame(node.at, "`%` works on whole numbers", "write int(x) % n")
            return None
        return Op(name if both == "double" else f"i{name}", _met((left, right), both), both)

    def _call(self, node: Call) -> Typed | None:
        if node.function not in _FUNCTIONS:
            hint = _LEFT_OUT.get(node.function, "")
            near = difflib.get_close_matches(node.function, list(_FUNCTIONS), 1, 0.5)
            self.blame(node.at, f"unknown function {node.function}", hint or (f"nearest is {near[0]}" if near else ""))
            return None
        fewest, most, types, form = _FUNCTIONS[node.function]
        if not fewest <= len(node.arguments) <= most:
            self.blame(node.at, f"{node.function} got {len(node.arguments)} arguments", f"write {form}")
            return None
        if node.function == "has":
            return self._has(node)
        if node.function == "size" and isinstance(node.arguments[0], ListOf):
            items = self._all(node.arguments[0].items)
            return None if items is None else Op("count", tuple(items), "int")
        arguments = self._all(node.arguments)
        if arguments is None:
            return None
        for source, typed in zip(node.arguments, arguments, strict=True):
            if typed.type not in types:
                self.blame(source.at, f"{node.function} cannot take a {typed.type}", f"write {form}")
                return None
        return _RESULT[node.function](tuple(arguments))

    def _has(self, node: Call) -> Typed | None:
        (argument,) = node.arguments
        if not isinstance(argument, Name):
            self.blame(argument.at, "has(…) asks about one name", "write has(oil_temperature)")
            return None
        slot = self._slot(argument)
        return None if slot is None else Op("has", (slot,), "bool")


def _numeric(name: str) -> Callable[[tuple[Typed, ...]], Op]:
    """Make an operation whose result is double as soon as one argument is."""

    def build(arguments: tuple[Typed, ...]) -> Op:
        if all(argument.type == "int" for argument in arguments):
            return Op(f"i{name}", arguments, "int")
        return Op(name, _met(arguments, "double"), "double")

    return build


def _real(name: str) -> Callable[[tuple[Typed, ...]], Op]:
    """Make an operation on doubles."""
    return lambda arguments: Op(name, _met(arguments, "double"), "double")


def _integer(name: str) -> Callable[[tuple[Typed, ...]], Op]:
    """Make an operation on ints."""
    return lambda arguments: Op(name, arguments, "int")


def _met(arguments: tuple[Typed, ...], kind: ValueType) -> tuple[Typed, ...]:
    """Make doubles of the ints that met one."""
    if kind != "double":
        return arguments
    return tuple(argument if argument.type == "double" else _double(argument) for argument in arguments)


def _double(number: Typed) -> Typed:
    return Const(float(number.value), "double") if isinstance(number, Const) else Op("double", (number,), "double")


def _exact(number: Typed) -> Typed:
    """Make a double of an int constant that is one; int and double are compared by their exact values."""
    if isinstance(number, Const) and number.type == "int" and int(float(number.value)) == number.value:
        return _double(number)
    return number


_RESULT: Final[dict[str, Callable[[tuple[Typed, ...]], Typed]]] = {
    "int": lambda a: Op("int", a, "int"),
    "double": lambda a: Op("double", a, "double"),
    "size": lambda a: Op("size", a, "int"),
    "startsWith": lambda a: Op("startsWith", a, "bool"),
    "endsWith": lambda a: Op("endsWith", a, "bool"),
    "contains": lambda a: Op("contains", a, "bool"),
    "math.abs": _numeric("abs"),
    "math.sign": _numeric("sign"),
    **{f"math.{name}": _integer(name) for name in ("bitAnd", "bitOr", "bitXor", "bitNot")},
    **{
        f"math.{name}": _real(name) for name in ("floor", "ceil", "round", "trunc", "sqrt", "ln", "log10", "exp", "pow")
    },
    "math.least": lambda a: a[0] if len(a) == 1 else _numeric("least")(a),
    "math.greatest": lambda a: a[0] if len(a) == 1 else _numeric("greatest")(a),
}


def _type_of(value: Value) -> ValueType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "double" if isinstance(value, float) else "string"


def _common(left: ValueType, right: ValueType) -> ValueType | None:
    """Give the type two values meet in; None when they cannot be compared."""
    if left == right:
        return left
    return "double" if left in NUMBERS and right in NUMBERS else None
