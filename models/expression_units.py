"""Units in expressions: what is added to or compared with each other is in one unit.

Units are UNECE codes (CEL, BAR, C16, …), compared as they are written and never converted: a tag book does that once,
with scale and offset. A number in the text takes any unit. A product or a quotient is of a compound unit that we do
not name, so nothing is said about it, nor about a difference of two temperatures in CEL or FAH: it is in neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from models.expression_lexer import Fault, fault
from models.expression_parser import RELATIONS, Binary, Call, ListOf, Literal, Logic, Name, Node, Ternary, Unary

Unit = str | None
"""UNECE code; None = not known or compound: fits everything."""
ANY: Final = ""
"""Of a number in the text: takes the unit of what it meets."""
POINTS: Final = frozenset({"CEL", "FAH"})
"""Scales whose zero is a convention: 30 °C less 20 °C is not 10 °C."""
KEEPING: Final = frozenset(
    {"math.abs", "math.floor", "math.ceil", "math.round", "math.trunc", "math.least", "math.greatest", "double", "int"}
)
"""Functions whose result is in the unit of their arguments."""


def unit_faults(text: str, tree: Node, units: Mapping[str, str]) -> list[Fault]:
    """Give a fault for each place where values of different units meet. units: dotted name → UNECE code."""
    walk = _Walk(text, units)
    walk.unit(tree)
    return walk.faults


def unit_of(tree: Node, units: Mapping[str, str]) -> Unit:
    """Give the unit of an expression's value; None when it is not known, compound, or no number."""
    return _Walk("", units).unit(tree) or None


@dataclass(slots=True)
class _Walk:
    text: str
    units: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list[Fault])

    def unit(self, node: Node) -> Unit:
        match node:
            case Literal():
                return ANY
            case Name():
                return self.units.get(node.name)
            case Unary():
                return self.unit(node.operand)
            case Binary():
                return self._binary(node)
            case Logic():
                for operand in node.operands:
                    self.unit(operand)
                return None
            case Ternary():
                self.unit(node.condition)
                return self._one(node.at, "? :", (node.yes, node.no))
            case ListOf():
                return self._one(node.at, "[…]", node.items)
            case Call():
                return self._call(node)

    def _binary(self, node: Binary) -> Unit:
        if node.operator == "in" and isinstance(node.right, ListOf):
            self._one(node.at, "in", (node.left, *node.right.items))
            return None
        if node.operator not in RELATIONS and node.operator not in {"+", "-"}:
            self.unit(node.left)
            self.unit(node.right)
            return None
        shared = self._one(node.at, node.operator, (node.left, node.right))
        if node.operator in RELATIONS:
            return None
        # 30 °C - 5 stays a temperature, one temperature less another does not.
        return None if node.operator == "-" and shared in POINTS and not _has_literal(node) else shared

    def _call(self, node: Call) -> Unit:
        if node.function in KEEPING:
            return self._one(node.at, node.function, node.arguments)
        for argument in node.arguments:
            self.unit(argument)
        return None

    def _one(self, at: int, operator: str, nodes: tuple[Node, ...]) -> Unit:
        """Give the one unit of several values; None, with a fault, when there are two."""
        found = [self.unit(node) for node in nodes]
        first: int | None = None
        for place, unit in enumerate(found):
            if unit is None or unit == ANY:
                continue
            if first is None:
                first = place
            elif unit != found[first]:
                problem = f"{_told(nodes[first])} is {found[first]}, {_told(nodes[place])} is {unit}"
                hint = f"`{operator}` needs one unit; give both tags the same with scale and offset in their tag book"
                self.faults.append(fault(self.text, at, problem, hint))
                return None
        if None in found:
            return None
        return ANY if first is None else found[first]


def _has_literal(node: Binary) -> bool:
    return isinstance(node.left, Literal) or isinstance(node.right, Literal)


def _told(node: Node) -> str:
    match node:
        case Name():
            return node.name
        case Call():
            return f"{node.function}(…)"
        case _:
            return "(…)"
